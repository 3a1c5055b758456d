//! Results on their way back, in the form of Celery's `rpc://` backend.

use std::borrow::Cow;
use std::time::SystemTime;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::canvas::Child;
use crate::codec::words;
use crate::error::DecodeError;
use crate::id::TaskId;
use crate::outcome::ErrorReport;
use crate::wire::time;

/// What a task has come to.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Status {
    /// It returned a value.
    Success,
    /// It failed for good.
    Failure,
    /// It failed and will be tried again.
    Retry,
    /// It was cancelled or too late, and has not run to its end.
    Revoked,
    /// It runs.
    Started,
    /// A state of the task's own, such as `PROGRESS`.
    Other(Cow<'static, str>),
}

impl Status {
    /// The word on the wire.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Success => "SUCCESS",
            Self::Failure => "FAILURE",
            Self::Retry => "RETRY",
            Self::Revoked => "REVOKED",
            Self::Started => "STARTED",
            Self::Other(word) => word,
        }
    }

    /// True if nothing follows.
    #[must_use]
    pub fn is_final(&self) -> bool {
        matches!(self, Self::Success | Self::Failure | Self::Revoked)
    }
}

impl From<&str> for Status {
    fn from(word: &str) -> Self {
        match word {
            "SUCCESS" => Self::Success,
            "FAILURE" => Self::Failure,
            "RETRY" => Self::Retry,
            "REVOKED" => Self::Revoked,
            "STARTED" => Self::Started,
            _ => Self::Other(Cow::Owned(word.to_owned())),
        }
    }
}

/// A state of a task, told to whoever called it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Reply {
    /// The task it is about.
    pub task_id: TaskId,
    /// What the task has come to.
    pub status: Status,
    /// The output of a success, the exception object of a failure, the value of any other state.
    pub result: Box<RawValue>,
    /// A longer account of a failure for people.
    pub traceback: Option<String>,
    /// When the task ended; absent in intermediate states.
    pub date_done: Option<SystemTime>,
    /// The group of the task.
    pub group_id: Option<String>,
    /// The task that sent this one.
    pub parent_id: Option<TaskId>,
    /// What was sent by the task or because of it.
    pub children: Vec<Child>,
}

impl Reply {
    /// A reply without the optional parts.
    #[must_use]
    pub const fn new(task_id: TaskId, status: Status, result: Box<RawValue>) -> Self {
        Self {
            task_id,
            status,
            result,
            traceback: None,
            date_done: None,
            group_id: None,
            parent_id: None,
            children: Vec::new(),
        }
    }

    /// The reply of a task that failed, was cancelled or will be tried again. Nothing led to a cancellation that there
    /// could be an account of.
    #[must_use]
    pub fn failure(task_id: TaskId, status: Status, report: &ErrorReport) -> Self {
        Self {
            traceback: (status != Status::Revoked).then(|| report.account()),
            ..Self::new(task_id, status, Exception::of(report).to_raw())
        }
    }

    /// The body that travels.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let wire = WireReply {
            status: self.status.as_str().into(),
            result: &self.result,
            traceback: self.traceback.as_deref().map(Cow::Borrowed),
            children: &self.children,
            date_done: self.date_done.map(|t| time::format(t).into()),
            task_id: self.task_id.clone(),
            group_id: self.group_id.as_deref().map(Cow::Borrowed),
            parent_id: self.parent_id.clone(),
        };
        // enough for all but the result of a task that is alone
        let mut json = Vec::with_capacity(192 + self.result.get().len());
        serde_json::to_writer(&mut json, &wire)
            .expect("texts and raw JSON always have a JSON form");
        words::restore(json.into())
    }

    /// Reads the body of a reply.
    ///
    /// # Errors
    ///
    /// When it is not JSON, or has no `status` or no `task_id`.
    pub fn decode(body: &[u8]) -> Result<Self, serde_json::Error> {
        let escaped = words::escape_in(body);
        let wire: ReadReply<'_> = serde_json::from_slice(&escaped)?;
        Ok(Self {
            task_id: wire.task_id,
            status: Status::from(&*wire.status),
            result: wire
                .result
                .map_or_else(|| RawValue::NULL.to_owned(), ToOwned::to_owned),
            traceback: wire.traceback.map(Text::into_owned),
            date_done: wire.date_done.and_then(|text| time::parse(&text.0)),
            group_id: wire.group_id.map(Text::into_owned),
            parent_id: wire.parent_id,
            // they are for who looks further: a result is one without them
            children: wire
                .children
                .and_then(|raw| serde_json::from_str(raw.get()).ok())
                .unwrap_or_default(),
        })
    }

    /// Reads a reply in any format that this program knows.
    ///
    /// # Errors
    ///
    /// When it is none, or has no `status` or no `task_id`.
    pub fn read(content_type: Option<&str>, body: &[u8]) -> Result<Self, DecodeError> {
        #[cfg(feature = "msgpack")]
        if content_type == Some(crate::codec::MSGPACK) {
            let json = crate::codec::msgpack::to_json(body, usize::MAX)?;
            return Self::decode(&json).map_err(DecodeError::Body);
        }
        Self::decode(body).map_err(|error| match content_type {
            None | Some(crate::codec::JSON) => DecodeError::Body(error),
            Some(other) => DecodeError::ContentType {
                found: other.to_owned(),
            },
        })
    }

    /// The failure that the reply tells, if its result is an exception object.
    #[must_use]
    pub fn report(&self) -> Option<ErrorReport> {
        let exception: Exception<'_> = serde_json::from_str(self.result.get()).ok()?;
        Some(exception.into_report(self.traceback.clone()))
    }
}

#[derive(Serialize)]
struct WireReply<'a> {
    status: Cow<'a, str>,
    result: &'a RawValue,
    traceback: Option<Cow<'a, str>>,
    children: &'a [Child],
    date_done: Option<Cow<'a, str>>,
    task_id: TaskId,
    #[serde(skip_serializing_if = "Option::is_none")]
    group_id: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parent_id: Option<TaskId>,
}

#[derive(Deserialize)]
struct ReadReply<'a> {
    #[serde(borrow)]
    status: Cow<'a, str>,
    #[serde(borrow, default)]
    result: Option<&'a RawValue>,
    #[serde(borrow, default)]
    traceback: Option<Text<'a>>,
    #[serde(borrow, default)]
    date_done: Option<Text<'a>>,
    task_id: TaskId,
    #[serde(borrow, default)]
    group_id: Option<Text<'a>>,
    #[serde(default)]
    parent_id: Option<TaskId>,
    #[serde(borrow, default)]
    children: Option<&'a RawValue>,
}

/// A text that is borrowed where it can be, which an `Option` of a `Cow` never is.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl Text<'_> {
    fn into_owned(self) -> String {
        self.0.into_owned()
    }
}

/// Celery's exception object, with what coney adds: Python ignores the rest.
#[derive(Serialize, Deserialize)]
struct Exception<'a> {
    #[serde(borrow)]
    exc_type: Cow<'a, str>,
    #[serde(default)]
    exc_message: ExceptionArguments,
    #[serde(borrow, default)]
    exc_module: Option<Cow<'a, str>>,
    #[serde(default, rename = "coney_chain", skip_serializing_if = "Vec::is_empty")]
    chain: Vec<String>,
    #[serde(
        borrow,
        default,
        rename = "coney_error",
        skip_serializing_if = "Option::is_none"
    )]
    payload: Option<&'a RawValue>,
}

/// The arguments of the exception; older programs send its text alone.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum ExceptionArguments {
    List(Vec<serde_json::Value>),
    One(serde_json::Value),
}

impl Default for ExceptionArguments {
    fn default() -> Self {
        Self::List(Vec::new())
    }
}

impl ExceptionArguments {
    fn into_list(self) -> Vec<serde_json::Value> {
        match self {
            Self::List(values) => values,
            Self::One(value) => vec![value],
        }
    }
}

/// The text of an exception with these arguments.
fn text_of(arguments: &[serde_json::Value]) -> String {
    let texts: Vec<_> = arguments
        .iter()
        .map(|value| match value {
            serde_json::Value::String(text) => text.clone(),
            other => other.to_string(),
        })
        .collect();
    texts.join(", ")
}

impl<'a> Exception<'a> {
    fn of(report: &'a ErrorReport) -> Self {
        Self {
            exc_type: Cow::Borrowed(&report.kind),
            exc_message: ExceptionArguments::List(match &report.args {
                Some(args) => args.clone(),
                None => vec![report.message.clone().into()],
            }),
            exc_module: report.module.as_deref().map(Cow::Borrowed),
            chain: report.chain.clone(),
            payload: report.payload.as_deref(),
        }
    }

    fn to_raw(&self) -> Box<RawValue> {
        serde_json::value::to_raw_value(self).expect("texts and raw JSON always have a JSON form")
    }

    fn into_report(self, traceback: Option<String>) -> ErrorReport {
        let args = self.exc_message.into_list();
        ErrorReport {
            module: self.exc_module.map(Cow::into_owned),
            chain: self.chain,
            traceback,
            payload: self.payload.map(ToOwned::to_owned),
            ..ErrorReport::new(self.exc_type, text_of(&args)).args(args)
        }
    }
}

impl ErrorReport {
    /// What stands where Python has its traceback: the longer account, or the error with the chain of its causes.
    #[must_use]
    pub fn account(&self) -> String {
        if let Some(traceback) = &self.traceback {
            return traceback.clone();
        }
        let mut text = format!("{}: {}\n", self.kind, self.message);
        for cause in &self.chain {
            text.push_str("caused by: ");
            text.push_str(cause);
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_survives_the_way_back() {
        let report = ErrorReport {
            chain: vec!["timed out".to_owned()],
            payload: RawValue::from_string(r#"{"Smtp":421}"#.to_owned()).ok(),
            ..ErrorReport::new("MailError", "smtp: 421")
        };
        let reply = Reply::failure(TaskId::generate(), Status::Failure, &report);
        let read = Reply::decode(&reply.encode()).expect("own replies are readable");
        let told = read.report().expect("a failure has a report");
        assert_eq!((&*told.kind, &*told.message), ("MailError", "smtp: 421"));
        assert_eq!(told.chain, report.chain);
        assert_eq!(
            told.payload.map(|raw| raw.get().to_owned()).as_deref(),
            Some(r#"{"Smtp":421}"#)
        );
        assert!(
            told.traceback
                .is_some_and(|text| text.contains("caused by: timed out"))
        );
    }

    #[test]
    fn a_bare_text_is_accepted_as_arguments_of_an_exception() {
        let body = br#"{"status":"FAILURE","result":{"exc_type":"ValueError","exc_message":"boom","exc_module":"builtins"},"task_id":"x"}"#;
        let report = Reply::decode(body).ok().and_then(|reply| reply.report());
        assert_eq!(report.map(|r| r.message).as_deref(), Some("boom"));
    }

    #[test]
    fn an_exception_without_arguments_and_a_null_result_are_read() {
        let body = br#"{"status":"FAILURE","result":{"exc_type":"Exit"},"task_id":"x"}"#;
        let report = Reply::decode(body).ok().and_then(|reply| reply.report());
        assert_eq!(report.map(|r| r.message).as_deref(), Some(""));
        for body in [
            r#"{"status":"SUCCESS","result":null,"task_id":"x"}"#,
            r#"{"status":"SUCCESS","task_id":"x","children":[[["a",null],null]],"date_done":"soon"}"#,
        ] {
            let reply = Reply::decode(body.as_bytes()).expect("a reply");
            assert_eq!(reply.result.get(), "null");
            assert_eq!(reply.date_done, None);
        }
    }
}
