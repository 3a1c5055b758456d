//! What a running task sees of itself and of the worker.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use bytes::Bytes;
use serde::Serialize;
pub use tokio_util::sync::CancellationToken;

use crate::error::EncodeError;
use crate::header::{Header, TimeLimit};
use crate::id::TaskId;
use crate::inject::States;
use crate::message::{Body, Message};
use crate::options::Lineage;
use crate::outcome::BoxError;
use crate::property::Table;
use crate::reply::{Reply, Status};
use crate::signal::Signal;
use crate::trace::TraceContext;
use crate::workflow::{Replacement, Workflow};

/// The state that [`TaskContext::progress`] tells.
const PROGRESS: &str = "PROGRESS";

/// What a running task sees: its id, its attempt, its queue, its caller's headers, and when to stop.
///
/// Take it as a parameter of the task; it is not part of the call. Cloning is cheap.
#[derive(Clone)]
pub struct TaskContext(Arc<Inner>);

/// The parts of a [`TaskContext`].
#[non_exhaustive]
pub struct Inner {
    /// How often the message was delivered before.
    pub redeliveries: u32,
    /// The queue the message came from.
    pub queue: Arc<str>,
    /// The span of this attempt.
    pub trace: TraceContext,
    /// The caller's own headers.
    pub headers: Table,
    /// The message that the worker received.
    pub message: Arc<Message>,
    /// How the message came to the worker.
    pub delivery: Arc<DeliveryInfo>,
    /// The name of the worker that runs it.
    pub hostname: Arc<str>,
    /// The limits that the attempt has to keep to.
    pub time_limit: TimeLimit,
    /// Fires at the soft time limit.
    pub soft_limit: Signal,
    /// The tasks that this one has sent.
    pub children: Children,
    /// The call that takes the task's place, if it says so.
    pub replacement: Replacement,
    /// When the attempt will be cut off.
    pub deadline: Option<SystemTime>,
    /// Fires when the task shall stop.
    pub cancellation: Signal,
    /// The worker's state.
    pub states: Arc<States>,
    /// The way back to the worker; none in a unit test.
    pub uplink: Option<Arc<dyn Uplink>>,
}

impl Inner {
    /// The parts of a first attempt of `task` with this id; the rest is empty.
    #[must_use]
    pub fn new(task: impl Into<String>, id: TaskId) -> Self {
        let message = Message::new(Header::new(task, id), Body::json(Bytes::new()));
        Self::of(Arc::new(message), Arc::default(), Arc::default())
    }

    /// The parts of the attempt that a message asks for, as far as its header says them, delivered in this way to a
    /// worker with this state.
    #[must_use]
    pub fn of(message: Arc<Message>, delivery: Arc<DeliveryInfo>, states: Arc<States>) -> Self {
        let trace = message.header.trace();
        Self {
            redeliveries: 0,
            queue: Arc::default(),
            trace: trace.map_or_else(TraceContext::start, |trace| trace.child()),
            headers: Table::new(),
            delivery,
            hostname: Arc::default(),
            time_limit: TimeLimit::default(),
            soft_limit: Signal::default(),
            children: Children::default(),
            replacement: Replacement::default(),
            deadline: None,
            cancellation: Signal::default(),
            states,
            uplink: None,
            message,
        }
    }
}

/// How a message came to the worker.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeliveryInfo {
    /// The exchange it was published to; empty for the default exchange.
    pub exchange: String,
    /// The routing key it was published with.
    pub routing_key: String,
    /// Its priority within the queue, if it has one.
    pub priority: Option<u8>,
    /// True if it may have been delivered before.
    pub redelivered: bool,
}

/// The tasks that a running task has sent, in order.
#[derive(Clone, Debug, Default)]
pub struct Children(Arc<Mutex<Vec<TaskId>>>);

impl Children {
    /// Adds a task that was sent.
    pub fn add(&self, id: TaskId) {
        self.ids().push(id);
    }

    /// All of them.
    #[must_use]
    pub fn list(&self) -> Vec<TaskId> {
        self.ids().clone()
    }

    fn ids(&self) -> MutexGuard<'_, Vec<TaskId>> {
        // nothing can panic while it is held
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The same list, not one that is equal.
impl PartialEq for Children {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
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
            queue: "test".into(),
            ..Inner::new("test", TaskId::generate())
        })
    }

    /// The task's id, the same for every attempt.
    #[must_use]
    pub fn id(&self) -> &TaskId {
        &self.header().id
    }

    /// The task's wire name.
    #[must_use]
    pub fn task(&self) -> &str {
        &self.header().task
    }

    /// The attempt, 1 for the first.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.header().attempt()
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
        self.header().root()
    }

    /// The task that sent this one, if one did.
    #[must_use]
    pub fn parent_id(&self) -> Option<&TaskId> {
        self.header().parent_id.as_ref()
    }

    /// The span of this attempt in the caller's trace.
    #[must_use]
    pub fn trace(&self) -> TraceContext {
        self.0.trace
    }

    /// What a call that this task sends inherits: see `Call::child_of`.
    #[must_use]
    pub fn lineage(&self) -> Lineage {
        let (root, id) = (self.root_id().clone(), self.id().clone());
        Lineage::new(root, id, self.0.trace, self.expires()).noting(self.0.children.clone())
    }

    /// The caller's own headers.
    #[must_use]
    pub fn headers(&self) -> &Table {
        &self.0.headers
    }

    /// When the task is no longer worth doing, if it expires; its children expire then as well.
    #[must_use]
    pub fn expires(&self) -> Option<SystemTime> {
        self.header().expires
    }

    /// When the attempt will be cut off, if it has a limit.
    #[must_use]
    pub fn deadline(&self) -> Option<SystemTime> {
        self.0.deadline
    }

    /// Fires when the task shall stop: its soft limit, a cancellation, the end of the worker's grace period.
    #[must_use]
    pub fn cancellation(&self) -> &CancellationToken {
        self.0.cancellation.token()
    }

    /// True once the task shall stop; for blocking tasks, which cannot wait for the token.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.0.cancellation.has_fired()
    }

    /// Fires [`cancellation`](Self::cancellation): the task shall stop.
    #[doc(hidden)]
    pub fn cancel(&self) {
        self.0.cancellation.fire();
    }

    /// Fires [`soft_limit`](Self::soft_limit), and with it [`cancellation`](Self::cancellation).
    #[doc(hidden)]
    pub fn reach_soft_limit(&self) {
        self.0.soft_limit.fire();
        self.cancel();
    }

    /// Fires at the soft time limit, together with [`cancellation`](Self::cancellation).
    ///
    /// Celery raises `SoftTimeLimitExceeded` in the task then; here the task decides. One that gives up says so with
    /// `Failure::discard(Exception::soft_time_limit())`.
    #[must_use]
    pub fn soft_limit(&self) -> &CancellationToken {
        self.0.soft_limit.token()
    }

    /// All that travelled beside the body, as it came: group, stamps, origin, reply queue and the rest.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.0.message.header
    }

    /// The stamps of the message that it names in `stamped_headers`: others do not count.
    #[must_use]
    pub fn stamps(&self) -> Table {
        let Header {
            stamped_headers: names,
            stamps,
            ..
        } = self.header();
        let named = stamps
            .iter()
            .filter(|(name, _)| names.iter().any(|n| n == name));
        named
            .map(|(name, value)| (name.to_owned().into(), value.clone()))
            .collect()
    }

    /// How the message came to the worker.
    #[must_use]
    pub fn delivery(&self) -> &DeliveryInfo {
        &self.0.delivery
    }

    /// The name of the worker that runs the task.
    #[must_use]
    pub fn hostname(&self) -> &str {
        &self.0.hostname
    }

    /// The limits that the attempt has to keep to: the caller's, or else the task's.
    #[must_use]
    pub fn time_limit(&self) -> TimeLimit {
        self.0.time_limit
    }

    /// The attempts before this one.
    #[must_use]
    pub fn retries(&self) -> u32 {
        self.attempt().saturating_sub(1)
    }

    /// Lets another call take the place of this task, once it has returned: under the same id, with the caller's reply
    /// queue, and with all that shall follow from this task. What this task returns is told to nobody; if it fails, it
    /// has failed, and is not replaced.
    ///
    /// ```
    /// # use coney_protocol as coney;
    /// # use coney::call::DynamicCall;
    /// # use coney::{context::TaskContext, error::EncodeError};
    /// # use serde_json::json;
    /// // #[task]
    /// async fn resize(ctx: TaskContext) -> Result<(), EncodeError> {
    ///     ctx.replace(DynamicCall::new("images.resize_large", json!([7])))
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// [`EncodeError`] of the call.
    pub fn replace<W: Workflow>(&self, call: W) -> Result<(), EncodeError> {
        self.0.replacement.set(call)
    }

    /// Where the call is that takes the task's place.
    #[doc(hidden)]
    #[must_use]
    pub fn replacement(&self) -> &Replacement {
        &self.0.replacement
    }

    /// The tasks that this one has sent as its children.
    #[must_use]
    pub fn children(&self) -> &Children {
        &self.0.children
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
        self.tell(self.state(PROGRESS, value)?).await
    }

    /// The same as [`progress`](Self::progress) for a blocking task.
    ///
    /// # Errors
    ///
    /// As [`progress`](Self::progress).
    pub fn progress_blocking<T: Serialize + ?Sized>(&self, value: &T) -> Result<(), ProgressError> {
        self.tell_blocking(self.state(PROGRESS, value)?)
    }

    /// Tells the caller a state of the task's own, with any JSON as its value.
    ///
    /// # Errors
    ///
    /// [`ProgressError`] for the name of a state that ends the task (`SUCCESS`, `FAILURE`, `REVOKED`), and as
    /// [`progress`](Self::progress).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future may or may not have told the caller.
    pub async fn update_state<T: Serialize + ?Sized>(
        &self,
        state: &str,
        value: &T,
    ) -> Result<(), ProgressError> {
        self.tell(self.state(state, value)?).await
    }

    /// The same as [`update_state`](Self::update_state) for a blocking task.
    ///
    /// # Errors
    ///
    /// As [`update_state`](Self::update_state).
    pub fn update_state_blocking<T: Serialize + ?Sized>(
        &self,
        state: &str,
        value: &T,
    ) -> Result<(), ProgressError> {
        self.tell_blocking(self.state(state, value)?)
    }

    fn state<T: Serialize + ?Sized>(&self, name: &str, value: &T) -> Result<Reply, ProgressError> {
        let status = Status::from(name);
        if status.is_final() {
            return Err(ProgressError::Final(name.to_owned()));
        }
        let value = serde_json::value::to_raw_value(value).map_err(ProgressError::Value)?;
        let mut reply = Reply::new(self.id().clone(), status, value);
        reply.group_id.clone_from(&self.header().group);
        reply.parent_id.clone_from(&self.header().parent_id);
        Ok(reply)
    }

    /// Tells the caller an intermediate state; nothing if nobody waits.
    #[doc(hidden)]
    pub async fn tell(&self, reply: Reply) -> Result<(), ProgressError> {
        match &self.0.uplink {
            Some(uplink) => uplink.report(reply).await.map_err(ProgressError::Unsent),
            None => Ok(()),
        }
    }

    /// The same for a blocking task.
    #[doc(hidden)]
    pub fn tell_blocking(&self, reply: Reply) -> Result<(), ProgressError> {
        match &self.0.uplink {
            Some(uplink) => uplink.report_blocking(reply).map_err(ProgressError::Unsent),
            None => Ok(()),
        }
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
            .field("task", &self.task())
            .field("id", self.id())
            .field("attempt", &self.attempt())
            .field("queue", &self.0.queue)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inner")
            .field("task", &self.message.header.task)
            .field("id", &self.message.header.id)
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
    /// The state ends a task: only its return does that.
    #[error("`{0}` is the state of a task that has ended")]
    Final(String),
    /// The broker did not take it.
    #[error("the progress was not sent")]
    Unsent(#[source] BoxError),
}
