//! What clients should not do, and what must not come of it.

use amq_protocol::frame::{AMQPContentHeader, AMQPFrame};
use amq_protocol::protocol::basic::AMQPProperties;
use amq_protocol::protocol::{AMQPClass, basic, connection, queue};
use amq_protocol::types::{AMQPValue, FieldArray};
use coney_devbroker::DevBroker;

use crate::client::{Client, encode, long, table};

#[tokio::test]
async fn what_is_refused_together_with_messages_of_a_stream_goes_back_to_its_queue() {
    let broker = DevBroker::start().await.unwrap();
    let mut client = Client::new(&broker).await;
    client
        .declare("s", &[("x-queue-type", long("stream"))])
        .await;
    client.declare("q", &[]).await;
    client.publish("s", b"in the stream").await;
    client.publish("q", b"in the queue").await;
    client.qos(1).await;
    let consume = basic::Consume {
        queue: "s".into(),
        nowait: true,
        arguments: table(&[("x-stream-offset", long("first"))]),
        ..basic::Consume::default()
    };
    client.basic(basic::AMQPMethod::Consume(consume)).await;
    client.delivery().await;
    let last = client.get("q").await.unwrap().tag;
    let nack = basic::Nack {
        delivery_tag: last,
        multiple: true,
        requeue: true,
    };
    client.basic(basic::AMQPMethod::Nack(nack)).await;
    let close = client.method().await;
    assert!(
        matches!(&close, AMQPClass::Connection(connection::AMQPMethod::Close(close)) if close.reply_code == 540)
    );
    let mut other = Client::new(&broker).await;
    assert_eq!(other.get("q").await.unwrap().body, b"in the queue");
}

/// Begins a message of 1 MB on a channel and sends 100 kB of it.
async fn begin(client: &mut Client, channel: u16) {
    let publish = basic::Publish {
        routing_key: "q".into(),
        ..basic::Publish::default()
    };
    let publish = AMQPClass::Basic(basic::AMQPMethod::Publish(publish));
    let header = AMQPContentHeader {
        class_id: 60,
        body_size: 1_000_000,
        properties: AMQPProperties::default(),
    };
    for frame in [
        AMQPFrame::Method(channel, publish),
        AMQPFrame::Header(channel, header),
        AMQPFrame::Body(channel, vec![0; 100_000]),
    ] {
        client.write(&encode(&frame)).await;
    }
}

#[tokio::test]
async fn messages_that_are_never_finished_take_no_memory_without_end() {
    let broker = DevBroker::builder()
        .memory_limit(150_000)
        .start()
        .await
        .unwrap();
    let mut client = Client::new(&broker).await;
    for channel in 2..10 {
        client.open(channel).await;
    }
    for channel in 1..10 {
        begin(&mut client, channel).await;
    }
    let blocked = client.method().await;
    assert!(matches!(
        blocked,
        AMQPClass::Connection(connection::AMQPMethod::Blocked(_))
    ));
    assert_eq!(broker.snapshot().memory, 200_000);
    drop(client);
}

#[tokio::test]
async fn a_message_larger_than_the_memory_limit_is_finished() {
    let broker = DevBroker::builder()
        .memory_limit(150_000)
        .start()
        .await
        .unwrap();
    let mut client = Client::new(&broker).await;
    client.declare("q", &[]).await;
    client.publish("q", &[0; 500_000]).await;
    broker
        .until(|snapshot| (snapshot.queue("/", "q")?.ready == 1).then_some(()))
        .await;
}

#[tokio::test]
async fn headers_that_nobody_can_read_reach_nobody() {
    let broker = DevBroker::start().await.unwrap();
    let mut client = Client::new(&broker).await;
    let mut other = Client::new(&broker).await;
    other.declare("q", &[]).await;
    let publish = basic::Publish {
        routing_key: "q".into(),
        ..basic::Publish::default()
    };
    client.basic(basic::AMQPMethod::Publish(publish)).await;
    // no body; flags that tell of headers; a header `a` of a type that there is not
    let payload = b"\0\x3c\0\0\0\0\0\0\0\0\0\0\x20\0\0\0\0\x03\x01a?";
    let mut frame = vec![2, 0, 1, 0, 0, 0, payload.len() as u8];
    frame.extend(payload);
    frame.push(0xCE);
    client.write(&frame).await;
    let close = client.method().await;
    assert!(
        matches!(&close, AMQPClass::Connection(connection::AMQPMethod::Close(close)) if close.reply_code == 502)
    );
    assert!(other.get("q").await.is_none());
}

// the broker has a thread of its own, so that the deadline passes when it hangs
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_copies_through_an_exchange_without_keys_are_one() {
    let broker = DevBroker::start().await.unwrap();
    let mut client = Client::new(&broker).await;
    client.declare("q", &[]).await;
    for number in 0..20 {
        let bind = queue::Bind {
            queue: "q".into(),
            exchange: "amq.headers".into(),
            nowait: true,
            arguments: table(&[
                ("x-match", long("any")),
                (&format!("b{number}"), AMQPValue::Void),
            ]),
            ..queue::Bind::default()
        };
        let bind = AMQPClass::Queue(queue::AMQPMethod::Bind(bind));
        client.send(1, bind).await;
    }
    let keys = vec![long("k"); 10_000];
    let mut headers = table(&[("CC", AMQPValue::FieldArray(FieldArray::from(keys)))]);
    for number in 0..6000 {
        headers.insert(format!("h{number}").into(), AMQPValue::Void);
    }
    headers.insert("b0".into(), AMQPValue::Void);
    let properties = AMQPProperties::default().with_headers(headers);
    client.publish_to("amq.headers", "", b"x", properties).await;
    assert_eq!(client.get("q").await.unwrap().body, b"x");
    assert!(client.get("q").await.is_none());
}
