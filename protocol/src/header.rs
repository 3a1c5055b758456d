//! All that travels beside the body of a task message.

use std::time::{Duration, SystemTime};

use crate::id::TaskId;
use crate::property::{Table, Value};
use crate::spec::RetryPolicy;
use crate::trace::TraceContext;

/// The names of the headers that coney adds to Celery's.
pub mod names {
    /// Why a message is a dead letter.
    pub const REASON: &str = "coney-reason";
    /// The error text of a dead letter.
    pub const ERROR: &str = "coney-error";
    /// The failed attempts so far, the last ten: a list of tables with `attempt`, `at`, `worker`, `error`.
    pub const ATTEMPTS: &str = "coney-attempts";
    /// The retry policy of this call, instead of the task's: see `RetryPolicy`'s text form.
    pub const RETRY: &str = "coney-retry";
    /// How often a message was delivered before and not finished, where the broker does not count that.
    pub const REDELIVERIES: &str = "coney-redeliveries";
    /// The queue that a dead letter came from.
    pub const QUEUE: &str = "coney-queue";
    /// The worker that gave a dead letter up.
    pub const WORKER: &str = "coney-worker";
    /// When a message became a dead letter, ISO 8601.
    pub const DIED_AT: &str = "coney-died-at";
    /// W3C trace context: the caller's span.
    pub const TRACEPARENT: &str = "traceparent";
    /// W3C trace context: vendor data.
    pub const TRACESTATE: &str = "tracestate";
    /// What coney's own headers start with.
    pub const PREFIX: &str = "coney-";

    /// The headers of Celery's protocol 2 that [`Header`](super::Header) has a field for, and the one for compression.
    pub const CELERY: [&str; 20] = [
        "lang",
        "task",
        "id",
        "shadow",
        "eta",
        "expires",
        "group",
        "group_index",
        "retries",
        "timelimit",
        "root_id",
        "parent_id",
        "argsrepr",
        "kwargsrepr",
        "origin",
        "ignore_result",
        "replaced_task_nesting",
        "stamped_headers",
        "stamps",
        "compression",
    ];

    /// The name itself, without a copy of it, if it is one that most messages have.
    #[must_use]
    pub fn known(name: &str) -> Option<&'static str> {
        CELERY
            .into_iter()
            .chain([TRACEPARENT, "x-delivery-count"])
            .find(|known| *known == name)
    }
}

/// True for a header name that a caller cannot use for its own: Celery's, coney's, and those that RabbitMQ writes.
#[must_use]
pub fn is_reserved(name: &str) -> bool {
    names::CELERY.contains(&name) || name.starts_with(names::PREFIX) || name.starts_with("x-")
}

/// All that travels beside the body of a task message.
///
/// Fields follow Celery's protocol 2; what neither Celery nor coney knows is kept as it came in
/// [`extra`](Header::extra).
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Header {
    /// Wire name of the task.
    pub task: String,
    /// Id of the task, the same for every attempt.
    pub id: TaskId,
    /// What the reply refers to, where that is not the id.
    pub correlation_id: Option<String>,
    /// The queue that the result goes to; none if nobody waits.
    pub reply_to: Option<String>,
    /// The first task of the workflow; the task itself if absent.
    pub root_id: Option<TaskId>,
    /// The task that sent this one.
    pub parent_id: Option<TaskId>,
    /// The group it belongs to.
    pub group: Option<String>,
    /// Its place in the group, from 0.
    pub group_index: Option<i64>,
    /// Attempts made before this one (Celery: `retries`).
    pub retries: u32,
    /// When it shall start.
    pub eta: Option<SystemTime>,
    /// When it is no longer worth starting.
    pub expires: Option<SystemTime>,
    /// How long one attempt may take.
    pub time_limit: TimeLimit,
    /// Priority within the queue.
    pub priority: Option<u8>,
    /// Whether nobody wants the result; the task's own setting if absent.
    pub ignore_result: Option<bool>,
    /// Name to show instead of the task's.
    pub shadow: Option<String>,
    /// Program that sent it.
    pub origin: Option<String>,
    /// Language of the sender.
    pub lang: Option<String>,
    /// Positional arguments as text for people.
    pub args_repr: Option<String>,
    /// Named arguments as text for people.
    pub kwargs_repr: Option<String>,
    /// How often it has replaced itself.
    pub replaced_task_nesting: u32,
    /// Names of the stamps that count.
    pub stamped_headers: Vec<String>,
    /// Stamps.
    pub stamps: Table,
    /// Headers of the caller's own and those nobody knows: kept as they came.
    pub extra: Table,
}

/// How long one attempt may take.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct TimeLimit {
    /// After this time the attempt is cut off.
    pub hard: Option<Duration>,
    /// After this time its cancellation token fires.
    pub soft: Option<Duration>,
}

impl TimeLimit {
    /// Makes a limit of its two parts.
    #[must_use]
    pub const fn new(hard: Option<Duration>, soft: Option<Duration>) -> Self {
        Self { hard, soft }
    }
}

impl Header {
    /// The header of a first attempt of `task`; the rest is empty.
    #[must_use]
    pub fn new(task: impl Into<String>, id: TaskId) -> Self {
        Self {
            task: task.into(),
            id,
            correlation_id: None,
            reply_to: None,
            root_id: None,
            parent_id: None,
            group: None,
            group_index: None,
            retries: 0,
            eta: None,
            expires: None,
            time_limit: TimeLimit::default(),
            priority: None,
            ignore_result: None,
            shadow: None,
            origin: None,
            lang: None,
            args_repr: None,
            kwargs_repr: None,
            replaced_task_nesting: 0,
            stamped_headers: Vec::new(),
            stamps: Table::new(),
            extra: Table::new(),
        }
    }

    /// The attempt that this message is, 1 for the first.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.retries.saturating_add(1)
    }

    /// The first task of the workflow.
    #[must_use]
    pub fn root(&self) -> &TaskId {
        self.root_id.as_ref().unwrap_or(&self.id)
    }

    /// The span that sent the message, if it says so.
    #[must_use]
    pub fn trace(&self) -> Option<TraceContext> {
        self.extra.get(names::TRACEPARENT)?.as_str()?.parse().ok()
    }

    /// Says which span sends the message, unless the caller's own headers already do.
    pub fn set_trace(&mut self, trace: TraceContext) {
        if self.extra.get(names::TRACEPARENT).is_none() {
            self.extra.insert(names::TRACEPARENT, trace.to_string());
        }
    }

    /// The retry policy that the caller gave, if it did.
    #[must_use]
    pub fn retry(&self) -> Option<RetryPolicy> {
        self.extra.get(names::RETRY)?.as_str()?.parse().ok()
    }

    /// How often this attempt was delivered before, as far as workers had to count it themselves.
    #[must_use]
    pub fn redeliveries(&self) -> u32 {
        let count = self.extra.get(names::REDELIVERIES);
        let count = count.and_then(Value::as_i64);
        count.map_or(0, |count| count.try_into().unwrap_or(0))
    }

    /// Notes how often this attempt was delivered before; 0 takes the note away.
    pub fn set_redeliveries(&mut self, count: u32) {
        match count {
            0 => drop(self.extra.remove(names::REDELIVERIES)),
            count => drop(self.extra.insert(names::REDELIVERIES, i64::from(count))),
        }
    }

    /// The text that a reply has to carry to be matched.
    #[must_use]
    pub fn correlation(&self) -> String {
        self.correlation_id
            .clone()
            .unwrap_or_else(|| String::from(&self.id))
    }
}
