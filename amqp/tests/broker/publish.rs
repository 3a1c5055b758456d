//! A publish returns after the broker's word about that very message, and one bad message harms nobody else.

use std::sync::Arc;
use std::time::Duration;

use coney_amqp::{Address, Broker, PublishError, PublishErrorKind};
use coney_protocol::property::{Table, Value};
use coney_protocol::topology::ExchangeKind;
use serde_json::json;
use tokio::sync::Semaphore;

use super::management::Management;
use super::support::{
    Scratch, broker, classic, consume, exchange, next, persistent, soon, take, through, to_queue,
    url, user,
};

async fn refused(broker: &Broker, publication: coney_amqp::Publication) -> PublishError {
    let publish = broker.publisher().publish(publication);
    soon("a verdict", publish).await.expect_err("refused")
}

#[tokio::test]
async fn a_confirmed_message_is_in_the_queue() {
    let (broker, scratch) = (broker().await, Scratch::new());
    let queue = scratch.queue("q");
    broker.declare(&classic(&queue)).await.expect("declare");
    for body in ["one", "two", "three"] {
        broker
            .publisher()
            .publish(to_queue(&queue, body))
            .await
            .expect("stored");
    }
    let session = broker.session("test");
    let mut consumer = consume(&session, classic(&queue), 10).await;
    for body in ["one", "two", "three"] {
        assert_eq!(take(&mut consumer).await, body);
    }
}

#[tokio::test]
async fn submitted_messages_keep_their_order() {
    let (broker, scratch) = (broker().await, Scratch::new());
    let queue = scratch.queue("q");
    broker.declare(&classic(&queue)).await.expect("declare");
    let mut receipts = Vec::new();
    for number in 0..2_000 {
        receipts.push(
            broker
                .publisher()
                .submit(to_queue(&queue, number.to_string()))
                .await,
        );
    }
    for receipt in receipts {
        soon("a receipt", receipt).await.expect("stored");
    }
    let session = broker.session("test");
    let mut consumer = consume(&session, classic(&queue), 200).await;
    for number in 0..2_000 {
        assert_eq!(take(&mut consumer).await, number.to_string());
    }
}

#[tokio::test]
async fn a_message_for_no_queue_is_an_error_unless_it_is_optional() {
    let broker = broker().await;
    let error = refused(&broker, to_queue("no.such.queue", "x")).await;
    let unroutable = PublishErrorKind::Unroutable {
        exchange: String::new(),
        routing_key: "no.such.queue".into(),
    };
    assert_eq!(*error.kind(), unroutable);
    assert!(!error.may_have_been_stored() && !error.is_transient());
    let optional = to_queue("no.such.queue", "x").optional();
    soon("a verdict", broker.publisher().publish(optional))
        .await
        .expect("nobody minds");
}

#[tokio::test]
async fn a_full_queue_rejects() {
    let (broker, scratch) = (broker().await, Scratch::new());
    let queue = scratch.queue("full");
    let mut topology = classic(&queue);
    topology.queues[0].arguments = Table::new()
        .with("x-max-length", 1i64)
        .with("x-overflow", "reject-publish");
    broker.declare(&topology).await.expect("declare");
    broker
        .publisher()
        .publish(to_queue(&queue, "fits"))
        .await
        .expect("stored");
    let error = refused(&broker, to_queue(&queue, "does not")).await;
    assert!(
        matches!(error.kind(), PublishErrorKind::Rejected { .. }),
        "{error:?}"
    );
    assert!(error.is_transient());
}

#[tokio::test]
async fn of_many_at_once_each_gets_its_own_verdict() {
    let (broker, scratch) = (broker().await, Scratch::new());
    let (good, full) = (scratch.queue("good"), scratch.queue("full"));
    broker.declare(&classic(&good)).await.expect("declare");
    let mut topology = classic(&full);
    topology.queues[0].arguments = Table::new()
        .with("x-max-length", 1i64)
        .with("x-overflow", "reject-publish");
    broker.declare(&topology).await.expect("declare");
    broker
        .publisher()
        .publish(to_queue(&full, "full"))
        .await
        .expect("stored");
    let tasks: Vec<_> = (0..3_000u32)
        .map(|number| {
            let publisher = broker.publisher().clone();
            let publication = match number % 10 {
                3 | 7 => to_queue("no.such.queue", "x"),
                5 => to_queue(&full, "x"),
                _ => to_queue(&good, number.to_string()),
            };
            tokio::spawn(async move { (number, publisher.publish(publication).await) })
        })
        .collect();
    for task in tasks {
        let (number, verdict) = soon("a verdict", task).await.expect("no panic");
        match (number % 10, verdict.as_ref().map_err(PublishError::kind)) {
            (3 | 7, Err(PublishErrorKind::Unroutable { .. })) => {}
            (5, Err(PublishErrorKind::Rejected { .. })) => {}
            (0..=2 | 4 | 6 | 8 | 9, Ok(())) => {}
            _ => panic!("{number}: {verdict:?}"),
        }
    }
}

#[tokio::test]
async fn a_missing_exchange_harms_no_neighbour() {
    let (broker, scratch) = (broker().await, Scratch::new());
    let queue = scratch.queue("q");
    broker.declare(&classic(&queue)).await.expect("declare");
    let mut receipts = Vec::new();
    for number in 0..1_000 {
        let publication = match number % 100 {
            50 => through("no.such.exchange", "k", "x"),
            _ => to_queue(&queue, number.to_string()),
        };
        receipts.push((number, broker.publisher().submit(publication).await));
    }
    for (number, receipt) in receipts {
        let verdict = soon("a verdict", receipt).await;
        match (number % 100, verdict.as_ref().map_err(PublishError::kind)) {
            (50, Err(PublishErrorKind::NoExchange { exchange })) => {
                assert_eq!(exchange, "no.such.exchange");
            }
            (50, _) | (_, Err(_)) => panic!("{number}: {verdict:?}"),
            _ => {}
        }
    }
}

#[tokio::test]
async fn a_message_the_broker_objects_to_fails_alone_even_if_nothing_names_it() {
    let (broker, scratch) = (broker().await, Scratch::new());
    let queue = scratch.queue("q");
    broker.declare(&classic(&queue)).await.expect("declare");
    let mut receipts = Vec::new();
    for number in 0..60 {
        let mut publication = to_queue(&queue, number.to_string());
        if number % 20 == 10 {
            // not a number: RabbitMQ closes the channel (406) without saying which message it was
            publication.properties.expiration = Some("soon".into());
        }
        receipts.push((number, broker.publisher().submit(publication).await));
    }
    for (number, receipt) in receipts {
        let verdict = soon("a verdict", receipt).await;
        let refused = matches!(
            verdict.as_ref().map_err(PublishError::kind),
            Err(PublishErrorKind::Refused { .. })
        );
        assert_eq!(refused, number % 20 == 10, "{number}: {verdict:?}");
        assert!(refused || verdict.is_ok(), "{number}: {verdict:?}");
    }
}

#[tokio::test]
async fn a_user_without_write_permission_is_told_so() {
    let (owner, scratch) = (broker().await, Scratch::new());
    let name = scratch.exchange("orders");
    owner.declare(&exchange(&name)).await.expect("declare");
    let url = user(&scratch, Some(["^$", "^$", ".*"]));
    let reader = Broker::connect(&url).await.expect("connect");
    let error = refused(&reader, through(&name, "k", "x")).await;
    assert!(
        matches!(error.kind(), PublishErrorKind::Permission { .. }),
        "{error:?}"
    );
    assert!(error.to_string().contains("write permission"), "{error}");
}

#[tokio::test]
async fn a_routing_key_without_topic_permission_harms_no_neighbour() {
    let (owner, scratch) = (broker().await, Scratch::new());
    let (name, queue) = (scratch.exchange("topics"), scratch.queue("q"));
    let mut topology = exchange(&name);
    topology.exchanges[0].kind = ExchangeKind::Topic;
    owner.declare(&topology).await.expect("declare");
    owner.declare(&classic(&queue)).await.expect("declare");
    let bindings = format!("bindings/%2f/e/{name}/q/{queue}");
    Management::new().request("POST", &bindings, &json!({"routing_key": "#"}));
    let url = user(&scratch, Some(["^$", ".*", ".*"]));
    let user = Address::parse(&url).expect("valid").user().to_owned();
    let rights = json!({"exchange": name, "write": "^good", "read": ".*"});
    let path = format!("topic-permissions/%2f/{user}");
    Management::new().request("PUT", &path, &rights);
    let writer = Broker::connect(&url).await.expect("connect");
    let mut receipts = Vec::new();
    for number in 0..100 {
        let key = if number % 25 == 10 { "bad" } else { "good" };
        let publication = through(&name, key, number.to_string());
        receipts.push((key, writer.publisher().submit(publication).await));
    }
    for (key, receipt) in receipts {
        let verdict = soon("a verdict", receipt).await;
        match (key, verdict.as_ref().map_err(PublishError::kind)) {
            ("good", Ok(())) => {}
            ("bad", Err(PublishErrorKind::Permission { detail })) => {
                assert!(detail.contains("topic 'bad'"), "{detail}");
            }
            _ => panic!("{key}: {verdict:?}"),
        }
    }
}

#[tokio::test]
async fn names_and_headers_that_do_not_fit_are_errors_and_no_panics() {
    let (broker, scratch) = (broker().await, Scratch::new());
    let queue = scratch.queue("q");
    broker.declare(&classic(&queue)).await.expect("declare");
    let long = "x".repeat(256);
    let error = refused(&broker, to_queue(&long, "x")).await;
    assert!(
        matches!(error.kind(), PublishErrorKind::InvalidName { .. }),
        "{error:?}"
    );
    let mut publication = to_queue(&queue, "x");
    publication.properties.correlation_id = Some(long);
    let error = refused(&broker, publication).await;
    assert!(
        matches!(error.kind(), PublishErrorKind::InvalidName { .. }),
        "{error:?}"
    );
    let mut publication = to_queue(&queue, "x");
    publication
        .properties
        .headers
        .insert("big", "x".repeat(200_000));
    let error = refused(&broker, publication).await;
    assert!(
        matches!(error.kind(), PublishErrorKind::TooLarge { .. }),
        "{error:?}"
    );
    broker
        .publisher()
        .publish(to_queue(&queue, "x"))
        .await
        .expect("the connection lives");
}

#[tokio::test]
async fn headers_as_large_as_a_frame_get_through() {
    let (broker, scratch) = (broker().await, Scratch::new());
    let queue = scratch.queue("q");
    broker.declare(&classic(&queue)).await.expect("declare");
    let mut publication = to_queue(&queue, "x");
    // the frame holds 131,072 bytes; the rest of the header takes about a hundred
    let large = "x".repeat(130_900);
    publication
        .properties
        .headers
        .insert("large", large.clone());
    soon("a verdict", broker.publisher().publish(publication))
        .await
        .expect("stored");
    let session = broker.session("test");
    let mut consumer = consume(&session, classic(&queue), 1).await;
    let (properties, _, acker) = next(&mut consumer).await.into_parts();
    acker.ack();
    assert_eq!(
        properties.headers.get("large").and_then(Value::as_str),
        Some(&*large)
    );
}

#[tokio::test]
async fn a_message_larger_than_the_broker_takes_fails_alone() {
    let (broker, scratch) = (broker().await, Scratch::new());
    let queue = scratch.queue("q");
    broker.declare(&classic(&queue)).await.expect("declare");
    let publisher = broker.publisher();
    let before = publisher.submit(to_queue(&queue, "before")).await;
    let huge = publisher.submit(to_queue(&queue, vec![0; 129 << 20])).await;
    let after = publisher.submit(to_queue(&queue, "after")).await;
    soon("a verdict", before).await.expect("stored");
    let error = soon("a verdict", huge).await.expect_err("too large");
    assert!(
        matches!(error.kind(), PublishErrorKind::TooLarge { .. }),
        "{error:?}"
    );
    soon("a verdict", after).await.expect("stored");
}

#[tokio::test]
async fn properties_and_headers_keep_their_types_across_the_broker() {
    let (broker, scratch) = (broker().await, Scratch::new());
    let queue = scratch.queue("q");
    broker.declare(&classic(&queue)).await.expect("declare");
    let mut properties = persistent();
    properties.content_type = Some("application/json".into());
    properties.content_encoding = Some("utf-8".into());
    properties.priority = Some(3);
    properties.correlation_id = Some("c".into());
    properties.reply_to = Some("r".into());
    properties.expiration = Some("60000".into());
    properties.message_id = Some("m".into());
    properties.timestamp = Some(1_700_000_000);
    properties.headers = Table::new()
        .with("a", Value::Null)
        .with("b", true)
        .with("c", Value::I8(-1))
        .with("d", Value::I16(-300))
        .with("e", Value::I32(-70_000))
        .with("f", Value::I64(i64::MIN))
        .with("g", Value::F32(0.5))
        .with("h", Value::F64(0.25))
        .with(
            "i",
            Value::Decimal {
                scale: 2,
                value: 314,
            },
        )
        .with("j", "text ü")
        .with("k", Value::RawText(vec![0xff, 0xfe]))
        .with("l", Value::Bytes(vec![0, 1, 2]))
        .with("m", Value::Timestamp(1_700_000_000))
        .with(
            "n",
            Value::List(vec![Value::I32(1), Value::Text("x".into())]),
        )
        .with(
            "o",
            Value::Table(Table::new().with("p", Value::List(vec![]))),
        );
    let mut publication = to_queue(&queue, "x");
    publication.properties = properties.clone();
    broker
        .publisher()
        .publish(publication)
        .await
        .expect("stored");
    let session = broker.session("test");
    let mut consumer = consume(&session, classic(&queue), 1).await;
    let delivery = next(&mut consumer).await;
    assert_eq!(delivery.properties, properties);
    assert_eq!((&*delivery.exchange, &*delivery.routing_key), ("", &*queue));
    delivery.acker.ack();
}

#[tokio::test]
async fn the_same_id_twice_at_once_is_told_apart() {
    let (broker, scratch) = (broker().await, Scratch::new());
    let queue = scratch.queue("q");
    broker.declare(&classic(&queue)).await.expect("declare");
    let mut good = to_queue(&queue, "x");
    good.properties.message_id = Some("same".into());
    let mut bad = to_queue("no.such.queue", "x");
    bad.properties.message_id = Some("same".into());
    let publisher = broker.publisher();
    let mut receipts = Vec::new();
    for _ in 0..20 {
        receipts.push((true, publisher.submit(good.clone()).await));
        receipts.push((false, publisher.submit(bad.clone()).await));
    }
    for (is_good, receipt) in receipts {
        assert_eq!(soon("a verdict", receipt).await.is_ok(), is_good);
    }
}

#[tokio::test]
async fn closing_publishes_what_was_submitted() {
    let (broker, scratch) = (broker().await, Scratch::new());
    let queue = scratch.queue("q");
    broker.declare(&classic(&queue)).await.expect("declare");
    let mut receipts = Vec::new();
    for number in 0..500 {
        receipts.push(
            broker
                .publisher()
                .submit(to_queue(&queue, number.to_string()))
                .await,
        );
    }
    soon("close", broker.close()).await;
    for receipt in receipts {
        soon("a verdict", receipt).await.expect("stored");
    }
    let late = soon(
        "a verdict",
        broker.publisher().publish(to_queue(&queue, "late")),
    )
    .await;
    let error = late.expect_err("closed");
    assert!(
        matches!(error.kind(), PublishErrorKind::Closed { .. }),
        "{error:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_message_submitted_while_the_handle_closes_gets_a_verdict() {
    let scratch = Scratch::new();
    let queue = scratch.queue("q");
    let owner = broker().await;
    owner.declare(&classic(&queue)).await.expect("declare");
    for _ in 0..20 {
        let broker = broker().await;
        let publisher = broker.publisher().clone();
        let stored = Arc::new(Semaphore::new(0));
        let tasks: Vec<_> = (0..4)
            .map(|_| {
                let (publisher, queue) = (publisher.clone(), queue.clone());
                let stored = Arc::clone(&stored);
                tokio::spawn(async move {
                    while publisher.publish(to_queue(&queue, "x")).await.is_ok() {
                        stored.add_permits(1);
                    }
                })
            })
            .collect();
        let under_way = stored.acquire_many(8);
        drop(soon("publishing is under way", under_way).await);
        soon("close", broker.close()).await;
        for task in tasks {
            soon("a verdict", task).await.expect("no panic");
        }
    }
}

#[tokio::test]
async fn several_publishing_tasks_keep_the_order_of_a_routing_key() {
    let scratch = Scratch::new();
    let broker = Broker::builder(&url())
        .publishers(3)
        .publish_timeout(Duration::from_secs(15));
    let broker = broker.connect().await.expect("connect");
    let queues: Vec<_> = (0..5)
        .map(|number| scratch.queue(&format!("q{number}")))
        .collect();
    for queue in &queues {
        broker.declare(&classic(queue)).await.expect("declare");
    }
    let mut receipts = Vec::new();
    for number in 0..500usize {
        let publication = to_queue(&queues[number % 5], (number / 5).to_string());
        receipts.push(broker.publisher().submit(publication).await);
    }
    for receipt in receipts {
        soon("a verdict", receipt).await.expect("stored");
    }
    let session = broker.session("test");
    for queue in &queues {
        let mut consumer = consume(&session, classic(queue), 50).await;
        for number in 0..100 {
            assert_eq!(take(&mut consumer).await, number.to_string());
        }
    }
}
