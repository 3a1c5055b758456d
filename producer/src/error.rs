//! What can go wrong on the way to the broker, and on the way back.

use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use coney_amqp::{ConsumeError, DeclareError, PublishError};
use coney_protocol::error::EncodeError;
use coney_protocol::id::TaskId;
use coney_protocol::outcome::{ErrorReport, WireError};
use coney_protocol::reply::{Reply, Status};
use serde_json::value::RawValue;

/// Why a call was not sent, or may not have been.
#[derive(Debug)]
pub struct SendError(Box<Unsent>);

#[derive(Debug)]
struct Unsent {
    task: String,
    queue: String,
    kind: SendErrorKind,
}

/// What kept a call from being sent.
#[derive(Debug)]
#[non_exhaustive]
pub enum SendErrorKind {
    /// The call has no form on the wire.
    Encode(EncodeError),
    /// The body is larger than the client sends.
    TooLarge {
        /// Size of the body, in bytes.
        size: usize,
        /// The client's limit, in bytes.
        limit: usize,
    },
    /// A call with the same id waits for its result already.
    DuplicateId(TaskId),
    /// The queue could not be declared, or is not there.
    Declare(DeclareError),
    /// The reply queue could not be consumed.
    Replies(ConsumeError),
    /// The queue was not declared, or the reply queue not consumed, in the time that a publish may take.
    NotReady {
        /// The time, as `BrokerBuilder::publish_timeout` sets it.
        after: Duration,
    },
    /// The broker did not confirm the message.
    Publish(PublishError),
}

impl SendError {
    pub(crate) fn new(task: &str, queue: &str, kind: SendErrorKind) -> Self {
        Self(Box::new(Unsent {
            task: task.to_owned(),
            queue: queue.to_owned(),
            kind,
        }))
    }

    /// What kept the call from being sent.
    #[must_use]
    pub fn kind(&self) -> &SendErrorKind {
        &self.0.kind
    }

    /// True if sending it again later may work.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self.kind() {
            SendErrorKind::Publish(error) => error.is_transient(),
            SendErrorKind::Declare(error) => error.is_transient(),
            SendErrorKind::Replies(error) => error.is_transient(),
            SendErrorKind::NotReady { .. } => true,
            _ => false,
        }
    }

    /// True if the broker may have the message all the same: sending it again may run it twice.
    #[must_use]
    pub fn may_have_been_stored(&self) -> bool {
        matches!(self.kind(), SendErrorKind::Publish(error) if error.may_have_been_stored())
    }
}

impl From<EncodeError> for SendError {
    fn from(error: EncodeError) -> Self {
        Self::new("", "", SendErrorKind::Encode(error))
    }
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Unsent { task, queue, kind } = &*self.0;
        match kind {
            // the error below names what it is about
            SendErrorKind::Encode(_) => write!(f, "{kind}"),
            _ => write!(f, "task `{task}` was not sent to queue `{queue}`: {kind}"),
        }
    }
}

impl std::error::Error for SendError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self.kind() {
            SendErrorKind::Encode(error) => Some(error),
            SendErrorKind::Declare(error) => Some(error),
            SendErrorKind::Replies(error) => Some(error),
            SendErrorKind::Publish(error) => Some(error),
            _ => None,
        }
    }
}

impl fmt::Display for SendErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Encode(_) => f.write_str("the call cannot be encoded"),
            Self::TooLarge { size, limit } => write!(
                f,
                "its body has {size} bytes, more than the client's limit of {limit}: send a reference to the data, \
                 or raise `max_body`"
            ),
            Self::DuplicateId(id) => {
                write!(f, "a call with the id {id} waits for its result already")
            }
            Self::Declare(_) => f.write_str("the queue is not ready"),
            Self::Replies(_) => f.write_str("the reply queue is not ready"),
            Self::NotReady { after } => write!(
                f,
                "the broker did not declare its queue or the reply queue within {after:?}: is it reachable, and has it \
                 memory and disk?"
            ),
            Self::Publish(_) => f.write_str("the broker did not confirm it"),
        }
    }
}

/// A task that failed, as its worker tells it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TaskFailed {
    /// The type of the error, such as `MailError`, or `Panic`.
    pub kind: String,
    /// The Python module of the type, if it says so.
    pub module: Option<String>,
    /// The error's text.
    pub message: String,
    /// What the exception was raised with, if it came as an exception.
    pub args: Vec<serde_json::Value>,
    /// The texts of its causes, nearest first.
    pub chain: Vec<String>,
    /// A longer account for people: causes, or Python's traceback.
    pub traceback: Option<String>,
    payload: Option<Box<RawValue>>,
}

impl TaskFailed {
    /// The task's own error, if it travelled whole.
    #[must_use]
    pub fn downcast<E: WireError>(&self) -> Option<E> {
        E::decode(self.payload.as_deref()?).ok()
    }
}

impl From<ErrorReport> for TaskFailed {
    fn from(report: ErrorReport) -> Self {
        Self {
            kind: report.kind,
            module: report.module,
            message: report.message,
            args: report.args.unwrap_or_default(),
            chain: report.chain,
            traceback: report.traceback,
            payload: report.payload,
        }
    }
}

impl fmt::Display for TaskFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind, self.message)
    }
}

impl std::error::Error for TaskFailed {}

/// What workers say of a task that was too late, Celery's among them.
const EXPIRED: &str = "expired";

/// Why there is no output: the task failed, or its result did not come.
///
/// `E` is the task's own error type; see [`task_error`](ResultError::task_error).
pub struct ResultError<E> {
    no_result: Box<NoResult>,
    error: PhantomData<fn() -> E>,
}

struct NoResult {
    task: String,
    id: TaskId,
    kind: ResultErrorKind,
}

/// Why there is no output.
#[derive(Debug)]
#[non_exhaustive]
pub enum ResultErrorKind {
    /// The task failed for good.
    Failed(TaskFailed),
    /// The task was cancelled.
    Cancelled {
        /// What the worker says about it: `revoked` if it did not start, `terminated` if it ran.
        reason: String,
    },
    /// The task was too late to be started.
    Expired,
    /// The result did not come within the caller's time; the task may still run.
    Timeout {
        /// How long the caller waited.
        after: Duration,
    },
    /// The call was sent without a wish for its result.
    Ignored,
    /// The client was closed.
    Closed,
    /// The output is not of the type that the task declares here.
    Undecodable(serde_json::Error),
}

impl<E> ResultError<E> {
    pub(crate) fn new(task: &str, id: &TaskId, kind: ResultErrorKind) -> Self {
        Self {
            no_result: Box::new(NoResult {
                task: task.to_owned(),
                id: id.clone(),
                kind,
            }),
            error: PhantomData,
        }
    }

    /// The error that a final reply tells, which is no success.
    pub(crate) fn of_reply(task: &str, reply: &Reply) -> Self {
        let report = reply
            .report()
            .unwrap_or_else(|| ErrorReport::new(reply.status.as_str(), reply.result.get()));
        let kind = match reply.status {
            Status::Revoked if report.message == EXPIRED => ResultErrorKind::Expired,
            Status::Revoked => ResultErrorKind::Cancelled {
                reason: report.message,
            },
            _ => ResultErrorKind::Failed(report.into()),
        };
        Self::new(task, &reply.task_id, kind)
    }

    /// Why there is no output.
    #[must_use]
    pub fn kind(&self) -> &ResultErrorKind {
        &self.no_result.kind
    }

    /// The failure, if the task failed.
    #[must_use]
    pub fn failure(&self) -> Option<&TaskFailed> {
        match self.kind() {
            ResultErrorKind::Failed(failure) => Some(failure),
            _ => None,
        }
    }

    /// The text of the task's error, or of what kept the result away.
    #[must_use]
    pub fn message(&self) -> String {
        match self.kind() {
            ResultErrorKind::Failed(failure) => failure.message.clone(),
            other => other.to_string(),
        }
    }

    /// The texts of the causes of the task's error, nearest first.
    #[must_use]
    pub fn chain(&self) -> &[String] {
        self.failure().map_or(&[], |failure| &failure.chain)
    }

    /// The task's id.
    #[must_use]
    pub fn task_id(&self) -> &TaskId {
        &self.no_result.id
    }

    /// The task's own error, if the task failed with one that travelled whole.
    #[must_use]
    pub fn task_error(&self) -> Option<E>
    where
        E: WireError,
    {
        self.failure()?.downcast()
    }
}

impl fmt::Display for ResultErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(failure) => write!(f, "failed: {failure}"),
            Self::Cancelled { reason } => write!(f, "was cancelled ({reason})"),
            Self::Expired => f.write_str("was not started: it had expired"),
            Self::Timeout { after } => write!(
                f,
                "has no result after {after:?}: is a worker running that consumes its queue?"
            ),
            Self::Ignored => {
                f.write_str("was sent without a wish for its result (`ignore_result`)")
            }
            Self::Closed => f.write_str("has no result: the client was closed"),
            Self::Undecodable(_) => {
                f.write_str("returned a value of another type than it declares here")
            }
        }
    }
}

impl<E> fmt::Display for ResultError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let NoResult { task, id, kind } = &*self.no_result;
        write!(f, "task `{task}` ({id}) {kind}")
    }
}

impl<E> fmt::Debug for ResultError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResultError")
            .field("task", &self.no_result.task)
            .field("id", &self.no_result.id)
            .field("kind", &self.no_result.kind)
            .finish()
    }
}

impl<E> std::error::Error for ResultError<E> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self.kind() {
            ResultErrorKind::Undecodable(source) => Some(source),
            _ => None,
        }
    }
}
