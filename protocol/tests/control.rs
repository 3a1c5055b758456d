//! Remote control as Celery 5.7 put it on the wire (`golden/control_*.json`): requests are read and written again, and
//! what coney replies has the members that a Python worker's reply has.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use coney_protocol::control::answer::{
    ExchangeInfo, Hello, PoolInfo, QueueInfo, Scheduled, Stats, Word,
};
use coney_protocol::control::reply::{self, NodeReply};
use coney_protocol::control::request::Request;
use coney_protocol::control::task_info::{DeliveryInfo, Show, TaskInfo};
use coney_protocol::control::{clock_of, mailbox};
use coney_protocol::header::Header;
use coney_protocol::id::TaskId;
use coney_protocol::message::{Body, Message};
use coney_protocol::property::{Properties, Table, Value};
use coney_protocol::topology::{ExchangeKind, Topology};
use serde_json::value::RawValue;
use serde_json::{Value as Json, json};

const NODE: &str = "w1@wire.example";

fn golden(case: &str) -> Json {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/{case}.json"));
    let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_str(&text).expect("a capture is JSON")
}

fn cases() -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let names = fs::read_dir(folder).expect("a folder").map(|entry| {
        let name = entry.expect("an entry").file_name();
        name.to_string_lossy().trim_end_matches(".json").to_owned()
    });
    let mut cases: Vec<_> = names.filter(|name| name.starts_with("control_")).collect();
    cases.sort();
    assert!(cases.len() > 50, "{cases:?}");
    cases
}

fn messages(capture: &Json, kind: &str) -> Vec<Json> {
    let all = capture["messages"].as_array().expect("messages");
    let wanted = all.iter().filter(|message| message["kind"] == kind);
    wanted.cloned().collect()
}

/// The reply of the first worker in a capture.
fn value(case: &str) -> Json {
    messages(&golden(case), "reply")[0]["body_json"][NODE].clone()
}

fn properties(message: &Json) -> Properties {
    let mut properties = Properties::default();
    properties.content_type = Some("application/json".into());
    properties.content_encoding = Some("utf-8".into());
    properties.persistent = message["properties"]["delivery_mode"] == 2;
    properties.priority = Some(0);
    let headers = message["headers"].as_object().expect("headers").iter();
    properties.headers = headers
        .map(|(name, json)| {
            let value = match json {
                Json::String(text) => text.clone().into(),
                Json::Number(number) if message["header_types"][name] == "I" => {
                    Value::I32(number.as_i64().expect("short").try_into().expect("short"))
                }
                Json::Number(number) => number.as_f64().expect("a number").into(),
                other => panic!("{name}: {other}"),
            };
            (name.clone().into(), value)
        })
        .collect();
    properties
}

#[test]
fn every_request_is_read_and_written_again() {
    for case in cases() {
        let capture = golden(&case);
        for message in messages(&capture, "control") {
            let recorded = properties(&message);
            let body = message["body_text"].as_str().expect("a text");
            let request = Request::decode(&recorded, body.as_bytes())
                .unwrap_or_else(|error| panic!("{case}: {error}"));
            assert_eq!(request.method, message["body_json"]["method"], "{case}");
            let (mut written, again) = request.encode(clock_of(&recorded.headers), None);
            let expires = recorded.headers.get("expires").cloned();
            written
                .headers
                .insert("expires", expires.expect("every request says it"));
            assert_eq!(written, recorded, "{case}");
            let again: Json = serde_json::from_slice(&again).expect("JSON");
            assert_eq!(again, message["body_json"], "{case}");
        }
    }
}

#[test]
fn every_reply_is_read_and_written_again() {
    for case in cases() {
        for message in messages(&golden(&case), "reply") {
            let recorded = properties(&message);
            let body = message["body_text"].as_str().expect("a text");
            let replies = NodeReply::decode(body.as_bytes()).expect("a reply");
            let ticket = recorded.headers.get("ticket").and_then(Value::as_str);
            let time = clock_of(&recorded.headers);
            let only = &replies[0];
            let (written, again) = reply::encode(&only.node, &only.value, ticket, time);
            assert_eq!(sorted(written), recorded, "{case}");
            let again: Json = serde_json::from_slice(&again).expect("JSON");
            assert_eq!(again, message["body_json"], "{case}");
        }
    }
}

/// With headers in the order in which the captures have them.
fn sorted(mut properties: Properties) -> Properties {
    let mut headers: Vec<_> = properties.headers.into_iter().collect();
    headers.sort_by(|one, other| one.0.cmp(&other.0));
    properties.headers = headers.into_iter().collect();
    properties
}

#[test]
fn requests_are_for_those_whom_they_name() {
    for (case, is_meant) in [
        ("control_ping", true),
        ("control_ping_destination", true),
        ("control_ping_other_destination", false),
        ("control_ping_pattern", true),
    ] {
        let message = &messages(&golden(case), "control")[0];
        let body = message["body_text"].as_str().expect("a text");
        let request = Request::decode(&properties(message), body.as_bytes()).expect("a request");
        assert_eq!(request.to.include(NODE), is_meant, "{case}");
    }
}

/// A message of the task that a capture shows, as its sender would have sent it.
fn message(info: &Json) -> Message {
    let mut header = Header::new(
        info["type"].as_str().expect("a name"),
        TaskId::from(info["id"].as_str().expect("an id")),
    );
    let priority = &info["delivery_info"]["priority"];
    header.priority = priority.as_u64().and_then(|level| level.try_into().ok());
    if let (Some(args), Some(kwargs)) = (info["args"].as_str(), info["kwargs"].as_str()) {
        header.args_repr = Some(args.to_owned());
        header.kwargs_repr = Some(kwargs.to_owned());
        return Message::new(header, Body::json("[[],{},{}]"));
    }
    let body = json!([info["args"], info["kwargs"], {}]).to_string();
    Message::new(header, Body::json(body))
}

fn waiting(info: &Json) -> TaskInfo {
    let show = if info["args"].is_string() {
        Show::Texts
    } else {
        Show::Values
    };
    let delivery = DeliveryInfo::new("", "celery", false);
    TaskInfo::waiting(&message(info), NODE, delivery, show)
}

fn running(info: &Json) -> TaskInfo {
    let since = info["time_start"].as_f64().expect("a time");
    let since = std::time::UNIX_EPOCH + std::time::Duration::from_secs_f64(since);
    let pid = info["worker_pid"].as_u64().expect("a pid");
    waiting(info).running(since, pid.try_into().expect("a pid"), true)
}

/// A task as JSON, with the start in whole microseconds: a float has no more.
fn json_of(info: TaskInfo) -> Json {
    rounded(serde_json::to_value(info).expect("JSON"))
}

fn rounded(mut info: Json) -> Json {
    if let Some(start) = info["time_start"].as_f64() {
        info["time_start"] = json!((start * 1e6).round());
    }
    info
}

#[test]
fn tasks_are_shown_as_a_python_worker_shows_them() {
    for case in ["control_active", "control_active_safe"] {
        for info in value(case).as_array().expect("a list") {
            assert_eq!(json_of(running(info)), rounded(info.clone()), "{case}");
        }
    }
    for info in value("control_reserved").as_array().expect("a list") {
        assert_eq!(json_of(waiting(info)), *info);
    }
    let scheduled = &value("control_scheduled")[0];
    let eta = scheduled["eta"].as_str().expect("a time").to_owned();
    let shown = Scheduled::new(eta, waiting(&scheduled["request"]));
    assert_eq!(serde_json::to_value(shown).expect("JSON"), *scheduled);
}

#[test]
fn queues_are_shown_as_a_python_worker_shows_them() {
    let captured = value("control_active_queues_after");
    let shown = [
        ("celery", "celery", ExchangeKind::Direct, "celery"),
        (
            "wire.extra",
            "wire.extra",
            ExchangeKind::Direct,
            "wire.extra",
        ),
        ("wire.extra2", "wire.ex2", ExchangeKind::Topic, "a.#"),
    ]
    .map(|(name, exchange, kind, key)| {
        QueueInfo::new(
            name,
            ExchangeInfo::new(exchange, kind, true),
            key,
            &Table::new(),
        )
    });
    assert_eq!(serde_json::to_value(&shown).expect("JSON"), captured);
    let again: Vec<QueueInfo> = serde_json::from_value(captured).expect("queues");
    assert_eq!(again, shown);
    let quorum = Table::new()
        .with("x-queue-type", "quorum")
        .with("x-delivery-limit", 20);
    let exchange = ExchangeInfo::new("e", ExchangeKind::Direct, true);
    let shown = QueueInfo::new("q", exchange, "q", &quorum).queue_arguments;
    assert_eq!(
        shown,
        Some(json!({"x-queue-type": "quorum", "x-delivery-limit": 20}))
    );
}

#[test]
fn stats_have_the_members_that_those_of_a_python_worker_have() {
    let names = |json: &Json| -> BTreeSet<String> {
        json.as_object()
            .expect("an object")
            .keys()
            .cloned()
            .collect()
    };
    let captured = value("control_stats");
    let mut stats = Stats::default();
    stats.pool = PoolInfo::new(2, 1, 26_624, 3);
    let shown = serde_json::to_value(&stats).expect("JSON");
    assert_eq!(names(&shown), names(&captured));
    assert_eq!(names(&shown["pool"]), names(&captured["pool"]));
    assert_eq!(
        names(&shown["pool"]["writes"]),
        names(&captured["pool"]["writes"])
    );
    let again: Stats = serde_json::from_value(captured).expect("stats");
    assert_eq!((again.clock.as_str(), again.prefetch_count), ("61", 9));
}

#[test]
fn words_and_greetings_have_their_form() {
    let said = |word: Word| serde_json::to_value(word).expect("JSON");
    assert_eq!(said(Word::Ok("pong".into())), value("control_ping"));
    let unknown = Word::Error("unknown task".into());
    assert_eq!(said(unknown), value("control_rate_limit_unknown"));
    let hello: Hello = serde_json::from_value(value("control_hello")).expect("a greeting");
    assert_eq!(hello.revoked.last().map(String::as_str), Some("revoked-id"));
    assert_eq!(
        serde_json::to_value(hello).expect("JSON"),
        value("control_hello")
    );
    let null = RawValue::from_string("null".to_owned()).expect("JSON");
    let (_, body) = reply::encode("w", &null, None, 1);
    assert_eq!(body, br#"{"w":null}"#);
}

/// What was declared under `name`, without what is the same everywhere.
fn declared(case: &str, method: &str, name: &str) -> Json {
    let capture = golden(case);
    let methods = capture["topology"].as_array().expect("methods");
    let part = method.split('.').next().expect("a class");
    let found = methods
        .iter()
        .find(|m| m["method"] == method && m[part] == name);
    found
        .unwrap_or_else(|| panic!("{case}: no {method} of {name}"))
        .clone()
}

fn check_declared(topology: &Topology, case: &str) {
    for exchange in &topology.exchanges {
        let captured = declared(case, "exchange.declare", &exchange.name);
        let kind = match exchange.kind {
            ExchangeKind::Fanout => "fanout",
            _ => "direct",
        };
        assert_eq!(captured["type"], kind);
        assert_eq!(captured["durable"], exchange.durable);
    }
    for queue in &topology.queues {
        let captured = declared(case, "queue.declare", &queue.name);
        let flags = (queue.durable, queue.exclusive, queue.auto_delete);
        assert_eq!(flags, (false, true, true));
        assert_eq!(captured["exclusive"], true);
        for (name, value) in queue.arguments.iter() {
            assert_eq!(captured["argument_types"][name], "I");
            assert_eq!(captured["arguments"][name].as_i64(), value.as_i64());
        }
        assert_eq!(
            captured["arguments"].as_object().map(serde_json::Map::len),
            Some(2)
        );
        let bound = declared(case, "queue.bind", &queue.name);
        assert_eq!(bound["exchange"], *topology.bindings[0].exchange);
        assert_eq!(bound["routing_key"], *topology.bindings[0].key);
    }
}

#[test]
fn exchanges_and_queues_are_declared_as_celery_does() {
    check_declared(
        &mailbox::reply_queue("67902366-83ad-3f0a-ab44-f42ea6ff8ecd"),
        "control_ping",
    );
    check_declared(&mailbox::outbox(), "control_ping");
}
