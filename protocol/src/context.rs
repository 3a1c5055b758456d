//! What a running task sees of itself and of the worker.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::SystemTime;

use serde::Serialize;
pub use tokio_util::sync::CancellationToken;

use crate::id::TaskId;
use crate::inject::States;
use crate::options::Lineage;
use crate::outcome::BoxError;
use crate::property::Table;
use crate::reply::{Reply, Status};
use crate::trace::TraceContext;

/// What a running task sees: its id, its attempt, its queue, its caller's headers, and when to stop.
///
/// Take it as a parameter of the task; it is not part of the call. Cloning is cheap.
#[derive(Clone)]
pub struct TaskContext(Arc<Inner>);

/// The parts of a [`TaskContext`].
#[non_exhaustive]
pub struct Inner {
    /// The task's id.
    pub id: TaskId,
    /// The task's wire name.
    pub task: String,
    /// The attempt, 1 for the first.
    pub attempt: u32,
    /// How often the message was delivered before.
    pub redeliveries: u32,
    /// The queue the message came from.
    pub queue: String,
    /// The first task of the workflow.
    pub root_id: TaskId,
    /// The task that sent this one.
    pub parent_id: Option<TaskId>,
    /// The span of this attempt.
    pub trace: TraceContext,
    /// The caller's own headers.
    pub headers: Table,
    /// When the task is no longer worth doing.
    pub expires: Option<SystemTime>,
    /// When the attempt will be cut off.
    pub deadline: Option<SystemTime>,
    /// Fires when the task shall stop.
    pub cancellation: CancellationToken,
    /// The worker's state.
    pub states: Arc<States>,
    /// The way back to the worker; none in a unit test.
    pub uplink: Option<Arc<dyn Uplink>>,
}

impl Inner {
    /// The parts of a first attempt of `task` with this id; the rest is empty.
    #[must_use]
    pub fn new(task: impl Into<String>, id: TaskId) -> Self {
        Self {
            root_id: id.clone(),
            id,
            task: task.into(),
            attempt: 1,
            redeliveries: 0,
            queue: String::new(),
            parent_id: None,
            trace: TraceContext::start(),
            headers: Table::new(),
            expires: None,
            deadline: None,
            cancellation: CancellationToken::new(),
            states: Arc::default(),
            uplink: None,
        }
    }
}

/// A future on the heap.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The way from a running task back to its worker.
pub trait Uplink: Send + Sync {
    /// Tells the caller an intermediate state; answers after the broker's confirm.
    fn report(&self, reply: Reply) -> BoxFuture<'_, Result<(), BoxError>>;

    /// The same for a task that runs off the async threads.
    ///
    /// # Errors
    ///
    /// When the broker does not take it in time.
    fn report_blocking(&self, reply: Reply) -> Result<(), BoxError>;
}

impl TaskContext {
    /// Makes a context of its parts.
    #[must_use]
    pub fn new(parts: Inner) -> Self {
        Self(Arc::new(parts))
    }

    /// A context for unit tests: first attempt, fresh id, no worker behind it.
    #[must_use]
    pub fn test() -> Self {
        Self::new(Inner {
            queue: "test".to_owned(),
            ..Inner::new("test", TaskId::generate())
        })
    }

    /// The task's id, the same for every attempt.
    #[must_use]
    pub fn id(&self) -> &TaskId {
        &self.0.id
    }

    /// The task's wire name.
    #[must_use]
    pub fn task(&self) -> &str {
        &self.0.task
    }

    /// The attempt, 1 for the first.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.0.attempt
    }

    /// How often this attempt was delivered before and not finished: its worker died, lost its connection or stopped.
    ///
    /// Exact where the queue is a quorum queue (`x-delivery-count`; from RabbitMQ 4.3 on without what a worker handed
    /// back by itself). On classic queues the workers count it in the message, which goes to the end of its queue for that.
    /// A task that must not do a thing twice looks closer when this is not 0.
    #[must_use]
    pub fn redeliveries(&self) -> u32 {
        self.0.redeliveries
    }

    /// The queue that the message came from.
    #[must_use]
    pub fn queue(&self) -> &str {
        &self.0.queue
    }

    /// The first task of the workflow; the task's own id if it is alone.
    #[must_use]
    pub fn root_id(&self) -> &TaskId {
        &self.0.root_id
    }

    /// The task that sent this one, if one did.
    #[must_use]
    pub fn parent_id(&self) -> Option<&TaskId> {
        self.0.parent_id.as_ref()
    }

    /// The span of this attempt in the caller's trace.
    #[must_use]
    pub fn trace(&self) -> TraceContext {
        self.0.trace
    }

    /// What a call that this task sends inherits: see `Call::child_of`.
    #[must_use]
    pub fn lineage(&self) -> Lineage {
        let Inner { root_id, id, .. } = &*self.0;
        Lineage::new(root_id.clone(), id.clone(), self.0.trace, self.0.expires)
    }

    /// The caller's own headers.
    #[must_use]
    pub fn headers(&self) -> &Table {
        &self.0.headers
    }

    /// When the task is no longer worth doing, if it expires; its children expire then as well.
    #[must_use]
    pub fn expires(&self) -> Option<SystemTime> {
        self.0.expires
    }

    /// When the attempt will be cut off, if it has a limit.
    #[must_use]
    pub fn deadline(&self) -> Option<SystemTime> {
        self.0.deadline
    }

    /// Fires when the task shall stop: its soft limit, a cancellation, the end of the worker's grace period.
    #[must_use]
    pub fn cancellation(&self) -> &CancellationToken {
        &self.0.cancellation
    }

    /// True once the task shall stop; for blocking tasks, which cannot wait for the token.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.0.cancellation.is_cancelled()
    }

    /// Tells the caller how far the task is; `value` is any JSON, such as `{"current": 3, "total": 10}`.
    ///
    /// Does nothing if nobody waits for the result. The caller reads it from `handle.progress()`, a Celery client from
    /// its `AsyncResult` (state `PROGRESS`).
    ///
    /// # Errors
    ///
    /// [`ProgressError`] when `value` has no JSON form or the broker does not take it in time.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future may or may not have told the caller.
    pub async fn progress<T: Serialize + ?Sized>(&self, value: &T) -> Result<(), ProgressError> {
        match (self.progress_reply(value)?, &self.0.uplink) {
            (reply, Some(uplink)) => uplink.report(reply).await.map_err(ProgressError::Unsent),
            (_, None) => Ok(()),
        }
    }

    /// The same as [`progress`](Self::progress) for a blocking task.
    ///
    /// # Errors
    ///
    /// As [`progress`](Self::progress).
    pub fn progress_blocking<T: Serialize + ?Sized>(&self, value: &T) -> Result<(), ProgressError> {
        match (self.progress_reply(value)?, &self.0.uplink) {
            (reply, Some(uplink)) => uplink.report_blocking(reply).map_err(ProgressError::Unsent),
            (_, None) => Ok(()),
        }
    }

    fn progress_reply<T: Serialize + ?Sized>(&self, value: &T) -> Result<Reply, ProgressError> {
        let value = serde_json::value::to_raw_value(value).map_err(ProgressError::Value)?;
        Ok(Reply::new(
            self.0.id.clone(),
            Status::Other("PROGRESS".into()),
            value,
        ))
    }

    /// The worker's state.
    #[must_use]
    pub fn states(&self) -> &States {
        &self.0.states
    }
}

impl fmt::Debug for TaskContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskContext")
            .field("task", &self.0.task)
            .field("id", &self.0.id)
            .field("attempt", &self.0.attempt)
            .field("queue", &self.0.queue)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inner")
            .field("task", &self.task)
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// Why an intermediate state was not told.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProgressError {
    /// The value has no JSON form.
    #[error("the progress value has no JSON form")]
    Value(#[source] serde_json::Error),
    /// The broker did not take it.
    #[error("the progress was not sent")]
    Unsent(#[source] BoxError),
}
