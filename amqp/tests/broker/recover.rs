//! After a lost connection or channel, everything comes back by itself.

use std::time::Duration;

use coney_amqp::{
    Address, Broker, ConnectErrorKind, PublishErrorKind, PublisherStatus, SessionStatus,
};
use tokio::net::TcpListener;
use tokio::time::Instant;

use super::management::Management;
use super::proxy::Proxy;
use super::support::{
    Scratch, broker, classic, consume, next, soon, take, through, to_queue, until, url, url_with,
};

fn is_ready(status: &SessionStatus) -> bool {
    *status == SessionStatus::Ready
}

#[tokio::test]
async fn a_consumer_comes_back_after_a_cut_and_old_acks_are_counted() {
    let (proxy, scratch) = (Proxy::start().await, Scratch::new());
    let broker = Broker::connect(&proxy.url("%2f")).await.expect("connect");
    let queue = scratch.queue("q");
    let session = broker.session("test");
    let mut consumer = consume(&session, classic(&queue), 10).await;
    broker
        .publisher()
        .publish(to_queue(&queue, "first"))
        .await
        .expect("stored");
    let held = next(&mut consumer).await;
    assert!(!held.redelivered);
    until(&session, is_ready).await;
    proxy.refuse(true);
    proxy.cut();
    let down = until(&session, |status| !is_ready(status)).await;
    let SessionStatus::Connecting { reason, .. } = down else {
        panic!("{down:?}");
    };
    assert!(!reason.is_empty());
    assert!(held.acker.is_stale());
    held.acker.ack();
    assert_eq!(session.stale_acks(), 1);
    proxy.refuse(false);
    let again = next(&mut consumer).await;
    assert!(again.redelivered);
    assert_eq!(&*again.payload, b"first");
    again.acker.ack();
    until(&session, is_ready).await;
    assert!(soon("flush", session.flush()).await);
    assert_eq!(session.stale_acks(), 1);
}

#[tokio::test]
async fn what_was_received_but_not_taken_is_not_handed_out_after_a_cut() {
    let (proxy, scratch) = (Proxy::start().await, Scratch::new());
    let broker = Broker::connect(&proxy.url("%2f")).await.expect("connect");
    let queue = scratch.queue("q");
    let session = broker.session("test");
    let mut consumer = consume(&session, classic(&queue), 10).await;
    for number in 0..5 {
        broker
            .publisher()
            .publish(to_queue(&queue, number.to_string()))
            .await
            .expect("stored");
    }
    proxy.cut();
    until(&session, |status| !is_ready(status)).await;
    until(&session, is_ready).await;
    for _ in 0..5 {
        assert!(next(&mut consumer).await.redelivered);
    }
}

#[tokio::test]
async fn publishing_says_whether_it_works_and_comes_back_unasked() {
    let (proxy, scratch) = (Proxy::start().await, Scratch::new());
    let broker = Broker::connect(&proxy.url("%2f")).await.expect("connect");
    let queue = scratch.queue("q");
    broker.declare(&classic(&queue)).await.expect("declare");
    let published = broker.publisher().publish(to_queue(&queue, "first")).await;
    published.expect("stored");
    assert_eq!(broker.publisher_status(), PublisherStatus::Ready);
    let becomes = async |wanted: &dyn Fn(PublisherStatus) -> bool| {
        while !wanted(broker.publisher_status()) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    proxy.refuse(true);
    proxy.cut();
    let is_down =
        |status| matches!(status, PublisherStatus::Connecting { reason } if !reason.is_empty());
    soon("the loss", becomes(&is_down)).await;
    proxy.refuse(false);
    let is_up = |status| status == PublisherStatus::Ready;
    soon("the return", becomes(&is_up)).await;
    broker.close().await;
    assert_eq!(broker.publisher_status(), PublisherStatus::Closed);
}

#[tokio::test]
async fn nothing_more_is_published_while_the_broker_does_not_answer() {
    let (proxy, scratch) = (Proxy::start().await, Scratch::new());
    let broker = Broker::connect(&proxy.url("%2f")).await.expect("connect");
    let queue = scratch.queue("q");
    broker.declare(&classic(&queue)).await.expect("declare");
    let publish = async |body: &str| broker.publisher().submit(to_queue(&queue, body)).await;
    publish("heard").await.await.expect("stored");
    proxy.hold_answers(true);
    let unheard = publish("unheard").await;
    let silence = async {
        while broker.publisher_status() != PublisherStatus::Silent {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    soon("the silence", silence).await;
    let late = publish("late").await;
    proxy.cut();
    let no_lines = async {
        while proxy.open_lines() > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    soon("the cut", no_lines).await;
    proxy.hold_answers(false);
    for receipt in [unheard, late] {
        soon("a confirm", receipt).await.expect("stored");
    }
    publish("end").await.await.expect("stored");
    let session = broker.session("test");
    let mut consumer = consume(&session, classic(&queue), 10).await;
    let mut stored = Vec::new();
    while stored.last().is_none_or(|body| body != "end") {
        stored.push(take(&mut consumer).await);
    }
    // the one whose confirm was lost is there twice
    assert_eq!(stored, ["heard", "unheard", "unheard", "late", "end"]);
}

#[tokio::test]
async fn a_publish_outlives_a_cut() {
    let (proxy, scratch) = (Proxy::start().await, Scratch::new());
    let broker = Broker::connect(&proxy.url("%2f")).await.expect("connect");
    let queue = scratch.queue("q");
    broker.declare(&classic(&queue)).await.expect("declare");
    let mut receipts = Vec::new();
    for number in 0..3_000 {
        if number % 1_000 == 500 {
            proxy.cut();
        }
        receipts.push(
            broker
                .publisher()
                .submit(to_queue(&queue, number.to_string()))
                .await,
        );
    }
    for receipt in receipts {
        soon("a verdict", receipt).await.expect("stored");
    }
    // each of them is there at least once
    let session = broker.session("test");
    let mut consumer = consume(&session, classic(&queue), 500).await;
    let mut missing: std::collections::HashSet<u32> = (0..3_000).collect();
    while !missing.is_empty() {
        missing.remove(&take(&mut consumer).await.parse().expect("number"));
    }
}

#[tokio::test]
async fn a_publish_without_a_connection_ends_at_its_deadline() {
    let (proxy, scratch) = (Proxy::start().await, Scratch::new());
    let limit = Duration::from_millis(600);
    let builder = Broker::builder(&proxy.url("%2f")).publish_timeout(limit);
    let broker = builder.connect().await.expect("connect");
    let queue = scratch.queue("q");
    broker.declare(&classic(&queue)).await.expect("declare");
    broker
        .publisher()
        .publish(to_queue(&queue, "x"))
        .await
        .expect("stored");
    proxy.refuse(true);
    proxy.cut();
    let start = Instant::now();
    let late = soon(
        "a verdict",
        broker.publisher().publish(to_queue(&queue, "x")),
    )
    .await;
    let error = late.expect_err("no connection");
    assert!(
        matches!(error.kind(), PublishErrorKind::Closed { .. }),
        "{error:?}"
    );
    assert!(error.is_transient() && error.may_have_been_stored());
    assert!(start.elapsed() < limit * 3, "{:?}", start.elapsed());
    proxy.refuse(false);
    soon("recovery", async {
        while broker
            .publisher()
            .publish(to_queue(&queue, "x"))
            .await
            .is_err()
        {}
    })
    .await;
}

#[tokio::test]
async fn a_blocked_broker_is_an_error_that_says_so_and_acks_go_through() {
    let (proxy, scratch) = (Proxy::start().await, Scratch::new());
    let builder = Broker::builder(&proxy.url("%2f")).publish_timeout(Duration::from_millis(500));
    let broker = builder.connect().await.expect("connect");
    let queue = scratch.queue("q");
    let session = broker.session("test");
    let mut consumer = consume(&session, classic(&queue), 10).await;
    let publish = |body| broker.publisher().publish(to_queue(&queue, body));
    publish("before").await.expect("stored");
    proxy.block(0, true);
    // the broker is blocked as soon as the client has read it, which it tells nobody
    let error = soon("the block", async {
        loop {
            if let Err(error) = publish("during").await {
                break error;
            }
        }
    })
    .await;
    let reason = "low on memory".to_owned();
    assert_eq!(*error.kind(), PublishErrorKind::Blocked { reason });
    let status = broker.publisher_status();
    assert_eq!(status.to_string(), "blocked by the broker: low on memory");
    assert!(error.is_transient() && error.may_have_been_stored());
    assert_eq!(take(&mut consumer).await, "before");
    assert!(soon("flush", session.flush()).await);
    proxy.block(0, false);
    soon("the end of the block", async {
        while publish("after").await.is_err() {}
    })
    .await;
    while take(&mut consumer).await != "after" {}
    // and a blocked connection does not keep the handle from closing
    proxy.block(0, true);
    soon("close", broker.close()).await;
}

#[tokio::test]
async fn a_queue_deleted_under_its_consumer_is_declared_again() {
    let (broker, scratch) = (broker().await, Scratch::new());
    let (queue, other) = (scratch.queue("q"), scratch.queue("other"));
    let session = broker.session("test");
    let mut consumer = consume(&session, classic(&queue), 10).await;
    let mut neighbour = consume(&session, classic(&other), 10).await;
    broker
        .publisher()
        .publish(to_queue(&other, "held"))
        .await
        .expect("stored");
    let held = next(&mut neighbour).await;
    until(&session, is_ready).await;
    Management::new().delete(&format!("queues/%2f/{queue}"));
    until(&session, |status| !is_ready(status)).await;
    until(&session, is_ready).await;
    broker
        .publisher()
        .publish(to_queue(&queue, "back"))
        .await
        .expect("stored");
    assert_eq!(take(&mut consumer).await, "back");
    // the neighbour's channel was left alone
    assert!(!held.acker.is_stale());
    held.acker.ack();
    assert!(soon("flush", session.flush()).await);
    assert_eq!(session.stale_acks(), 0);
}

#[tokio::test]
async fn a_connection_closed_by_the_operator_comes_back() {
    let scratch = Scratch::new();
    let program = scratch.name("operated");
    let broker = Broker::builder(&url())
        .program(&program)
        .connect()
        .await
        .expect("connect");
    let queue = scratch.queue("q");
    let session = broker.session("worker");
    let mut consumer = consume(&session, classic(&queue), 10).await;
    until(&session, is_ready).await;
    let closed = soon("the connections in the UI", async {
        loop {
            let closed = close_connections(&program);
            if closed >= 2 {
                return closed;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    });
    assert!(closed.await >= 2);
    broker
        .publisher()
        .publish(to_queue(&queue, "again"))
        .await
        .expect("stored");
    assert_eq!(take(&mut consumer).await, "again");
}

/// Closes all connections of a program through the management API, once it knows at least two; returns how many.
fn close_connections(program: &str) -> usize {
    let management = Management::new();
    let connections = management.get("connections");
    let ours: Vec<&str> = connections
        .as_array()
        .into_iter()
        .flatten()
        .filter(|one| {
            one["client_properties"]["connection_name"]
                .as_str()
                .is_some_and(|name| name.contains(program))
        })
        .filter_map(|one| one["name"].as_str())
        .collect();
    if ours.len() >= 2 {
        for name in &ours {
            let name = name.replace(' ', "%20").replace('>', "%3E");
            management.delete(&format!("connections/{name}"));
        }
    }
    ours.len()
}

#[tokio::test]
async fn dropping_every_handle_ends_every_connection() {
    let (proxy, scratch) = (Proxy::start().await, Scratch::new());
    let broker = Broker::connect(&proxy.url("%2f")).await.expect("connect");
    let queue = scratch.queue("q");
    let session = broker.session("test");
    let consumer = consume(&session, classic(&queue), 10).await;
    broker
        .publisher()
        .publish(to_queue(&queue, "x"))
        .await
        .expect("stored");
    assert!(proxy.open_lines() >= 2);
    drop((broker, session, consumer));
    soon("the end of the connections", async {
        while proxy.open_lines() > 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_proxy_that_hangs_up_is_a_protocol_error() {
    let proxy = Proxy::start().await;
    proxy.refuse(true);
    let builder = Broker::builder(&proxy.url("%2f")).connect_timeout(Duration::from_secs(5));
    let error = soon("an answer", builder.connect())
        .await
        .expect_err("hangs up");
    assert_eq!(error.kind(), ConnectErrorKind::Protocol, "{error:?}");
    assert!(error.is_transient());
}

/// lapin does not open a channel again whose number the broker closed: the connection is replaced when it comes to that.
#[tokio::test]
async fn more_refused_messages_than_a_connection_has_channels_do_no_lasting_harm() {
    let scratch = Scratch::new();
    let builder = Broker::builder(&format!("{}?channel_max=8", url()));
    let broker = builder.connect().await.expect("connect");
    let queue = scratch.queue("q");
    broker.declare(&classic(&queue)).await.expect("declare");
    for _ in 0..20 {
        let missing = through("no.such.exchange", "k", "x");
        let error = soon("a verdict", broker.publisher().publish(missing)).await;
        let error = error.expect_err("no exchange");
        assert!(
            matches!(error.kind(), PublishErrorKind::NoExchange { .. }),
            "{error:?}"
        );
    }
    soon(
        "a verdict",
        broker.publisher().publish(to_queue(&queue, "x")),
    )
    .await
    .expect("stored");
}

#[tokio::test]
async fn a_lone_message_is_not_blamed_for_the_end_of_the_connection() {
    let (proxy, scratch) = (Proxy::start().await, Scratch::new());
    let broker = Broker::connect(&proxy.url("%2f")).await.expect("connect");
    let queue = scratch.queue("q");
    broker.declare(&classic(&queue)).await.expect("declare");
    // large, so that it is still on its way when the connection is closed, as if over something else on it
    proxy.close_after(1 << 20);
    let large = to_queue(&queue, vec![0; 8 << 20]);
    let verdict = broker.publisher().publish(large);
    soon("a verdict", verdict).await.expect("stored");
    assert_eq!(proxy.accepted(), 2);
}

#[tokio::test]
async fn of_several_addresses_one_that_answers_is_enough() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("port");
    let place = listener.local_addr().expect("port").to_string();
    drop(listener);
    let closed = url_with("guest:guest", Some(&place), "%2f");
    let both = format!("{closed},{}", url());
    let broker = Broker::builder(&both).connect().await.expect("connect");
    let there = Address::parse(&url()).expect("valid");
    assert_eq!(broker.address(), &there);
    // and the error is about the last of them, should none answer
    let neither = format!("{closed},{closed}");
    let error = Broker::connect(&neither).await.expect_err("closed");
    assert_eq!(error.kind(), ConnectErrorKind::Unreachable);
}

#[tokio::test]
async fn a_consumer_comes_back_on_the_next_address() {
    let (proxy, scratch) = (Proxy::start().await, Scratch::new());
    let both = format!("{},{}", proxy.url("%2f"), url());
    let broker = Broker::connect(&both).await.expect("connect");
    let port = |url: &str| Address::parse(url).expect("valid").port();
    assert_eq!(broker.address().port(), port(&proxy.url("%2f")));
    let queue = scratch.queue("q");
    let session = broker.session("test");
    let mut consumer = consume(&session, classic(&queue), 10).await;
    until(&session, is_ready).await;
    assert_eq!(proxy.open_lines(), 2);
    proxy.refuse(true);
    proxy.cut();
    until(&session, |status| !is_ready(status)).await;
    until(&session, is_ready).await;
    assert_eq!(broker.address().port(), port(&url()));
    broker
        .publisher()
        .publish(to_queue(&queue, "elsewhere"))
        .await
        .expect("stored");
    assert_eq!(take(&mut consumer).await, "elsewhere");
    assert_eq!(proxy.open_lines(), 0);
}
