//! Properties and bytes to a message: protocol 2, protocol 1, and the hybrid of both.

use std::borrow::Cow;
use std::time::{Duration, SystemTime};

use bytes::Bytes;

use crate::codec::Limits;
use crate::error::DecodeError;
use crate::header::{Header, TimeLimit, names};
use crate::id::TaskId;
use crate::message::{Body, Message};
use crate::property::{Properties, Table, Value};
use crate::wire::legacy::{self, Converted};
use crate::wire::time;

/// A delivery that is no task message that can be run, with all that is needed to dead-letter and answer it.
#[derive(Debug, thiserror::Error)]
#[error("the message cannot be read")]
#[non_exhaustive]
pub struct Undecoded {
    /// What is wrong.
    #[source]
    pub error: DecodeError,
    /// Wire name of the task, if it could be read.
    pub task: Option<String>,
    /// Id of the task, if it could be read.
    pub id: Option<TaskId>,
    /// The queue that somebody waits at for an answer.
    pub reply_to: Option<String>,
    /// What the answer has to refer to: the correlation id, or else the id.
    pub correlation_id: Option<String>,
    /// The properties, unchanged.
    pub properties: Properties,
    /// The body, unchanged.
    pub body: Bytes,
}

/// Reads a task message of protocol 2 or 1.
///
/// Absent and null mean the same everywhere. What RabbitMQ has added on the way (`x-death` and its kind) is dropped,
/// for a message that is published with it again can be taken for one that goes in circles, and dropped silently
/// (<https://www.rabbitmq.com/docs/dlx#routing>). All other unknown headers are kept with their types.
///
/// The body of protocol 2 is not looked into, so its content type, compression and form are judged later, by
/// [`Body::plain`] and [`RawCall::cut`](crate::codec::body::RawCall::cut): a worker that cannot read a body can still
/// tell whose it is. A body of protocol 1 is turned into one of protocol 2; its `utc` is not asked, for a time without
/// an offset is always UTC here.
///
/// # Errors
///
/// [`Undecoded`] when `task` or `id` is missing, when a header has another type than the protocol gives it, when a time
/// is none, and when a message without headers of protocol 2 has no body of protocol 1.
pub fn decode(
    properties: Properties,
    body: Bytes,
    limits: &Limits,
) -> Result<Message, Box<Undecoded>> {
    let legacy = match read_legacy(&properties, &body, limits) {
        Ok(legacy) => legacy,
        Err(error) => return Err(Undecoded::new(error, None, properties, body)),
    };
    let headers = legacy.as_ref().map_or(&properties.headers, |l| &l.headers);
    match Checked::new(headers, properties.correlation_id.as_deref()) {
        Ok(checked) => Ok(assemble(checked, legacy, properties, body)),
        Err(error) => Err(Undecoded::new(error, legacy.as_ref(), properties, body)),
    }
}

impl Undecoded {
    fn new(
        error: DecodeError,
        legacy: Option<&Converted>,
        properties: Properties,
        body: Bytes,
    ) -> Box<Self> {
        let headers = legacy.map_or(&properties.headers, |l| &l.headers);
        let text = |name| {
            let text = headers.get(name).and_then(Value::as_str)?;
            (!text.is_empty()).then_some(text)
        };
        let id = text("id");
        let correlation_id = properties
            .correlation_id
            .as_deref()
            .filter(|c| !c.is_empty());
        Box::new(Self {
            error,
            task: text("task").map(ToOwned::to_owned),
            id: id.map(TaskId::from),
            reply_to: properties
                .reply_to
                .clone()
                .filter(|queue| !queue.is_empty()),
            correlation_id: correlation_id.or(id).map(ToOwned::to_owned),
            properties,
            body,
        })
    }
}

/// Reads the body of a message that has no headers of protocol 2, or that is a hybrid.
fn read_legacy(
    properties: &Properties,
    body: &Bytes,
    limits: &Limits,
) -> Result<Option<Converted>, DecodeError> {
    let headers = &properties.headers;
    let is_version_2 = headers.get("task").is_some_and(|task| !task.is_null());
    let compression = compression(headers);
    if is_version_2 && (compression.is_some() || !legacy::is_object(body)) {
        return Ok(None);
    }
    let plain = Body {
        content_type: properties.content_type.clone(),
        content_encoding: properties.content_encoding.clone(),
        compression: compression.map(|name| name.to_owned().into()),
        bytes: body.clone(),
    }
    .plain(limits);
    if is_version_2 {
        // what is no hybrid is left as it is: the body is judged when it is cut
        let converted = plain.and_then(|plain| legacy::convert(&plain)).ok();
        return Ok(converted
            .filter(|converted| converted.has_args)
            .map(|converted| converted.under(headers)));
    }
    let plain = plain?;
    if !legacy::is_object(&plain) {
        return Err(DecodeError::NotATask);
    }
    Ok(Some(legacy::convert(&plain)?.beside(headers)))
}

/// The name of the compression, if there is one.
fn compression(headers: &Table) -> Option<&str> {
    let name = headers.get("compression")?.as_str()?;
    (!name.is_empty()).then_some(name)
}

/// All of a header that can be wrong, read before anything is moved, so that an error leaves the message whole.
struct Checked {
    id: TaskId,
    correlates_by_id: bool,
    group_index: Option<i64>,
    retries: u32,
    eta: Option<SystemTime>,
    expires: Option<SystemTime>,
    time_limit: TimeLimit,
    ignore_result: Option<bool>,
    replaced_task_nesting: u32,
}

impl Checked {
    fn new(headers: &Table, correlation_id: Option<&str>) -> Result<Self, DecodeError> {
        match check_text("task", headers.get("task"))? {
            None => return Err(DecodeError::NotATask),
            Some("") => return Err(DecodeError::MissingHeader { name: "task" }),
            Some(_) => {}
        }
        let id = check_text("id", headers.get("id"))?
            .filter(|id| !id.is_empty())
            .ok_or(DecodeError::MissingHeader { name: "id" })?;
        let mut checked = Self {
            id: id.into(),
            correlates_by_id: correlation_id.is_none_or(|c| c.is_empty() || c == id),
            group_index: None,
            retries: 0,
            eta: None,
            expires: None,
            time_limit: TimeLimit::default(),
            ignore_result: None,
            replaced_task_nesting: 0,
        };
        for (name, value) in headers.iter().filter(|(_, value)| !value.is_null()) {
            checked.check(name, value)?;
        }
        Ok(checked)
    }

    /// Reads one header that is not null, or only looks at its type where it has to be moved later.
    fn check(&mut self, name: &str, value: &Value) -> Result<(), DecodeError> {
        let text = |name| check_text(name, Some(value)).map(|_| ());
        match name {
            "eta" => self.eta = Some(point_in_time("eta", value)?),
            "expires" => self.expires = Some(point_in_time("expires", value)?),
            "group" => text("group")?,
            "root_id" => text("root_id")?,
            "parent_id" => text("parent_id")?,
            "compression" => text("compression")?,
            "group_index" => self.group_index = Some(integer("group_index", value)?),
            "retries" => self.retries = count("retries", value)?,
            "replaced_task_nesting" => {
                self.replaced_task_nesting = count("replaced_task_nesting", value)?;
            }
            "timelimit" => self.time_limit = time_limit(value)?,
            "ignore_result" => match value {
                Value::Bool(ignore) => self.ignore_result = Some(*ignore),
                _ => return Err(not("ignore_result", "a truth value")),
            },
            "stamped_headers" => match value {
                Value::List(stamps) if stamps.iter().all(|name| name.as_str().is_some()) => {}
                _ => return Err(not("stamped_headers", "a list of texts")),
            },
            "stamps" if !matches!(value, Value::Table(_)) => {
                return Err(not("stamps", "a table"));
            }
            _ => {}
        }
        Ok(())
    }
}

/// Moves a message that has been found good to its place.
fn assemble(
    checked: Checked,
    legacy: Option<Converted>,
    properties: Properties,
    bytes: Bytes,
) -> Message {
    let mut header = Header::new(String::new(), checked.id);
    header.correlation_id = properties
        .correlation_id
        .filter(|_| !checked.correlates_by_id);
    header.reply_to = properties.reply_to.filter(|queue| !queue.is_empty());
    header.priority = properties.priority;
    header.group_index = checked.group_index;
    header.retries = checked.retries;
    header.eta = checked.eta;
    header.expires = checked.expires;
    header.time_limit = checked.time_limit;
    header.ignore_result = checked.ignore_result;
    header.replaced_task_nesting = checked.replaced_task_nesting;
    let (headers, mut body) = match legacy {
        Some(Converted { headers, body, .. }) => (headers, Body::json(body)),
        None => {
            let body = Body {
                content_type: properties.content_type,
                content_encoding: properties.content_encoding,
                compression: None,
                bytes,
            };
            (properties.headers, body)
        }
    };
    let mut extra = Vec::new();
    for (name, value) in headers {
        match &*name {
            "task" => header.task = into_text(value).unwrap_or_default().into_owned(),
            "group" => header.group = into_text(value).map(Cow::into_owned),
            "root_id" => header.root_id = value.as_str().map(TaskId::from),
            "parent_id" => header.parent_id = value.as_str().map(TaskId::from),
            "stamped_headers" => header.stamped_headers = into_texts(value),
            "stamps" => {
                if let Value::Table(stamps) = value {
                    header.stamps = stamps;
                }
            }
            "compression" => body.compression = into_text(value).filter(|name| !name.is_empty()),
            "lang" => header.lang = into_display(value),
            "shadow" => header.shadow = into_display(value),
            "origin" => header.origin = into_display(value),
            "argsrepr" => header.args_repr = into_display(value),
            "kwargsrepr" => header.kwargs_repr = into_display(value),
            known if names::CELERY.contains(&known) || is_of_the_broker(known) => {}
            _ => extra.push((name, value)),
        }
    }
    header.extra = extra.into_iter().collect();
    Message::new(header, body)
}

/// True for what RabbitMQ writes into a message on its way
/// (<https://www.rabbitmq.com/docs/dlx#effects>, <https://www.rabbitmq.com/docs/quorum-queues#poison-message-handling>).
pub(crate) fn is_of_the_broker(name: &str) -> bool {
    name.strip_prefix("x-").is_some_and(|rest| {
        matches!(rest, "death" | "delivery-count" | "acquired-count")
            || rest.starts_with("first-death-")
            || rest.starts_with("last-death-")
    })
}

fn into_text(value: Value) -> Option<Cow<'static, str>> {
    match value {
        Value::Text(text) => Some(text),
        _ => None,
    }
}

fn into_texts(value: Value) -> Vec<String> {
    match value {
        Value::List(items) => items
            .into_iter()
            .filter_map(into_text)
            .map(Cow::into_owned)
            .collect(),
        _ => Vec::new(),
    }
}

/// The text of a header that is only shown: one that is cut within a character is repaired, any other type is ignored.
fn into_display(value: Value) -> Option<String> {
    match value {
        Value::Text(text) => Some(text.into_owned()),
        Value::RawText(bytes) => Some(String::from_utf8_lossy(&bytes).into_owned()),
        _ => None,
    }
}

fn not(name: &'static str, expected: &'static str) -> DecodeError {
    DecodeError::Header { name, expected }
}

fn check_text<'a>(
    name: &'static str,
    value: Option<&'a Value>,
) -> Result<Option<&'a str>, DecodeError> {
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Text(text)) => Ok(Some(text)),
        Some(_) => Err(not(name, "a text")),
    }
}

/// A whole number of any width; a float counts if it is whole.
fn integer(name: &'static str, value: &Value) -> Result<i64, DecodeError> {
    match (value.as_i64(), value.as_f64()) {
        (Some(number), _) => Ok(number),
        #[expect(clippy::cast_possible_truncation, reason = "`as` clamps to the range")]
        (None, Some(float)) if float.fract() == 0.0 => Ok(float as i64),
        _ => Err(not(name, "a whole number")),
    }
}

/// A count: less than none is none, too many is as many as there can be.
fn count(name: &'static str, value: &Value) -> Result<u32, DecodeError> {
    let number = integer(name, value)?;
    Ok(u32::try_from(number.max(0)).unwrap_or(u32::MAX))
}

fn point_in_time(name: &'static str, value: &Value) -> Result<SystemTime, DecodeError> {
    let time = match value {
        Value::Text(text) => time::parse(text),
        // py-amqp reads an AMQP timestamp as a time, and Celery takes it
        Value::Timestamp(seconds) => {
            SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(*seconds))
        }
        _ => None,
    };
    time.ok_or_else(|| {
        not(
            name,
            "a time of ISO 8601, such as `2026-11-20T10:04:40+00:00`",
        )
    })
}

/// `[hard, soft]`, each a number of seconds or null.
fn time_limit(value: &Value) -> Result<TimeLimit, DecodeError> {
    match value {
        Value::List(parts) => match &parts[..] {
            [] => Ok(TimeLimit::default()),
            [hard, soft] => Ok(TimeLimit::new(limit(hard)?, limit(soft)?)),
            _ => Err(not_a_time_limit()),
        },
        _ => Err(not_a_time_limit()),
    }
}

fn not_a_time_limit() -> DecodeError {
    not(
        "timelimit",
        "a list of two numbers of seconds, hard and soft",
    )
}

/// Longer than this, about 136 years, is no limit; up to it a float holds microseconds exactly.
const LONGEST_LIMIT: f64 = 4_294_967_296.0;

/// One limit; zero is none, as in Celery (`time_limit or task.time_limit`).
fn limit(value: &Value) -> Result<Option<Duration>, DecodeError> {
    let seconds = match value {
        Value::Null => return Ok(None),
        Value::Decimal { scale, value } => f64::from(*value) / 10_f64.powi((*scale).into()),
        other => other.as_f64().ok_or_else(not_a_time_limit)?,
    };
    if seconds.is_nan() || seconds < 0.0 {
        return Err(not_a_time_limit());
    }
    if seconds > LONGEST_LIMIT {
        return Ok(None);
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "between 0 and 2^32 seconds"
    )]
    let limit = Duration::from_micros((seconds * 1e6).round() as u64);
    Ok((!limit.is_zero()).then_some(limit))
}
