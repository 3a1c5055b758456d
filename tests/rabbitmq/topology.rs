//! Client and worker declare the same things, so that either may start first; who may not declare is told what is missing.

use coney::prelude::*;
use coney::protocol::topology::Preset;
use coney::{QueueSpec, SendErrorKind, WorkerError};

use crate::support::{Vhost, told};
use crate::tasks;

#[tokio::test]
async fn a_task_sent_before_the_first_worker_starts_waits_for_it() {
    let vhost = Vhost::new();
    let client = vhost.client().await;
    let handle = tasks::add::call(2, 2).send(&client).await.expect("sent");
    let _worker = vhost.worker(|w| w.task::<tasks::add>()).await;
    assert_eq!(handle.result().timeout(secs(10)).await.expect("a sum"), 4);
}

#[tokio::test]
async fn a_queue_gets_what_is_sent_to_a_topic_that_it_binds() {
    let vhost = Vhost::new();
    let orders = QueueSpec::new("orders").bind(&["orders.*.created"]);
    let _worker = vhost
        .worker(|w| w.task::<tasks::add>().queue_spec(orders))
        .await;
    let client = vhost.client().await;
    let send = |topic| {
        let call = tasks::add::call(2, 2).exchange("coney.topics", topic);
        call.send(&client)
    };
    let handle = send("orders.eu.created").await.expect("sent");
    assert_eq!(handle.result().timeout(secs(10)).await.expect("a sum"), 4);
    let error = send("orders.eu.paid").await.expect_err("bound by nobody");
    assert!(told(&error).contains("orders.eu.paid"), "{error}");
}

#[tokio::test]
async fn the_celery_preset_carries_tasks_as_well() {
    let vhost = Vhost::new();
    let connect = || {
        Broker::builder(&vhost.url())
            .preset(Preset::Celery)
            .connect()
    };
    let client = Client::new(&connect().await.expect("connected"));
    let broker = connect().await.expect("connected");
    let _worker = crate::support::RunningWorker::start(&broker, |w| w.task::<tasks::add>()).await;
    let handle = tasks::add::call(2, 2).send(&client).await.expect("sent");
    assert_eq!(handle.result().timeout(secs(10)).await.expect("a sum"), 4);
    let queue = vhost.management.get(&format!("queues/{}/fast", vhost.name));
    assert_eq!(queue["durable"], true);
    // newer versions show the type that a queue has by default
    let arguments = queue["arguments"].as_object().into_iter().flatten();
    let own: Vec<_> = arguments
        .filter(|(name, _)| *name != "x-queue-type")
        .collect();
    assert!(own.is_empty() && queue["type"] == "classic", "{queue}");
}

#[tokio::test]
async fn who_may_not_declare_is_told_what_is_missing() {
    let vhost = Vhost::new();
    let verify = || Broker::builder(&vhost.url()).declare(false).connect();
    let broker = verify().await.expect("connected");
    let client = Client::new(&broker);
    let error = tasks::add::call(1, 1)
        .send(&client)
        .await
        .expect_err("no queue");
    assert!(matches!(error.kind(), SendErrorKind::Declare(_)), "{error}");
    let text = told(&error);
    assert!(
        text.contains("coney.dead") || text.contains("fast"),
        "names what is missing: {text}"
    );
    let worker = Worker::builder(&broker)
        .task::<tasks::add>()
        .build()
        .expect("a good set-up");
    let error = worker
        .run_until(std::future::pending())
        .await
        .expect_err("no queue");
    assert!(
        matches!(error, WorkerError::Consume { ref queue, .. } if queue == "fast"),
        "{error}"
    );
    // once somebody has declared it, the same program works; the reply queue is its own
    let _worker = vhost.worker(|w| w.task::<tasks::add>()).await;
    let client = Client::new(&verify().await.expect("connected"));
    let handle = tasks::add::call(1, 1).send(&client).await.expect("sent");
    assert_eq!(handle.result().timeout(secs(10)).await.expect("a sum"), 2);
}

#[tokio::test]
async fn a_queue_declared_differently_is_named() {
    let vhost = Vhost::new();
    let other = serde_json::json!({"durable": true, "arguments": {"x-queue-type": "quorum"}});
    vhost
        .management
        .request("PUT", &format!("queues/{}/fast", vhost.name), &other);
    let broker = vhost.broker().await;
    let worker = Worker::builder(&broker)
        .task::<tasks::add>()
        .build()
        .expect("a good set-up");
    let error = worker
        .run_until(std::future::pending())
        .await
        .expect_err("declared differently");
    let text = told(&error);
    for word in ["queue `fast`", "x-"] {
        assert!(text.contains(word), "{text}");
    }
}

#[tokio::test]
async fn a_deleted_queue_is_declared_again() {
    let vhost = Vhost::new();
    let client = vhost.client().await;
    drop(
        tasks::multiply::call(1, 1)
            .send(&client)
            .await
            .expect("sent"),
    );
    vhost
        .management
        .delete(&format!("queues/{}/fast", vhost.name));
    let lost = tasks::multiply::call(1, 1).send(&client).await;
    assert!(lost.is_err(), "there is no queue for it");
    let next = tasks::multiply::call(1, 1).send(&client).await;
    assert!(next.is_ok(), "{next:?}");
}
