//! Time limits: soft ones warn, hard ones end the attempt, and a blocking task keeps its slot until it really ends.

use coney::ResultErrorKind;
use coney::prelude::*;

use crate::support::Vhost;
use crate::tasks::{self, BlockingGate, Runs};

#[tokio::test]
async fn the_soft_limit_fires_the_token_and_lets_the_task_finish() {
    let vhost = Vhost::new();
    let _worker = vhost
        .worker(|w| w.task::<tasks::heed_the_soft_limit>())
        .await;
    let client = vhost.client().await;
    let handle = tasks::heed_the_soft_limit::call()
        .send(&client)
        .await
        .expect("sent");
    assert!(
        handle
            .result()
            .timeout(secs(10))
            .await
            .expect("it ends by itself")
    );
}

#[tokio::test]
async fn the_hard_limit_ends_an_attempt_and_the_next_one_may_succeed() {
    let vhost = Vhost::new();
    let runs = Runs::default();
    let _worker = vhost
        .worker(|w| w.state(runs.clone()).task::<tasks::never_ends>())
        .await;
    let client = vhost.client().await;
    let handle = tasks::never_ends::call("a".into())
        .send(&client)
        .await
        .expect("sent");
    let error = handle
        .result()
        .timeout(secs(10))
        .await
        .expect_err("it never ends");
    assert_eq!(error.failure().map(|f| &*f.kind), Some("TimeLimitExceeded"));
    assert_eq!(runs.of("a"), 2);
    let (reason, letter) = vhost.dead_letter("fast").await;
    assert_eq!(reason, "exhausted");
    letter.acker.ack();
}

#[tokio::test]
async fn an_abandoned_blocking_task_keeps_its_slot_until_it_ends() {
    let vhost = Vhost::new();
    let gate = BlockingGate::default();
    let worker = vhost
        .worker(|w| {
            w.state(gate.clone())
                .task::<tasks::blocks_until_open>()
                .task::<tasks::sum_up_to>()
                .queue_spec(tasks::Slow::SPEC.concurrency(1).prefetch(4))
        })
        .await;
    let client = vhost.client().await;
    let stuck = tasks::blocks_until_open::call()
        .send(&client)
        .await
        .expect("sent");
    let error = stuck
        .result()
        .timeout(secs(10))
        .await
        .expect_err("over its limit");
    assert_eq!(error.failure().map(|f| &*f.kind), Some("TimeLimitExceeded"));
    let next = tasks::sum_up_to::call(3).send(&client).await.expect("sent");
    let limit = std::time::Duration::from_millis(300);
    let early = next
        .result()
        .timeout(limit)
        .await
        .expect_err("no slot is free");
    assert!(
        matches!(early.kind(), ResultErrorKind::Timeout { .. }),
        "{early}"
    );
    gate.open();
    assert_eq!(next.result().timeout(secs(10)).await.expect("a sum"), 6);
    worker.stop().await.expect("a clean stop");
}

#[tokio::test]
async fn a_call_can_have_a_limit_of_its_own() {
    let vhost = Vhost::new();
    let runs = Runs::default();
    let gate = tasks::Gate::closed();
    let _worker = vhost
        .worker(|w| w.state(runs).state(gate).task::<tasks::wait_at_gate>())
        .await;
    let client = vhost.client().await;
    let call = tasks::wait_at_gate::call()
        .timeout(std::time::Duration::from_millis(50))
        .retry(coney::RetryPolicy::max(0));
    let handle = call.send(&client).await.expect("sent");
    let error = handle
        .result()
        .timeout(secs(10))
        .await
        .expect_err("over its limit");
    assert_eq!(error.failure().map(|f| &*f.kind), Some("TimeLimitExceeded"));
}
