//! Parts of a workflow as the signatures that Celery embeds.

use std::borrow::Cow;

use serde_json::Value as Json;

use crate::codec::body::NOTHING_FOLLOWS;
use crate::error::EncodeError;
use crate::header::names;
use crate::options::{CallOptions, Priority, Start, Target};
use crate::property::{Table, Value};
use crate::wire::time;
use crate::workflow::{Kind, Part, Single};

/// What a message embeds: its links, and the steps after it, which travel the last one first.
pub(crate) fn embed(options: &CallOptions) -> Result<Cow<'static, str>, EncodeError> {
    let CallOptions {
        chain,
        link,
        link_error,
        ..
    } = options;
    if chain.is_empty() && link.is_empty() && link_error.is_empty() {
        return Ok(NOTHING_FOLLOWS.into());
    }
    let chain = list(chain.iter().rev())?;
    Ok(Cow::Owned(format!(
        r#"{{"callbacks":{},"errbacks":{},"chain":{chain},"chord":null}}"#,
        list(link.iter())?,
        list(link_error.iter())?,
    )))
}

/// A list of signatures; null if there are none.
fn list<'a>(parts: impl Iterator<Item = &'a Part>) -> Result<String, EncodeError> {
    let texts = parts.map(signature).collect::<Result<Vec<_>, _>>()?;
    Ok(match texts.is_empty() {
        true => "null".to_owned(),
        false => format!("[{}]", texts.join(", ")),
    })
}

fn signature(part: &Part) -> Result<String, EncodeError> {
    match &part.0 {
        Kind::One(single) => one(single),
        Kind::Chain(parts) => several("chain", parts, last_id(part)),
        Kind::Group(parts) => several("group", parts, group_id(parts)),
        Kind::Wrong(wrong) => Err(EncodeError::Step(std::sync::Arc::clone(&wrong.0))),
    }
}

/// The id that stands for a chain: that of its last step.
fn last_id(part: &Part) -> Option<String> {
    match &part.0 {
        Kind::One(single) => single.options.id.as_ref().map(ToString::to_string),
        Kind::Chain(parts) => last_id(parts.last()?),
        Kind::Group(parts) => group_id(parts),
        Kind::Wrong(_) => None,
    }
}

fn group_id(members: &[Part]) -> Option<String> {
    members.iter().find_map(|member| match &member.0 {
        Kind::One(single) => single.options.group.as_ref().map(|(id, _)| id.clone()),
        Kind::Chain(parts) => group_id(parts),
        _ => None,
    })
}

fn several(kind: &str, parts: &[Part], id: Option<String>) -> Result<String, EncodeError> {
    let tasks = parts.iter().map(signature).collect::<Result<Vec<_>, _>>()?;
    let id = id.map_or_else(String::new, |id| {
        format!(r#""task_id": {}"#, Json::from(id))
    });
    Ok(format!(
        r#"{{"task": "celery.{kind}", "args": [], "kwargs": {{"tasks": [{}]}}, "options": {{{id}}}, "subtask_type": "{kind}", "immutable": false}}"#,
        tasks.join(", "),
    ))
}

fn one(single: &Single) -> Result<String, EncodeError> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let options = options(single)?;
    let options = options
        .into_iter()
        .map(|(name, text)| format!(r#""{name}": {text}"#));
    Ok(format!(
        r#"{{"task": {}, "args": [{}], "kwargs": {{{}}}, "options": {{{}}}, "subtask_type": null, "immutable": {}}}"#,
        Json::from(&*single.task),
        text(&single.arguments.args),
        text(&single.arguments.kwargs),
        options.collect::<Vec<_>>().join(", "),
        !single.takes_result,
    ))
}

/// The options of a call, as names that need no escape and JSON.
fn options(single: &Single) -> Result<Vec<(&'static str, String)>, EncodeError> {
    let options = &single.options;
    let mut written = Vec::new();
    let mut put = |name, value: Option<Json>| {
        written.extend(value.map(|value| (name, value.to_string())));
    };
    put(
        "task_id",
        options.id.as_ref().map(|id| id.to_string().into()),
    );
    put("reply_to", options.reply_to.clone().map(Json::from));
    match options.target.as_ref().or(single.home.as_ref()) {
        Some(Target::Exchange {
            exchange,
            routing_key,
        }) => {
            put("exchange", Some(exchange.clone().into()));
            put("routing_key", Some(routing_key.clone().into()));
        }
        Some(queue) => put("queue", Some(queue.name().into())),
        None => {}
    }
    if let Some((group, index)) = &options.group {
        put("group_id", Some(group.clone().into()));
        put("group_index", Some((*index).into()));
    }
    put(
        "priority",
        options.priority.map(|p| Priority::level(p).into()),
    );
    match options.start {
        Some(Start::After(delay)) => put("countdown", Some(delay.as_secs_f64().into())),
        Some(Start::At(at)) => put("eta", Some(time::format(at).into())),
        None => {}
    }
    let seconds = |duration: Option<std::time::Duration>| duration.map(|d| d.as_secs_f64().into());
    put("expires", seconds(options.expires));
    put("time_limit", seconds(options.timeout));
    put("soft_time_limit", seconds(options.soft_timeout));
    put("ignore_result", options.ignore_result.map(Json::from));
    let mut headers = options.headers.clone();
    if let Some(policy) = &options.retry {
        headers.insert(names::RETRY, policy.to_string());
    }
    put("headers", (!headers.is_empty()).then(|| table(&headers)));
    for (name, parts) in [("link", &options.link), ("link_error", &options.link_error)] {
        if !parts.is_empty() {
            written.push((name, list(parts.iter())?));
        }
    }
    Ok(written)
}

/// Headers as JSON, which has fewer types: bytes become text, times become numbers.
fn table(table: &Table) -> Json {
    let members = table.iter();
    Json::Object(
        members
            .map(|(name, v)| (name.to_owned(), json(v)))
            .collect(),
    )
}

fn json(value: &Value) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Bool(truth) => (*truth).into(),
        Value::Text(text) => (&**text).into(),
        Value::RawText(bytes) | Value::Bytes(bytes) => String::from_utf8_lossy(bytes).into(),
        Value::Timestamp(seconds) => (*seconds).into(),
        Value::List(items) => items.iter().map(json).collect(),
        Value::Table(nested) => table(nested),
        Value::Decimal { scale, value } => {
            (f64::from(*value) / 10_f64.powi((*scale).into())).into()
        }
        number => match number.as_i64() {
            Some(integer) => integer.into(),
            None => number.as_f64().into(),
        },
    }
}
