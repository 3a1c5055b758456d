//! A message to properties and bytes, as Celery's protocol 2 lays them out.

use std::time::Duration;

use bytes::Bytes;

use crate::header::{Header, TimeLimit, names};
use crate::message::Message;
use crate::property::{Properties, Table, Value};
use crate::topology::Preset;
use crate::wire::time;

/// The properties, with headers, and the bytes that carry `message` to a worker of coney or of Celery.
///
/// The message is persistent. Neither `expiration` nor `message_id` is set: with an expiration the broker would drop a
/// late message before a worker can answer for it, and a message id belongs to one publish.
///
/// A time is cut to microseconds and a time limit rounded to them, which is what Celery's texts and floats can carry.
#[must_use]
pub fn encode(message: &Message) -> (Properties, Bytes) {
    into_parts(message.clone())
}

/// The same, of a message that nobody needs any more: its texts are moved.
fn into_parts(message: Message) -> (Properties, Bytes) {
    let correlation_id = message.header.correlation();
    parts(message, Some(correlation_id))
}

/// The properties and bytes of a call that is sent for the first time.
///
/// For Celery all is written out: programs may read by name what its workers do not miss. Workers of coney need nothing
/// said twice, so for them there is no correlation id that is the id.
#[must_use]
pub fn outgoing(preset: Preset, mut message: Message) -> (Properties, Bytes) {
    match preset {
        Preset::Celery => {
            let (mut properties, body) = into_parts(message);
            write_out(&mut properties);
            (properties, body)
        }
        Preset::Native => {
            let correlation_id = message.header.correlation_id.take();
            parts(message, correlation_id)
        }
    }
}

fn parts(message: Message, correlation_id: Option<String>) -> (Properties, Bytes) {
    let Message { mut header, body } = message;
    let priority = header.priority;
    let reply_to = header.reply_to.take();
    let mut headers = headers(header);
    if let Some(compression) = body.compression {
        headers.insert("compression", Value::Text(compression));
    }
    let properties = Properties {
        content_type: body.content_type,
        content_encoding: body.content_encoding,
        persistent: true,
        priority,
        correlation_id,
        reply_to,
        expiration: None,
        message_id: None,
        timestamp: None,
        headers,
    };
    (properties, body.bytes)
}

/// The header table.
///
/// Only `task` and `id` are always there: a Celery worker indexes the table with these two and asks for all others with
/// a default (`worker/request.py`, `Context` in `app/task.py`), so an absent header means the same to it as the null or
/// zero that its own client writes, and an absent `root_id` makes it count the task as its own root.
fn headers(header: Header) -> Table {
    let mut entries = Vec::with_capacity(8 + header.extra.len());
    let mut put = |name: &'static str, value: Option<Value>| {
        if let Some(value) = value {
            entries.push((name.into(), value));
        }
    };
    put("lang", header.lang.map(Value::from));
    put("task", Some(header.task.into()));
    put("id", Some(String::from(&header.id).into()));
    put("shadow", header.shadow.map(Value::from));
    put("eta", header.eta.map(|at| time::format(at).into()));
    put("expires", header.expires.map(|at| time::format(at).into()));
    put("group", header.group.map(Value::from));
    put("group_index", header.group_index.map(integer));
    put("retries", count(header.retries));
    put("timelimit", time_limit(header.time_limit));
    put("root_id", header.root_id.map(|id| String::from(&id).into()));
    put(
        "parent_id",
        header.parent_id.map(|id| String::from(&id).into()),
    );
    put("argsrepr", header.args_repr.map(Value::from));
    put("kwargsrepr", header.kwargs_repr.map(Value::from));
    put("origin", header.origin.map(Value::from));
    put("ignore_result", header.ignore_result.map(Value::Bool));
    put("replaced_task_nesting", count(header.replaced_task_nesting));
    if !header.stamped_headers.is_empty() {
        let names = header.stamped_headers.into_iter().map(Value::from);
        put("stamped_headers", Some(Value::List(names.collect())));
    }
    if !header.stamps.is_empty() {
        put("stamps", Some(Value::Table(header.stamps)));
    }
    let mut table = Table::of_distinct(entries);
    for (name, value) in header.extra {
        // a field of the header is the only source of a header of Celery's
        if !names::CELERY.contains(&&*name) {
            table.insert(name, value);
        }
    }
    table
}

/// Adds the headers of protocol 2 that say nothing, and the priority that every message of Celery's has, as Celery's own
/// client writes them.
fn write_out(properties: &mut Properties) {
    properties.priority.get_or_insert(0);
    let headers = &mut properties.headers;
    let id = headers.get("id").cloned().unwrap_or(Value::Null);
    let rest = [
        ("lang", "rust".into()),
        ("shadow", Value::Null),
        ("eta", Value::Null),
        ("expires", Value::Null),
        ("group", Value::Null),
        ("group_index", Value::Null),
        ("retries", Value::I32(0)),
        ("timelimit", Value::List(vec![Value::Null, Value::Null])),
        ("root_id", id),
        ("parent_id", Value::Null),
        ("ignore_result", Value::Null),
        ("replaced_task_nesting", Value::I32(0)),
        ("stamped_headers", Value::Null),
        ("stamps", Value::Table(Table::new())),
    ];
    for (name, value) in rest {
        if headers.get(name).is_none() {
            headers.insert(name, value);
        }
    }
}

/// Celery writes int32 where the number fits and int64 otherwise.
fn integer(number: i64) -> Value {
    i32::try_from(number).map_or(Value::I64(number), Value::I32)
}

fn count(number: u32) -> Option<Value> {
    (number > 0).then(|| integer(number.into()))
}

/// `[hard, soft]`, in this order (Celery's Python calls have the other one).
fn time_limit(limit: TimeLimit) -> Option<Value> {
    if limit == TimeLimit::default() {
        return None;
    }
    let part = |part: Option<Duration>| part.map_or(Value::Null, seconds);
    Some(Value::List(vec![part(limit.hard), part(limit.soft)]))
}

fn seconds(duration: Duration) -> Value {
    match i32::try_from(duration.as_secs()) {
        Ok(whole) if duration.subsec_nanos() == 0 => Value::I32(whole),
        _ => Value::F64(duration.as_secs_f64()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Body;

    #[test]
    fn what_is_written_out_is_what_celery_writes() {
        let written =
            |header: Header| outgoing(Preset::Celery, Message::new(header, Body::json("[]"))).0;
        let plain = written(Header::new("t", "1".into()));
        assert_eq!(plain.priority, Some(0));
        assert!(names::CELERY.iter().all(|name| {
            let is_optional = ["argsrepr", "kwargsrepr", "origin", "compression"];
            is_optional.contains(name) || plain.headers.get(name).is_some()
        }));
        let mut header = Header::new("t", "1".into());
        (header.priority, header.retries) = (Some(7), 2);
        let own = written(header);
        assert_eq!(own.priority, Some(7));
        assert_eq!(own.headers.get("retries"), Some(&Value::I32(2)));
    }
}
