//! A failed attempt is repeated as its policy says, counted in the message, and remembered in the dead letter.

use std::time::{Duration, Instant};

use coney::prelude::*;
use coney::protocol::history;
use coney::{Backoff, RetryPolicy};

use crate::support::{RunningWorker, Vhost, within};
use crate::tasks::{self, Runs};

async fn worker(vhost: &Vhost, runs: &Runs) -> RunningWorker {
    let set_up = |w: coney::WorkerBuilder| {
        w.name("kitchen@home")
            .state(runs.clone())
            .task::<tasks::succeed_at>()
            .task::<tasks::come_back>()
            .task::<tasks::refuse>()
    };
    vhost.worker(set_up).await
}

#[tokio::test]
async fn a_task_that_fails_twice_succeeds_at_its_third_attempt() {
    let vhost = Vhost::new();
    let runs = Runs::default();
    let _worker = worker(&vhost, &runs).await;
    let client = vhost.client().await;
    let handle = tasks::succeed_at::call("a".into(), 3)
        .send(&client)
        .await
        .expect("sent");
    let mut progress = handle.progress();
    let mut states = Vec::new();
    while let Some(state) = within("states", progress.next()).await {
        states.push(state.name().to_owned());
    }
    assert_eq!(states, ["RETRY", "RETRY"]);
    assert_eq!(
        handle.result().timeout(secs(10)).await.expect("third time"),
        3
    );
    assert_eq!(runs.of("a"), 3);
}

#[tokio::test]
async fn a_task_that_never_succeeds_is_a_dead_letter_with_its_history() {
    let vhost = Vhost::new();
    let runs = Runs::default();
    let _worker = worker(&vhost, &runs).await;
    let client = vhost.client().await;
    let handle = tasks::succeed_at::call("b".into(), 100)
        .send(&client)
        .await
        .expect("sent");
    let error = handle
        .result()
        .timeout(secs(20))
        .await
        .expect_err("it never succeeds");
    assert_eq!(error.message(), "not yet");
    let (reason, letter) = vhost.dead_letter("fast").await;
    assert_eq!(reason, "exhausted");
    let attempts = history::read(&letter.properties.headers);
    let numbers: Vec<_> = attempts.iter().map(|attempt| attempt.attempt).collect();
    assert_eq!(numbers, [1, 2, 3, 4]);
    assert!(
        attempts
            .iter()
            .all(|attempt| attempt.worker == "kitchen@home" && attempt.error == "Trouble: not yet")
    );
    assert_eq!(runs.of("b"), 4);
    letter.acker.ack();
}

#[tokio::test]
async fn an_error_can_say_when_it_wants_to_come_back() {
    let vhost = Vhost::new();
    let runs = Runs::default();
    let _worker = worker(&vhost, &runs).await;
    let client = vhost.client().await;
    for (defer, attempt) in [(false, 2), (true, 1)] {
        let key = format!("c{defer}");
        let started = Instant::now();
        let call = tasks::come_back::call(key.clone(), 200, defer);
        let handle = call.send(&client).await.expect("sent");
        let ended_at = handle
            .result()
            .timeout(secs(10))
            .await
            .expect("the second run");
        assert_eq!(ended_at, attempt, "defer: {defer}");
        assert!(started.elapsed() >= Duration::from_millis(200));
        assert_eq!(runs.of(&key), 2);
    }
}

#[tokio::test]
async fn a_call_can_have_a_policy_of_its_own() {
    let vhost = Vhost::new();
    let runs = Runs::default();
    let _worker = worker(&vhost, &runs).await;
    let client = vhost.client().await;
    let policy = RetryPolicy::max(1).backoff(Backoff::Fixed(Duration::from_millis(1)));
    let call = tasks::succeed_at::call("d".into(), 100).retry(policy);
    let handle = call.send(&client).await.expect("sent");
    assert!(handle.result().timeout(secs(10)).await.is_err());
    assert_eq!(runs.of("d"), 2);
}

#[tokio::test]
async fn a_retry_keeps_arguments_and_headers_to_the_byte() {
    let vhost = Vhost::new();
    let runs = Runs::default();
    let worker = worker(&vhost, &runs).await;
    let mut message = crate::support::bare("coney.succeed_at", "by-hand");
    message.headers.insert("number", coney::Value::U16(7));
    message.headers.insert("nothing", coney::Value::Null);
    vhost
        .publish_raw("fast", message, r#"[ ["e"] , {"run":   100}, {} ]"#)
        .await;
    let (_, letter) = vhost.dead_letter("fast").await;
    assert_eq!(
        letter.payload,
        r#"[ ["e"] , {"run":   100}, {} ]"#.as_bytes()
    );
    assert_eq!(
        letter.properties.headers.get("number"),
        Some(&coney::Value::U16(7))
    );
    assert_eq!(
        letter.properties.headers.get("nothing"),
        Some(&coney::Value::Null)
    );
    assert!(
        letter
            .properties
            .headers
            .iter()
            .any(|(name, _)| name == "coney-attempts")
    );
    letter.acker.ack();
    worker.stop().await.expect("a clean stop");
}
