//! What is fixed about a task and a queue when the program is compiled.

use std::borrow::Cow;
use std::time::Duration;

use crate::options::Priority;
use crate::rate::Rate;

/// A queue as a type: implemented by `#[derive(Queue)]`.
///
/// A task names the type of its queue, so that it can only go to a queue that exists.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a queue",
    label = "not a queue",
    note = "declare one: `#[derive(Queue)] #[queue(name = \"emails\")] pub struct Emails;`"
)]
pub trait Queue {
    /// Name and options of the queue.
    const SPEC: QueueSpec;
}

/// The queue of tasks that name none: `default`.
#[derive(Clone, Copy, Debug)]
pub struct DefaultQueue;

impl Queue for DefaultQueue {
    const SPEC: QueueSpec = QueueSpec::new("default");
}

/// Name and options of a queue.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct QueueSpec {
    /// The name, as the broker shows it.
    pub name: Cow<'static, str>,
    /// How many of its tasks one worker runs at once; the worker's own default if absent.
    pub concurrency: Option<u32>,
    /// How many of its messages one worker may hold; a little more than the concurrency if absent.
    pub prefetch: Option<u16>,
    /// How often a message may be delivered again before the broker moves it to the dead letters.
    pub delivery_limit: u32,
    /// Topic patterns of messages for `coney.topics` that reach the queue, too.
    pub bind: &'static [&'static str],
}

/// How often a message may be delivered again unless the queue says otherwise: RabbitMQ 4's own default.
///
/// See <https://www.rabbitmq.com/docs/quorum-queues#poison-message-handling>.
pub const DEFAULT_DELIVERY_LIMIT: u32 = 20;

impl QueueSpec {
    /// A queue of this name with the default options.
    #[must_use]
    pub const fn new(name: &'static str) -> Self {
        Self::from_name(Cow::Borrowed(name))
    }

    /// A queue whose name is known only at run time.
    #[must_use]
    pub const fn from_name(name: Cow<'static, str>) -> Self {
        Self {
            name,
            concurrency: None,
            prefetch: None,
            delivery_limit: DEFAULT_DELIVERY_LIMIT,
            bind: &[],
        }
    }

    /// Sets how many of its tasks one worker runs at once.
    #[must_use]
    pub const fn concurrency(mut self, tasks: u32) -> Self {
        self.concurrency = Some(tasks);
        self
    }

    /// Sets how many of its messages one worker may hold.
    #[must_use]
    pub const fn prefetch(mut self, messages: u16) -> Self {
        self.prefetch = Some(messages);
        self
    }

    /// Sets how often a message may be delivered again before it is a dead letter.
    #[must_use]
    pub const fn delivery_limit(mut self, deliveries: u32) -> Self {
        self.delivery_limit = deliveries;
        self
    }

    /// Sets further routing keys that reach the queue: topic patterns of messages for the exchange `coney.topics`
    /// ([`TOPIC_EXCHANGE`](crate::topology::TOPIC_EXCHANGE)).
    #[must_use]
    pub const fn bind(mut self, patterns: &'static [&'static str]) -> Self {
        self.bind = patterns;
        self
    }
}

/// Name and options of a task, as its attribute gives them.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct TaskSpec {
    /// The wire name, the same in every language.
    pub name: &'static str,
    /// The Rust module that defines the task, for error messages.
    pub module: &'static str,
    /// How often and how fast a failed attempt is repeated.
    pub retry: RetryPolicy,
    /// How long one attempt may take.
    pub timeout: Option<Duration>,
    /// After how long the cancellation token of the attempt fires.
    pub soft_timeout: Option<Duration>,
    /// How long after sending the task is still worth starting.
    pub expires: Option<Duration>,
    /// Priority within the queue.
    pub priority: Option<Priority>,
    /// When a delivery is acknowledged.
    pub ack: AckMode,
    /// True if nobody wants the result.
    pub ignore_result: bool,
    /// True if the caller is told when an attempt starts.
    pub track_started: bool,
    /// How often the task may start on one worker.
    pub rate_limit: Option<Rate>,
    /// True if the task is a plain function that runs off the async threads.
    pub blocking: bool,
}

impl TaskSpec {
    /// A task of this wire name, defined in `module`, with the default options.
    #[must_use]
    pub const fn new(name: &'static str, module: &'static str) -> Self {
        Self {
            name,
            module,
            retry: RetryPolicy::DEFAULT,
            timeout: None,
            soft_timeout: None,
            expires: None,
            priority: None,
            ack: AckMode::Late,
            ignore_result: false,
            track_started: false,
            rate_limit: None,
            blocking: false,
        }
    }

    /// Sets how failed attempts are repeated.
    #[must_use]
    pub const fn retry(mut self, policy: RetryPolicy) -> Self {
        self.retry = policy;
        self
    }

    /// Sets how long one attempt may take.
    #[must_use]
    pub const fn timeout(mut self, limit: Duration) -> Self {
        self.timeout = Some(limit);
        self
    }

    /// Sets after how long the cancellation token of an attempt fires.
    #[must_use]
    pub const fn soft_timeout(mut self, limit: Duration) -> Self {
        self.soft_timeout = Some(limit);
        self
    }

    /// Sets how long after sending the task is still worth starting.
    #[must_use]
    pub const fn expires(mut self, after: Duration) -> Self {
        self.expires = Some(after);
        self
    }

    /// Sets the priority within the queue.
    #[must_use]
    pub const fn priority(mut self, priority: Priority) -> Self {
        self.priority = Some(priority);
        self
    }

    /// Sets when a delivery is acknowledged.
    #[must_use]
    pub const fn ack(mut self, mode: AckMode) -> Self {
        self.ack = mode;
        self
    }

    /// Says that nobody wants the result.
    #[must_use]
    pub const fn ignore_result(mut self) -> Self {
        self.ignore_result = true;
        self
    }

    /// Says that the caller is told when an attempt starts (state `STARTED`).
    #[must_use]
    pub const fn track_started(mut self) -> Self {
        self.track_started = true;
        self
    }

    /// Sets how often the task may start on one worker.
    #[must_use]
    pub const fn rate_limit(mut self, rate: Rate) -> Self {
        self.rate_limit = Some(rate);
        self
    }

    /// Says that the task is a plain function that runs off the async threads.
    #[must_use]
    pub const fn blocking(mut self) -> Self {
        self.blocking = true;
        self
    }
}

/// When a delivery is acknowledged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AckMode {
    /// After the task finished and all that follows from it is confirmed: nothing is lost.
    #[default]
    Late,
    /// When the task starts, as Celery does by default: a crash loses the task.
    Early,
}

/// How often and how fast a failed attempt is repeated.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct RetryPolicy {
    /// How many attempts may follow the first.
    pub max: u32,
    /// How the wait grows from attempt to attempt.
    pub backoff: Backoff,
    /// True if the wait is drawn between zero and the computed one, so that failures do not come back in step.
    pub jitter: bool,
}

impl RetryPolicy {
    /// Five more attempts, after 1 s, 2 s, 4 s, 8 s and 16 s, each drawn down by jitter.
    pub const DEFAULT: Self = Self {
        max: 5,
        backoff: Backoff::Exponential {
            first: Duration::from_secs(1),
            cap: Duration::from_secs(600),
        },
        jitter: true,
    };

    /// The default policy with `max` attempts after the first.
    #[must_use]
    pub const fn max(max: u32) -> Self {
        Self {
            max,
            ..Self::DEFAULT
        }
    }

    /// Sets how the wait grows.
    #[must_use]
    pub const fn backoff(mut self, backoff: Backoff) -> Self {
        self.backoff = backoff;
        self
    }

    /// Sets whether the wait is drawn at random below the computed one.
    #[must_use]
    pub const fn jitter(mut self, jitter: bool) -> Self {
        self.jitter = jitter;
        self
    }
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// How the wait before the next attempt grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Backoff {
    /// Doubles from `first` up to `cap`.
    Exponential {
        /// Wait after the first attempt.
        first: Duration,
        /// Longest wait.
        cap: Duration,
    },
    /// Grows by `step` with every attempt up to `cap`.
    Linear {
        /// Wait after the first attempt, and what each further one adds.
        step: Duration,
        /// Longest wait.
        cap: Duration,
    },
    /// Always the same.
    Fixed(Duration),
}
