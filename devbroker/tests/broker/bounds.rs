//! Nothing that a client does takes memory without end or disturbs others.

use amq_protocol::protocol::{AMQPClass, channel, connection, queue};
use coney_devbroker::{DevBroker, Snapshot};
use proptest::prelude::*;

use crate::client::{Client, int, long, table};

fn ready(count: usize) -> impl Fn(&Snapshot) -> Option<()> {
    move |snapshot| (snapshot.queue("/", "q")?.ready == count).then_some(())
}

#[tokio::test]
async fn full_memory_blocks_publishers_until_consumers_make_room() {
    let broker = DevBroker::builder()
        .memory_limit(100_000)
        .start()
        .await
        .unwrap();
    let mut publisher = Client::new(&broker).await;
    let mut consumer = Client::new(&broker).await;
    publisher.declare("q", &[]).await;
    publisher.publish("q", &[0; 120_000]).await;
    let blocked = publisher.method().await;
    assert!(matches!(
        blocked,
        AMQPClass::Connection(connection::AMQPMethod::Blocked(_))
    ));
    publisher.publish("q", b"later").await;
    assert!(broker.snapshot().blocked);
    let first = consumer.get("q").await.unwrap();
    consumer.ack(first.tag).await;
    let unblocked = publisher.method().await;
    assert!(matches!(
        unblocked,
        AMQPClass::Connection(connection::AMQPMethod::Unblocked(_))
    ));
    broker.until(ready(1)).await;
}

#[tokio::test]
async fn what_is_written_to_a_consumer_without_acks_makes_room() {
    let broker = DevBroker::builder()
        .memory_limit(100_000)
        .start()
        .await
        .unwrap();
    let mut publisher = Client::new(&broker).await;
    let mut consumer = Client::new(&broker).await;
    publisher.declare("q", &[]).await;
    publisher.publish("q", &[0; 120_000]).await;
    publisher.method().await;
    consumer.consume("q", "t", true).await;
    consumer.delivery().await;
    broker
        .until(|snapshot| (!snapshot.blocked).then_some(()))
        .await;
}

#[tokio::test]
async fn a_name_that_no_message_can_carry_is_refused() {
    let broker = DevBroker::start().await.unwrap();
    let mut client = Client::new(&broker).await;
    let declare = queue::Declare {
        queue: "q".into(),
        arguments: table(&[
            ("x-dead-letter-exchange", long("")),
            ("x-dead-letter-routing-key", long(&"k".repeat(256))),
        ]),
        ..queue::Declare::default()
    };
    client
        .send(1, AMQPClass::Queue(queue::AMQPMethod::Declare(declare)))
        .await;
    let close = client.method().await;
    assert!(
        matches!(&close, AMQPClass::Channel(channel::AMQPMethod::Close(close)) if close.reply_code == 406)
    );
}

#[tokio::test]
async fn a_client_that_does_not_read_gets_no_more_than_fits() {
    let broker = DevBroker::start().await.unwrap();
    let mut deaf = Client::named(&broker, "deaf").await;
    let mut other = Client::new(&broker).await;
    deaf.declare("q", &[]).await;
    deaf.consume("q", "t", true).await;
    deaf.barrier().await;
    let count = 300;
    for _ in 0..count {
        other.publish("q", &[0; 131_000]).await;
    }
    other.barrier().await;
    // what the kernel and the broker buffer is far less than the 39 MB that were published
    let waiting = broker.snapshot().queue("/", "q").unwrap().ready;
    assert!(waiting > count / 2, "{waiting} of {count} wait");
    for _ in 0..count {
        assert_eq!(deaf.delivery().await.body.len(), 131_000);
    }
    broker
        .until(|snapshot| (snapshot.memory == 0).then_some(()))
        .await;
}

#[tokio::test]
async fn a_thousand_channels_and_connections_leave_nothing() {
    let broker = DevBroker::start().await.unwrap();
    let mut client = Client::new(&broker).await;
    client.declare("q", &[]).await;
    for number in 2..1000 {
        client.open(number).await;
    }
    for _ in 0..1000 {
        let mut one = Client::new(&broker).await;
        one.publish("q", b"x").await;
        let got = one.get("q").await.unwrap();
        one.ack(got.tag).await;
        one.barrier().await;
    }
    drop(client);
    broker
        .until(|snapshot| snapshot.connections.is_empty().then_some(()))
        .await;
    assert_eq!(broker.snapshot().memory, 0);
}

#[tokio::test]
async fn a_full_queue_drops_its_head_or_refuses() {
    let broker = DevBroker::start().await.unwrap();
    let mut client = Client::new(&broker).await;
    client.declare("q", &[("x-max-length", int(2))]).await;
    for body in [b"a", b"b", b"c"] {
        client.publish("q", body).await;
    }
    assert_eq!(client.get("q").await.unwrap().body, b"b");
}

#[tokio::test]
async fn tables_nested_without_end_do_no_harm() {
    let broker = DevBroker::start().await.unwrap();
    let mut client = Client::new(&broker).await;
    client.declare("q", &[]).await;
    let nested = (0..20_000).fold(b"V".to_vec(), |inner: Vec<u8>, _| {
        let mut outer = b"A".to_vec();
        outer.extend(u32::try_from(inner.len()).unwrap().to_be_bytes());
        outer.extend(inner);
        outer
    });
    let mut headers = b"\x01h".to_vec();
    headers.extend(nested);
    let mut payload = vec![0, 60, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x20, 0];
    payload.extend(u32::try_from(headers.len()).unwrap().to_be_bytes());
    payload.extend(&headers);
    let mut frame = vec![2, 0, 1];
    frame.extend(u32::try_from(payload.len()).unwrap().to_be_bytes());
    frame.extend(payload);
    frame.push(0xCE);
    let publish = b"\x01\0\x01\0\0\0\x0a\0\x3c\0\x28\0\0\0\x01q\0\xce";
    client.write(publish).await;
    client.write(&frame).await;
    broker.until(ready(1)).await;
    let messages = broker.messages("/", "q").unwrap();
    assert!(
        messages[0].properties.headers().is_none(),
        "left out, too deep"
    );
}

#[tokio::test]
async fn a_mistake_ends_its_channel_and_no_other() {
    let broker = DevBroker::start().await.unwrap();
    let mut client = Client::new(&broker).await;
    client.open(2).await;
    client.ack(99).await;
    let close = client.method().await;
    assert!(
        matches!(&close, AMQPClass::Channel(channel::AMQPMethod::Close(close)) if close.reply_code == 406)
    );
    let close_ok = channel::AMQPMethod::CloseOk(channel::CloseOk {});
    client.send(1, AMQPClass::Channel(close_ok)).await;
    client.open(1).await;
    client.declare("q", &[]).await;
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn noise_disturbs_nobody(noise in prop::collection::vec(any::<u8>(), 0..200), framed in any::<bool>(), kind in 0u8..10) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let broker = DevBroker::start().await.unwrap();
            let mut noisy = Client::new(&broker).await;
            let mut bytes = noise.clone();
            if framed {
                bytes = vec![kind, 0, 1];
                bytes.extend(u32::try_from(noise.len()).unwrap().to_be_bytes());
                bytes.extend(&noise);
                bytes.push(0xCE);
            }
            noisy.write(&bytes).await;
            let mut other = Client::new(&broker).await;
            other.declare("q", &[]).await;
        });
    }
}
