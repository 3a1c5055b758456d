//! Options of one call, and what they start from.

use std::borrow::Cow;
use std::time::{Duration, SystemTime};

use crate::codec::Serializer;
use crate::codec::compression::Compression;
use crate::context::Children;
use crate::id::TaskId;
use crate::property::Table;
use crate::spec::{QueueSpec, RetryPolicy, TaskSpec};
use crate::trace::TraceContext;
use crate::workflow::Part;

/// Priority of a task within its queue, higher first.
///
/// RabbitMQ 4 quorum queues know two levels (above 4, and the rest) and 4.3 knows 32; classic queues have as many as
/// they were declared with (<https://www.rabbitmq.com/docs/priority>). Older quorum queues ignore it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Priority {
    /// Level 1.
    Low,
    /// Level 4, RabbitMQ's own default on quorum queues.
    #[default]
    Normal,
    /// Level 7.
    High,
    /// A level of its own, 0 to 255; the broker counts all above its highest as that.
    Level(u8),
}

impl Priority {
    /// The number that travels.
    #[must_use]
    pub const fn level(self) -> u8 {
        match self {
            Self::Low => 1,
            Self::Normal => 4,
            Self::High => 7,
            Self::Level(level) => level,
        }
    }
}

/// When a call shall start, if not at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Start {
    /// So much later than it is sent.
    After(Duration),
    /// At this time.
    At(SystemTime),
}

/// Where a call goes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Target {
    /// A queue whose declaration is known: whoever starts first declares it.
    Queue(QueueSpec),
    /// A queue of which only the name is known: it has to exist.
    Named(String),
    /// An exchange of which only the name is known: it has to exist, and to lead to a queue.
    Exchange {
        /// The exchange's name.
        exchange: String,
        /// What the exchange looks at.
        routing_key: String,
    },
}

impl Target {
    /// The queue's name, or the exchange's.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Queue(spec) => &spec.name,
            Self::Named(name) => name,
            Self::Exchange { exchange, .. } => exchange,
        }
    }

    /// The same to keep: no copy of a name that is part of the program.
    #[must_use]
    pub fn to_name(&self) -> Cow<'static, str> {
        match self {
            Self::Queue(spec) => spec.name.clone(),
            other => other.name().to_owned().into(),
        }
    }
}

/// Options of one call; what is absent is left to the task's own options.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct CallOptions {
    /// The id, if the caller gives one.
    pub id: Option<TaskId>,
    /// Another queue than the task's own.
    pub target: Option<Target>,
    /// When to start, if not at once.
    pub start: Option<Start>,
    /// How long after sending the task is still worth starting.
    pub expires: Option<Duration>,
    /// Priority within the queue.
    pub priority: Option<Priority>,
    /// How often and how fast a failed attempt is repeated.
    pub retry: Option<RetryPolicy>,
    /// Whether nobody wants the result.
    pub ignore_result: Option<bool>,
    /// How long one attempt may take.
    pub timeout: Option<Duration>,
    /// After how long the cancellation token of an attempt fires.
    pub soft_timeout: Option<Duration>,
    /// How the body is written.
    pub serializer: Serializer,
    /// How the body is compressed, if it is.
    pub compression: Option<Compression>,
    /// The task that sends it, if one does.
    pub parent: Option<Lineage>,
    /// Headers of the caller's own, which the task sees.
    pub headers: Table,
    /// What is sent after success.
    pub link: Vec<Part>,
    /// What is sent after failure.
    pub link_error: Vec<Part>,
    /// The steps after it in its chain, in order.
    pub chain: Vec<Part>,
    /// The group that it belongs to, and its place in it.
    pub group: Option<(String, i64)>,
    /// Where the result of a later step goes; that of a call goes where its sender says.
    pub reply_to: Option<String>,
}

/// The task that sends a call, and the workflow and trace that both belong to.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Lineage {
    /// The first task of the workflow.
    pub root_id: TaskId,
    /// The task that sends.
    pub parent_id: TaskId,
    /// The span of the task that sends.
    pub trace: TraceContext,
    /// When the task that sends is no longer worth doing, and so what it sends.
    pub expires: Option<SystemTime>,
    /// Where the task that sends keeps its children.
    pub children: Children,
}

impl Lineage {
    /// Makes a lineage of its parts.
    #[must_use]
    pub fn new(
        root_id: TaskId,
        parent_id: TaskId,
        trace: TraceContext,
        expires: Option<SystemTime>,
    ) -> Self {
        Self {
            root_id,
            parent_id,
            trace,
            expires,
            children: Children::default(),
        }
    }

    /// Notes what is sent in this list.
    #[must_use]
    pub fn noting(mut self, children: Children) -> Self {
        self.children = children;
        self
    }
}

impl CallOptions {
    /// Fills what the call left open from the task's own options.
    #[must_use]
    pub fn or(mut self, task: &TaskSpec) -> Self {
        self.expires = self.expires.or(task.expires);
        self.priority = self.priority.or(task.priority);
        self.timeout = self.timeout.or(task.timeout);
        self.soft_timeout = self.soft_timeout.or(task.soft_timeout);
        self.ignore_result = self.ignore_result.or(Some(task.ignore_result));
        self
    }
}
