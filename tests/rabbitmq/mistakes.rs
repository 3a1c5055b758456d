//! What a user can get wrong is a typed error that names the thing and says what to do next.

use std::time::{Duration, Instant};

use coney::prelude::*;
use coney::{BuildProblem, ConnectErrorKind, SendErrorKind};

use crate::support::{Vhost, place, told, within};
use crate::tasks;

#[tokio::test]
async fn a_login_that_fails_says_why_and_never_shows_the_password() {
    let vhost = Vhost::new();
    let user = vhost.user(".*", ".*", ".*");
    for (url, kind, words) in [
        (
            vhost.url_for(&format!("{user}:hunter2")),
            ConnectErrorKind::Authentication,
            &["user"][..],
        ),
        (
            format!("amqp://guest:guest@{}/no-such-vhost", place().amqp),
            ConnectErrorKind::VhostMissing,
            &["no-such-vhost", "add_vhost"],
        ),
        (
            "amqp://guest:hunter2@127.0.0.1:1/".to_owned(),
            ConnectErrorKind::Unreachable,
            &["127.0.0.1:1"],
        ),
        (
            "http://guest:hunter2@127.0.0.1/".to_owned(),
            ConnectErrorKind::Url,
            &["amqp"],
        ),
    ] {
        let error = within("an error", Broker::connect(&url))
            .await
            .expect_err("it fails");
        assert_eq!(error.kind(), kind, "{error}");
        let all = format!("{} {error:?}", told(&error));
        assert!(!all.contains("hunter2"), "the password shows: {all}");
        for word in words {
            assert!(told(&error).contains(word), "`{error}` does not say {word}");
        }
    }
}

#[tokio::test]
async fn a_broker_that_does_not_answer_is_given_up_in_time() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    let port = listener.local_addr().expect("bound").port();
    let limit = Duration::from_millis(300);
    let builder = Broker::builder(&format!("amqp://127.0.0.1:{port}")).connect_timeout(limit);
    let started = Instant::now();
    let error = within("an error", builder.connect())
        .await
        .expect_err("nobody answers");
    assert_eq!(error.kind(), ConnectErrorKind::Timeout, "{error}");
    assert!(started.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn tls_to_a_plain_port_is_a_clear_error() {
    let url = format!("amqps://{}", place().amqp);
    let error = within("an error", Broker::connect(&url))
        .await
        .expect_err("no TLS there");
    assert_eq!(error.kind(), ConnectErrorKind::Tls, "{error}");
}

#[tokio::test]
async fn missing_permissions_are_named() {
    let vhost = Vhost::new();
    let _worker = vhost.worker(|w| w.task::<tasks::add>()).await;
    let reader = vhost.user("", "", ".*");
    let broker = Broker::builder(&vhost.url_for(&format!("{reader}:secret")))
        .declare(false)
        .connect()
        .await
        .expect("a user may connect");
    let client = Client::new(&broker);
    let call = tasks::add::call(1, 1).ignore_result(true);
    let error = call.send(&client).await.expect_err("no write permission");
    assert!(matches!(error.kind(), SendErrorKind::Publish(_)), "{error}");
    assert!(told(&error).contains("coney.tasks"), "{error}");
    let broker = crate::support::connect(&vhost.url_for(&format!("{reader}:secret"))).await;
    let call = tasks::add::call(1, 1).ignore_result(true);
    let error = call
        .send(&Client::new(&broker))
        .await
        .expect_err("no configure permission");
    assert!(matches!(error.kind(), SendErrorKind::Declare(_)), "{error}");
    assert!(told(&error).contains("configure"), "{error}");
}

#[tokio::test]
async fn a_queue_that_is_not_there_is_an_error_of_the_caller() {
    let vhost = Vhost::new();
    let client = vhost.client().await;
    let call = client
        .call_by_name("x", serde_json::json!([]))
        .queue_named("nowhere");
    let error = call.send(&client).await.expect_err("no queue");
    assert!(told(&error).contains("nowhere"), "{error}");
    let endless = "q".repeat(300);
    let call = client
        .call_by_name("x", serde_json::json!([]))
        .queue_named(endless);
    let error = call.send(&client).await.expect_err("too long a name");
    assert!(matches!(error.kind(), SendErrorKind::Encode(_)), "{error}");
    let call = tasks::add::call(1, 1).header("retries", 7);
    let error = call
        .send(&client)
        .await
        .expect_err("a header of the protocol");
    assert!(told(&error).contains("retries"), "{error}");
}

#[tokio::test]
async fn a_worker_that_cannot_work_is_not_built() {
    let vhost = Vhost::new();
    let broker = vhost.broker().await;
    let error = Worker::builder(&broker).build().expect_err("no tasks");
    assert_eq!(error.problems(), [BuildProblem::NoTasks]);
    let error = Worker::builder(&broker)
        .task::<tasks::wait_at_gate>()
        .task::<tasks::send_child>()
        .queue_spec(tasks::Fast::SPEC.concurrency(0))
        .build()
        .expect_err("three problems");
    let text = told(&error);
    assert_eq!(error.problems().len(), 3, "{text}");
    assert!(
        text.contains("task `coney.wait_at_gate` needs `State<"),
        "{text}"
    );
    assert!(text.contains("`.state(..)`"), "{text}");
}
