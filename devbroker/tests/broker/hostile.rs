//! What clients should not do, and what must not come of it.

use amq_protocol::protocol::{AMQPClass, basic, connection};
use coney_devbroker::DevBroker;

use crate::client::{Client, long, table};

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
