//! A running task sees where it comes from, and hands that on to what it sends.

use coney::prelude::*;

use crate::support::{Vhost, bare, within};
use crate::tasks;

#[tokio::test]
async fn a_task_sees_its_call() {
    let vhost = Vhost::new();
    let _worker = vhost.worker(|w| w.task::<tasks::look_around>()).await;
    let client = vhost.client().await;
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let call = tasks::look_around::call()
        .id("order-7")
        .header("tenant", "acme")
        .header("traceparent", trace);
    let handle = call.send(&client).await.expect("sent");
    let seen = handle.result().timeout(secs(10)).await.expect("seen");
    assert_eq!(
        (&*seen.id, &*seen.root_id, seen.parent_id.as_deref()),
        ("order-7", "order-7", None)
    );
    assert_eq!(
        (&*seen.task, &*seen.queue, seen.attempt),
        ("coney.look_around", "fast", 1)
    );
    assert_eq!(seen.tenant.as_deref(), Some("acme"));
    assert_eq!(seen.trace_id, "0af7651916cd43dd8448eb211c80319c");
    assert_eq!(seen.headers, 2, "the caller's own headers and no others");
}

#[tokio::test]
async fn a_child_belongs_to_its_parents_workflow_and_trace() {
    let vhost = Vhost::new();
    let client = vhost.client().await;
    let _worker = vhost
        .worker(|w| {
            w.state(client.clone())
                .task::<tasks::look_around>()
                .task::<tasks::send_child>()
        })
        .await;
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let handle = tasks::send_child::call()
        .header("traceparent", trace)
        .send(&client)
        .await
        .expect("sent");
    let child = handle.result().timeout(secs(10)).await.expect("seen");
    assert_eq!(child.root_id, handle.id().to_string());
    assert_eq!(child.parent_id, Some(handle.id().to_string()));
    assert_eq!(child.trace_id, "0af7651916cd43dd8448eb211c80319c");
}

#[tokio::test]
async fn a_message_with_only_task_and_id_runs() {
    let vhost = Vhost::new();
    let _worker = vhost.worker(|w| w.task::<tasks::add>()).await;
    let mut replies = {
        let broker = vhost.broker().await;
        let topology = coney::protocol::topology::reply_queue("my.replies");
        broker.declare(&topology).await.expect("declared");
        vhost.consumer("my.replies").await
    };
    let mut message = bare("coney.add", "by-hand");
    message.reply_to = Some("my.replies".to_owned());
    vhost
        .publish_raw("fast", message, r#"[[2], {"y": 3}, {}]"#)
        .await;
    let reply = within("a reply", replies.next()).await.expect("a reply");
    let body: serde_json::Value = serde_json::from_slice(&reply.payload).expect("json");
    assert_eq!(
        (&body["status"], &body["result"], &body["task_id"]),
        (&"SUCCESS".into(), &5.into(), &"by-hand".into())
    );
    reply.acker.ack();
}
