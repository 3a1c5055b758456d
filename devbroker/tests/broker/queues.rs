//! Messages and their places.

use amq_protocol::protocol::basic;
use amq_protocol::types::AMQPValue;
use coney_devbroker::DevBroker;

use crate::client::{Client, int, long};

async fn bodies(client: &mut Client, count: usize) -> Vec<(u64, Vec<u8>)> {
    let mut all = Vec::new();
    for _ in 0..count {
        let delivered = client.delivery().await;
        all.push((delivered.tag, delivered.body));
    }
    all
}

#[tokio::test]
async fn a_message_comes_back_to_its_place() {
    let broker = DevBroker::start().await.unwrap();
    let mut client = Client::new(&broker).await;
    client.declare("q", &[]).await;
    for body in [b"a", b"b", b"c"] {
        client.publish("q", body).await;
    }
    let first = client.get("q").await.unwrap();
    let second = client.get("q").await.unwrap();
    client.nack(second.tag, true).await;
    client.nack(first.tag, true).await;
    for (body, redelivered) in [(b"a", true), (b"b", true), (b"c", false)] {
        let next = client.get("q").await.unwrap();
        assert_eq!((&*next.body, next.redelivered), (&body[..], redelivered));
    }
}

#[tokio::test]
async fn a_consumer_has_at_most_its_prefetch() {
    let broker = DevBroker::start().await.unwrap();
    let mut client = Client::new(&broker).await;
    client.declare("q", &[]).await;
    for body in [b"a", b"b", b"c"] {
        client.publish("q", body).await;
    }
    client.qos(2).await;
    client.consume("q", "t", false).await;
    let two = bodies(&mut client, 2).await;
    client.barrier().await;
    let snapshot = broker.snapshot();
    let queue = snapshot.queue("/", "q").unwrap();
    assert_eq!((queue.ready, queue.unacked), (1, 2));
    client.ack(two[0].0).await;
    assert_eq!(bodies(&mut client, 1).await[0].1, b"c");
}

#[tokio::test]
async fn recovering_leaves_room_for_other_queues_within_the_limit_of_a_channel() {
    let broker = DevBroker::start().await.unwrap();
    let mut client = Client::new(&broker).await;
    for queue in ["a", "b"] {
        client.declare(queue, &[]).await;
        client.publish(queue, queue.as_bytes()).await;
    }
    let qos = basic::Qos {
        prefetch_count: 1,
        global: true,
    };
    client.basic(basic::AMQPMethod::Qos(qos)).await;
    client.consume("a", "a", false).await;
    assert_eq!(client.delivery().await.body, b"a");
    client.consume("b", "b", false).await;
    let cancel = basic::Cancel {
        consumer_tag: "a".into(),
        nowait: true,
    };
    client.basic(basic::AMQPMethod::Cancel(cancel)).await;
    let recover = basic::Recover { requeue: true };
    client.basic(basic::AMQPMethod::Recover(recover)).await;
    assert_eq!(client.delivery().await.body, b"b");
}

#[tokio::test]
async fn a_quorum_queue_gives_up_after_its_delivery_limit() {
    let broker = DevBroker::start().await.unwrap();
    let mut client = Client::new(&broker).await;
    let arguments = [
        ("x-queue-type", long("quorum")),
        ("x-delivery-limit", int(1)),
        ("x-dead-letter-exchange", long("")),
        ("x-dead-letter-routing-key", long("dead")),
    ];
    client.declare("q", &arguments).await;
    client.declare("dead", &[]).await;
    client.publish("q", b"poison").await;
    client.qos(1).await;
    client.consume("q", "t", false).await;
    for count in [None, Some(AMQPValue::LongLongInt(1))] {
        let delivered = client.delivery().await;
        let headers = delivered.properties.headers().clone().unwrap_or_default();
        assert_eq!(headers.inner().get("x-delivery-count").cloned(), count);
        client.nack(delivered.tag, true).await;
    }
    let dead = client.get("dead").await.unwrap();
    let headers = dead.properties.headers().clone().unwrap();
    assert_eq!(
        headers.inner()["x-first-death-reason"],
        long("delivery_limit")
    );
}

#[tokio::test]
async fn a_message_that_must_not_be_lost_waits_for_a_queue() {
    let clock = coney_devbroker::Clock::stopped();
    let broker = DevBroker::builder()
        .clock(clock.clone())
        .start()
        .await
        .unwrap();
    let mut client = Client::new(&broker).await;
    let arguments = [
        ("x-queue-type", long("quorum")),
        ("x-message-ttl", int(10)),
        ("x-overflow", long("reject-publish")),
        ("x-dead-letter-strategy", long("at-least-once")),
        ("x-dead-letter-exchange", long("")),
        ("x-dead-letter-routing-key", long("later")),
    ];
    client.declare("q", &arguments).await;
    client.publish("q", b"kept").await;
    client.barrier().await;
    clock.advance(std::time::Duration::from_millis(10));
    let held =
        |snapshot: &coney_devbroker::Snapshot| (snapshot.queue("/", "q")?.held == 1).then_some(());
    broker.until(held).await;
    client.declare("later", &[]).await;
    clock.advance(std::time::Duration::from_secs(180));
    assert_eq!(client.get("later").await.unwrap().body, b"kept");
}

#[tokio::test]
async fn a_stream_is_read_from_where_the_consumer_wants() {
    let broker = DevBroker::start().await.unwrap();
    let mut client = Client::new(&broker).await;
    client
        .declare("s", &[("x-queue-type", long("stream"))])
        .await;
    for body in [b"0", b"1", b"2", b"3"] {
        client.publish("s", body).await;
    }
    client.qos(10).await;
    for (tag, offset, count) in [
        ("all", long("first"), 4),
        ("one", long("last"), 1),
        ("two", AMQPValue::LongLongInt(2), 2),
        ("hour", long("1h"), 4),
    ] {
        let consume = amq_protocol::protocol::basic::Consume {
            queue: "s".into(),
            consumer_tag: tag.into(),
            nowait: true,
            arguments: crate::client::table(&[("x-stream-offset", offset)]),
            ..Default::default()
        };
        client
            .basic(amq_protocol::protocol::basic::AMQPMethod::Consume(consume))
            .await;
        let read = bodies(&mut client, count).await;
        assert_eq!(read.last().unwrap().1, b"3", "{tag}");
    }
}
