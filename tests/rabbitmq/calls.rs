//! A typed call travels through the broker, and its typed result or failure comes back.

use coney::prelude::*;
use coney::protocol::property::Properties;
use coney::{ResultErrorKind, SendErrorKind};
use serde_json::json;

use crate::support::{Vhost, told, within};
use crate::tasks::{self, Gate, Refusal};

#[tokio::test]
async fn a_value_comes_back_typed() {
    let vhost = Vhost::new();
    let worker = vhost
        .worker(|w| {
            w.task::<tasks::add>()
                .task::<tasks::greet>()
                .task::<tasks::sum_up_to>()
        })
        .await;
    let client = vhost.client().await;
    let status = client.status();
    assert!(status.is_ready(), "{status}");
    assert_eq!(status.results, None);
    let sum = tasks::add::call(2, 3).send(&client).await.expect("sent");
    let status = client.status();
    assert_eq!(status.to_string(), "sending: ready; results: ready");
    assert_eq!(
        within("sum", sum.result().into_future())
            .await
            .expect("a sum"),
        5
    );
    let greeting = tasks::greet::call("Ada".into(), None)
        .send(&client)
        .await
        .expect("sent");
    assert_eq!(
        greeting.result().timeout(secs(10)).await.expect("text"),
        "hello Ada"
    );
    let blocking = tasks::sum_up_to::call(1000)
        .send(&client)
        .await
        .expect("sent");
    assert_eq!(
        blocking.result().timeout(secs(10)).await.expect("a sum"),
        500_500
    );
    // the result stays with the handle
    assert_eq!(
        blocking.result().timeout(secs(10)).await.expect("a sum"),
        500_500
    );
    worker.stop().await.expect("a clean stop");
}

#[tokio::test]
async fn a_failure_comes_back_as_the_tasks_own_error() {
    let vhost = Vhost::new();
    let _worker = vhost
        .worker(|w| {
            w.task::<tasks::refuse>()
                .task::<tasks::any_error>()
                .task::<tasks::anyhow_error>()
        })
        .await;
    let client = vhost.client().await;
    let handle = tasks::refuse::call(7).send(&client).await.expect("sent");
    let error = handle
        .result()
        .timeout(secs(10))
        .await
        .expect_err("refused");
    assert_eq!(error.task_error(), Some(Refusal::NoUser(7)));
    let failure = error.failure().expect("the task failed");
    assert_eq!(
        (&*failure.kind, &*failure.message),
        ("Refusal", "no such user: 7")
    );
    assert!(told(&error).contains("no such user: 7"), "{error}");

    let handle = tasks::any_error::call("many".into())
        .send(&client)
        .await
        .expect("sent");
    let error = handle
        .result()
        .timeout(secs(10))
        .await
        .expect_err("not a number");
    assert_eq!(error.failure().map(|f| &*f.kind), Some("ParseIntError"));

    let handle = tasks::anyhow_error::call()
        .send(&client)
        .await
        .expect("sent");
    let error = handle.result().timeout(secs(10)).await.expect_err("fails");
    assert_eq!(
        (error.message().as_str(), error.chain()),
        ("outer", &["inner".to_owned()][..])
    );
}

#[tokio::test]
async fn a_panic_is_a_failure_and_harms_nobody_else() {
    let vhost = Vhost::new();
    let worker = vhost
        .worker(|w| {
            w.task::<tasks::panics>()
                .task::<tasks::blocking_panic>()
                .task::<tasks::add>()
        })
        .await;
    let client = vhost.client().await;
    let handle = tasks::panics::call("no ink".into())
        .send(&client)
        .await
        .expect("sent");
    let error = handle
        .result()
        .timeout(secs(10))
        .await
        .expect_err("a panic");
    let failure = error.failure().expect("a failure");
    assert_eq!((&*failure.kind, &*failure.message), ("Panic", "no ink"));
    let handle = tasks::blocking_panic::call()
        .send(&client)
        .await
        .expect("sent");
    let error = handle
        .result()
        .timeout(secs(10))
        .await
        .expect_err("a panic");
    assert_eq!(error.message(), "out of paper");
    let handle = tasks::add::call(1, 1).send(&client).await.expect("sent");
    assert_eq!(handle.result().timeout(secs(10)).await.expect("a sum"), 2);
    worker.stop().await.expect("a clean stop");
}

#[tokio::test]
async fn progress_is_seen_in_order_before_the_result() {
    let vhost = Vhost::new();
    let _worker = vhost
        .worker(|w| {
            w.task::<tasks::count_to>()
                .task::<tasks::blocking_count_to>()
        })
        .await;
    let client = vhost.client().await;
    let handle = tasks::count_to::call(5).send(&client).await.expect("sent");
    let mut progress = handle.progress();
    let mut seen = Vec::new();
    while let Some(state) = within("progress", progress.next()).await {
        assert_eq!(state.name(), "PROGRESS");
        let value: serde_json::Value = state.value().expect("json");
        seen.push(value["current"].as_u64().expect("a number"));
    }
    // whatever was told before the stream was asked for, the last of it is there
    assert!(seen.is_sorted() && seen.last() == Some(&5), "{seen:?}");
    assert_eq!(handle.result().timeout(secs(10)).await.expect("done"), 5);
    let handle = tasks::blocking_count_to::call(3)
        .send(&client)
        .await
        .expect("sent");
    assert_eq!(handle.result().timeout(secs(10)).await.expect("done"), 3);
    let last = within("progress", handle.progress().next())
        .await
        .expect("the last state");
    assert_eq!(last.value::<u32>().expect("a number"), 3);
}

#[tokio::test]
async fn a_batch_has_one_outcome_for_each_call() {
    let vhost = Vhost::new();
    let _worker = vhost.worker(|w| w.task::<tasks::add>()).await;
    let client = vhost.client().await;
    let calls = (0..500).map(|n| {
        let call = tasks::add::call(n, n);
        if n % 100 == 7 {
            call.queue_named("nowhere")
        } else {
            call
        }
    });
    let outcomes = client.send_all(calls).await;
    assert_eq!(outcomes.len(), 500);
    for (n, outcome) in outcomes.into_iter().enumerate() {
        match outcome {
            Ok(handle) => {
                let sum = handle.result().timeout(secs(20)).await.expect("a sum");
                assert_eq!(sum, 2 * i64::try_from(n).expect("small"));
            }
            Err(error) => {
                assert_eq!(n % 100, 7, "{error}");
                assert!(told(&error).contains("nowhere"), "{error}");
            }
        }
    }
}

#[tokio::test]
async fn a_task_can_be_called_by_name() {
    let vhost = Vhost::new();
    let _worker = vhost.worker(|w| w.task::<tasks::add>()).await;
    let client = vhost.client().await;
    for arguments in [json!([20, 22]), json!({"x": 20, "y": 22})] {
        let call = client
            .call_by_name("coney.add", arguments)
            .queue_named("fast");
        let handle = call.send(&client).await.expect("sent");
        assert_eq!(
            handle.result().timeout(secs(10)).await.expect("a sum"),
            json!(42)
        );
    }
    let error = client
        .call_by_name("coney.add", json!("x"))
        .send(&client)
        .await
        .expect_err("no arguments");
    assert!(matches!(error.kind(), SendErrorKind::Encode(_)), "{error}");
}

#[tokio::test]
async fn typed_celery_values_reach_rust_types() {
    let vhost = Vhost::new();
    let _worker = vhost.worker(|w| w.task::<tasks::typed>()).await;
    let client = vhost.client().await;
    let value = json!({
        "at": {"__type__": "datetime", "__value__": "2030-01-02T03:04:05.678901+00:00"},
        "id": {"__type__": "uuid", "__value__": {"hex": "00000000000000000000000000000005"}},
        "bytes": {"__type__": "base64", "__value__": "/wA="},
    });
    let call = client
        .call_by_name("coney.typed", json!([value]))
        .queue_named("fast");
    let handle = call.send(&client).await.expect("sent");
    let back: tasks::Typed = serde_json::from_value(
        handle
            .result()
            .timeout(secs(10))
            .await
            .expect("typed values"),
    )
    .expect("plain values");
    assert_eq!(back.bytes, [255, 0]);
    assert_eq!(back.id, uuid::Uuid::from_u128(5));
}

#[tokio::test]
async fn a_caller_that_gives_up_can_ask_again() {
    let vhost = Vhost::new();
    let gate = Gate::closed();
    let _worker = vhost
        .worker(|w| w.state(gate.clone()).task::<tasks::wait_at_gate>())
        .await;
    let client = vhost.client().await;
    let handle = tasks::wait_at_gate::call()
        .send(&client)
        .await
        .expect("sent");
    gate.wait_started(1).await;
    let limit = std::time::Duration::from_millis(20);
    let error = handle.result().timeout(limit).await.expect_err("too early");
    assert!(matches!(error.kind(), ResultErrorKind::Timeout { after } if *after == limit));
    gate.open.add_permits(1);
    assert_eq!(
        handle.result().timeout(secs(10)).await.expect("through"),
        "through"
    );
}

#[tokio::test]
async fn a_dropped_handle_frees_its_place() {
    let vhost = Vhost::new();
    let gate = Gate::closed();
    let _worker = vhost
        .worker(|w| w.state(gate.clone()).task::<tasks::wait_at_gate>())
        .await;
    let client = vhost.client().await;
    let handles = client
        .send_all((0..100).map(|_| tasks::wait_at_gate::call()))
        .await;
    assert_eq!(client.in_flight(), 100);
    drop(handles);
    assert_eq!(client.in_flight(), 0);
    gate.open.add_permits(101);
    // late results of forgotten calls disturb nobody
    let handle = tasks::wait_at_gate::call()
        .send(&client)
        .await
        .expect("sent");
    assert_eq!(
        handle.result().timeout(secs(10)).await.expect("through"),
        "through"
    );
}

#[tokio::test]
async fn a_result_that_nobody_wants_is_not_sent() {
    let vhost = Vhost::new();
    let gate = Gate::closed();
    let _worker = vhost
        .worker(|w| w.state(gate.clone()).task::<tasks::quiet_gate>())
        .await;
    let client = vhost.client().await;
    let handle = tasks::quiet_gate::call().send(&client).await.expect("sent");
    let error = handle
        .result()
        .timeout(secs(10))
        .await
        .expect_err("ignored");
    assert!(matches!(error.kind(), ResultErrorKind::Ignored), "{error}");
    gate.wait_started(1).await;
    gate.open.add_permits(1);
}

#[tokio::test]
async fn closing_a_client_wakes_who_waits_and_leaves_nothing_behind() {
    let vhost = Vhost::new();
    let broker = vhost.broker().await;
    let client = Client::new(&broker);
    let handle = tasks::multiply::call(6, 7)
        .send(&client)
        .await
        .expect("sent");
    let waiting = handle.result().into_future();
    let both = async { tokio::join!(waiting, client.close()) };
    let (result, ()) = within("the caller is told", both).await;
    let error = result.expect_err("closed");
    assert!(matches!(error.kind(), ResultErrorKind::Closed), "{error}");
    let queues = vhost.shows("queues").to_string();
    assert!(!queues.contains("coney.reply."), "{queues}");
}

#[tokio::test]
async fn a_reply_that_cannot_be_read_is_a_failure_and_not_a_silence() {
    let vhost = Vhost::new();
    let client = vhost.client().await;
    let handle = tasks::multiply::call(6, 7)
        .send(&client)
        .await
        .expect("sent");
    let request = vhost.take("fast").await;
    let mut properties = Properties::default();
    properties.correlation_id = Some(handle.id().to_string());
    let reply_to = request.properties.reply_to.clone().expect("a reply queue");
    request.acker.ack();
    vhost
        .publish_raw(
            &reply_to,
            properties,
            r#"{"status": "SUCCESS", "result": NaN}"#,
        )
        .await;
    let error = handle
        .result()
        .timeout(secs(10))
        .await
        .expect_err("no JSON");
    assert_eq!(
        error.failure().map(|f| &*f.kind),
        Some("UnreadableReply"),
        "{error}"
    );
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused_at_send() {
    let vhost = Vhost::new();
    let client = vhost.client().await;
    let call = tasks::greet::call("x".repeat(2 * 1024 * 1024), None);
    let error = call.send(&client).await.expect_err("too large");
    assert!(
        matches!(
            error.kind(),
            SendErrorKind::TooLarge {
                limit: 1_048_576,
                ..
            }
        ),
        "{error}"
    );
}

#[tokio::test]
async fn one_id_is_in_flight_once() {
    let vhost = Vhost::new();
    let client = vhost.client().await;
    let first = tasks::multiply::call(1, 1)
        .id("order-7")
        .send(&client)
        .await
        .expect("sent");
    let error = tasks::multiply::call(1, 1)
        .id("order-7")
        .send(&client)
        .await
        .expect_err("twice");
    assert!(
        matches!(error.kind(), SendErrorKind::DuplicateId(_)),
        "{error}"
    );
    drop(first);
    let again = tasks::multiply::call(1, 1)
        .id("order-7")
        .send(&client)
        .await;
    assert!(again.is_ok());
}

#[tokio::test]
async fn an_argument_that_panics_is_a_failure_like_any_other() {
    let vhost = Vhost::new();
    let worker = vhost.worker(|w| w.task::<tasks::carry>()).await;
    let client = vhost.client().await;
    let handle = tasks::carry::call(tasks::Explosive(true))
        .send(&client)
        .await
        .expect("sent");
    let error = handle
        .result()
        .timeout(secs(10))
        .await
        .expect_err("a panic");
    assert_eq!(error.message(), "handle with care");
    let handle = tasks::carry::call(tasks::Explosive(false))
        .send(&client)
        .await
        .expect("sent");
    assert!(!handle.result().timeout(secs(10)).await.expect("carried"));
    worker.stop().await.expect("a clean stop");
}

#[tokio::test]
async fn a_call_sent_after_the_client_was_closed_does_not_wait_for_ever() {
    let vhost = Vhost::new();
    let client = vhost.client().await;
    drop(
        tasks::multiply::call(1, 1)
            .send(&client)
            .await
            .expect("sent"),
    );
    client.close().await;
    let handle = tasks::multiply::call(1, 1)
        .send(&client)
        .await
        .expect("sent all the same");
    let error = within("the caller is told", handle.result().into_future())
        .await
        .expect_err("closed");
    assert!(matches!(error.kind(), ResultErrorKind::Closed), "{error}");
}
