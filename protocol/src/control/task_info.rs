//! A task as remote control shows it.

use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use serde_json::value::RawValue;

use crate::codec::body::RawCall;
use crate::header::Header;
use crate::id::TaskId;
use crate::message::Message;
use crate::repr;
use crate::wire::Limits;

/// Arguments that are larger, in bytes of JSON, are shown as shortened text: a reply must not be larger than a broker
/// takes.
pub const MOST_SHOWN: usize = 64 * 1024;

/// A task that a worker has.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TaskInfo {
    /// Its id.
    pub id: TaskId,
    /// The name to show.
    pub name: String,
    /// Its arguments by position: a list, or a text.
    pub args: Box<RawValue>,
    /// Its arguments by name: an object, or a text.
    pub kwargs: Box<RawValue>,
    /// Its wire name.
    #[serde(rename = "type")]
    pub task: String,
    /// The worker.
    pub hostname: String,
    /// When it started, in seconds since 1970.
    pub time_start: Option<f64>,
    /// True if its message is acknowledged.
    pub acknowledged: bool,
    /// How it came.
    pub delivery_info: DeliveryInfo,
    /// The process that runs it.
    pub worker_pid: Option<u32>,
}

/// How a message came.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DeliveryInfo {
    /// The exchange it was published to.
    pub exchange: String,
    /// The routing key it was published with.
    pub routing_key: String,
    /// Its priority.
    pub priority: Option<u8>,
    /// True if it may have been delivered before.
    pub redelivered: bool,
}

impl DeliveryInfo {
    /// How a message came that was published to this exchange with this key.
    #[must_use]
    pub fn new(exchange: &str, routing_key: &str, redelivered: bool) -> Self {
        Self {
            exchange: exchange.to_owned(),
            routing_key: routing_key.to_owned(),
            priority: None,
            redelivered,
        }
    }
}

/// How arguments are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Show {
    /// As JSON.
    Values,
    /// As texts.
    Texts,
}

impl TaskInfo {
    /// A task that has not started.
    #[must_use]
    pub fn waiting(message: &Message, node: &str, delivery: DeliveryInfo, show: Show) -> Self {
        let header = &message.header;
        let (args, kwargs) = arguments(message, show);
        Self {
            id: header.id.clone(),
            name: header.shadow.as_ref().unwrap_or(&header.task).clone(),
            args,
            kwargs,
            task: header.task.clone(),
            hostname: node.to_owned(),
            time_start: None,
            acknowledged: false,
            delivery_info: DeliveryInfo {
                priority: header.priority,
                ..delivery
            },
            worker_pid: None,
        }
    }

    /// Says when it started, and in which process.
    #[must_use]
    pub fn running(mut self, since: SystemTime, pid: u32, acknowledged: bool) -> Self {
        let since = since.duration_since(SystemTime::UNIX_EPOCH);
        self.time_start = Some(since.unwrap_or_default().as_secs_f64());
        self.worker_pid = Some(pid);
        self.acknowledged = acknowledged;
        self
    }
}

fn arguments(message: &Message, show: Show) -> (Box<RawValue>, Box<RawValue>) {
    let limits = Limits::default().body(MOST_SHOWN);
    let plain = message.body.plain(&limits).ok();
    let call = plain.as_ref().and_then(|plain| RawCall::cut(plain).ok());
    match (call, show) {
        (Some(call), Show::Values) => values(&call),
        (Some(call), Show::Texts) => texts(&message.header, Some(&call)),
        (None, _) => texts(&message.header, None),
    }
}

/// The pieces of the body as they came.
fn values(call: &RawCall<'_>) -> (Box<RawValue>, Box<RawValue>) {
    let items: Vec<_> = call.args.iter().map(|raw| raw.get()).collect();
    let members = call.kwargs.iter().map(|(name, value)| {
        let name = Json::from(&**name);
        format!("{name}:{}", value.get())
    });
    let members: Vec<_> = members.collect();
    (
        raw(format!("[{}]", items.join(","))),
        raw(format!("{{{}}}", members.join(","))),
    )
}

/// What the sender wrote for people to read, or what can be read of the body.
fn texts(header: &Header, call: Option<&RawCall<'_>>) -> (Box<RawValue>, Box<RawValue>) {
    let (args, kwargs) = match call {
        Some(call) => repr::call(call),
        None => repr::call(&RawCall::default()),
    };
    let args = header.args_repr.clone().unwrap_or(args);
    let kwargs = header.kwargs_repr.clone().unwrap_or(kwargs);
    (
        raw(Json::from(args).to_string()),
        raw(Json::from(kwargs).to_string()),
    )
}

fn raw(json: String) -> Box<RawValue> {
    // the pieces were cut out of JSON
    RawValue::from_string(json).unwrap_or_else(|_| RawValue::NULL.to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::message::Body;

    fn message(body: impl Into<bytes::Bytes>) -> Message {
        Message::new(Header::new("shop.pay", TaskId::from("1")), Body::json(body))
    }

    fn shown(message: &Message, show: Show) -> (Json, Json) {
        let info = TaskInfo::waiting(message, "w", DeliveryInfo::default(), show);
        let info = serde_json::to_value(info).expect("JSON");
        (info["args"].clone(), info["kwargs"].clone())
    }

    #[test]
    fn arguments_are_shown_as_values_or_as_texts() {
        let mut message = message(r#"[[90, "x"], {"k": [1, null]}, {}]"#);
        let values = (json!([90, "x"]), json!({"k": [1, null]}));
        assert_eq!(shown(&message, Show::Values), values);
        let texts = (json!("(90, 'x')"), json!("{'k': [1, None]}"));
        assert_eq!(shown(&message, Show::Texts), texts);
        message.header.args_repr = Some("('***',)".to_owned());
        assert_eq!(shown(&message, Show::Texts).0, json!("('***',)"));
    }

    #[test]
    fn what_is_too_large_or_cannot_be_read_is_shown_as_the_sender_wrote_it() {
        let large = format!(r#"[["{}"],{{}},{{}}]"#, "x".repeat(MOST_SHOWN));
        for body in [large, "{}".to_owned()] {
            let mut message = message(body);
            assert_eq!(shown(&message, Show::Values), (json!("()"), json!("{}")));
            message.header.args_repr = Some("('xx...',)".to_owned());
            assert_eq!(shown(&message, Show::Values).0, json!("('xx...',)"));
        }
    }

    #[test]
    fn a_shadow_is_shown_as_the_name() {
        let mut message = message("[[],{},{}]");
        message.header.shadow = Some("nice name".to_owned());
        let info = TaskInfo::waiting(&message, "w", DeliveryInfo::default(), Show::Values);
        assert_eq!((&*info.name, &*info.task), ("nice name", "shop.pay"));
    }
}
