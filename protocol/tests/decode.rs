//! What a worker must take, what it must refuse, and that refusing leaves all that is needed to answer.

mod zlib;

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use coney_protocol::codec::body::RawCall;
use coney_protocol::codec::{Limits, typed};
use coney_protocol::error::DecodeError;
use coney_protocol::header::{Header, TimeLimit};
use coney_protocol::id::TaskId;
use coney_protocol::message::{Body, Message};
use coney_protocol::property::{Properties, Table, Value};
use coney_protocol::wire::{self, Undecoded};
use zlib::deflate;

const EMPTY: &str = r#"[[],{},{"callbacks":null,"errbacks":null,"chain":null,"chord":null}]"#;

fn properties(headers: Table) -> Properties {
    let mut properties = Properties::default();
    properties.content_type = Some("application/json".into());
    properties.content_encoding = Some("utf-8".into());
    properties.headers = headers;
    properties
}

fn needed() -> Table {
    Table::new().with("task", "wire.add").with("id", "some-id")
}

fn decode(headers: Table, body: &str) -> Result<Message, Box<Undecoded>> {
    wire::decode(
        properties(headers),
        Bytes::copy_from_slice(body.as_bytes()),
        &Limits::default(),
    )
}

fn header(headers: Table) -> Header {
    decode(headers, EMPTY).expect("a good message").header
}

fn error(headers: Table, body: &str) -> DecodeError {
    decode(headers, body).expect_err("a bad message").error
}

#[test]
fn task_and_id_are_enough_and_null_means_absent() {
    let bare = header(needed());
    assert_eq!(bare, Header::new("wire.add", TaskId::from("some-id")));
    let mut nulls = needed();
    for name in coney_protocol::header::names::CELERY {
        if nulls.get(name).is_none() {
            nulls.insert(name, Value::Null);
        }
    }
    assert_eq!(header(nulls), bare);
}

#[test]
fn integers_of_every_width_count_and_are_held_to_their_range() {
    for three in [
        Value::I8(3),
        Value::U8(3),
        Value::I16(3),
        Value::U16(3),
        Value::I32(3),
        Value::U32(3),
        Value::I64(3),
        Value::F64(3.0),
    ] {
        let read = header(
            needed()
                .with("retries", three.clone())
                .with("group_index", three.clone())
                .with("replaced_task_nesting", three.clone())
                .with("timelimit", Value::List(vec![three.clone(), Value::Null])),
        );
        assert_eq!(
            (read.retries, read.group_index, read.replaced_task_nesting),
            (3, Some(3), 3)
        );
        let hard = Some(Duration::from_secs(3));
        assert_eq!(read.time_limit, TimeLimit::new(hard, None), "{three:?}");
    }
    let retries = |value: Value| header(needed().with("retries", value)).retries;
    assert_eq!(retries(Value::I64(-1)), 0);
    assert_eq!(retries(Value::I64(i64::MIN)), 0);
    assert_eq!(retries(Value::I64(i64::MAX)), u32::MAX);
    assert_eq!(retries(Value::F64(1e300)), u32::MAX);
}

#[test]
fn a_time_limit_may_be_a_fraction_and_zero_or_a_lifetime_is_none() {
    let soft = |value: Value| {
        let limits = Value::List(vec![Value::Null, value]);
        header(needed().with("timelimit", limits)).time_limit.soft
    };
    assert_eq!(soft(Value::F64(0.25)), Some(Duration::from_millis(250)));
    assert_eq!(soft(Value::F32(0.5)), Some(Duration::from_millis(500)));
    let decimal = Value::Decimal {
        scale: 1,
        value: 15,
    };
    assert_eq!(soft(decimal), Some(Duration::from_millis(1500)));
    assert_eq!(soft(Value::I32(0)), None);
    assert_eq!(soft(Value::F64(f64::INFINITY)), None);
    assert_eq!(soft(Value::I64(i64::MAX)), None);
    assert_eq!(
        header(needed().with("timelimit", Value::List(Vec::new()))).time_limit,
        TimeLimit::default()
    );
}

#[test]
fn an_amqp_timestamp_is_a_time_as_it_is_for_py_amqp() {
    let read = header(needed().with("eta", Value::Timestamp(7)));
    assert_eq!(
        read.eta,
        Some(SystemTime::UNIX_EPOCH + Duration::from_secs(7))
    );
}

#[test]
fn a_header_of_the_wrong_type_is_refused_by_name() {
    let list = || Value::List(vec![Value::I32(1)]);
    let many = Value::List(vec![Value::I32(1), Value::I32(1), Value::I32(1)]);
    for (name, value) in [
        ("task", Value::I32(5)),
        ("id", Value::RawText(vec![0xff])),
        ("id", Value::I64(5)),
        ("eta", "soon".into()),
        ("eta", "".into()),
        ("eta", Value::I32(5)),
        ("expires", "2026-02-30T00:00:00".into()),
        ("expires", Value::Timestamp(u64::MAX)),
        ("group", Value::I32(5)),
        ("group_index", "1".into()),
        ("group_index", Value::F64(0.5)),
        ("retries", "1".into()),
        ("retries", Value::Bool(true)),
        ("retries", Value::F64(f64::NAN)),
        ("timelimit", Value::I32(5)),
        ("timelimit", list()),
        ("timelimit", many),
        ("timelimit", Value::List(vec!["1".into(), Value::Null])),
        ("timelimit", Value::List(vec![Value::I32(-1), Value::Null])),
        (
            "timelimit",
            Value::List(vec![Value::F64(f64::NAN), Value::Null]),
        ),
        ("root_id", list()),
        ("parent_id", Value::Table(Table::new())),
        ("ignore_result", "yes".into()),
        ("replaced_task_nesting", "1".into()),
        ("stamped_headers", "tenant".into()),
        ("stamped_headers", list()),
        ("stamps", list()),
        ("compression", Value::I32(5)),
    ] {
        let found = error(needed().with(name, value.clone()), EMPTY);
        let DecodeError::Header { name: named, .. } = found else {
            panic!("{name} {value:?}: {found}");
        };
        assert_eq!(named, name, "{value:?}");
    }
}

#[test]
fn a_header_that_is_only_shown_never_costs_a_task() {
    let read = header(
        needed()
            .with("lang", Value::I32(5))
            .with("shadow", Value::Bool(true))
            .with("origin", Value::RawText(vec![b'g', 0xff]))
            .with(
                "argsrepr",
                Value::RawText("(h\u{e9}".as_bytes()[..3].to_vec()),
            )
            .with("kwargsrepr", Value::Table(Table::new())),
    );
    assert_eq!(
        (read.lang, read.shadow, read.kwargs_repr),
        (None, None, None)
    );
    assert_eq!(read.origin.as_deref(), Some("g\u{fffd}"));
    assert_eq!(read.args_repr.as_deref(), Some("(h\u{fffd}"));
}

#[test]
fn what_rabbitmq_wrote_is_dropped_and_what_the_caller_wrote_is_kept() {
    let callers = Table::new()
        .with("x-tenant", "acme")
        .with("x-death-note", Value::U16(7))
        .with("traceparent", "00-0-0-00")
        .with("nothing", Value::Null)
        .with("nested", Value::Table(Table::new().with("a", Value::I8(1))));
    let mut headers = needed();
    for (name, value) in callers.iter() {
        headers.insert(name.to_owned(), value.clone());
    }
    for name in [
        "x-death",
        "x-first-death-exchange",
        "x-first-death-queue",
        "x-first-death-reason",
        "x-last-death-exchange",
        "x-last-death-queue",
        "x-last-death-reason",
        "x-delivery-count",
        "x-acquired-count",
    ] {
        headers.insert(name, Value::I64(1));
    }
    let message = decode(headers, EMPTY).expect("a good message");
    assert_eq!(message.header.extra, callers);
    let (written, _) = wire::encode(&message);
    for (name, value) in callers.iter() {
        assert_eq!(written.headers.get(name), Some(value));
    }
    assert_eq!(written.headers.len(), 2 + callers.len());
}

#[test]
fn no_header_of_the_callers_own_takes_the_place_of_one_of_celery() {
    let mut message = decode(needed(), EMPTY).expect("a good message");
    message.header.extra.insert("task", "other");
    message.header.extra.insert("eta", "soon");
    let (written, _) = wire::encode(&message);
    assert_eq!(written.headers, needed());
}

#[test]
fn the_correlation_id_is_kept_only_where_it_differs_and_an_empty_queue_is_none() {
    let with = |correlation: Option<&str>, reply_to: &str| {
        let mut properties = properties(needed());
        properties.correlation_id = correlation.map(ToOwned::to_owned);
        properties.reply_to = Some(reply_to.to_owned());
        let body = Bytes::from_static(EMPTY.as_bytes());
        let message = wire::decode(properties, body, &Limits::default()).expect("a good message");
        let (written, _) = wire::encode(&message);
        (message.header, written)
    };
    for (correlation, kept) in [
        (None, None),
        (Some(""), None),
        (Some("some-id"), None),
        (Some("other"), Some("other")),
    ] {
        let (header, written) = with(correlation, "");
        assert_eq!(header.correlation_id.as_deref(), kept);
        assert_eq!(header.reply_to, None);
        assert_eq!(written.correlation_id.as_deref(), kept.or(Some("some-id")));
    }
    assert_eq!(with(None, "q").0.reply_to.as_deref(), Some("q"));
}

#[test]
fn an_error_leaves_all_that_is_needed_to_answer() {
    let mut sent = properties(
        needed()
            .with("eta", "soon")
            .with("x-delivery-count", Value::I64(1)),
    );
    sent.reply_to = Some("callers-queue".to_owned());
    sent.timestamp = Some(5);
    let body = Bytes::from_static(EMPTY.as_bytes());
    let undecoded =
        wire::decode(sent.clone(), body.clone(), &Limits::default()).expect_err("a bad eta");
    assert_eq!(undecoded.task.as_deref(), Some("wire.add"));
    assert_eq!(undecoded.id, Some(TaskId::from("some-id")));
    assert_eq!(undecoded.reply_to.as_deref(), Some("callers-queue"));
    assert_eq!(undecoded.correlation_id.as_deref(), Some("some-id"));
    assert_eq!((undecoded.properties, undecoded.body), (sent, body));

    let undecoded = decode(Table::new().with("task", "wire.add"), EMPTY).expect_err("no id");
    assert!(matches!(
        undecoded.error,
        DecodeError::MissingHeader { name: "id" }
    ));
    assert_eq!((undecoded.id, undecoded.correlation_id), (None, None));
    assert_eq!(undecoded.task.as_deref(), Some("wire.add"));
}

#[test]
fn without_an_id_or_a_task_there_is_no_message() {
    let missing = |headers| match error(headers, EMPTY) {
        DecodeError::MissingHeader { name } => name,
        other => panic!("{other}"),
    };
    let task = Table::new().with("task", "wire.add");
    assert_eq!(missing(task.clone()), "id");
    assert_eq!(missing(task.clone().with("id", "")), "id");
    assert_eq!(missing(task.with("id", Value::Null)), "id");
    assert_eq!(missing(needed().with("task", "")), "task");
    let id = Table::new().with("id", "some-id");
    for body in [EMPTY, "hello", "", "{}", "{\"x\": 1}", "null", "5"] {
        for headers in [id.clone(), id.clone().with("task", Value::Null)] {
            assert!(
                matches!(error(headers, body), DecodeError::NotATask),
                "{body}"
            );
        }
    }
    let cut_off = r#"{"task": "wire.add", "id": "#;
    assert!(matches!(error(Table::new(), cut_off), DecodeError::Body(_)));
}

#[test]
fn a_body_of_protocol_1_becomes_one_of_protocol_2_byte_for_byte() {
    let body = r#" {"task": "wire.add", "id": "old", "args": [1e400, "\u00e9", 18446744073709551616],
        "kwargs": {"a" : { } }, "retries": 2, "group": "new name", "taskset": "old name", "group_index": 1,
        "eta": "2026-11-20T10:04:40", "expires": null, "utc": true, "timelimit": [9, 0.5],
        "callbacks": [ {"task": "wire.x"} ], "errbacks": null, "chord": {"task": "wire.c"},
        "compression": "none of its business", "unknown": 1}"#;
    let message = decode(
        Table::new()
            .with("tenant", "acme")
            .with("id", Value::I32(5)),
        body,
    )
    .expect("protocol 1");
    let mut expected = Header::new("wire.add", TaskId::from("old"));
    expected.retries = 2;
    expected.group = Some("old name".to_owned());
    expected.group_index = Some(1);
    expected.eta = Some(SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_169_080));
    expected.time_limit = TimeLimit::new(
        Some(Duration::from_secs(9)),
        Some(Duration::from_millis(500)),
    );
    expected.extra = Table::new().with("tenant", "acme");
    assert_eq!(message.header, expected);
    assert_eq!(
        message.body,
        Body::json(
            r#"[[1e400, "\u00e9", 18446744073709551616],{"a" : { } },{"callbacks":[ {"task": "wire.x"} ],"errbacks":null,"chain":null,"chord":{"task": "wire.c"}}]"#
        )
    );
    RawCall::cut(&message.body.bytes).expect("a body of protocol 2");
}

#[test]
fn a_body_of_protocol_1_may_leave_out_all_but_the_task_and_the_id() {
    let message = decode(Table::new(), r#"{"task": "t", "id": "i"}"#).expect("protocol 1");
    assert_eq!(message.header, Header::new("t", TaskId::from("i")));
    assert_eq!(message.body, Body::json(EMPTY));
    let undecoded = decode(Table::new(), r#"{"task": "t", "retries": 1}"#).expect_err("no id");
    assert_eq!(undecoded.task.as_deref(), Some("t"));
    assert!(matches!(
        undecoded.error,
        DecodeError::MissingHeader { name: "id" }
    ));
    let undecoded = decode(Table::new(), r#"{"task": "t", "id": "i", "eta": 5}"#).expect_err("eta");
    assert_eq!(undecoded.id, Some(TaskId::from("i")));
    assert_eq!(undecoded.body, r#"{"task": "t", "id": "i", "eta": 5}"#);
    assert_eq!(undecoded.properties, properties(Table::new()));
}

#[test]
fn a_body_of_protocol_1_is_held_to_the_limits_and_to_json() {
    let body = Bytes::from_static(br#"{"task": "t", "id": "i"}"#);
    let limits = Limits::default().body(10);
    let refused = wire::decode(properties(Table::new()), body.clone(), &limits);
    assert!(matches!(
        refused.expect_err("too large").error,
        DecodeError::TooLarge { limit: 10 }
    ));
    let mut pickled = properties(Table::new());
    pickled.content_type = Some("application/x-python-serialize".into());
    let refused = wire::decode(pickled, body.clone(), &Limits::default());
    assert!(matches!(
        refused.expect_err("pickle").error,
        DecodeError::ContentType { .. }
    ));
    let packed = Bytes::from(deflate(&[&body]));
    let headers = Table::new().with("compression", "application/x-gzip");
    let message = wire::decode(properties(headers), packed, &Limits::default()).expect("zlib");
    assert_eq!(message.header.task, "t");
    assert_eq!(message.body, Body::json(EMPTY));
}

#[test]
fn in_a_hybrid_the_headers_win_over_the_body() {
    let body = r#"{"task": "body", "id": "body", "retries": 1, "root_id": "root", "args": [1], "kwargs": {}}"#;
    let message = decode(
        needed()
            .with("retries", 2)
            .with("root_id", Value::Null)
            .with("tenant", "acme"),
        body,
    )
    .expect("a hybrid");
    assert_eq!(message.header.task, "wire.add");
    assert_eq!(message.header.retries, 2);
    assert_eq!(message.header.root_id, Some(TaskId::from("root")));
    assert_eq!(message.header.extra, Table::new().with("tenant", "acme"));
    assert!(message.body.bytes.starts_with(b"[[1],{},{"));
}

#[test]
fn a_body_that_is_no_hybrid_either_is_left_for_the_cut_to_refuse() {
    for body in [
        "{}",
        r#"{"kwargs": {}}"#,
        "{",
        "{\"args\": [nan]}",
        "",
        "\u{feff}[]",
    ] {
        let message = decode(needed(), body).expect("the headers are good");
        assert_eq!(message.body.bytes, body);
        let plain = message.body.plain(&Limits::default()).expect("plain JSON");
        assert!(
            matches!(RawCall::cut(&plain), Err(DecodeError::Body(_))),
            "{body}"
        );
    }
}

#[test]
fn a_hundred_thousand_levels_overflow_no_stack() {
    const LEVELS: usize = 100_000;
    let deep = format!("{}{}", "[".repeat(LEVELS), "]".repeat(LEVELS));
    let objects = format!("{}1{}", r#"{"args":"#.repeat(LEVELS), "}".repeat(LEVELS));
    for text in [&deep, &objects] {
        for body in [
            text.clone(),
            format!("[[{text}], {{\"a\": {text}}}, {{\"chain\": {text}}}]"),
            format!(r#"{{"task": "t", "id": "i", "args": [{text}], "callbacks": {text}}}"#),
            format!(r#"{{"task": {text}, "id": "i", "eta": {text}, "stamps": {text}}}"#),
        ] {
            for headers in [Table::new(), needed()] {
                let Ok(message) = decode(headers, &body) else {
                    continue;
                };
                let plain = message.body.plain(&Limits::default()).expect("plain JSON");
                let Ok(call) = RawCall::cut(&plain) else {
                    continue;
                };
                for raw in call.args {
                    assert!(typed::from_raw::<serde_json::Value>(raw).is_err());
                    assert!(typed::from_raw::<Vec<u8>>(raw).is_err());
                }
            }
        }
        let reply = format!(
            r#"{{"status": "FAILURE", "task_id": "i", "result": {text}, "children": {text}}}"#
        );
        let reply = coney_protocol::reply::Reply::decode(reply.as_bytes()).expect("a reply");
        assert!(reply.report().is_none());
        let exception = format!(
            r#"{{"status": "FAILURE", "task_id": "i", "result": {{"exc_type": "E", "exc_message": [{text}]}}}}"#
        );
        let reply = coney_protocol::reply::Reply::decode(exception.as_bytes()).expect("a reply");
        assert!(reply.report().is_none());
    }
}

#[test]
fn a_body_that_is_not_utf_8_is_refused() {
    for body in [
        &b"[[\"\xff\"],{},{}]"[..],
        b"\xff\xfe[\0[\0",
        b"[[],{\"\xc3\":1},{}]",
    ] {
        assert!(matches!(RawCall::cut(body), Err(DecodeError::Body(_))));
    }
    let refused = wire::decode(
        properties(Table::new()),
        Bytes::from_static(b"{\"task\": \"\xff\", \"id\": \"i\"}"),
        &Limits::default(),
    );
    assert!(matches!(
        refused.expect_err("no UTF-8").error,
        DecodeError::Body(_)
    ));
}
