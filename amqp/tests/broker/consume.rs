//! Deliveries are bounded by the prefetch, and settled as they were meant to be.

use std::time::Duration;

use coney_amqp::{Broker, ConsumeErrorKind, ConsumerSpec, SessionStatus};
use coney_protocol::property::Table;

use super::support::{
    Scratch, broker, classic, consume, next, soon, take, to_queue, until, until_ready, url, user,
};

/// Long enough for a message that should not come to have come.
const A_WHILE: Duration = Duration::from_millis(300);

#[tokio::test]
async fn the_prefetch_bounds_what_is_delivered() {
    let (broker, scratch) = (broker().await, Scratch::new());
    let queue = scratch.queue("q");
    let session = broker.session("test");
    let mut consumer = consume(&session, classic(&queue), 3).await;
    for number in 0..6 {
        broker
            .publisher()
            .publish(to_queue(&queue, number.to_string()))
            .await
            .expect("stored");
    }
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(next(&mut consumer).await);
    }
    let fourth = tokio::time::timeout(A_WHILE, consumer.next()).await;
    assert!(fourth.is_err(), "a fourth delivery: {fourth:?}");
    held.remove(1).acker.ack();
    assert_eq!(take(&mut consumer).await, "3");
}

#[tokio::test]
async fn ack_requeue_reject_and_drop_do_what_they_say() {
    let (broker, scratch) = (broker().await, Scratch::new());
    let (queue, dead) = (scratch.queue("q"), scratch.queue("dead"));
    broker.declare(&classic(&dead)).await.expect("declare");
    let mut topology = classic(&queue);
    topology.queues[0].arguments = Table::new()
        .with("x-dead-letter-exchange", "")
        .with("x-dead-letter-routing-key", dead.clone());
    let session = broker.session("test");
    let mut consumer = consume(&session, topology, 10).await;
    for body in ["ack", "requeue", "reject", "drop"] {
        broker
            .publisher()
            .publish(to_queue(&queue, body))
            .await
            .expect("stored");
    }
    let mut all = Vec::new();
    for body in ["ack", "requeue", "reject", "drop"] {
        let delivery = next(&mut consumer).await;
        assert_eq!(
            (&*delivery.payload, delivery.redelivered),
            (body.as_bytes(), false)
        );
        all.push(delivery);
    }
    drop(all.pop());
    all.pop().expect("reject").acker.reject();
    all.pop().expect("requeue").acker.requeue();
    all.pop().expect("ack").acker.ack();
    let mut again = Vec::new();
    for _ in 0..2 {
        let delivery = next(&mut consumer).await;
        assert!(delivery.redelivered);
        again.push(String::from_utf8_lossy(&delivery.payload).into_owned());
        delivery.acker.ack();
    }
    again.sort();
    assert_eq!(again, ["drop", "requeue"]);
    assert!(soon("flush", consumer.flush()).await);
    let mut letters = consume(&session, classic(&dead), 10).await;
    assert_eq!(take(&mut letters).await, "reject");
    consumer.cancel().await;
    until_ready(&broker, &dead, 0).await;
    assert_eq!(session.stale_acks(), 0);
}

#[tokio::test]
async fn acks_in_any_order_leave_nothing_behind() {
    let (broker, scratch) = (broker().await, Scratch::new());
    let queue = scratch.queue("q");
    broker.declare(&classic(&queue)).await.expect("declare");
    let mut receipts = Vec::new();
    for number in 0..1_000 {
        receipts.push(
            broker
                .publisher()
                .submit(to_queue(&queue, number.to_string()))
                .await,
        );
    }
    for receipt in receipts {
        receipt.await.expect("stored");
    }
    let session = broker.session("test");
    let mut consumer = consume(&session, classic(&queue), 100).await;
    let mut held = Vec::new();
    for number in 0..1_000usize {
        held.push(next(&mut consumer).await);
        if held.len() > 50 {
            // an order without a pattern that matters
            let pick = (number * 7_919) % held.len();
            held.swap_remove(pick).acker.ack();
        }
    }
    for delivery in held {
        delivery.acker.ack();
    }
    soon("cancel", consumer.cancel()).await;
    assert!(soon("flush", session.flush()).await);
    soon("close", session.close()).await;
    assert_eq!(session.stale_acks(), 0);
    // it is there
    super::management::Management::new().get(&format!("queues/%2f/{queue}"));
    // nothing left: the next message is the first one delivered
    let session = broker.session("test");
    let mut consumer = consume(&session, classic(&queue), 100).await;
    broker
        .publisher()
        .publish(to_queue(&queue, "last"))
        .await
        .expect("stored");
    assert_eq!(take(&mut consumer).await, "last");
}

#[tokio::test]
async fn cancelling_hands_back_what_was_not_taken_and_keeps_what_was() {
    let (broker, scratch) = (broker().await, Scratch::new());
    let queue = scratch.queue("q");
    let session = broker.session("test");
    let mut consumer = consume(&session, classic(&queue), 100).await;
    for number in 0..20 {
        broker
            .publisher()
            .publish(to_queue(&queue, number.to_string()))
            .await
            .expect("stored");
    }
    let taken = next(&mut consumer).await;
    soon("cancel", consumer.cancel()).await;
    assert!(consumer.next().await.is_none());
    // taken before, settled after
    taken.acker.ack();
    assert!(soon("flush", session.flush()).await);
    assert_eq!(session.stale_acks(), 0);
    let mut other = consume(&session, classic(&queue), 1).await;
    let mut rest: Vec<u32> = Vec::new();
    for _ in 1..20 {
        rest.push(take(&mut other).await.parse().expect("number"));
    }
    rest.sort_unstable();
    assert_eq!(rest, (1..20).collect::<Vec<_>>());
    until(&session, |status| *status == SessionStatus::Ready).await;
}

#[tokio::test]
async fn dropping_a_consumer_hands_back_too() {
    let (broker, scratch) = (broker().await, Scratch::new());
    let queue = scratch.queue("q");
    let session = broker.session("test");
    let consumer = consume(&session, classic(&queue), 100).await;
    for number in 0..5 {
        broker
            .publisher()
            .publish(to_queue(&queue, number.to_string()))
            .await
            .expect("stored");
    }
    drop(consumer);
    let mut other = consume(&session, classic(&queue), 100).await;
    for _ in 0..5 {
        take(&mut other).await;
    }
}

#[tokio::test]
async fn closing_the_session_hands_back_everything_unsettled() {
    let (broker, scratch) = (broker().await, Scratch::new());
    let queue = scratch.queue("q");
    let session = broker.session("test");
    let mut consumer = consume(&session, classic(&queue), 100).await;
    for number in 0..5 {
        broker
            .publisher()
            .publish(to_queue(&queue, number.to_string()))
            .await
            .expect("stored");
    }
    let held = next(&mut consumer).await;
    soon("close", session.close()).await;
    assert!(consumer.next().await.is_none());
    assert_eq!(*session.status().borrow(), SessionStatus::Closed);
    assert!(held.acker.is_stale());
    held.acker.ack();
    assert_eq!(session.stale_acks(), 1);
    until_ready(&broker, &queue, 5).await;
}

#[tokio::test]
async fn a_missing_queue_is_the_first_answer() {
    let (broker, scratch) = (broker().await, Scratch::new());
    let queue = scratch.queue("absent");
    let session = broker.session("test");
    let error = soon("an answer", session.consume(ConsumerSpec::new(&queue))).await;
    let error = error.expect_err("missing");
    assert_eq!(*error.kind(), ConsumeErrorKind::Missing);
    assert!(error.to_string().contains(&queue), "{error}");
    // and does not spoil the session
    consume(&session, classic(&queue), 1).await;
    until(&session, |status| *status == SessionStatus::Ready).await;
}

#[tokio::test]
async fn a_queue_declared_otherwise_is_the_first_answer() {
    let (broker, scratch) = (broker().await, Scratch::new());
    let queue = scratch.queue("q");
    broker.declare(&classic(&queue)).await.expect("declare");
    let mut topology = classic(&queue);
    topology.queues[0].arguments = Table::new().with("x-max-length", 7i64);
    let session = broker.session("test");
    let spec = ConsumerSpec::new(&queue).topology(topology);
    let error = soon("an answer", session.consume(spec))
        .await
        .expect_err("different");
    assert!(
        matches!(
            error.kind(),
            ConsumeErrorKind::Declare(coney_amqp::DeclareErrorKind::Mismatch { .. })
        ),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_queue_with_an_exclusive_consumer_is_locked() {
    let (broker, scratch) = (broker().await, Scratch::new());
    let queue = scratch.queue("q");
    let session = broker.session("test");
    let spec = || {
        ConsumerSpec::new(&queue)
            .topology(classic(&queue))
            .exclusive(true)
    };
    let first = soon("an answer", session.consume(spec()))
        .await
        .expect("first");
    let error = soon("an answer", session.consume(spec()))
        .await
        .expect_err("taken");
    assert!(
        matches!(error.kind(), ConsumeErrorKind::Locked { .. }),
        "{error:?}"
    );
    drop(first);
}

#[tokio::test]
async fn a_user_without_read_permission_is_told_so() {
    let (owner, scratch) = (broker().await, Scratch::new());
    let queue = scratch.queue("q");
    owner.declare(&classic(&queue)).await.expect("declare");
    let url = user(&scratch, Some(["^$", ".*", "^$"]));
    let writer = Broker::connect(&url).await.expect("connect");
    let session = writer.session("test");
    let error = soon("an answer", session.consume(ConsumerSpec::new(&queue))).await;
    let error = error.expect_err("forbidden");
    assert!(
        matches!(error.kind(), ConsumeErrorKind::Permission { .. }),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_consumer_that_gets_nothing_while_messages_wait_starts_over() {
    let scratch = Scratch::new();
    let queue = scratch.queue("q");
    let builder = Broker::builder(&url()).watch(Duration::from_millis(100));
    let broker = builder.connect().await.expect("a broker");
    // what the broker withholds from a consumer here it withholds for a reason, but the consumer does not know it
    let mut topology = classic(&queue);
    topology.queues[0].arguments = Table::new().with("x-single-active-consumer", true);
    let first_session = broker.session("first");
    let mut first = consume(&first_session, topology, 1).await;
    let session = broker.session("test");
    let mut second = session
        .consume(ConsumerSpec::new(&queue))
        .await
        .expect("consumed");
    for body in ["a", "b"] {
        let published = broker.publisher().publish(to_queue(&queue, body)).await;
        published.expect("stored");
    }
    let held = next(&mut first).await;
    until(&session, |status| {
        matches!(status, SessionStatus::Connecting { reason, .. } if reason.contains("none is delivered"))
    })
    .await;
    until(&session, |status| *status == SessionStatus::Ready).await;
    held.acker.ack();
    first.cancel().await;
    assert_eq!(take(&mut second).await, "b");
}
