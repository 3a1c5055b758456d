//! Virtual time.

use std::time::Duration;

use coney_devbroker::{Clock, DevBroker};

use crate::client::{Client, int, long};

#[tokio::test]
async fn one_step_of_the_clock_carries_a_message_through_all_delays() {
    let clock = Clock::stopped();
    let broker = DevBroker::builder()
        .clock(clock.clone())
        .start()
        .await
        .unwrap();
    let mut client = Client::new(&broker).await;
    client.declare("end", &[]).await;
    for (queue, next, hours) in [("a", "b", 1), ("b", "c", 2), ("c", "end", 3)] {
        let arguments = [
            ("x-message-ttl", int(hours * 3_600_000)),
            ("x-dead-letter-exchange", long("")),
            ("x-dead-letter-routing-key", long(next)),
        ];
        client.declare(queue, &arguments).await;
    }
    client.publish("a", b"late").await;
    client.barrier().await;
    clock.advance(Duration::from_secs(6 * 3600 - 1));
    assert!(client.get("end").await.is_none(), "never early");
    clock.advance(Duration::from_secs(1));
    assert_eq!(client.get("end").await.unwrap().body, b"late");
}

#[tokio::test]
async fn a_snapshot_tells_when_the_next_message_expires() {
    let clock = Clock::stopped();
    let broker = DevBroker::builder()
        .clock(clock.clone())
        .start()
        .await
        .unwrap();
    let mut client = Client::new(&broker).await;
    client.declare("q", &[("x-message-ttl", int(5000))]).await;
    client.publish("q", b"x").await;
    client.barrier().await;
    let due = broker
        .snapshot()
        .queue("/", "q")
        .unwrap()
        .next_expiry
        .unwrap();
    assert_eq!(due, clock.now() + Duration::from_secs(5));
    clock.advance_to(due);
    let empty =
        |snapshot: &coney_devbroker::Snapshot| (snapshot.queue("/", "q")?.ready == 0).then_some(());
    broker.until(empty).await;
}

#[tokio::test]
async fn an_unused_queue_expires_and_a_used_one_does_not() {
    let clock = Clock::stopped();
    let broker = DevBroker::builder()
        .clock(clock.clone())
        .start()
        .await
        .unwrap();
    let mut client = Client::new(&broker).await;
    client.declare("idle", &[("x-expires", int(1000))]).await;
    client.declare("used", &[("x-expires", int(1000))]).await;
    client.consume("used", "t", true).await;
    client.barrier().await;
    clock.advance(Duration::from_secs(2));
    let snapshot = broker.snapshot();
    assert!(snapshot.queue("/", "idle").is_none());
    assert!(snapshot.queue("/", "used").is_some());
}

#[tokio::test]
async fn real_time_expires_messages_without_being_asked() {
    let broker = DevBroker::start().await.unwrap();
    let mut client = Client::new(&broker).await;
    let arguments = [
        ("x-message-ttl", int(20)),
        ("x-dead-letter-exchange", long("")),
        ("x-dead-letter-routing-key", long("end")),
    ];
    client.declare("q", &arguments).await;
    client.declare("end", &[]).await;
    client.consume("end", "t", true).await;
    client.publish("q", b"x").await;
    assert_eq!(client.delivery().await.body, b"x");
}
