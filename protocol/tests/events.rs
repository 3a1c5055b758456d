//! Events as Celery 5.7 put them on the wire (`golden/*.json`), read and written again; and some that are none.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use coney_protocol::event::{
    self, Attempt, Batch, Call, Event, EventError, MOST_IN_BATCH, MULTI_KEY, Revoked, Signal, What,
};
use coney_protocol::topology::{self, EVENT_EXCHANGE};
use proptest::prelude::*;
use serde_json::{Value as Json, json};

/// All recorded messages with events, each with the name of its file.
fn recorded() -> Vec<(String, Json)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("a file").path();
        let file: Json = serde_json::from_slice(&fs::read(&path).expect("a readable file"))
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let events = file["messages"].as_array().into_iter().flatten();
        let events = events.filter(|message| message["kind"] == "event");
        found.extend(events.map(|message| (path.display().to_string(), message.clone())));
    }
    found
}

fn body(message: &Json) -> &str {
    message["body_text"].as_str().expect("a text")
}

fn read(message: &Json) -> Vec<Event<'static>> {
    let events = event::decode(body(message).as_bytes());
    events
        .into_iter()
        .collect::<Result<_, _>>()
        .expect("only events")
}

/// Whole numbers as floats: Python writes `5` and `2.0` for the same member.
fn floats(json: Json) -> Json {
    match json {
        Json::Number(number) => json!(number.as_f64()),
        Json::Array(items) => items.into_iter().map(floats).collect(),
        Json::Object(members) => {
            let members = members.into_iter();
            Json::Object(members.map(|(name, value)| (name, floats(value))).collect())
        }
        other => other,
    }
}

#[test]
fn every_recorded_event_is_written_as_celery_writes_it() {
    let mut types = BTreeSet::new();
    for (file, message) in recorded() {
        let events = read(&message);
        types.extend(events.iter().map(|event| event.what.kind().to_owned()));
        let is_list = body(&message).starts_with('[');
        let (route, written) = match &events[..] {
            [event] if !is_list => (event.route(), event.encode()),
            events => {
                let mut batch = Batch::default();
                events.iter().for_each(|event| batch.push(event));
                (Batch::route(), batch.into_body())
            }
        };
        let written: Json = serde_json::from_slice(&written).expect("JSON");
        let expected: Json = serde_json::from_str(body(&message)).expect("JSON");
        assert_eq!(floats(written), floats(expected), "{file}");
        assert_eq!(message["exchange"], *route.exchange, "{file}");
        assert_eq!(message["routing_key"], *route.key, "{file}");
    }
    let expected = [
        "task-failed",
        "task-received",
        "task-rejected",
        "task-retried",
        "task-revoked",
        "task-sent",
        "task-started",
        "task-succeeded",
        "worker-heartbeat",
    ];
    for kind in expected {
        assert!(types.contains(kind), "no {kind} was recorded: {types:?}");
    }
}

#[test]
fn an_event_travels_with_the_properties_that_celery_gives_it() {
    for (file, message) in recorded() {
        let hostname = message["headers"]["hostname"].as_str().expect("a name");
        let properties = event::properties(hostname);
        let written = json!({
            "content_type": properties.content_type,
            "content_encoding": properties.content_encoding,
            "delivery_mode": if properties.persistent { 2 } else { 1 },
            "priority": properties.priority,
        });
        assert_eq!(message["properties"], written, "{file}");
        assert_eq!(properties.headers.len(), 1);
        let header = properties.headers.get("hostname");
        assert_eq!(header.and_then(|value| value.as_str()), Some(hostname));
        assert!(
            read(&message)
                .iter()
                .all(|event| event.hostname == hostname)
        );
    }
}

#[test]
fn the_exchange_and_the_queue_of_a_listener_are_those_of_celery() {
    let topology = topology::event_queue("celeryev.x", "#");
    let [exchange] = &topology.exchanges[..] else {
        panic!("one exchange expected");
    };
    assert_eq!((&*exchange.name, exchange.durable), (EVENT_EXCHANGE, true));
    let [queue] = &topology.queues[..] else {
        panic!("one queue expected");
    };
    assert!(!queue.durable && queue.exclusive && queue.auto_delete);
    let argument = |name| {
        queue
            .arguments
            .get(name)
            .and_then(coney_protocol::property::Value::as_i64)
    };
    assert_eq!(argument("x-expires"), Some(60_000));
    assert_eq!(argument("x-message-ttl"), Some(5_000));
}

#[test]
fn a_batch_is_full_at_celery_s_number_and_when_it_is_large() {
    let small = Event::new("w@h", 1, 1.0, What::TaskStarted { uuid: "1".into() });
    let mut batch = Batch::default();
    for _ in 1..MOST_IN_BATCH {
        batch.push(&small);
        assert!(!batch.is_full());
    }
    batch.push(&small);
    assert!(batch.is_full());
    assert_eq!(event::decode(&batch.into_body()).len(), MOST_IN_BATCH);

    let traceback = "x".repeat(100_000);
    let failed = Attempt::new("1", "E()", Some(traceback));
    let mut batch = Batch::default();
    batch.push(&Event::new("w@h", 1, 1.0, What::TaskFailed(failed)));
    assert!(batch.is_full());
    assert_eq!(Batch::default().into_body(), b"[]");
    assert_eq!(&*Batch::route().key, MULTI_KEY);
}

#[test]
fn what_is_no_event_fails_alone_and_is_told() {
    let list = json!([
        {"type": "task-started", "hostname": "w@h", "uuid": "1"},
        7,
        {"hostname": "w@h"},
        {"type": "task-started", "uuid": "1"},
        {"type": "task-started", "hostname": "w@h"},
        {"type": "task-started", "hostname": "w@h", "uuid": 4},
        {"type": "task-succeeded", "hostname": "w@h", "uuid": "1", "runtime": "long"},
        {"type": "task-strange", "hostname": "w@h", "colour": "red"},
    ]);
    let read = event::decode(list.to_string().as_bytes());
    let told: Vec<_> = read
        .iter()
        .map(|event| match event {
            Ok(event) => event.what.kind().to_owned(),
            Err(error) => error.to_string(),
        })
        .collect();
    let expected = [
        "task-started",
        "an event is a JSON object",
        "the event has no `type`",
        "the event has no `hostname`",
        "the event has no `uuid`",
        "the member `uuid` of the event has another type than it should",
        "the member `runtime` of the event has another type than it should",
        "task-strange",
    ];
    assert_eq!(told, expected);
    for broken in [&b""[..], b"{", b"\xff", b"[1,"] {
        assert!(matches!(
            event::decode(broken)[..],
            [Err(EventError::Json(_))]
        ));
    }
    assert!(event::decode(b"[]").is_empty());
}

#[test]
fn what_is_missing_and_can_be_missed_is_none() {
    let bare = br#"{"type": "task-received", "hostname": "w@h", "uuid": "1", "retries": null}"#;
    let mut events = event::decode(bare);
    let event = events.pop().expect("one").expect("an event");
    let mut expected = Call::default();
    expected.uuid = "1".into();
    assert_eq!(event.what, What::TaskReceived(expected));
    assert_eq!((event.pid, event.clock), (None, 0));
}

fn texts() -> impl Strategy<Value = String> {
    any::<String>()
}

/// Numbers that JSON keeps to the last bit.
fn seconds() -> impl Strategy<Value = f64> {
    any::<u32>().prop_map(|n| f64::from(n) / 64.0)
}

fn whats() -> impl Strategy<Value = What<'static>> {
    prop_oneof![
        (
            texts(),
            texts(),
            texts(),
            any::<Option<String>>(),
            any::<u32>()
        )
            .prop_map(|(uuid, name, args, root, retries)| {
                let mut call = Call::default();
                (call.uuid, call.name, call.args) = (uuid.into(), name.into(), args.into());
                (call.root_id, call.retries) = (root.map(Into::into), retries);
                What::TaskReceived(call)
            }),
        (texts(), texts(), any::<Option<String>>()).prop_map(|(uuid, exception, traceback)| {
            What::TaskRetried(Attempt::new(uuid, exception, traceback))
        }),
        (texts(), texts(), seconds()).prop_map(|(uuid, result, runtime)| What::TaskSucceeded {
            uuid: uuid.into(),
            result: result.into(),
            runtime,
        }),
        (texts(), any::<i64>()).prop_map(|(uuid, signal)| {
            What::TaskRevoked(Revoked::new(uuid).terminated(Some(Signal::Number(signal))))
        }),
        (texts(), texts()).prop_map(|(uuid, signal)| {
            let signal = Signal::Name(signal.into());
            What::TaskRevoked(Revoked::new(uuid).terminated(Some(signal)).expired())
        }),
    ]
}

proptest! {
    #[test]
    fn events_come_back_as_they_were_sent(
        all in prop::collection::vec((texts(), any::<u64>(), seconds(), whats()), 1..30)
    ) {
        let events: Vec<_> = all
            .into_iter()
            .map(|(host, clock, time, what)| Event::new(host, clock, time, what))
            .collect();
        let mut batch = Batch::default();
        events.iter().for_each(|event| batch.push(event));
        let read: Result<Vec<_>, _> = event::decode(&batch.into_body()).into_iter().collect();
        prop_assert_eq!(read.expect("all are events"), events);
    }

    #[test]
    fn no_body_makes_the_reader_fail(body in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = event::decode(&body);
    }
}
