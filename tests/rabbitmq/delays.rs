//! Delay and ETA wait in the broker: never early, whatever the worker does meanwhile.

use std::time::{Duration, SystemTime};

use coney::SendErrorKind;
use coney::prelude::*;
use coney::protocol::wire::time;

use crate::support::{Vhost, bare, told, within};
use crate::tasks::{self, Runs};

#[tokio::test]
async fn a_delayed_task_is_never_early() {
    let vhost = Vhost::new();
    let _worker = vhost.worker(|w| w.task::<tasks::now>()).await;
    let client = vhost.client().await;
    let delays = [1, 7, 50, 333, 1500].map(Duration::from_millis);
    let mut handles = Vec::new();
    for delay in delays {
        let due = SystemTime::now() + delay;
        handles.push((
            due,
            tasks::now::call()
                .delay(delay)
                .send(&client)
                .await
                .expect("sent"),
        ));
        let due = SystemTime::now() + delay;
        handles.push((
            due,
            tasks::now::call()
                .eta(due)
                .send(&client)
                .await
                .expect("sent"),
        ));
    }
    for (due, handle) in handles {
        let ran = handle.result().timeout(secs(20)).await.expect("a time");
        assert!(
            SystemTime::from(ran) >= due,
            "early: due {due:?}, ran {ran}"
        );
    }
}

#[tokio::test]
async fn delayed_tasks_take_no_slot_of_a_worker() {
    let vhost = Vhost::new();
    let worker = vhost
        .worker(|w| {
            w.task::<tasks::now>()
                .queue_spec(tasks::Fast::SPEC.concurrency(1).prefetch(1))
        })
        .await;
    let client = vhost.client().await;
    let calls = (0..50).map(|_| tasks::now::call().delay(hours(1)).ignore_result(true));
    for outcome in client.send_all(calls).await {
        outcome.expect("sent");
    }
    let handle = tasks::now::call().send(&client).await.expect("sent");
    handle
        .result()
        .timeout(secs(10))
        .await
        .expect("it runs at once");
    worker.stop().await.expect("a clean stop");
}

#[tokio::test]
async fn an_eta_that_is_past_runs_at_once_and_an_absurd_delay_is_an_error() {
    let vhost = Vhost::new();
    let _worker = vhost.worker(|w| w.task::<tasks::now>()).await;
    let client = vhost.client().await;
    let handle = tasks::now::call()
        .eta(SystemTime::UNIX_EPOCH)
        .send(&client)
        .await
        .expect("sent");
    handle.result().timeout(secs(10)).await.expect("at once");
    let handle = tasks::now::call()
        .delay(Duration::ZERO)
        .send(&client)
        .await
        .expect("sent");
    handle.result().timeout(secs(10)).await.expect("at once");
    let error = tasks::now::call()
        .delay(Duration::MAX)
        .send(&client)
        .await
        .expect_err("absurd");
    assert!(
        matches!(error.kind(), SendErrorKind::Encode(_)),
        "{}",
        told(&error)
    );
    let century = secs(100 * 365 * 24 * 3600);
    let sent = tasks::now::call()
        .delay(century)
        .ignore_result(true)
        .send(&client)
        .await;
    sent.expect("a century waits in several turns");
}

#[tokio::test]
async fn what_comes_before_its_eta_is_sent_back_to_wait() {
    let vhost = Vhost::new();
    let runs = Runs::default();
    let _worker = vhost
        .worker(|w| w.state(runs.clone()).task::<tasks::succeed_at>())
        .await;
    let due = SystemTime::now() + Duration::from_millis(700);
    let mut message = bare("coney.succeed_at", "truncated");
    message.headers.insert("eta", time::format(due));
    let broker = vhost.broker().await;
    broker
        .declare(&coney::protocol::topology::reply_queue("replies"))
        .await
        .expect("declared");
    message.reply_to = Some("replies".to_owned());
    vhost
        .publish_raw("fast", message, r#"[["e", 1], {}, {}]"#)
        .await;
    let mut replies = vhost.consumer("replies").await;
    let reply = within("a reply", replies.next()).await.expect("a reply");
    assert!(SystemTime::now() >= due, "early");
    assert_eq!(runs.of("e"), 1);
    reply.acker.ack();
}

#[tokio::test]
async fn the_key_of_one_queue_does_not_catch_what_waits_for_another() {
    let vhost = Vhost::new();
    let worker = vhost
        .worker(|w| {
            let short = coney::QueueSpec::new("b");
            let long = coney::QueueSpec::new("a.b");
            w.task::<tasks::now>().queue_spec(short).queue_spec(long)
        })
        .await;
    let client = vhost.client().await;
    let call = tasks::now::call()
        .queue_named("a.b")
        .delay(Duration::from_millis(5));
    let handle = call.send(&client).await.expect("sent");
    handle.result().timeout(secs(10)).await.expect("once");
    worker.stop().await.expect("a clean stop");
    let other = vhost.consumer("b").await;
    drop(other);
    let waiting = vhost.management.get(&format!("queues/{}/b", vhost.name));
    assert_ne!(waiting["messages"], 1, "{waiting}");
}

#[tokio::test]
async fn a_lost_ladder_is_declared_again() {
    let vhost = Vhost::new();
    let runs = Runs::default();
    let _worker = vhost
        .worker(|w| w.state(runs.clone()).task::<tasks::succeed_at>())
        .await;
    let client = vhost.client().await;
    let first = tasks::succeed_at::call("x".into(), 2)
        .send(&client)
        .await
        .expect("sent");
    first
        .result()
        .timeout(secs(10))
        .await
        .expect("the second run");
    for level in 0..coney::protocol::delay::LEVELS {
        vhost
            .management
            .delete(&format!("exchanges/{}/coney.delay.{level}", vhost.name));
        vhost
            .management
            .delete(&format!("queues/{}/coney.delay.{level}", vhost.name));
    }
    let second = tasks::succeed_at::call("y".into(), 2)
        .send(&client)
        .await
        .expect("sent");
    assert_eq!(
        second
            .result()
            .timeout(secs(15))
            .await
            .expect("the second run"),
        2
    );
}
