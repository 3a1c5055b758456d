//! What events tell, by type.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

use super::call::Call;

/// What has happened. The variants are named after the types of the events: `TaskSent` is `task-sent`.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum What<'a> {
    /// A client has sent a task; said only on request.
    TaskSent(Call<'a>),
    /// A worker has a task.
    TaskReceived(Call<'a>),
    /// It runs.
    TaskStarted {
        /// The task's id.
        uuid: Cow<'a, str>,
    },
    /// It has ended well.
    TaskSucceeded {
        /// The task's id.
        uuid: Cow<'a, str>,
        /// Its result, as a text for people.
        result: Cow<'a, str>,
        /// The seconds that it ran.
        runtime: f64,
    },
    /// It has failed for good.
    TaskFailed(Attempt<'a>),
    /// It has failed, and will be tried again.
    TaskRetried(Attempt<'a>),
    /// It was cancelled, or came too late.
    TaskRevoked(Revoked<'a>),
    /// It was refused.
    TaskRejected {
        /// The task's id.
        uuid: Cow<'a, str>,
        /// True if it goes back to its queue.
        requeue: bool,
    },
    /// It was given up when its worker lost the connection, and is delivered again.
    TaskCancelled {
        /// The task's id.
        uuid: Cow<'a, str>,
    },
    /// A worker has started.
    WorkerOnline(Vitals<'a>),
    /// It is still there.
    WorkerHeartbeat(Vitals<'a>),
    /// It has stopped.
    WorkerOffline(Vitals<'a>),
    /// Something that this version has no variant for.
    Other(Other),
}

/// An attempt that failed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Attempt<'a> {
    /// The task's id.
    pub uuid: Cow<'a, str>,
    /// The error, as Python would show it: `ValueError('boom')`.
    pub exception: Cow<'a, str>,
    /// A longer account for people.
    pub traceback: Option<Cow<'a, str>>,
}

/// A task that was cancelled, or came too late.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Revoked<'a> {
    /// The task's id.
    pub uuid: Cow<'a, str>,
    /// True if it was running.
    pub terminated: bool,
    /// The signal that ended it.
    pub signum: Option<Signal<'a>>,
    /// True if it came too late.
    pub expired: bool,
}

/// A signal of the operating system, by name or number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
#[non_exhaustive]
pub enum Signal<'a> {
    /// Such as 15.
    Number(i64),
    /// Such as `SIGTERM`.
    Name(Cow<'a, str>),
}

/// How a worker is.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Vitals<'a> {
    /// Seconds to its next heartbeat.
    pub freq: f64,
    /// Tasks that run.
    pub active: Option<u64>,
    /// Tasks taken since it started.
    pub processed: Option<u64>,
    /// Load of its machine over 1, 5 and 15 minutes.
    pub loadavg: Option<[f64; 3]>,
    /// Its software.
    pub sw_ident: Cow<'a, str>,
    /// The version of that.
    pub sw_ver: Cow<'a, str>,
    /// Its operating system.
    pub sw_sys: Cow<'a, str>,
}

/// An event of a type that has no variant in [`What`].
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Other {
    /// The type.
    pub kind: String,
    /// What it tells, without what all events tell.
    pub fields: Map<String, Json>,
}

impl What<'_> {
    /// The type, as it travels.
    #[must_use]
    pub fn kind(&self) -> &str {
        match self {
            Self::TaskSent(_) => "task-sent",
            Self::TaskReceived(_) => "task-received",
            Self::TaskStarted { .. } => "task-started",
            Self::TaskSucceeded { .. } => "task-succeeded",
            Self::TaskFailed(_) => "task-failed",
            Self::TaskRetried(_) => "task-retried",
            Self::TaskRevoked(_) => "task-revoked",
            Self::TaskRejected { .. } => "task-rejected",
            Self::TaskCancelled { .. } => "task-cancelled",
            Self::WorkerOnline(_) => "worker-online",
            Self::WorkerHeartbeat(_) => "worker-heartbeat",
            Self::WorkerOffline(_) => "worker-offline",
            Self::Other(other) => &other.kind,
        }
    }

    /// The id of the task that it is about, if it is about one.
    #[must_use]
    pub fn task(&self) -> Option<&str> {
        match self {
            Self::TaskSent(call) | Self::TaskReceived(call) => Some(&call.uuid),
            Self::TaskFailed(attempt) | Self::TaskRetried(attempt) => Some(&attempt.uuid),
            Self::TaskRevoked(revoked) => Some(&revoked.uuid),
            Self::TaskStarted { uuid }
            | Self::TaskSucceeded { uuid, .. }
            | Self::TaskRejected { uuid, .. }
            | Self::TaskCancelled { uuid } => Some(uuid),
            Self::WorkerOnline(_) | Self::WorkerHeartbeat(_) | Self::WorkerOffline(_) => None,
            Self::Other(other) => other.fields.get("uuid")?.as_str(),
        }
    }
}

impl<'a> Attempt<'a> {
    /// Makes it of its parts.
    #[must_use]
    pub fn new(
        uuid: impl Into<Cow<'a, str>>,
        exception: impl Into<Cow<'a, str>>,
        traceback: Option<impl Into<Cow<'a, str>>>,
    ) -> Self {
        Self {
            uuid: uuid.into(),
            exception: exception.into(),
            traceback: traceback.map(Into::into),
        }
    }
}

impl<'a> Revoked<'a> {
    /// A task that was cancelled before it ran.
    #[must_use]
    pub fn new(uuid: impl Into<Cow<'a, str>>) -> Self {
        Self {
            uuid: uuid.into(),
            ..Self::default()
        }
    }

    /// Says that it was running, and which signal ended it.
    #[must_use]
    pub fn terminated(mut self, signal: Option<Signal<'a>>) -> Self {
        self.terminated = true;
        self.signum = signal;
        self
    }

    /// Says that it came too late.
    #[must_use]
    pub fn expired(mut self) -> Self {
        self.expired = true;
        self
    }
}
