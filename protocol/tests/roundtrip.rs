//! Whatever is written is read as it was; whatever is read, however odd, is read or refused, and never a panic.

use std::borrow::Cow;
use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use coney_protocol::codec::body::RawCall;
use coney_protocol::codec::{Limits, typed};
use coney_protocol::header::{Header, TimeLimit, names};
use coney_protocol::id::TaskId;
use coney_protocol::message::{Body, Message};
use coney_protocol::property::{Properties, Table, Value};
use coney_protocol::reply::{Reply, Status};
use coney_protocol::wire;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use serde_json::value::RawValue;

/// A float that equals itself.
fn float() -> impl Strategy<Value = f64> {
    use proptest::num::f64::{INFINITE, NORMAL, SUBNORMAL, ZERO};
    NORMAL | SUBNORMAL | ZERO | INFINITE
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i8>().prop_map(Value::I8),
        any::<u8>().prop_map(Value::U8),
        any::<i16>().prop_map(Value::I16),
        any::<u16>().prop_map(Value::U16),
        any::<i32>().prop_map(Value::I32),
        any::<u32>().prop_map(Value::U32),
        any::<i64>().prop_map(Value::I64),
        proptest::num::f32::NORMAL.prop_map(Value::F32),
        float().prop_map(Value::F64),
        (any::<u8>(), any::<u32>()).prop_map(|(scale, value)| Value::Decimal { scale, value }),
        any::<String>().prop_map(Value::from),
        vec(any::<u8>(), 0..8).prop_map(Value::RawText),
        vec(any::<u8>(), 0..8).prop_map(Value::Bytes),
        any::<u64>().prop_map(Value::Timestamp),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::List),
            table_of("[a-z]{0,3}", inner).prop_map(Value::Table),
        ]
    })
}

fn table_of(
    name: impl Strategy<Value = String>,
    value: impl Strategy<Value = Value>,
) -> impl Strategy<Value = Table> {
    vec((name.prop_map(Cow::Owned), value), 0..5).prop_map(Table::from_iter)
}

/// Headers that are the caller's own: neither Celery's nor RabbitMQ's.
fn extra() -> impl Strategy<Value = Table> {
    let name = "(x-)?[a-z_é-]{0,12}".prop_filter("somebody else's", |name| {
        !names::CELERY.contains(&&**name) && !is_of_the_broker(name)
    });
    table_of(name, value())
}

fn is_of_the_broker(name: &str) -> bool {
    [
        "x-death",
        "x-first-death-",
        "x-last-death-",
        "x-delivery-count",
        "x-acquired-count",
    ]
    .iter()
    .any(|known| name.starts_with(known))
}

fn id() -> impl Strategy<Value = TaskId> {
    prop_oneof![
        any::<u128>().prop_map(|bits| TaskId::from(uuid::Uuid::from_u128(bits))),
        ".{1,20}".prop_map(TaskId::from),
    ]
}

/// A time that Python can read, to the microsecond.
fn time() -> impl Strategy<Value = SystemTime> {
    (-62_135_596_800_000_000_i64..253_402_300_800_000_000).prop_map(|micros| {
        let distance = Duration::from_micros(micros.unsigned_abs());
        if micros < 0 {
            SystemTime::UNIX_EPOCH - distance
        } else {
            SystemTime::UNIX_EPOCH + distance
        }
    })
}

fn limit() -> impl Strategy<Value = Option<Duration>> {
    let whole = (1_u64..4_294_967_296).prop_map(Duration::from_secs);
    let micros = (1_u64..4_294_967_296_000_000).prop_map(Duration::from_micros);
    option::of(prop_oneof![whole, micros])
}

fn text() -> impl Strategy<Value = Option<String>> {
    option::of(".{0,20}")
}

fn header() -> impl Strategy<Value = Header> {
    let names = (
        ".{1,20}",
        id(),
        option::of(".{1,20}"),
        option::of(".{1,20}"),
    );
    let family = (
        option::of(id()),
        option::of(id()),
        text(),
        option::of(any::<i64>()),
    );
    let numbers = (
        any::<u32>(),
        any::<u32>(),
        option::of(any::<u8>()),
        option::of(any::<bool>()),
    );
    let times = (option::of(time()), option::of(time()), limit(), limit());
    let shown = (text(), text(), text(), text(), text());
    let tables = (vec(".{0,8}", 0..3), table_of(".{0,8}", value()), extra());
    (names, family, numbers, times, shown, tables).prop_map(
        |(names, family, numbers, times, shown, tables)| {
            let mut header = Header::new(names.0, names.1);
            let id = header.id.to_string();
            header.correlation_id = names.2.filter(|correlation| *correlation != id);
            header.reply_to = names.3;
            (
                header.root_id,
                header.parent_id,
                header.group,
                header.group_index,
            ) = family;
            header.retries = numbers.0;
            header.replaced_task_nesting = numbers.1;
            header.priority = numbers.2;
            header.ignore_result = numbers.3;
            (header.eta, header.expires) = (times.0, times.1);
            header.time_limit = TimeLimit::new(times.2, times.3);
            (header.lang, header.shadow, header.origin) = (shown.0, shown.1, shown.2);
            (header.args_repr, header.kwargs_repr) = (shown.3, shown.4);
            (header.stamped_headers, header.stamps, header.extra) = tables;
            header
        },
    )
}

fn body() -> impl Strategy<Value = Body> {
    let bytes = prop_oneof![vec(any::<u8>(), 0..40), json().prop_map(String::into_bytes)];
    (text(), text(), option::of(".{1,20}"), bytes).prop_map(|parts| {
        let mut body = Body::json(parts.3);
        body.content_type = parts.0.map(Into::into);
        body.content_encoding = parts.1.map(Into::into);
        body.compression = parts.2.map(Into::into);
        body
    })
}

/// A header table as it might come from anywhere: known names with any value, and others.
fn any_headers() -> impl Strategy<Value = Table> {
    let name = prop_oneof![
        4 => proptest::sample::select(names::CELERY.to_vec()).prop_map(ToOwned::to_owned),
        1 => ".{0,12}",
    ];
    let likely = prop_oneof![
        Just(Value::from("wire.add")),
        Just(Value::from("2026-11-20T10:04:40+02:00")),
        Just(Value::List(vec![Value::I8(1), Value::F64(0.1)])),
        float().prop_map(|part| Value::List(vec![part.into(), Value::Null])),
        Just(Value::I64(-1)),
    ];
    let value = prop_oneof![value(), likely];
    let entries = vec((name.prop_map(Cow::Owned), value), 0..8);
    (entries, any::<bool>()).prop_map(|(entries, is_task)| {
        let mut table = Table::from_iter(entries);
        if is_task {
            table.insert("task", "wire.add");
            table.insert("id", "some-id");
        }
        table
    })
}

fn any_properties() -> impl Strategy<Value = Properties> {
    let json = Just(Some("application/json".to_owned()));
    let content_type = prop_oneof![json, text()];
    (content_type, text(), text(), text(), any_headers()).prop_map(|parts| {
        let mut properties = Properties::default();
        properties.content_type = parts.0.map(Into::into);
        properties.content_encoding = parts.1.map(Into::into);
        properties.correlation_id = parts.2;
        properties.reply_to = parts.3;
        properties.headers = parts.4;
        properties
    })
}

/// JSON in which typed values, good and bad ones, are not rare.
fn json() -> impl Strategy<Value = String> {
    let text = any::<String>().prop_map(|text| serde_json::Value::from(text).to_string());
    let leaf = prop_oneof![
        Just("null".to_owned()),
        any::<bool>().prop_map(|truth| truth.to_string()),
        "-?(0|[1-9][0-9]{0,40})(\\.[0-9]{1,3})?(e[0-9]{1,3})?",
        text.clone(),
        text.prop_map(|text| format!(r#"{{"__type__":{text},"__value__":{text}}}"#)),
        Just(r#"{"__type__":"base64","__value__":"/wCA"}"#.to_owned()),
        Just(r#"{"__type__":"bytes","__value__":"abc"}"#.to_owned()),
        Just(
            r#"{"__value__":{"hex":"12345678123456781234567812345678"},"__type__":"uuid"}"#
                .to_owned()
        ),
        Just(r#"{"__type__":"datetime","__value__":"2026-11-20T10:04:40+00:00"}"#.to_owned()),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        let names = proptest::sample::select(vec![
            "a",
            "b",
            "task",
            "id",
            "args",
            "kwargs",
            "retries",
            "eta",
            "group",
            "timelimit",
            "stamps",
            "chord",
            "__type__",
            "__value__",
            "Named",
            "New",
        ]);
        let members = vec((names, inner.clone()), 0..5);
        prop_oneof![
            vec(inner, 0..4).prop_map(|items| format!("[{}]", items.join(", "))),
            members.prop_map(|members| {
                let members: Vec<_> = members
                    .iter()
                    .map(|(k, v)| format!("\"{k}\": {v}"))
                    .collect();
                format!("{{{}}}", members.join(","))
            }),
        ]
    })
}

#[derive(Debug, serde::Deserialize)]
#[expect(dead_code, reason = "only read")]
enum Shape {
    Named {
        a: Option<uuid::Uuid>,
        b: Box<Shape>,
    },
    New(Vec<Option<Shape>>),
    #[serde(untagged)]
    Loose(HashMap<String, serde_bytes::ByteBuf>),
}

/// Reads JSON as all kinds of things.
fn read_as_anything(raw: &RawValue) {
    let _ = typed::from_raw::<serde_json::Value>(raw);
    let _ = typed::from_raw::<Vec<u8>>(raw);
    let _ = typed::from_raw::<serde_bytes::ByteBuf>(raw);
    let _ = typed::from_raw::<String>(raw);
    let _ = typed::from_raw::<(Option<u128>, f32, char)>(raw);
    let _ = typed::from_raw::<HashMap<String, Vec<jiff::Timestamp>>>(raw);
    let _ = typed::from_raw::<Vec<Shape>>(raw);
    let _ = typed::from_raw::<Shape>(raw);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_message_is_read_as_it_was_written(header in header(), body in body()) {
        // an object in the place of the list is a hybrid of both protocols, and is written as protocol 2
        prop_assume!(!body.bytes.trim_ascii_start().starts_with(b"{"));
        let message = Message::new(header, body);
        let (properties, bytes) = wire::encode(&message);
        prop_assert!(properties.persistent);
        let read = wire::decode(properties, bytes, &Limits::default());
        match read {
            Ok(read) => prop_assert_eq!(read, message),
            Err(undecoded) => prop_assert!(false, "{:?}", undecoded.error),
        }
    }

    #[test]
    fn any_delivery_is_read_for_good_or_refused_whole(
        properties in any_properties(),
        body in prop_oneof![json().prop_map(String::into_bytes), vec(any::<u8>(), 0..40)],
    ) {
        let body = Bytes::from(body);
        match wire::decode(properties.clone(), body.clone(), &Limits::default()) {
            Ok(message) => {
                let (properties, body) = wire::encode(&message);
                let again = wire::decode(properties, body, &Limits::default());
                match again {
                    Ok(again) => prop_assert_eq!(again, message),
                    Err(undecoded) => prop_assert!(false, "{:?}", undecoded.error),
                }
            }
            Err(undecoded) => {
                prop_assert_eq!(undecoded.properties, properties);
                prop_assert_eq!(undecoded.body, body);
            }
        }
    }

    #[test]
    fn any_text_is_cut_and_read_or_refused(args in json(), kwargs in json(), other in "[\\[\\]{}\",:0-9a-z_\\\\ ]{0,60}") {
        for text in [format!("[[{args}],{{\"k\":{kwargs}}},{{}}]"), args, kwargs, other] {
            if let Ok(call) = RawCall::cut(text.as_bytes()) {
                call.args.into_iter().for_each(read_as_anything);
                call.kwargs.into_iter().for_each(|(_, raw)| read_as_anything(raw));
            }
            if let Ok(raw) = RawValue::from_string(text) {
                read_as_anything(&raw);
            }
        }
    }

    #[test]
    fn what_is_no_typed_value_is_read_as_serde_json_reads_it(json in json()) {
        // the second reading differs from the first in typed values only, so the same text must give the same value
        let json = json.replace("__type__", "a");
        let marked = format!("[{json}, {{\"__type__\":\"date\",\"__value__\":\"2026-11-20\"}}]");
        let raw = RawValue::from_string(marked).expect("JSON");
        let direct = serde_json::from_str::<serde_json::Value>(&json);
        let read = typed::from_raw::<(serde_json::Value, jiff::civil::Date)>(&raw);
        match (direct, read) {
            (Ok(direct), Ok((read, _))) => prop_assert_eq!(direct, read),
            (Err(_), Err(_)) => {}
            (direct, read) => prop_assert!(false, "{direct:?} {read:?}"),
        }
    }

    #[test]
    fn a_reply_is_read_as_it_was_written(
        task in id(), word in "[A-Z]{1,9}", result in json(), traceback in text(), at in option::of(time()),
        group in text(), parent in option::of(id()),
    ) {
        let mut reply = Reply::new(task, Status::from(&*word), RawValue::from_string(result).expect("JSON"));
        (reply.traceback, reply.date_done, reply.group_id, reply.parent_id) = (traceback, at, group, parent);
        let read = Reply::decode(&reply.encode()).expect("own replies are readable");
        prop_assert_eq!(format!("{read:?}"), format!("{reply:?}"));
        let _ = read.report();
    }

    #[test]
    fn any_bytes_are_a_reply_or_refused(json in json(), bytes in vec(any::<u8>(), 0..40)) {
        let _ = Reply::decode(&bytes);
        let text = format!(r#"{{"status": {json}, "task_id": {json}, "result": {json}, "traceback": {json}}}"#);
        let _ = Reply::decode(text.as_bytes());
        let text = format!(r#"{{"status": "FAILURE", "task_id": "i", "result": {json}, "children": {json}}}"#);
        if let Ok(reply) = Reply::decode(text.as_bytes()) {
            let _ = reply.report();
        }
    }
}
