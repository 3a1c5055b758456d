//! A broker that cannot be used says why, in time, and never says the password.

use std::time::{Duration, Instant};

use coney_amqp::{Broker, ConnectError, ConnectErrorKind};
use tokio::net::TcpListener;

use super::management::Management;
use super::place::place;
use super::support::{Scratch, broker, soon, url, url_with, user};

async fn refused(url: &str) -> ConnectError {
    let builder = Broker::builder(url).connect_timeout(Duration::from_secs(5));
    let error = soon("an answer", builder.connect())
        .await
        .expect_err("refused");
    let shown = format!("{error} {error:?}");
    assert!(!shown.contains("hunter2"), "{shown}");
    error
}

#[tokio::test]
async fn the_broker_introduces_itself() {
    let broker = broker().await;
    assert_eq!(broker.server().product, place().product);
    assert!(broker.server().at_least(3, 8), "{}", broker.server());
    assert!(!broker.server().at_least(99, 0));
    soon("close", broker.close()).await;
}

#[tokio::test]
async fn a_connection_is_named_in_the_management_ui() {
    let scratch = Scratch::new();
    let program = scratch.name("named");
    let broker = Broker::builder(&url())
        .program(&program)
        .connect()
        .await
        .expect("connect");
    let wanted = format!(
        "coney {} publisher {program} {}",
        env!("CARGO_PKG_VERSION"),
        std::process::id()
    );
    // the management API learns of connections with a delay of its own
    soon("the connection in the UI", async {
        loop {
            let connections = Management::new().get("connections");
            if connections.to_string().contains(&wanted) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    })
    .await;
    broker.close().await;
}

#[tokio::test]
async fn a_wrong_password_is_named_as_such() {
    let error = refused(&url_with("guest:hunter2", None, "%2f")).await;
    assert_eq!(error.kind(), ConnectErrorKind::Authentication);
    assert!(
        error
            .to_string()
            .contains("`guest`: check user and password"),
        "{error}"
    );
    assert!(!error.is_transient());
}

#[tokio::test]
async fn a_missing_vhost_is_named() {
    let error = refused(&url_with("guest:guest", None, "no-such-vhost")).await;
    assert_eq!(error.kind(), ConnectErrorKind::VhostMissing);
    assert!(
        error.to_string().contains("add_vhost no-such-vhost"),
        "{error}"
    );
}

#[tokio::test]
async fn a_vhost_that_the_user_may_not_enter_is_named() {
    let scratch = Scratch::new();
    let error = refused(&user(&scratch, None)).await;
    assert_eq!(error.kind(), ConnectErrorKind::VhostRefused);
    assert!(error.to_string().contains("set_permissions"), "{error}");
}

#[tokio::test]
async fn a_closed_port_is_an_error_at_once() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("port");
    let place = listener.local_addr().expect("port").to_string();
    drop(listener);
    let error = refused(&url_with("guest:guest", Some(&place), "%2f")).await;
    assert_eq!(error.kind(), ConnectErrorKind::Unreachable);
    assert!(error.to_string().contains(&place), "{error}");
    assert!(error.is_transient());
}

#[tokio::test]
async fn an_unknown_host_is_unreachable() {
    let error = refused("amqp://no-such-host.invalid").await;
    assert_eq!(error.kind(), ConnectErrorKind::Unreachable);
}

#[tokio::test]
async fn a_peer_that_never_answers_costs_the_connect_timeout_and_no_thread() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("port");
    let place = listener.local_addr().expect("port").to_string();
    let start = Instant::now();
    let builder = Broker::builder(&url_with("guest:guest", Some(&place), "%2f"));
    let connect = builder
        .connect_timeout(Duration::from_millis(300))
        .connect();
    let error = soon("an answer", connect).await.expect_err("mute");
    assert_eq!(error.kind(), ConnectErrorKind::Timeout);
    assert!(start.elapsed() < Duration::from_secs(3));
    // the other end sees the connection close, although it never said a word
    let (stream, _) = listener.accept().await.expect("connected before");
    soon("the end of the connection", async {
        let mut bytes = [0; 64];
        loop {
            stream.readable().await.expect("socket");
            match stream.try_read(&mut bytes) {
                Ok(0) => break,
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => break,
                _ => {}
            }
        }
    })
    .await;
}

#[cfg(feature = "tls")]
#[tokio::test]
async fn tls_to_a_plain_port_is_explained() {
    let url = url_with("guest:guest", None, "%2f").replace("amqp://", "amqps://");
    let error = refused(&url).await;
    assert_eq!(error.kind(), ConnectErrorKind::Tls);
    assert!(
        error.to_string().contains("is this the plain port?"),
        "{error}"
    );
}

#[tokio::test]
async fn a_closed_handle_says_so() {
    let broker = broker().await;
    let other = broker.clone();
    soon("close", broker.close()).await;
    let error = other
        .declare(&Default::default())
        .await
        .expect_err("closed");
    assert!(error.to_string().contains("closed"), "{error}");
    let error = other
        .session("late")
        .consume(coney_amqp::ConsumerSpec::new("q"))
        .await;
    assert!(matches!(
        error.expect_err("closed").kind(),
        coney_amqp::ConsumeErrorKind::Closed
    ));
}
