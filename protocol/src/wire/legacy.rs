//! Bodies of protocol 1, turned into headers and a body of protocol 2.
//!
//! Protocol 1 carries everything in one JSON object. A hybrid has that object and headers of protocol 2 beside it, and
//! the headers win (Celery: `proto1_to_proto2` and `hybrid_to_proto2` in `worker/strategy.py`).

use std::borrow::Cow;

use bytes::Bytes;
use serde_json::Value as Json;
use serde_json::value::RawValue;

use crate::codec::body::Pairs;
use crate::error::DecodeError;
use crate::header::names;
use crate::property::{Table, Value};

/// What a body of protocol 1 says, in the terms of protocol 2.
pub(super) struct Converted {
    /// What protocol 2 has in headers.
    pub(super) headers: Table,
    /// Arguments and embed, every piece byte for byte as it came.
    pub(super) body: Bytes,
    /// True if the object has arguments: an object without them beside headers of protocol 2 is no hybrid.
    pub(super) has_args: bool,
}

impl Converted {
    /// Lays the headers of a hybrid over what its body says.
    pub(super) fn under(mut self, headers: &Table) -> Self {
        for (name, value) in headers.iter() {
            if !value.is_null() || self.headers.get(name).is_none() {
                self.headers.insert(name.to_owned(), value.clone());
            }
        }
        self
    }

    /// Adds the headers of a message of protocol 1: they are the caller's own, whatever their names.
    pub(super) fn beside(mut self, headers: &Table) -> Self {
        for (name, value) in headers.iter() {
            if !names::CELERY.contains(&name) {
                self.headers.insert(name.to_owned(), value.clone());
            }
        }
        self
    }
}

/// True if JSON starts as an object.
pub(super) fn is_object(json: &[u8]) -> bool {
    json.trim_ascii_start().first() == Some(&b'{')
}

/// Takes a body of protocol 1 apart.
pub(super) fn convert(plain: &[u8]) -> Result<Converted, DecodeError> {
    let Pairs(members) = serde_json::from_slice(plain).map_err(DecodeError::Body)?;
    let member = |name: &str| {
        let (_, raw) = members.iter().find(|(key, _)| key == name)?;
        Some(raw.get()).filter(|text| *text != "null")
    };
    let body = format!(
        r#"[{},{},{{"callbacks":{},"errbacks":{},"chain":null,"chord":{}}}]"#,
        member("args").unwrap_or("[]"),
        member("kwargs").unwrap_or("{}"),
        member("callbacks").unwrap_or("null"),
        member("errbacks").unwrap_or("null"),
        member("chord").unwrap_or("null"),
    );
    Ok(Converted {
        headers: headers(&members),
        has_args: member("args").is_some(),
        body: body.into(),
    })
}

fn headers(members: &[(Cow<'_, str>, &RawValue)]) -> Table {
    let mut table = Table::new();
    for (name, raw) in members {
        // `taskset` is what groups were called before, and wins; `compression` is about the bytes, not the task
        let known = match &**name {
            "compression" => None,
            "taskset" => Some("group"),
            "group" if table.get("group").is_some() => None,
            other => names::CELERY.into_iter().find(|known| *known == other),
        };
        if let Some(known) = known
            && let Ok(json) = serde_json::from_str::<Json>(raw.get())
            && !json.is_null()
        {
            table.insert(known, value(json));
        }
    }
    table
}

/// A JSON value as a header value; a number beyond the range of AMQP becomes the nearest.
pub(crate) fn value(json: Json) -> Value {
    match json {
        Json::Null => Value::Null,
        Json::Bool(truth) => Value::Bool(truth),
        Json::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(integer), _) => Value::I64(integer),
            (None, Some(_)) => Value::I64(i64::MAX),
            (None, None) => Value::F64(number.as_f64().unwrap_or(f64::NAN)),
        },
        Json::String(text) => text.into(),
        Json::Array(items) => Value::List(items.into_iter().map(value).collect()),
        Json::Object(members) => Value::Table(
            members
                .into_iter()
                .map(|(name, json)| (name.into(), value(json)))
                .collect(),
        ),
    }
}
