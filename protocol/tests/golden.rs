//! Messages and results as Celery 5.7 put them on the wire (`golden/*.json`), read, checked and written again.
//!
//! `publish_*` is one client call each, `run_*` a call with all that a Celery worker sent because of it. The files are
//! recordings: they are added to, never edited.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use base64::prelude::{BASE64_STANDARD, Engine};
use bytes::Bytes;
use coney_protocol::codec::body::RawCall;
use coney_protocol::error::DecodeError;
use coney_protocol::header::{Header, TimeLimit, names};
use coney_protocol::id::TaskId;
use coney_protocol::message::Message;
use coney_protocol::property::{Properties, Table, Value};
use coney_protocol::reply::{Reply, Status};
use coney_protocol::wire::{self, Limits};
use serde_json::Value as Json;

/// The name of a header, the values that are not written again as they came, and why.
type Exception = (&'static str, fn(&Value) -> bool, &'static str);

const HEADER_EXCEPTIONS: [Exception; 6] = [
    ("retries", is_zero, "absent means zero"),
    ("replaced_task_nesting", is_zero, "absent means zero"),
    ("timelimit", is_empty, "absent means no limit"),
    ("stamps", is_empty, "absent means no stamps"),
    ("eta", is_not_in_utc, "the same instant in UTC"),
    ("expires", is_not_in_utc, "the same instant in UTC"),
];

/// Members of a result that are not written, and why.
const RESULT_EXCEPTIONS: [(&str, &str); 9] = [
    ("name", "result_extended"),
    ("args", "result_extended"),
    ("kwargs", "result_extended"),
    ("worker", "result_extended"),
    ("retries", "result_extended"),
    ("queue", "result_extended"),
    ("stamped_headers", "stamps of results"),
    ("batch", "a stamp"),
    ("tenant", "a stamp"),
];

fn is_zero(value: &Value) -> bool {
    value.as_i64() == Some(0)
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::List(items) => items.iter().all(Value::is_null),
        Value::Table(table) => table.is_empty(),
        _ => false,
    }
}

fn is_not_in_utc(value: &Value) -> bool {
    value.as_str().is_some_and(|text| !text.ends_with("+00:00"))
}

/// One recorded message, with the name of its file for every complaint.
struct Recorded {
    place: String,
    json: Json,
}

impl Recorded {
    fn all(prefix: &str, kind: &str) -> Vec<Self> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
        let mut files: Vec<_> = fs::read_dir(&folder)
            .unwrap_or_else(|e| panic!("{}: {e}", folder.display()))
            .map(|entry| entry.expect("a folder that can be read").path())
            .filter(|path| {
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                name.starts_with(prefix) && name.ends_with(".json")
            })
            .collect();
        files.sort();
        assert!(
            !files.is_empty(),
            "no {prefix}*.json in {}",
            folder.display()
        );
        let recorded: Vec<_> = files.iter().flat_map(|path| messages(path, kind)).collect();
        assert!(!recorded.is_empty(), "no {kind} in {prefix}*.json");
        recorded
    }

    fn property(&self, name: &str) -> Option<&str> {
        self.json["properties"][name].as_str()
    }

    fn properties(&self) -> Properties {
        let owned = |name| self.property(name).map(ToOwned::to_owned);
        let mut properties = Properties::default();
        properties.content_type = owned("content_type").map(Into::into);
        properties.content_encoding = owned("content_encoding").map(Into::into);
        properties.persistent = self.json["properties"]["delivery_mode"] == 2;
        properties.priority = self.json["properties"]["priority"]
            .as_u64()
            .map(|level| u8::try_from(level).expect("a priority"));
        properties.correlation_id = owned("correlation_id");
        properties.reply_to = owned("reply_to");
        properties.expiration = owned("expiration");
        properties.headers = self.headers();
        properties
    }

    fn headers(&self) -> Table {
        match (&self.json["headers"], &self.json["header_types"]) {
            (Json::Object(values), types) => values
                .iter()
                .map(|(name, json)| (name.clone().into(), value(json, &types[name])))
                .collect(),
            _ => Table::new(),
        }
    }

    fn body(&self) -> Bytes {
        match self.json["body_base64"].as_str() {
            Some(base64) => BASE64_STANDARD.decode(base64).expect("base64").into(),
            None => self.json["body_text"]
                .as_str()
                .expect("a body")
                .to_owned()
                .into(),
        }
    }

    /// Where a task's header fields stand: in the headers, or in the body of protocol 1.
    fn fields(&self) -> &Json {
        if self.json["headers"]["task"].is_string() {
            &self.json["headers"]
        } else {
            &self.json["body_json"]
        }
    }

    fn is_version_1(&self) -> bool {
        self.json["headers"]["task"].is_null()
    }
}

fn messages(path: &Path, kind: &str) -> Vec<Recorded> {
    let text = fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let file: Json =
        serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let messages = file["messages"].as_array().expect("a list of messages");
    let of_kind = messages
        .iter()
        .enumerate()
        .filter(|(_, json)| json["kind"] == kind);
    of_kind
        .map(|(at, json)| Recorded {
            place: format!("{} [{at}]", file["case"].as_str().unwrap_or("?")),
            json: json.clone(),
        })
        .collect()
}

/// A header value with the type that was recorded.
fn value(json: &Json, tag: &Json) -> Value {
    let number = || json.as_i64().expect("an integer");
    match tag.as_str() {
        Some("S") => json.as_str().expect("a text").to_owned().into(),
        Some("I") => Value::I32(number().try_into().expect("int32")),
        Some("l") => Value::I64(number()),
        Some("d") => Value::F64(json.as_f64().expect("a float")),
        Some("t") => Value::Bool(json.as_bool().expect("a truth value")),
        Some("V") => Value::Null,
        Some("T") => Value::Timestamp(json.as_u64().expect("seconds")),
        Some(other) => panic!("unknown field tag `{other}`"),
        None => match (&tag["A"], &tag["F"], json) {
            (Json::Array(tags), _, Json::Array(items)) => {
                Value::List(items.iter().zip(tags).map(|(i, t)| value(i, t)).collect())
            }
            (_, Json::Object(tags), Json::Object(members)) => Value::Table(
                members
                    .iter()
                    .map(|(name, json)| (name.clone().into(), value(json, &tags[name])))
                    .collect(),
            ),
            _ => panic!("value {json} does not fit its type {tag}"),
        },
    }
}

fn text(json: &Json) -> Option<String> {
    json.as_str().map(ToOwned::to_owned)
}

fn id(json: &Json) -> Option<TaskId> {
    json.as_str().map(TaskId::from)
}

fn instant(json: &Json) -> Option<SystemTime> {
    let text = json.as_str()?;
    let text = if text.len() > 19 && text[19..].contains(['+', '-', 'Z']) {
        text.to_owned()
    } else {
        format!("{text}Z")
    };
    let timestamp: jiff::Timestamp = text.parse().expect("a time");
    Some(timestamp.into())
}

/// The header that a recorded message should become, by the letter of the recording.
fn expected_header(recorded: &Recorded) -> Header {
    let fields = recorded.fields();
    let mut header = Header::new(
        fields["task"].as_str().expect("a task"),
        id(&fields["id"]).expect("an id"),
    );
    header.reply_to = text(&recorded.json["properties"]["reply_to"]);
    header.root_id = id(&fields["root_id"]);
    header.parent_id = id(&fields["parent_id"]);
    header.group = text(&fields["group"]);
    header.group_index = fields["group_index"].as_i64();
    header.retries = fields["retries"]
        .as_u64()
        .map_or(0, |n| n.try_into().expect("a count"));
    header.eta = instant(&fields["eta"]);
    header.expires = instant(&fields["expires"]);
    let limit = |at: usize| fields["timelimit"][at].as_u64().map(Duration::from_secs);
    header.time_limit = TimeLimit::new(limit(0), limit(1));
    header.priority = recorded.properties().priority;
    header.ignore_result = fields["ignore_result"].as_bool();
    header.shadow = text(&fields["shadow"]);
    header.origin = text(&fields["origin"]);
    header.lang = text(&fields["lang"]);
    header.args_repr = text(&fields["argsrepr"]);
    header.kwargs_repr = text(&fields["kwargsrepr"]);
    header.replaced_task_nesting = fields["replaced_task_nesting"]
        .as_u64()
        .map_or(0, |n| n.try_into().expect("a count"));
    header.stamped_headers = fields["stamped_headers"]
        .as_array()
        .map(|names| names.iter().filter_map(text).collect())
        .unwrap_or_default();
    let headers = recorded.headers();
    if let Some(Value::Table(stamps)) = headers.get("stamps") {
        header.stamps = stamps.clone();
    }
    header.extra = headers
        .into_iter()
        .filter(|(name, _)| !names::CELERY.contains(&&**name))
        .collect();
    header
}

fn decode(recorded: &Recorded) -> Message {
    wire::decode(recorded.properties(), recorded.body(), &Limits::default())
        .unwrap_or_else(|undecoded| panic!("{}: {:?}", recorded.place, undecoded.error))
}

fn check_written_again(recorded: &Recorded, message: &Message) {
    let place = &recorded.place;
    let original = recorded.properties();
    let (written, body) = wire::encode(message);

    let again = wire::decode(written.clone(), body.clone(), &Limits::default())
        .unwrap_or_else(|undecoded| panic!("{place}: {:?}", undecoded.error));
    assert_eq!(again, *message, "{place}: after another round");

    assert_eq!(written.content_type, original.content_type, "{place}");
    assert_eq!(
        written.content_encoding, original.content_encoding,
        "{place}"
    );
    assert_eq!(written.priority, original.priority, "{place}");
    assert_eq!(written.correlation_id, original.correlation_id, "{place}");
    assert_eq!(written.reply_to, original.reply_to, "{place}");
    assert!(written.persistent, "{place}");
    // the broker must not drop a late message: a worker answers for it
    assert_eq!(written.expiration, None, "{place}");

    if recorded.is_version_1() {
        return;
    }
    assert_eq!(body, recorded.body(), "{place}: body");
    for (name, value) in original.headers.iter().filter(|(_, v)| !v.is_null()) {
        let excepted = HEADER_EXCEPTIONS
            .iter()
            .any(|(excepted, applies, _)| *excepted == name && applies(value));
        if !excepted {
            assert_eq!(written.headers.get(name), Some(value), "{place}: {name}");
        }
    }
    for (name, _) in written.headers.iter() {
        let before = original.headers.get(name).filter(|value| !value.is_null());
        assert!(before.is_some(), "{place}: header `{name}` is new");
    }
}

fn check_body(recorded: &Recorded, message: &Message) {
    let place = &recorded.place;
    let plain = message.body.plain(&Limits::default());
    let content_type = recorded.property("content_type").unwrap_or_default();
    let compression = recorded.json["headers"]["compression"].as_str();
    let refused = match (content_type, compression) {
        ("application/json", None | Some("application/x-gzip")) => None,
        ("application/json", Some("application/x-bz2")) if cfg!(feature = "bzip2") => None,
        ("application/json", Some("application/zstd")) if cfg!(feature = "zstd") => None,
        ("application/json", Some(compression)) => Some(compression),
        (content_type, _) => Some(content_type),
    };
    if let Some(name) = refused {
        match plain.expect_err(place) {
            DecodeError::Compression { found } | DecodeError::ContentType { found } => {
                assert_eq!(found, name, "{place}");
            }
            other => panic!("{place}: {other}"),
        }
        return;
    }
    let plain = plain.unwrap_or_else(|e| panic!("{place}: {e}"));
    let original = &recorded.json["body_json"];
    let (args, kwargs, embed) = if recorded.is_version_1() {
        (&original["args"], &original["kwargs"], original)
    } else {
        let text = recorded.json["body_text"].as_str().unwrap_or_default();
        assert_eq!(plain, text.as_bytes(), "{place}");
        (&original[0], &original[1], &original[2])
    };
    let call = RawCall::cut(&plain).unwrap_or_else(|e| panic!("{place}: {e:?}"));
    let json = |raw: &serde_json::value::RawValue| -> Json {
        serde_json::from_str(raw.get()).unwrap_or_else(|e| panic!("{place}: {e}"))
    };
    let read: Vec<_> = call.args.iter().map(|raw| json(raw)).collect();
    assert_eq!(Json::Array(read), *args, "{place}");
    let read = call
        .kwargs
        .iter()
        .map(|(name, raw)| (name.to_string(), json(raw)));
    assert_eq!(Json::Object(read.collect()), *kwargs, "{place}");
    for (name, read) in [
        ("callbacks", call.embed.callbacks),
        ("errbacks", call.embed.errbacks),
        ("chain", call.embed.chain),
        ("chord", call.embed.chord),
    ] {
        let expected = match &embed[name] {
            Json::Array(items) if items.is_empty() => &Json::Null,
            other => other,
        };
        assert_eq!(read.map_or(Json::Null, json), *expected, "{place}: {name}");
    }
}

fn check_tasks(prefix: &str) {
    for recorded in Recorded::all(prefix, "task") {
        let message = decode(&recorded);
        assert_eq!(
            message.header,
            expected_header(&recorded),
            "{}",
            recorded.place
        );
        check_written_again(&recorded, &message);
        check_body(&recorded, &message);
    }
}

#[test]
fn what_celery_clients_publish_is_read_and_written_again() {
    check_tasks("publish_");
}

#[test]
fn what_celery_workers_publish_is_read_and_written_again() {
    check_tasks("run_");
}

#[test]
fn every_excepted_header_is_an_exception_somewhere() {
    let mut used = BTreeSet::new();
    for prefix in ["publish_", "run_"] {
        for recorded in Recorded::all(prefix, "task") {
            for (name, value) in recorded.headers().iter() {
                used.extend(
                    HEADER_EXCEPTIONS
                        .iter()
                        .filter(|(excepted, applies, _)| *excepted == name && applies(value))
                        .map(|(name, _, _)| *name),
                );
            }
        }
    }
    // no recording has `expires` with another offset than UTC
    let all: BTreeSet<_> = HEADER_EXCEPTIONS.iter().map(|(name, _, _)| *name).collect();
    assert_eq!(all.difference(&used).collect::<Vec<_>>(), [&"expires"]);
}

#[test]
fn results_of_celery_workers_are_read_and_written_again() {
    for recorded in Recorded::all("run_", "result") {
        let place = &recorded.place;
        let reply = Reply::decode(&recorded.body()).unwrap_or_else(|e| panic!("{place}: {e}"));
        let json = &recorded.json["body_json"];
        assert_eq!(
            Some(reply.status.as_str()),
            json["status"].as_str(),
            "{place}"
        );
        assert_eq!(Some(reply.task_id.clone()), id(&json["task_id"]), "{place}");
        assert_eq!(reply.traceback, text(&json["traceback"]), "{place}");
        assert_eq!(reply.date_done, instant(&json["date_done"]), "{place}");
        assert_eq!(reply.group_id, text(&json["group_id"]), "{place}");
        assert_eq!(reply.parent_id, id(&json["parent_id"]), "{place}");
        let is_failure = matches!(
            reply.status,
            Status::Failure | Status::Retry | Status::Revoked
        );
        let report = reply.report();
        assert_eq!(report.is_some(), is_failure, "{place}");
        if let Some(report) = report {
            let exception = &json["result"];
            assert_eq!(
                Some(&*report.kind),
                exception["exc_type"].as_str(),
                "{place}"
            );
            assert_eq!(report.module, text(&exception["exc_module"]), "{place}");
        }
        check_reply_written_again(place, json, &reply);
    }
}

fn check_reply_written_again(place: &str, original: &Json, reply: &Reply) {
    let mut original = original.as_object().expect("an object").clone();
    let mut written: Json = serde_json::from_slice(&reply.encode()).expect("own replies are JSON");
    let written = written.as_object_mut().expect("an object");
    for (name, _) in RESULT_EXCEPTIONS {
        original.remove(name);
        written.remove(name);
    }
    assert_eq!(*written, original, "{place}");
}

/// With the feature a worker may accept MessagePack, which then is the JSON of the same call.
#[test]
#[cfg(feature = "msgpack")]
fn the_messagepack_of_celery_is_read_where_it_is_accepted() {
    let accepting = Limits::default().msgpack(true);
    for recorded in Recorded::all("publish_msgpack", "task") {
        let message = wire::decode(recorded.properties(), recorded.body(), &accepting);
        let message = message.unwrap_or_else(|e| panic!("{}: {e}", recorded.place));
        let plain = message.body.plain(&accepting).expect("accepted");
        let json: Json = serde_json::from_slice(&plain).expect("JSON");
        assert_eq!(json[0], serde_json::json!([2, 3]), "{}", recorded.place);
        let cut = RawCall::cut(&plain).expect("a good body");
        assert!(cut.embed.is_empty());
    }
}
