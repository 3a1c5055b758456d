//! Monitors are told what becomes of tasks and which workers are there, in Celery's words.

use std::time::Duration;

use coney::EventStream;
use coney::prelude::*;
use coney::protocol::event::{self, Event, What};
use coney::protocol::property::{Properties, Value};
use serde_json::json;

use crate::support::{RunningWorker, Vhost, within};
use crate::tasks::{self, Runs};

/// A worker that tells of tasks from the start.
async fn telling_worker(vhost: &Vhost, runs: &Runs) -> RunningWorker {
    let set_up = |w: coney::WorkerBuilder| {
        w.name("kitchen@home")
            .task_events(true)
            .state(runs.clone())
            .task::<tasks::add>()
            .task::<tasks::refuse>()
            .task::<tasks::succeed_at>()
    };
    vhost.worker(set_up).await
}

/// Events up to and with the first that `is_last` says is the last.
async fn until(
    stream: &mut EventStream,
    is_last: impl Fn(&What<'_>) -> bool,
) -> Vec<Event<'static>> {
    let mut seen = Vec::new();
    loop {
        let event = within("an event", stream.next()).await.expect("open");
        let last = is_last(&event.what);
        seen.push(event);
        if last {
            return seen;
        }
    }
}

/// The types of the events of the worker about a task.
fn of_task<'e>(events: &'e [Event<'_>], id: &str) -> Vec<&'e str> {
    events
        .iter()
        .filter(|event| event.hostname == "kitchen@home" && event.what.task() == Some(id))
        .map(|event| event.what.kind())
        .collect()
}

fn is_end(what: &What<'_>) -> bool {
    matches!(
        what,
        What::TaskSucceeded { .. } | What::TaskFailed(_) | What::TaskRevoked(_)
    )
}

#[tokio::test]
async fn a_monitor_sees_what_becomes_of_a_task_and_who_runs_it() {
    let vhost = Vhost::new();
    let client = vhost.client().await;
    let mut stream = within("a stream", client.events()).await.expect("open");
    let worker = telling_worker(&vhost, &Runs::default()).await;
    let handle = tasks::add::call(2, 3).send(&client).await.expect("sent");
    let id = handle.id().to_string();
    let events = until(&mut stream, is_end).await;
    assert!(matches!(events[0].what, What::WorkerOnline(_)));
    assert_eq!(
        of_task(&events, &id),
        ["task-received", "task-started", "task-succeeded"]
    );
    for event in &events {
        match &event.what {
            What::TaskReceived(call) => {
                assert_eq!(call.name, <tasks::add as coney::Task>::SPEC.name);
                assert_eq!((&*call.args, &*call.kwargs), ("()", "{'x': 2, 'y': 3}"));
                assert_eq!(call.root_id.as_deref(), Some(&*id));
            }
            What::TaskSucceeded {
                result, runtime, ..
            } => {
                assert_eq!(result, "5");
                assert!((0.0..5.0).contains(runtime));
            }
            _ => {}
        }
    }
    worker.stop().await.expect("a good end");
    let rest = until(&mut stream, |what| matches!(what, What::WorkerOffline(_))).await;
    let clocks: Vec<_> = events
        .iter()
        .chain(&rest)
        .map(|event| event.clock)
        .collect();
    assert!(clocks.is_sorted_by(|a, b| a < b), "{clocks:?}");
    let Some(What::WorkerOffline(vitals)) = rest.last().map(|event| &event.what) else {
        panic!("{rest:?}");
    };
    assert_eq!((vitals.active, vitals.processed), (Some(0), Some(1)));
    assert_eq!(vitals.sw_ident, "coney");
}

#[tokio::test]
async fn a_monitor_sees_every_attempt_and_why_it_failed() {
    let vhost = Vhost::new();
    let client = vhost.client().await;
    let mut stream = within("a stream", client.events()).await.expect("open");
    let _worker = telling_worker(&vhost, &Runs::default()).await;
    let call = tasks::succeed_at::call("a".into(), 2);
    let id = call.send(&client).await.expect("sent").id().to_string();
    let mut kinds = of_task(&until(&mut stream, is_end).await, &id)
        .into_iter()
        .map(ToOwned::to_owned)
        .collect::<Vec<_>>();
    kinds.sort();
    // the second attempt may be received before the end of the first is told
    let expected = [
        "task-received",
        "task-received",
        "task-retried",
        "task-started",
        "task-started",
        "task-succeeded",
    ];
    assert_eq!(kinds, expected);

    tasks::refuse::call(0).send(&client).await.expect("sent");
    let events = until(&mut stream, is_end).await;
    let Some(What::TaskFailed(attempt)) = events.last().map(|event| &event.what) else {
        panic!("{events:?}");
    };
    assert!(attempt.exception.starts_with("Refusal("), "{attempt:?}");
    assert!(attempt.traceback.is_some());
}

#[tokio::test]
async fn a_monitor_sees_a_task_that_comes_too_late() {
    let vhost = Vhost::new();
    let client = vhost.client().await;
    let mut stream = within("a stream", client.events()).await.expect("open");
    // sent before any worker is there: it has expired when one comes
    let call = tasks::add::call(1, 1).expires(Duration::from_millis(1));
    let id = call.send(&client).await.expect("sent").id().to_string();
    let _worker = telling_worker(&vhost, &Runs::default()).await;
    let events = until(&mut stream, is_end).await;
    let Some(What::TaskRevoked(revoked)) = events.last().map(|event| &event.what) else {
        panic!("{events:?}");
    };
    assert_eq!((&*revoked.uuid, revoked.expired), (&*id, true));
    assert!(!revoked.terminated);
    assert_eq!(of_task(&events, &id), ["task-revoked"]);
}

#[tokio::test]
async fn a_monitor_is_told_of_sent_tasks_on_request() {
    let vhost = Vhost::new();
    let _worker = telling_worker(&vhost, &Runs::default()).await;
    let client = Client::builder(&vhost.broker().await)
        .sent_events(true)
        .build();
    let mut stream = within("a stream", client.events()).await.expect("open");
    let handle = tasks::add::call(2, 3).send(&client).await.expect("sent");
    let events = until(&mut stream, |what| matches!(what, What::TaskSent(_))).await;
    let sent = events.last().expect("one");
    assert!(sent.hostname.starts_with("gen"));
    let What::TaskSent(call) = &sent.what else {
        panic!("{sent:?}");
    };
    assert_eq!(*call.uuid, handle.id().to_string());
    assert_eq!(
        (&*call.name, &*call.kwargs),
        (<tasks::add as coney::Task>::SPEC.name, "{'x': 2, 'y': 3}")
    );
    let to = call.sent_to.as_ref().expect("somewhere");
    assert_eq!(
        (&*to.queue, &*to.exchange, &*to.routing_key),
        ("fast", "coney.tasks", "fast")
    );
    client.close().await;
}

#[tokio::test]
async fn nothing_is_told_of_tasks_unless_somebody_asks() {
    let vhost = Vhost::new();
    let client = vhost.client().await;
    let mut stream = within("a stream", client.events()).await.expect("open");
    let worker = vhost.worker(|w| w.task::<tasks::add>()).await;
    let handle = tasks::add::call(2, 3).send(&client).await.expect("sent");
    handle.result().timeout(secs(10)).await.expect("a result");
    worker.stop().await.expect("a good end");
    let events = until(&mut stream, |what| matches!(what, What::WorkerOffline(_))).await;
    assert!(events.iter().all(|event| event.what.task().is_none()));
}

#[tokio::test]
async fn what_is_no_event_does_not_end_a_stream() {
    let vhost = Vhost::new();
    let client = vhost.client().await;
    let mut stream = within("a stream", client.events()).await.expect("open");
    let started = |id: &str| json!({"type": "task-started", "hostname": "w@h", "uuid": id});
    let bodies = [
        b"\xff".to_vec(),
        json!([1, started("a"), {"type": "task-started"}])
            .to_string()
            .into_bytes(),
        started("b").to_string().into_bytes(),
    ];
    let publisher = vhost.broker().await;
    for body in bodies {
        let mut properties = Properties::default();
        properties.headers.insert("hostname", Value::from("w@h"));
        let route = coney::protocol::topology::event_route(event::MULTI_KEY);
        let publication = coney::amqp::Publication::new(route, properties, body);
        publisher
            .publisher()
            .publish(publication)
            .await
            .expect("taken");
    }
    let seen = until(&mut stream, |what| what.task() == Some("b")).await;
    let ids: Vec<_> = seen.iter().filter_map(|event| event.what.task()).collect();
    assert_eq!(ids, ["a", "b"]);
    stream.close().await;
}
