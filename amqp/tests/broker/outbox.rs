//! Messages that may be lost are in nobody's way: what is too old goes, and the rest arrives in order.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use coney_amqp::{Broker, Outbox};
use coney_protocol::topology::Topology;

use super::support::{Scratch, broker, classic, consume, exchange, soon, take, through, to_queue};

/// An outbox that counts what it loses.
fn counting(broker: &Broker, topology: Topology) -> (Outbox, Arc<AtomicU64>) {
    let lost = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&lost);
    let outbox = Outbox::new(broker, topology, move |weight| {
        counted.fetch_add(weight, Ordering::Relaxed);
    });
    (outbox, lost)
}

#[tokio::test]
async fn what_is_put_in_arrives_in_order_and_an_outbox_that_is_closed_ends() {
    let (broker, scratch) = (broker().await, Scratch::new());
    let queue = scratch.queue("q");
    let (outbox, lost) = counting(&broker, classic(&queue));
    for number in 0..500 {
        outbox.push(to_queue(&queue, number.to_string()), 1);
    }
    assert_eq!(outbox.waiting(), 500);
    outbox.close();
    soon("the end", outbox.run()).await;
    let session = broker.session("test");
    let mut consumer = consume(&session, classic(&queue), 200).await;
    for number in 0..500 {
        assert_eq!(take(&mut consumer).await, number.to_string());
    }
    assert_eq!(lost.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn the_oldest_make_room_while_nothing_is_sent() {
    let (broker, scratch) = (broker().await, Scratch::new());
    let queue = scratch.queue("q");
    let (outbox, lost) = counting(&broker, classic(&queue));
    for number in 0..2000 {
        outbox.push(to_queue(&queue, number.to_string()), 3);
    }
    assert_eq!(outbox.waiting(), 1024);
    assert_eq!(lost.load(Ordering::Relaxed), 976 * 3);
    outbox.close();
    soon("the end", outbox.run()).await;
    let session = broker.session("test");
    let mut consumer = consume(&session, classic(&queue), 1).await;
    assert_eq!(take(&mut consumer).await, "976");
    // after the end nothing is taken
    outbox.push(to_queue(&queue, "late"), 1);
    assert_eq!(lost.load(Ordering::Relaxed), 976 * 3 + 1);
}

#[tokio::test]
async fn large_messages_make_room_sooner() {
    let (broker, scratch) = (broker().await, Scratch::new());
    let queue = scratch.queue("q");
    let (outbox, lost) = counting(&broker, classic(&queue));
    for _ in 0..40 {
        outbox.push(to_queue(&queue, "x".repeat(1024 * 1024)), 1);
    }
    assert_eq!(outbox.waiting(), 16);
    assert_eq!(lost.load(Ordering::Relaxed), 24);
}

#[tokio::test]
async fn what_is_worth_nothing_any_more_is_not_sent() {
    let (broker, scratch) = (broker().await, Scratch::new());
    let queue = scratch.queue("q");
    let (outbox, lost) = counting(&broker, classic(&queue));
    outbox.push_for(to_queue(&queue, "stale"), 1, Duration::ZERO);
    outbox.push_for(to_queue(&queue, "fresh"), 1, Duration::from_secs(600));
    outbox.close();
    soon("the end", outbox.run()).await;
    let session = broker.session("test");
    let mut consumer = consume(&session, classic(&queue), 10).await;
    assert_eq!(take(&mut consumer).await, "fresh");
    assert_eq!(lost.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn an_exchange_that_was_deleted_is_declared_again() {
    let (broker, scratch) = (broker().await, Scratch::new());
    let (name, queue) = (scratch.exchange("x"), scratch.queue("q"));
    let mut topology = classic(&queue);
    let exchanges = exchange(&name);
    topology.append(exchanges);
    let (outbox, lost) = counting(&broker, topology);
    let sending = outbox.clone();
    let run = tokio::spawn(async move { sending.run().await });
    outbox.push(to_queue(&queue, "first"), 1);
    let session = broker.session("test");
    let mut consumer = consume(&session, classic(&queue), 10).await;
    assert_eq!(take(&mut consumer).await, "first");
    super::management::Management::new().delete(&format!("exchanges/%2f/{name}"));
    // the broker objects to this one, and with that the outbox learns that the exchange is gone
    outbox.push(through(&name, "", "lost").optional(), 1);
    let told = async {
        while lost.load(Ordering::Relaxed) == 0 {
            tokio::task::yield_now().await;
        }
    };
    soon("it is noticed", told).await;
    outbox.push(through(&name, "", "nobody listens").optional(), 1);
    outbox.push(to_queue(&queue, "last"), 1);
    assert_eq!(take(&mut consumer).await, "last");
    assert_eq!(lost.load(Ordering::Relaxed), 1);
    outbox.close();
    soon("the end", run).await.expect("no panic");
}
