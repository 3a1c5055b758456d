//! A cancelled task does not run, wherever it is; one that runs is told, and then ended.

use std::time::Duration;

use coney::amqp::{ConsumerSpec, Publication, SessionStatus};
use coney::prelude::*;
use coney::protocol::revoke::Notice;
use coney::protocol::topology;
use coney::{ResultErrorKind, RevokeErrorKind};

use crate::support::{RunningWorker, Vhost, connect, told, within};
use crate::tasks::{self, BlockingGate, Gate, Runs};

/// Longer than a slow broker takes to tell the workers.
const LONG_MS: u64 = 15_000;
const LONG: Duration = Duration::from_millis(LONG_MS);

/// Waits until the caller is told that the task was cancelled, and returns how.
async fn cancelled<T: Send + 'static, E: 'static>(handle: &TaskHandle<T, E>) -> String {
    let Err(error) = handle.result().timeout(secs(60)).await else {
        panic!("{handle:?} has a result");
    };
    match error.kind() {
        ResultErrorKind::Cancelled { reason } => reason.clone(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_waiting_task_never_starts() {
    let vhost = Vhost::new();
    let (gate, runs) = (Gate::closed(), Runs::default());
    let worker = vhost
        .worker(|w| {
            w.state(gate.clone())
                .state(runs.clone())
                .task::<tasks::heed_the_token>()
                .task::<tasks::succeed_at>()
                .queue_spec(tasks::Fast::SPEC.concurrency(1))
        })
        .await;
    let client = vhost.client().await;
    let before = tasks::heed_the_token::call().send(&client).await;
    let before = before.expect("sent");
    gate.wait_started(1).await;
    let waiting = tasks::succeed_at::call("waiting".into(), 1)
        .send(&client)
        .await
        .expect("sent");
    waiting.cancel().await.expect("stored");
    // revocations are read in order: this one ends only after that one is known
    before.cancel().await.expect("stored");
    assert_eq!(cancelled(&waiting).await, "revoked");
    assert_eq!(runs.of("waiting"), 0);
    let sum = tasks::succeed_at::call("next".into(), 1)
        .send(&client)
        .await
        .expect("sent");
    assert_eq!(sum.result().timeout(secs(10)).await.expect("it runs"), 1);
    worker.stop().await.expect("a clean stop");
    let dead = vhost
        .management
        .get(&format!("queues/{}/fast.dead", vhost.name));
    assert!(dead["messages"].as_u64().unwrap_or_default() == 0, "{dead}");
}

#[tokio::test]
async fn a_running_task_has_its_token_fired_and_may_end_by_itself() {
    let vhost = Vhost::new();
    let gate = Gate::closed();
    let worker = vhost
        .worker(|w| {
            w.state(gate.clone())
                .revoke_grace(hours(1))
                .task::<tasks::heed_the_token>()
                .task::<tasks::fail_at_the_token>()
        })
        .await;
    let client = vhost.client().await;
    let heeds = tasks::heed_the_token::call().send(&client).await;
    let heeds = heeds.expect("sent");
    let fails = tasks::fail_at_the_token::call().send(&client).await;
    let fails = fails.expect("sent");
    gate.wait_started(2).await;
    heeds.cancel().await.expect("stored");
    client.revoke(fails.id().to_string()).await.expect("stored");
    assert_eq!(
        heeds.result().timeout(secs(10)).await.expect("a value"),
        "heeded"
    );
    assert_eq!(cancelled(&fails).await, "terminated");
    worker.stop().await.expect("a clean stop");
}

#[tokio::test]
async fn a_task_that_ignores_its_token_is_ended() {
    let vhost = Vhost::new();
    let (gate, blocking) = (Gate::closed(), BlockingGate::default());
    let worker = vhost
        .worker(|w| {
            w.state(gate.clone())
                .state(blocking.clone())
                .revoke_grace(Duration::from_millis(50))
                .task::<tasks::wait_at_gate>()
                .task::<tasks::blocks_at_gates>()
        })
        .await;
    let client = vhost.client().await;
    let waits = tasks::wait_at_gate::call().send(&client).await;
    let waits = waits.expect("sent");
    let blocks = tasks::blocks_at_gates::call().send(&client).await;
    let blocks = blocks.expect("sent");
    gate.wait_started(2).await;
    waits.cancel().await.expect("stored");
    blocks.cancel().await.expect("stored");
    assert_eq!(cancelled(&waits).await, "terminated");
    assert_eq!(cancelled(&blocks).await, "terminated");
    blocking.open();
    worker.stop().await.expect("a clean stop");
}

#[tokio::test]
async fn a_delayed_task_never_runs() {
    let vhost = Vhost::new();
    let _worker = vhost.worker(|w| w.task::<tasks::now>()).await;
    let client = vhost.client().await;
    let handle = tasks::now::call()
        .delay(LONG)
        .send(&client)
        .await
        .expect("sent");
    handle.cancel().await.expect("stored");
    assert_eq!(cancelled(&handle).await, "revoked");
}

#[tokio::test]
async fn the_next_attempt_never_runs() {
    let vhost = Vhost::new();
    let runs = Runs::default();
    let _worker = vhost
        .worker(|w| w.state(runs.clone()).task::<tasks::come_back>())
        .await;
    let client = vhost.client().await;
    let handle = tasks::come_back::call("a".into(), LONG_MS, false)
        .send(&client)
        .await
        .expect("sent");
    let mut progress = handle.progress();
    let state = within("a first attempt", progress.next()).await;
    assert_eq!(state.expect("a state").name(), "RETRY");
    handle.cancel().await.expect("stored");
    assert_eq!(cancelled(&handle).await, "revoked");
    assert_eq!(runs.of("a"), 1);
}

#[tokio::test]
async fn workers_that_start_later_know_it() {
    let vhost = Vhost::new();
    let client = vhost.client().await;
    let mut handles = Vec::new();
    for _ in 0..20 {
        let handle = tasks::add::call(1, 1).send(&client).await.expect("sent");
        handle.cancel().await.expect("stored");
        handles.push(handle);
    }
    let kept = tasks::add::call(2, 2).send(&client).await.expect("sent");
    let worker = vhost.worker(|w| w.task::<tasks::add>()).await;
    for handle in &handles {
        assert_eq!(cancelled(handle).await, "revoked");
    }
    assert_eq!(kept.result().timeout(secs(10)).await.expect("a sum"), 4);
    worker.stop().await.expect("a clean stop");
    // and so does the one after, which has the same stream to read
    let late = tasks::add::call(1, 1).send(&client).await.expect("sent");
    late.cancel().await.expect("stored");
    let _second = vhost.worker(|w| w.task::<tasks::add>()).await;
    assert_eq!(cancelled(&late).await, "revoked");
}

#[tokio::test]
async fn a_worker_without_memory_knows_nothing_of_it() {
    let vhost = Vhost::new();
    let client = vhost.client().await;
    let handle = tasks::add::call(1, 1).send(&client).await.expect("sent");
    handle.cancel().await.expect("stored");
    let _worker = vhost
        .worker(|w| w.revocation_memory(Duration::ZERO).task::<tasks::add>())
        .await;
    assert_eq!(handle.result().timeout(secs(10)).await.expect("a sum"), 2);
}

#[tokio::test]
async fn an_id_that_nobody_knows_harms_nobody() {
    let vhost = Vhost::new();
    let _worker = vhost.worker(|w| w.task::<tasks::add>()).await;
    let client = vhost.client().await;
    for id in ["nobody", "", "ünïcode \u{0}"] {
        client.revoke(id).await.expect("stored");
    }
    let broker = vhost.broker().await;
    for body in ["{}", "no json", r#"{"later":{}}"#, ""] {
        let route = topology::revoke_route();
        let publication = Publication::new(route, Notice::Mark("x".into()).encode().0, body);
        let stored = broker.publisher().publish(publication).await;
        stored.expect("stored");
    }
    let done = tasks::add::call(1, 1).send(&client).await.expect("sent");
    assert_eq!(done.result().timeout(secs(10)).await.expect("a sum"), 2);
    // too late: the result stands
    done.cancel().await.expect("stored");
    assert_eq!(done.result().timeout(secs(10)).await.expect("a sum"), 2);
}

#[tokio::test]
async fn a_deleted_stream_comes_back() {
    let vhost = Vhost::new();
    let gate = Gate::closed();
    let _worker = vhost
        .worker(|w| w.state(gate.clone()).task::<tasks::heed_the_token>())
        .await;
    let client = vhost.client().await;
    client.revoke("anything").await.expect("stored");
    let handle = tasks::heed_the_token::call().send(&client).await;
    let handle = handle.expect("sent");
    gate.wait_started(1).await;
    let stream = format!("queues/{}/{}", vhost.name, topology::REVOKED_STREAM);
    vhost.management.delete(&stream);
    handle.cancel().await.expect("stored in a new one");
    let heeded = handle.result().timeout(secs(20)).await;
    assert_eq!(heeded.expect("a value"), "heeded");
}

#[tokio::test]
async fn a_worker_that_may_not_read_it_still_works() {
    let vhost = Vhost::new();
    let others = r"^(?!coney\.revoke).*$";
    let user = vhost.user(others, others, others);
    let broker = connect(&vhost.url_for(&format!("{user}:secret"))).await;
    let worker = RunningWorker::start(&broker, |w| w.task::<tasks::add>()).await;
    let client = Client::new(&broker);
    let handle = tasks::add::call(1, 1).send(&client).await.expect("sent");
    assert_eq!(handle.result().timeout(secs(10)).await.expect("a sum"), 2);
    let error = handle.cancel().await.expect_err("forbidden");
    assert!(
        matches!(error.kind(), RevokeErrorKind::Declare(_)) && !error.is_transient(),
        "{}",
        told(&error)
    );
    assert!(told(&error).contains("coney.revoke"), "{}", told(&error));
    drop(client);
    let error = handle.cancel().await.expect_err("no client");
    assert!(matches!(error.kind(), RevokeErrorKind::Closed), "{error}");
    worker.stop().await.expect("a clean stop");
}

#[tokio::test]
async fn a_user_can_be_allowed_to_cancel_and_nothing_else() {
    let vhost = Vhost::new();
    let client = vhost.client().await;
    let handle = tasks::add::call(1, 1).send(&client).await.expect("sent");
    let declares = vhost.broker().await;
    let declared = declares.declare(&topology::revocations()).await;
    declared.expect("declared");
    let user = vhost.user("^$", r"^coney\.revoke$", "^$");
    let url = vhost.url_for(&format!("{user}:secret"));
    let broker = Broker::builder(&url).declare(false).connect().await;
    let clerk = Client::new(&broker.expect("connected"));
    clerk.revoke(handle.id().clone()).await.expect("stored");
    let _worker = vhost.worker(|w| w.task::<tasks::add>()).await;
    assert_eq!(cancelled(&handle).await, "revoked");
}

#[tokio::test]
async fn whatever_becomes_of_an_entry_of_a_stream_the_connection_lives_on() {
    let vhost = Vhost::new();
    let client = vhost.client().await;
    for n in 0..100 {
        client.revoke(n.to_string()).await.expect("stored");
    }
    let session = vhost.broker().await.session("test");
    let spec = ConsumerSpec::new(topology::REVOKED_STREAM)
        .replay(hours(1))
        .prefetch(100);
    for _ in 0..2 {
        let mut consumer = session.consume(spec.clone()).await.expect("it is there");
        for settle in [0, 1, 2] {
            let next = within("an entry", consumer.next()).await.expect("an entry");
            match settle {
                0 => drop(next),
                1 => next.acker.requeue(),
                _ => next.acker.reject(),
            }
        }
        consumer.cancel().await;
        assert!(session.flush().await);
    }
    // still the same connection: nothing was settled on one that is gone
    let mut last = session.consume(spec).await.expect("it is there");
    let next = within("an entry", last.next()).await.expect("an entry");
    assert!(!next.acker.is_stale());
    next.acker.ack();
    assert_eq!(*session.status().borrow(), SessionStatus::Ready);
    assert_eq!(session.stale_acks(), 0);
    session.close().await;
}
