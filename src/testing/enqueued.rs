//! A call that is sent and not finished.

use std::fmt;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use coney_devbroker::MessageView;
use coney_protocol::codec::body::RawCall;
use coney_protocol::header::Header;
use coney_protocol::history::{self, FailedAttempt};
use coney_protocol::id::TaskId;
use coney_protocol::property::Properties;
use coney_protocol::wire::{self, Limits};
use serde_json::{Map, Value as Json};

/// A call that is sent and not finished.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Enqueued {
    /// Wire name of the task.
    pub task: String,
    /// Its id.
    pub id: TaskId,
    /// The queue that it waits in, or goes to.
    pub queue: String,
    /// Arguments by name, as coney sends them.
    pub named: Map<String, Json>,
    /// Arguments by position, as a Celery client may send them.
    pub positional: Vec<Json>,
    /// The attempt that it is, 1 for the first.
    pub attempt: u32,
    /// The attempts that failed, oldest first, the last ten.
    pub failed: Vec<FailedAttempt>,
    /// Priority within the queue.
    pub priority: Option<u8>,
    /// When it is no longer worth starting.
    pub expires: Option<SystemTime>,
    /// What it waits for.
    pub waiting: Waiting,
}

/// What a call waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Waiting {
    /// A worker.
    Ready,
    /// A time: it was sent with a delay, or comes back after a failed attempt.
    Delayed {
        /// When it reaches its queue.
        until: SystemTime,
    },
    /// Its own end: a worker has it.
    Taken,
}

impl Enqueued {
    /// Reads a message; `None` if it is no call.
    pub(super) fn read(queue: &str, waiting: Waiting, message: MessageView) -> Option<Self> {
        let properties = coney_amqp::read_properties(&message.properties);
        Self::decode(queue, waiting, properties, message.body.into())
    }

    fn decode(queue: &str, waiting: Waiting, properties: Properties, body: Bytes) -> Option<Self> {
        let limits = Limits::default();
        let message = wire::decode(properties, body, &limits).ok()?;
        let body = message.body.plain(&limits).ok()?;
        let call = RawCall::cut(&body).ok()?;
        let json = |raw: &serde_json::value::RawValue| serde_json::from_str(raw.get()).ok();
        let named = call.kwargs.iter();
        let named = named.map(|(name, raw)| Some((name.to_string(), json(raw)?)));
        let positional = call.args.iter().map(|raw| json(raw));
        let header = message.header;
        Some(Self {
            named: named.collect::<Option<_>>()?,
            positional: positional.collect::<Option<_>>()?,
            waiting: waiting.exactly(&header),
            attempt: header.attempt(),
            failed: history::read(&header.extra),
            priority: header.priority,
            expires: header.expires,
            task: header.task,
            id: header.id,
            queue: queue.to_owned(),
        })
    }

    /// When it is due, if it waits for a time.
    #[must_use]
    pub fn due(&self) -> Option<SystemTime> {
        match self.waiting {
            Waiting::Delayed { until } => Some(until),
            Waiting::Ready | Waiting::Taken => None,
        }
    }

    /// The argument of a parameter, given all parameters of the task.
    pub(super) fn argument(&self, name: &str, parameters: &[&str]) -> Option<&Json> {
        let by_position = || {
            let at = parameters.iter().position(|parameter| *parameter == name)?;
            self.positional.get(at)
        };
        self.named.get(name).or_else(by_position)
    }

    /// The same as a text for people: with how long it still waits, counted from `now`.
    pub(super) fn tell(&self, now: SystemTime) -> String {
        let due = self
            .due()
            .map(|due| due.duration_since(now).unwrap_or_default());
        match (self.waiting, due) {
            (Waiting::Taken, _) => format!("{self}, with a worker"),
            (_, Some(wait)) => format!("{self}, due in {}", Wait(wait)),
            (_, None) => format!("{self}, ready"),
        }
    }
}

impl Waiting {
    /// The ladder rounds up; what the caller asked for stands in the header of a first attempt.
    fn exactly(self, header: &Header) -> Self {
        match (self, header.eta) {
            (Self::Delayed { .. }, Some(until)) if header.retries == 0 => Self::Delayed { until },
            _ => self,
        }
    }
}

/// The call as it would be written: task, arguments, queue.
impl fmt::Display for Enqueued {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let positional = self.positional.iter().map(ToString::to_string);
        let named = self
            .named
            .iter()
            .map(|(name, value)| format!("{name} = {value}"));
        let arguments: Vec<_> = positional.chain(named).collect();
        write!(
            f,
            "{}({}) in `{}`",
            self.task,
            arguments.join(", "),
            self.queue
        )?;
        match self.attempt {
            1 => Ok(()),
            attempt => write!(f, ", attempt {attempt}"),
        }
    }
}

/// A wait as people say it, to the second where it is long.
pub(super) struct Wait(pub(super) Duration);

impl fmt::Display for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        let (days, hours) = (seconds / 86_400, seconds / 3_600 % 24);
        let (minutes, rest) = (seconds / 60 % 60, seconds % 60);
        match (days, hours, minutes) {
            (0, 0, 0) => write!(f, "{:?}", self.0),
            (0, 0, _) => write!(f, "{minutes}m {rest}s"),
            (0, _, _) => write!(f, "{hours}h {minutes}m {rest}s"),
            _ => write!(f, "{days}d {hours}h {minutes}m"),
        }
    }
}
