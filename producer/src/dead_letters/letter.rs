//! One dead letter, as far as it can be read.

use std::fmt;
use std::time::SystemTime;

use bytes::Bytes;
use coney_protocol::codec::Limits;
use coney_protocol::dead::{self, Reason};
use coney_protocol::header::names;
use coney_protocol::history::{self, FailedAttempt};
use coney_protocol::id::TaskId;
use coney_protocol::property::{Properties, Table, Value};
use coney_protocol::wire;

/// A message that was given up. What cannot be read is absent.
#[derive(Clone)]
#[non_exhaustive]
pub struct DeadLetter {
    /// The wire name of its task.
    pub task: Option<String>,
    /// The id of its task; the correlation id if the message has no other.
    pub id: Option<TaskId>,
    /// Why it was given up.
    pub reason: DeadReason,
    /// The type and text of the last error. A letter that the broker put here has none.
    pub error: Option<String>,
    /// The queue that it came from.
    pub queue: String,
    /// The worker that gave it up. A letter that the broker put here has none.
    pub worker: Option<String>,
    /// When it was given up.
    pub died_at: Option<SystemTime>,
    /// The attempts that failed, oldest first, the last ten: when, where and with which error.
    pub attempts: Vec<FailedAttempt>,
    /// The attempts that were made before the last one.
    pub retries: u32,
    /// All properties of the message, with its headers.
    pub properties: Properties,
    /// The body, as it travelled. A message of Celery's protocol 1 is shown as one of protocol 2.
    pub body: Bytes,
}

/// Why a letter was given up.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DeadReason {
    /// A worker of coney said so; or the broker, of a message that was delivered too often
    /// ([`Reason::DeliveryLimit`]), which is the same on quorum queues.
    Known(Reason),
    /// Somebody else did: the broker with `rejected`, `expired` or `maxlen`, or a program of its own. Empty if nobody
    /// said why.
    Other(String),
}

impl DeadReason {
    /// The word on the wire.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Known(reason) => reason.as_str(),
            Self::Other(word) => word,
        }
    }
}

impl From<Reason> for DeadReason {
    fn from(reason: Reason) -> Self {
        Self::Known(reason)
    }
}

impl From<&str> for DeadReason {
    /// Any word is a reason. `expired` is the worker's; the broker's word of the same spelling is
    /// `DeadReason::Other("expired".into())`.
    fn from(word: &str) -> Self {
        Reason::parse(word).map_or_else(|| Self::Other(word.to_owned()), Self::Known)
    }
}

impl fmt::Display for DeadReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.as_str() {
            "" => "unknown",
            word => word,
        })
    }
}

impl DeadLetter {
    /// Reads what can be read of a letter in the dead letters of `queue`.
    pub(super) fn read(properties: Properties, body: Bytes, queue: &str) -> Self {
        let headers = &properties.headers;
        let given = text(headers, names::REASON);
        let death = match given {
            Some(_) => None,
            None => dead::broker_death(headers, queue),
        };
        let reason = match (given, &death) {
            (Some(word), _) => word.into(),
            (None, Some(death)) if death.reason == Reason::DeliveryLimit.as_str() => {
                Reason::DeliveryLimit.into()
            }
            (None, Some(death)) => DeadReason::Other(death.reason.clone()),
            (None, None) => DeadReason::Other(String::new()),
        };
        let died_at = text(headers, names::DIED_AT).and_then(wire::time::parse);
        let owned = |name| text(headers, name).map(str::to_owned);
        let mut letter = Self {
            task: owned("task"),
            id: text(headers, "id").map(TaskId::from),
            reason,
            error: owned(names::ERROR),
            queue: owned(names::QUEUE).unwrap_or_else(|| queue.to_owned()),
            worker: owned(names::WORKER),
            died_at: died_at.or_else(|| death.and_then(|death| death.at)),
            attempts: history::read(headers),
            retries: headers
                .get("retries")
                .and_then(Value::as_i64)
                .and_then(|retries| retries.try_into().ok())
                .unwrap_or(0),
            properties,
            body,
        };
        letter.read_legacy();
        letter
    }

    /// Makes a message of protocol 1, whose header is in its body, one of protocol 2.
    fn read_legacy(&mut self) {
        if self.task.is_none() {
            let (properties, body) = (self.properties.clone(), self.body.clone());
            if let Ok(message) = wire::decode(properties, body, &Limits::default()) {
                self.task = Some(message.header.task.clone());
                self.id = Some(message.header.id.clone());
                self.retries = message.header.retries;
                (self.properties, self.body) = wire::encode(&message);
            }
        }
        if self.id.is_none() {
            self.id = self.properties.correlation_id.as_deref().map(TaskId::from);
        }
    }

    /// The error of the first attempt that is remembered, with its type.
    #[must_use]
    pub fn first_error(&self) -> Option<&str> {
        let first = self.attempts.first().map(|attempt| attempt.error.as_str());
        first.or(self.error.as_deref())
    }

    /// The error of the last attempt, with its type.
    #[must_use]
    pub fn last_error(&self) -> Option<&str> {
        let last = self.attempts.last().map(|attempt| attempt.error.as_str());
        self.error.as_deref().or(last)
    }

    /// All headers of the message.
    #[must_use]
    pub fn headers(&self) -> &Table {
        &self.properties.headers
    }

    /// The message as it is put back.
    pub(super) fn into_message(mut self) -> (Properties, Bytes) {
        dead::unmark(&mut self.properties);
        (self.properties, self.body)
    }
}

fn text<'a>(headers: &'a Table, name: &str) -> Option<&'a str> {
    let text = headers.get(name)?.as_str()?;
    (!text.is_empty()).then_some(text)
}

impl fmt::Display for DeadLetter {
    /// One line: task, id, reason and last error.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let task = self.task.as_deref().unwrap_or("?");
        write!(f, "{task} (")?;
        match &self.id {
            Some(id) => write!(f, "{id}")?,
            None => f.write_str("no id")?,
        }
        write!(f, ") {}", self.reason)?;
        match self.last_error() {
            Some(error) => write!(f, ": {error}"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for DeadLetter {
    /// Without headers and body, which may hold what is nobody's business.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeadLetter")
            .field("task", &self.task)
            .field("id", &self.id)
            .field("reason", &self.reason)
            .field("queue", &self.queue)
            .field("worker", &self.worker)
            .field("died_at", &self.died_at)
            .field("retries", &self.retries)
            .field("body", &format_args!("{} bytes", self.body.len()))
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_letter_that_nobody_can_read_is_a_letter() {
        let mut properties = Properties::default();
        properties.correlation_id = Some("c-1".to_owned());
        properties.headers.insert("task", 7);
        properties.headers.insert("retries", "many");
        properties.headers.insert("x-death", "nonsense");
        let body = Bytes::from_static(b"\xff secret");
        let letter = DeadLetter::read(properties.clone(), body.clone(), "q");
        assert_eq!((&letter.task, letter.retries), (&None, 0));
        assert_eq!(letter.id, Some(TaskId::from("c-1")));
        assert_eq!(letter.reason, DeadReason::Other(String::new()));
        assert_eq!(letter.to_string(), "? (c-1) unknown");
        assert!(!format!("{letter:?}").contains("secret"));
        let (_, back) = letter.into_message();
        assert_eq!(back, body);
    }

    #[test]
    fn a_letter_of_protocol_1_is_put_back_as_a_first_attempt() {
        let mut properties = Properties::default();
        properties.content_type = Some("application/json".into());
        properties.content_encoding = Some("utf-8".into());
        let body = r#"{"task": "t", "id": "old", "args": [1], "kwargs": {}, "retries": 3, "eta": null,
            "expires": "2020-01-01T00:00:00", "utc": true, "callbacks": null, "errbacks": null}"#;
        let letter = DeadLetter::read(properties, Bytes::from(body), "q");
        assert_eq!(letter.id, Some(TaskId::from("old")));
        assert_eq!((letter.task.as_deref(), letter.retries), (Some("t"), 3));
        let (properties, body) = letter.into_message();
        let message = wire::decode(properties, body, &Limits::default()).expect("a message");
        assert_eq!(message.header.attempt(), 1);
        assert_eq!(message.header.expires, None);
    }
}
