//! A worker takes what it can run, finishes it when it is told to stop, and returns the rest.

use std::time::Duration;

use coney::prelude::*;
use coney::{Ready, WorkerError};

use crate::support::{RunningWorker, Vhost, within};
use crate::tasks::{self, Gate};

#[tokio::test]
async fn stopping_finishes_what_runs_and_returns_the_rest() {
    let vhost = Vhost::new();
    let gate = Gate::closed();
    let setup = |w: coney::WorkerBuilder| {
        w.state(gate.clone())
            .task::<tasks::wait_at_gate>()
            .queue_spec(tasks::Fast::SPEC.concurrency(3))
    };
    let worker = vhost.worker(setup).await;
    let client = vhost.client().await;
    let handles = client
        .send_all((0..10).map(|_| tasks::wait_at_gate::call()))
        .await;
    gate.wait_started(3).await;
    let stopped = worker.stop_and(|| gate.open.add_permits(3)).await;
    stopped.expect("a clean stop");
    gate.open.add_permits(7);
    let second = vhost.worker(setup).await;
    for handle in handles {
        let text = handle.expect("sent").result().timeout(secs(20)).await;
        assert_eq!(text.expect("through"), "through");
    }
    second.stop().await.expect("a clean stop");
}

#[tokio::test]
async fn what_outlives_the_grace_period_is_returned_and_runs_again() {
    let vhost = Vhost::new();
    let gate = Gate::closed();
    let worker = vhost
        .worker(|w| {
            w.state(gate.clone())
                .task::<tasks::wait_at_gate>()
                .grace(Duration::from_millis(50))
        })
        .await;
    let client = vhost.client().await;
    let handle = tasks::wait_at_gate::call()
        .send(&client)
        .await
        .expect("sent");
    gate.wait_started(1).await;
    let stopped = worker.stop().await;
    assert!(
        matches!(stopped, Err(WorkerError::Aborted { tasks: 1 })),
        "{stopped:?}"
    );
    gate.open.add_permits(1);
    let _second = vhost
        .worker(|w| w.state(gate.clone()).task::<tasks::wait_at_gate>())
        .await;
    assert_eq!(
        handle.result().timeout(secs(20)).await.expect("through"),
        "through"
    );
}

#[tokio::test]
async fn no_more_tasks_run_at_once_than_the_queue_allows() {
    let vhost = Vhost::new();
    let gate = Gate::closed();
    let worker = vhost
        .worker(|w| {
            w.state(gate.clone())
                .task::<tasks::wait_at_gate>()
                .queue_spec(tasks::Fast::SPEC.concurrency(2).prefetch(10))
        })
        .await;
    let client = vhost.client().await;
    let handles = client
        .send_all((0..6).map(|_| tasks::wait_at_gate::call()))
        .await;
    gate.wait_started(2).await;
    let third = tokio::time::timeout(Duration::from_millis(300), gate.started.acquire()).await;
    assert!(third.is_err(), "a third task started");
    gate.open.add_permits(6);
    for handle in handles {
        handle
            .expect("sent")
            .result()
            .timeout(secs(20))
            .await
            .expect("through");
    }
    worker.stop().await.expect("a clean stop");
}

#[tokio::test]
async fn a_slow_queue_holds_up_no_other() {
    let vhost = Vhost::new();
    let gate = Gate::closed();
    let _worker = vhost
        .worker(|w| {
            w.state(gate.clone())
                .task::<tasks::quiet_gate>()
                .task::<tasks::add>()
        })
        .await;
    let client = vhost.client().await;
    for outcome in client
        .send_all((0..50).map(|_| tasks::quiet_gate::call()))
        .await
    {
        outcome.expect("sent");
    }
    gate.wait_started(2).await;
    let sum = tasks::add::call(1, 1).send(&client).await.expect("sent");
    assert_eq!(sum.result().timeout(secs(10)).await.expect("a sum"), 2);
    gate.open.add_permits(50);
}

#[tokio::test]
async fn readiness_follows_the_worker() {
    let vhost = Vhost::new();
    let broker = vhost.broker().await;
    let worker = Worker::builder(&broker)
        .task::<tasks::add>()
        .build()
        .expect("a good set-up");
    let mut ready = worker.ready();
    assert!(matches!(ready.now(), Ready::NotYet { .. }));
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let running = tokio::spawn(worker.run_until(async {
        let _ = stopped.await;
    }));
    assert!(within("ready", ready.ready()).await);
    assert_eq!(ready.now(), Ready::Yes);
    drop(stop);
    within("stopped", running)
        .await
        .expect("no panic")
        .expect("a clean stop");
    assert_eq!(ready.now(), Ready::Stopped);
}

#[tokio::test]
async fn a_caller_that_vanishes_does_not_harm_the_worker() {
    let vhost = Vhost::new();
    let gate = Gate::closed();
    let worker = vhost
        .worker(|w| {
            w.state(gate.clone())
                .task::<tasks::wait_at_gate>()
                .task::<tasks::add>()
        })
        .await;
    let gone = vhost.client().await;
    let handles = gone
        .send_all((0..10).map(|_| tasks::wait_at_gate::call()))
        .await;
    gate.wait_started(10).await;
    let reply_queue = vhost
        .shows("queues")
        .as_array()
        .into_iter()
        .flatten()
        .find_map(|queue| {
            let name = queue["name"].as_str()?;
            name.starts_with("coney.reply.").then(|| name.to_owned())
        });
    drop((handles, gone));
    vhost.management.delete(&format!(
        "queues/{}/{}",
        vhost.name,
        reply_queue.expect("a reply queue")
    ));
    gate.open.add_permits(10);
    let client = vhost.client().await;
    let sum = tasks::add::call(1, 1).send(&client).await.expect("sent");
    assert_eq!(sum.result().timeout(secs(10)).await.expect("a sum"), 2);
    worker.stop().await.expect("a clean stop");
}

#[tokio::test]
async fn a_worker_whose_future_is_dropped_returns_its_tasks() {
    let vhost = Vhost::new();
    let gate = Gate::closed();
    let broker = vhost.broker().await;
    let worker = Worker::builder(&broker)
        .state(gate.clone())
        .task::<tasks::wait_at_gate>()
        .build()
        .expect("a good set-up");
    let running = tokio::spawn(worker.run_until(std::future::pending()));
    let client = vhost.client().await;
    let handle = tasks::wait_at_gate::call()
        .send(&client)
        .await
        .expect("sent");
    gate.wait_started(1).await;
    running.abort();
    let _ = running.await;
    gate.open.add_permits(2);
    let second = RunningWorker::start(&vhost.broker().await, |w| {
        w.state(gate.clone()).task::<tasks::wait_at_gate>()
    })
    .await;
    assert_eq!(
        handle.result().timeout(secs(20)).await.expect("through"),
        "through"
    );
    second.stop().await.expect("a clean stop");
}

#[tokio::test]
async fn a_queue_of_short_tasks_does_not_keep_the_only_slot_to_itself() {
    const MANY: u32 = 5000;
    let vhost = Vhost::new();
    let gate = Gate::closed();
    let _worker = vhost
        .worker(|w| {
            w.state(gate.clone())
                .task::<tasks::quiet_gate>()
                .task::<tasks::add>()
                // so many that there is always one in line
                .queue_spec(tasks::Slow::SPEC.prefetch(1000))
                .queue::<tasks::Fast>()
                .concurrency(1)
        })
        .await;
    let client = vhost.client().await;
    let calls = (0..MANY).map(|_| tasks::quiet_gate::call());
    for outcome in client.send_all(calls).await {
        outcome.expect("sent");
    }
    gate.wait_started(1).await;
    let sum = tasks::add::call(1, 1).send(&client).await.expect("sent");
    gate.open.add_permits(MANY as usize);
    assert_eq!(sum.result().timeout(secs(10)).await.expect("a sum"), 2);
    // those that have not started yet have left their place at the gate
    assert!(gate.open.available_permits() > 0, "all others came before");
}
