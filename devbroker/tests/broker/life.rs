//! Brokers, virtual hosts, users and connections come and go.

use std::time::Duration;

use amq_protocol::protocol::{AMQPClass, channel, connection, queue};
use coney_devbroker::{DevBroker, Permissions};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use crate::client::{Client, DEADLINE};

#[tokio::test]
async fn it_listens_on_loopback_and_says_where() {
    let broker = DevBroker::start().await.unwrap();
    assert!(broker.address().ip().is_loopback());
    let port = broker.address().port();
    assert_eq!(
        broker.url(),
        format!("amqp://guest:guest@127.0.0.1:{port}/%2F")
    );
    assert!(broker.url_of("a b").ends_with("/a%20b"));
}

#[tokio::test]
async fn another_protocol_is_told_which_one_is_spoken() {
    let broker = DevBroker::start().await.unwrap();
    let mut client = Client::raw(broker.address()).await;
    client.write(b"HELLO!!!").await;
    let frame = client.frame().await;
    assert!(
        matches!(frame, amq_protocol::frame::AMQPFrame::ProtocolHeader(_)),
        "{frame:?}"
    );
}

#[tokio::test]
async fn stopping_closes_connections_and_ends_all_tasks() {
    let broker = DevBroker::start().await.unwrap();
    let address = broker.address();
    let mut client = Client::new(&broker).await;
    let waiting = tokio::spawn(async move {
        let close = client.method().await;
        assert!(
            matches!(&close, AMQPClass::Connection(connection::AMQPMethod::Close(close)) if close.reply_code == 320)
        );
    });
    timeout(DEADLINE, broker.stop()).await.expect("it stops");
    waiting.await.unwrap();
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn dropping_the_handle_stops_it() {
    let broker = DevBroker::start().await.unwrap();
    let mut client = Client::new(&broker).await;
    drop(broker);
    assert!(client.is_dropped().await);
}

#[tokio::test]
async fn a_removed_virtual_host_takes_its_connections_with_it() {
    let broker = DevBroker::start().await.unwrap();
    broker.add_vhost("v");
    let address = broker.address();
    let mut client = Client::log_in(address, "guest", "v", "c", 0)
        .await
        .ok()
        .unwrap();
    assert!(broker.remove_vhost("v"));
    assert!(matches!(
        client.method().await,
        AMQPClass::Connection(connection::AMQPMethod::Close(_))
    ));
    let refused = Client::log_in(address, "guest", "v", "c", 0)
        .await
        .err()
        .unwrap();
    assert_eq!(refused.reply_code, 530);
}

#[tokio::test]
async fn a_user_may_do_what_it_has_permissions_for() {
    let broker = DevBroker::start().await.unwrap();
    let address = broker.address();
    let log_in = || Client::log_in(address, "ann", "/", "c", 0);
    assert_eq!(log_in().await.err().unwrap().reply_code, 403, "unknown");
    broker.add_user("ann", "ann");
    assert_eq!(
        log_in().await.err().unwrap().reply_code,
        530,
        "no permissions"
    );
    let permissions = Permissions {
        configure: "^ann".to_owned(),
        write: String::new(),
        read: String::new(),
    };
    assert!(broker.set_permissions("/", "ann", &permissions).unwrap());
    let mut client = log_in().await.ok().unwrap();
    client.open(1).await;
    client.declare("ann.1", &[]).await;
    let declare = queue::Declare {
        queue: "bob".into(),
        ..queue::Declare::default()
    };
    client
        .send(1, AMQPClass::Queue(queue::AMQPMethod::Declare(declare)))
        .await;
    let close = client.method().await;
    assert!(
        matches!(&close, AMQPClass::Channel(channel::AMQPMethod::Close(close))
        if close.reply_code == 403 && close.reply_text.as_str()
            == "ACCESS_REFUSED - access to queue 'bob' in vhost '/' refused for user 'ann'"),
        "{close:?}"
    );
}

#[tokio::test]
async fn a_silent_client_is_dropped_after_two_heartbeats() {
    let broker = DevBroker::start().await.unwrap();
    let start = Instant::now();
    let mut client = Client::log_in(broker.address(), "guest", "/", "c", 1)
        .await
        .ok()
        .unwrap();
    assert!(client.is_dropped().await);
    assert!(start.elapsed() >= Duration::from_secs(2));
}

#[tokio::test]
async fn what_a_connection_had_is_free_when_it_is_gone() {
    let broker = DevBroker::start().await.unwrap();
    let mut client = Client::new(&broker).await;
    client.declare("q", &[]).await;
    client.publish("q", b"x").await;
    let taken = client.get("q").await.unwrap();
    assert!(!taken.redelivered);
    drop(client);
    broker
        .until(|snapshot| (snapshot.queue("/", "q")?.ready == 1).then_some(()))
        .await;
    let mut client = Client::new(&broker).await;
    assert!(client.get("q").await.unwrap().redelivered);
}
