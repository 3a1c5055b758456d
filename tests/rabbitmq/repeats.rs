//! What is published twice, or delivered again, is not run twice by the same worker.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use coney::prelude::*;
use uuid::Uuid;

use crate::support::proxy::Proxy;
use crate::support::{RunningWorker, Vhost, bare, connect, within};
use crate::tasks::{Fast, Gate, Slow};

/// How many attempts ended, by themselves or not.
#[derive(Clone, Default)]
struct Ended(Arc<AtomicUsize>);

struct CountWhenDropped(Ended);

impl Drop for CountWhenDropped {
    fn drop(&mut self) {
        self.0.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// Returns how often it was delivered before.
#[task(queue = Fast)]
async fn pass_gate(State(gate): State<Gate>, State(ended): State<Ended>, ctx: TaskContext) -> u32 {
    let _count = CountWhenDropped(ended);
    gate.pass().await;
    ctx.redeliveries()
}

#[tokio::test]
async fn a_message_that_is_published_twice_runs_once() {
    let (vhost, gate, ended) = (Vhost::new(), Gate::closed(), Ended::default());
    let worker = vhost
        .worker(|w| {
            w.state(gate.clone())
                .state(ended.clone())
                .task::<pass_gate>()
        })
        .await;
    let publish = async |message_id: &str| {
        let mut properties = bare("coney.pass_gate", "the same");
        properties.message_id = Some(message_id.to_owned());
        vhost.publish_raw("fast", properties, "[[], {}, {}]").await;
    };
    let first = Uuid::now_v7().to_string();
    publish(&first).await;
    gate.wait_started(1).await;
    // while it runs, and after it has run
    publish(&first).await;
    gate.open.add_permits(10);
    publish(&Uuid::now_v7().to_string()).await;
    gate.wait_started(1).await;
    publish(&first).await;
    publish(&Uuid::now_v7().to_string()).await;
    gate.wait_started(1).await;
    worker.stop().await.expect("a clean stop");
    assert_eq!(ended.0.load(Ordering::SeqCst), 3);
    let left = vhost.broker().await.queue_depth("fast").await;
    assert_eq!(left.expect("the queue is there"), 0);
}

#[tokio::test]
async fn one_message_in_two_queues_runs_for_each() {
    let (vhost, gate, ended) = (Vhost::new(), Gate::closed(), Ended::default());
    let worker = vhost
        .worker(|w| {
            w.state(gate.clone())
                .state(ended.clone())
                .task::<pass_gate>()
                .queue::<Fast>()
                .queue::<Slow>()
        })
        .await;
    gate.open.add_permits(10);
    // as an exchange does that has a binding to either
    let id = Uuid::now_v7().to_string();
    for queue in ["fast", "slow"] {
        let mut properties = bare("coney.pass_gate", "the same");
        properties.message_id = Some(id.clone());
        vhost.publish_raw(queue, properties, "[[], {}, {}]").await;
        gate.wait_started(1).await;
    }
    worker.stop().await.expect("a clean stop");
}

/// A worker behind a proxy and a call that waits at the gate.
async fn cut_while_running(outlives: bool) -> (u32, usize, usize) {
    let (vhost, gate, ended) = (Vhost::new(), Gate::closed(), Ended::default());
    let proxy = Proxy::start().await;
    let broker = connect(&proxy.url(&vhost.name)).await;
    let worker = RunningWorker::start(&broker, |w| {
        w.state(gate.clone())
            .state(ended.clone())
            .task::<pass_gate>()
            .outlive_connection(outlives)
    })
    .await;
    let client = vhost.client().await;
    let handle = pass_gate::call().send(&client).await.expect("sent");
    gate.wait_started(1).await;
    proxy.cut();
    worker.comes_back().await;
    if !outlives {
        gate.wait_started(1).await;
    }
    let ended_before = ended.0.load(Ordering::SeqCst);
    gate.open.add_permits(10);
    let redeliveries = handle.result().timeout(secs(10)).await.expect("a result");
    worker.stop().await.expect("a clean stop");
    let left = vhost.broker().await.queue_depth("fast").await;
    assert_eq!(left.expect("the queue is there"), 0);
    (redeliveries, ended_before, ended.0.load(Ordering::SeqCst))
}

/// Counts until it is let through; returns how often it was delivered before.
#[task(queue = Fast)]
async fn count_on(
    State(gate): State<Gate>,
    State(count): State<Arc<AtomicUsize>>,
    ctx: TaskContext,
) -> u32 {
    let mut beat = tokio::time::interval(Duration::from_millis(5));
    while gate.open.try_acquire().is_err() {
        beat.tick().await;
        count.fetch_add(1, Ordering::SeqCst);
    }
    ctx.redeliveries()
}

#[tokio::test]
async fn an_attempt_stands_still_while_the_broker_does_not_answer() {
    let (vhost, gate) = (Vhost::new(), Gate::closed());
    let count = Arc::new(AtomicUsize::new(0));
    let proxy = Proxy::start().await;
    let broker = connect(&proxy.url(&vhost.name)).await;
    let _worker = RunningWorker::start(&broker, |w| {
        w.state(gate.clone())
            .state(Arc::clone(&count))
            .task::<count_on>()
    })
    .await;
    let client = vhost.client().await;
    let handle = count_on::call().send(&client).await.expect("sent");
    let counts = async |is_counting: bool| loop {
        let before = count.load(Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(100)).await;
        if (count.load(Ordering::SeqCst) > before) == is_counting {
            break;
        }
    };
    within("it counts", counts(true)).await;
    proxy.hold_answers(true);
    within("it stands still", counts(false)).await;
    proxy.hold_answers(false);
    within("it counts again", counts(true)).await;
    gate.open.add_permits(1);
    let redeliveries = handle.result().timeout(secs(10)).await.expect("a result");
    assert_eq!(redeliveries, 0);
}

#[tokio::test]
async fn an_attempt_that_has_lost_its_delivery_is_ended_and_runs_again() {
    let (redeliveries, ended_before, ended) = cut_while_running(false).await;
    assert_eq!((redeliveries, ended_before, ended), (1, 1, 2));
}

#[tokio::test]
async fn a_worker_can_be_set_to_finish_what_has_lost_its_delivery() {
    let (redeliveries, ended_before, ended) = cut_while_running(true).await;
    assert_eq!((redeliveries, ended_before, ended), (0, 0, 1));
}
