//! Declaring is repeatable; what differs, is missing or forbidden is named.

use coney_amqp::{Broker, DeclareErrorKind, Resource};
use coney_protocol::property::Table;
use coney_protocol::spec::QueueSpec;
use coney_protocol::topology::Preset;

use super::support::{Scratch, broker, classic, exchange, soon, to_queue, url, user};

#[tokio::test]
async fn a_whole_topology_is_declared_and_declared_again() {
    let (broker, scratch) = (broker().await, Scratch::new());
    let name = scratch.queue("emails");
    scratch.queue("emails.dead");
    let topology = Preset::Native.topology(&QueueSpec::from_name(name.clone().into()));
    for _ in 0..2 {
        soon("declare", broker.declare(&topology))
            .await
            .expect("declare");
    }
    broker
        .publisher()
        .publish(to_queue(&name, "x"))
        .await
        .expect("it exists");
    let checker = Broker::builder(&url())
        .declare(false)
        .connect()
        .await
        .expect("connect");
    assert!(!checker.may_declare());
    soon("check", checker.declare(&topology))
        .await
        .expect("it exists");
}

#[tokio::test]
async fn a_difference_names_queue_argument_wanted_and_found() {
    let (broker, scratch) = (broker().await, Scratch::new());
    let name = scratch.queue("limited");
    let mut topology = classic(&name);
    topology.queues[0].arguments = Table::new().with("x-max-length", 5i64);
    broker.declare(&topology).await.expect("declare");
    topology.queues[0].arguments = Table::new().with("x-max-length", 20i64);
    let error = broker.declare(&topology).await.expect_err("different");
    let DeclareErrorKind::Mismatch {
        resource,
        argument,
        wanted,
        found,
        ..
    } = error.kind()
    else {
        panic!("{error:?}");
    };
    assert_eq!(*resource, Resource::Queue(name.clone()));
    let difference = (argument.as_deref(), wanted.as_deref(), found.as_deref());
    assert_eq!(difference, (Some("x-max-length"), Some("20"), Some("5")));
    assert!(
        error
            .to_string()
            .contains("`x-max-length` is `5`, wanted `20`"),
        "{error}"
    );
    // the channel is gone, the connection is not
    topology.queues[0].arguments = Table::new().with("x-max-length", 5i64);
    broker.declare(&topology).await.expect("same as before");
}

#[tokio::test]
async fn an_exchange_of_another_kind_is_a_difference() {
    let (broker, scratch) = (broker().await, Scratch::new());
    let name = scratch.exchange("events");
    let mut topology = exchange(&name);
    broker.declare(&topology).await.expect("declare");
    topology.exchanges[0].kind = coney_protocol::topology::ExchangeKind::Fanout;
    let error = broker.declare(&topology).await.expect_err("different");
    assert!(
        error
            .to_string()
            .contains("`type` is `direct`, wanted `fanout`"),
        "{error}"
    );
}

#[tokio::test]
async fn what_is_missing_is_not_declared_by_a_program_that_may_not() {
    let scratch = Scratch::new();
    let name = scratch.queue("absent");
    let checker = Broker::builder(&url())
        .declare(false)
        .connect()
        .await
        .expect("connect");
    let error = checker.declare(&classic(&name)).await.expect_err("missing");
    let missing = DeclareErrorKind::Missing {
        resource: Resource::Queue(name.clone()),
        may_declare: false,
    };
    assert_eq!(*error.kind(), missing);
    assert!(error.to_string().contains("may not declare"), "{error}");
    let error = checker
        .declare(&classic(&name))
        .await
        .expect_err("still missing");
    assert_eq!(*error.kind(), missing);
}

#[tokio::test]
async fn a_user_without_permission_is_told_what_to_ask_for() {
    let scratch = Scratch::new();
    let url = user(&scratch, Some(["^$", ".*", ".*"]));
    let reader = Broker::connect(&url).await.expect("connect");
    let name = scratch.queue("forbidden");
    let error = reader
        .declare(&classic(&name))
        .await
        .expect_err("forbidden");
    let DeclareErrorKind::Permission { resource, .. } = error.kind() else {
        panic!("{error:?}");
    };
    assert_eq!(*resource, Resource::Queue(name));
    assert!(error.to_string().contains("declare(false)"), "{error}");
}

#[tokio::test]
async fn a_name_that_does_not_fit_is_an_error_and_no_panic() {
    let broker = broker().await;
    let error = broker
        .declare(&classic(&"q".repeat(256)))
        .await
        .expect_err("too long");
    assert!(
        matches!(error.kind(), DeclareErrorKind::InvalidName { .. }),
        "{error:?}"
    );
}
