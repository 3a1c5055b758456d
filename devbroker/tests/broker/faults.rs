//! Each fault does what it says.

use amq_protocol::protocol::{AMQPClass, basic, channel, connection};
use coney_devbroker::DevBroker;

use crate::client::Client;

async fn started() -> (DevBroker, Client) {
    let broker = DevBroker::start().await.expect("started");
    let mut client = Client::named(&broker, "victim").await;
    client.declare("q", &[]).await;
    (broker, client)
}

#[tokio::test]
async fn a_connection_is_dropped_by_its_name() {
    let (broker, mut client) = started().await;
    assert!(!broker.faults().drop_connection("nobody"));
    assert!(broker.faults().drop_connection("victim"));
    assert!(client.is_dropped().await);
    broker
        .until(|snapshot| snapshot.connections.is_empty().then_some(()))
        .await;
}

#[tokio::test]
async fn a_connection_is_dropped_after_so_many_frames() {
    let (broker, mut client) = started().await;
    client.consume("q", "t", true).await;
    client.barrier().await;
    assert!(broker.faults().drop_connection_after("victim", 4));
    client.publish("q", b"whole").await;
    client.publish("q", b"cut off").await;
    assert_eq!(client.delivery().await.body, b"whole");
    assert!(client.is_dropped().await);
}

#[tokio::test]
async fn an_operator_closes_a_connection_with_a_reason() {
    let (broker, mut client) = started().await;
    assert!(broker.faults().close_connection("victim", "maintenance"));
    let AMQPClass::Connection(connection::AMQPMethod::Close(close)) = client.method().await else {
        panic!("not closed");
    };
    assert_eq!(close.reply_code, 320);
    assert!(close.reply_text.as_str().contains("maintenance"));
}

#[tokio::test]
async fn held_confirms_end_with_their_channel() {
    let (broker, mut client) = started().await;
    client.confirms().await;
    broker.faults().hold_confirms("/");
    for body in [b"1", b"2"] {
        client.publish("q", body).await;
    }
    let close = channel::AMQPMethod::Close(channel::Close::default());
    client.send(1, AMQPClass::Channel(close)).await;
    client.method().await;
    client.open(1).await;
    client.confirms().await;
    client.publish("q", b"3").await;
    client.barrier().await;
    broker.faults().release_confirms("/");
    let confirm = client.method().await;
    assert!(
        matches!(&confirm, AMQPClass::Basic(basic::AMQPMethod::Ack(ack)) if ack.delivery_tag == 1),
        "the first of the new channel: {confirm:?}"
    );
}

#[tokio::test]
async fn confirms_are_held_and_released_and_nacked() {
    let (broker, mut client) = started().await;
    client.confirms().await;
    broker.faults().hold_confirms("/");
    client.publish("q", b"1").await;
    client.barrier().await;
    broker.faults().release_confirms("/");
    let confirm = client.method().await;
    assert!(
        matches!(&confirm, AMQPClass::Basic(basic::AMQPMethod::Ack(ack)) if ack.delivery_tag == 1)
    );

    broker.faults().nack_confirms("/", 1);
    client.publish("q", b"2").await;
    let confirm = client.method().await;
    assert!(
        matches!(&confirm, AMQPClass::Basic(basic::AMQPMethod::Nack(nack)) if nack.delivery_tag == 2)
    );
    assert_eq!(broker.messages("/", "q").unwrap().len(), 1);
}

#[tokio::test]
async fn a_blocked_broker_tells_publishers_and_serves_consumers() {
    let (broker, mut publisher) = started().await;
    let mut consumer = Client::new(&broker).await;
    broker.faults().block("out of disk");
    publisher.publish("q", b"last").await;
    let blocked = publisher.method().await;
    assert!(
        matches!(&blocked, AMQPClass::Connection(connection::AMQPMethod::Blocked(blocked))
        if blocked.reason.as_str() == "out of disk")
    );
    publisher.publish("q", b"unread").await;
    consumer.consume("q", "t", true).await;
    assert_eq!(consumer.delivery().await.body, b"last");
    consumer.barrier().await;
    assert!(broker.messages("/", "q").unwrap().is_empty());
    broker.faults().unblock();
    assert_eq!(consumer.delivery().await.body, b"unread");
}

#[tokio::test]
async fn a_delivery_is_made_twice_and_settled_once() {
    let (broker, mut client) = started().await;
    broker.faults().duplicate_deliveries("/", "q", 1);
    client.publish("q", b"x").await;
    client.consume("q", "t", false).await;
    let one = client.delivery().await;
    let other = client.delivery().await;
    assert_eq!(one.body, other.body);
    client.ack(other.tag).await;
    client.barrier().await;
    assert_eq!(broker.messages("/", "q").unwrap().len(), 1);
    client.ack(one.tag).await;
    client.barrier().await;
    assert!(broker.messages("/", "q").unwrap().is_empty());
}

#[tokio::test]
async fn a_consumer_is_cancelled_and_a_queue_paused() {
    let (broker, mut client) = started().await;
    broker.faults().pause_queue("/", "q");
    client.consume("q", "t", false).await;
    client.publish("q", b"x").await;
    client.barrier().await;
    assert_eq!(broker.snapshot().queue("/", "q").unwrap().ready, 1);
    broker.faults().resume_queue("/", "q");
    assert_eq!(client.delivery().await.body, b"x");
    assert_eq!(broker.faults().cancel_consumers("/", "q"), 1);
    let cancel = client.method().await;
    assert!(
        matches!(&cancel, AMQPClass::Basic(basic::AMQPMethod::Cancel(cancel)) if cancel.consumer_tag.as_str() == "t")
    );
}
