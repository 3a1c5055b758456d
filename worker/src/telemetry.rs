//! The spans, counters and histograms of the running side, in one list.
//!
//! Names and fields follow the OpenTelemetry messaging conventions
//! (<https://opentelemetry.io/docs/specs/semconv/messaging/>); counters go through the [`metrics`] facade and cost next
//! to nothing while no recorder is installed. Install it before the worker runs: what is counted for every task is
//! asked of it once. No payload is logged.
//!
//! | span | fields |
//! |---|---|
//! | `task` | `messaging.system`, `messaging.operation.type`, `messaging.destination.name`, `messaging.message.conversation_id` (the task's id), `coney.task`, `coney.attempt`, `trace_id`, `span_id` |

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use coney_protocol::context::TaskContext;
use coney_protocol::dead::Reason;
use foldhash::HashMap;
use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};
use tracing::Span;

/// Attempts that ended: labels `messaging.destination.name`, `coney.task`, `outcome`.
pub const TASKS: &str = "coney_worker_tasks_total";

/// Seconds that an attempt ran: labels `messaging.destination.name`, `coney.task`.
pub const TASK_SECONDS: &str = "coney_worker_task_seconds";

/// Attempts that run now: label `messaging.destination.name`.
pub const RUNNING: &str = "coney_worker_running";

/// Blocking attempts that ran into their limit and go on unobserved, each in its slot: label
/// `messaging.destination.name`.
pub const ABANDONED: &str = "coney_worker_abandoned_total";

/// Messages moved to the dead letters: labels `messaging.destination.name`, `reason`.
pub const DEAD_LETTERS: &str = "coney_worker_dead_letters_total";

/// Tasks that were not started or were ended because they were cancelled: label `messaging.destination.name`.
pub const REVOKED: &str = "coney_worker_revoked_total";

/// Messages that were delivered again after this worker had finished them, and were not run again: label
/// `messaging.destination.name`.
pub const REPEATED: &str = "coney_worker_repeated_total";

/// Times that what follows from a delivery was not confirmed, and had to be published again: label
/// `messaging.destination.name`.
pub const UNSETTLED: &str = "coney_worker_unsettled_total";

/// Events that no monitor was told, because the broker did not take them in time.
pub const EVENTS_LOST: &str = "coney_worker_events_lost_total";

/// The outcome of an attempt that returned a value, or said itself that nothing more follows.
pub(crate) const DONE: &str = "done";

/// Describes all of them to the installed recorder.
pub fn describe() {
    metrics::describe_counter!(TASKS, "Attempts that ended, by queue, task and outcome");
    metrics::describe_histogram!(
        TASK_SECONDS,
        metrics::Unit::Seconds,
        "Time that an attempt ran"
    );
    metrics::describe_gauge!(RUNNING, "Attempts that run now, by queue");
    metrics::describe_counter!(
        ABANDONED,
        "Blocking attempts that outlived their limit, by queue"
    );
    metrics::describe_counter!(DEAD_LETTERS, "Messages moved to the dead letters");
    metrics::describe_counter!(REVOKED, "Tasks that were cancelled, by queue");
    metrics::describe_counter!(
        REPEATED,
        "Messages delivered again that were finished already, by queue"
    );
    metrics::describe_counter!(
        UNSETTLED,
        "Times that what follows from a delivery was not confirmed"
    );
    metrics::describe_counter!(EVENTS_LOST, "Events that no monitor was told");
}

/// The span of one attempt.
pub(crate) fn span(ctx: &TaskContext) -> Span {
    tracing::info_span!(
        target: "coney::task",
        "task",
        "messaging.system" = "rabbitmq",
        "messaging.operation.type" = "process",
        "messaging.destination.name" = ctx.queue(),
        "messaging.message.conversation_id" = %ctx.id(),
        "coney.task" = ctx.task(),
        "coney.attempt" = ctx.attempt(),
        trace_id = ctx.trace().trace_id(),
        span_id = ctx.trace().span_id(),
    )
}

/// What is counted for each attempt on one queue, asked of the recorder once, when the worker begins with the queue.
pub(crate) struct QueueMeter {
    queue: Arc<str>,
    running: Gauge,
    tasks: HashMap<&'static str, TaskMeter>,
}

struct TaskMeter {
    done: Counter,
    seconds: Histogram,
}

impl QueueMeter {
    /// The meter of a queue whose worker knows these tasks.
    pub(crate) fn new(queue: &Arc<str>, tasks: impl IntoIterator<Item = &'static str>) -> Self {
        let label = || queue.to_string();
        let meter = |task| TaskMeter {
            done: ended(queue, task, DONE),
            seconds: histogram!(TASK_SECONDS, "messaging.destination.name" => label(), "coney.task" => task),
        };
        Self {
            running: gauge!(RUNNING, "messaging.destination.name" => label()),
            tasks: tasks.into_iter().map(|task| (task, meter(task))).collect(),
            queue: Arc::clone(queue),
        }
    }

    /// Counts an attempt as running until what is returned is dropped.
    pub(crate) fn start(&self) -> Running<'_> {
        self.running.increment(1.0);
        Running(&self.running)
    }

    /// Counts an attempt that has ended.
    pub(crate) fn ended(&self, task: &'static str, outcome: &'static str, took: Duration) {
        let Some(meter) = self.tasks.get(task) else {
            return;
        };
        match outcome {
            DONE => meter.done.increment(1),
            _ => ended(&self.queue, task, outcome).increment(1),
        }
        meter.seconds.record(took);
    }
}

impl fmt::Debug for QueueMeter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "QueueMeter({})", self.queue)
    }
}

/// An attempt that runs.
pub(crate) struct Running<'a>(&'a Gauge);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}

fn ended(queue: &Arc<str>, task: &'static str, outcome: &'static str) -> Counter {
    counter!(TASKS, "messaging.destination.name" => queue.to_string(), "coney.task" => task, "outcome" => outcome)
}

pub(crate) fn abandoned(queue: &str) {
    counter!(ABANDONED, "messaging.destination.name" => queue.to_owned()).increment(1);
    tracing::warn!(target: "coney::worker", queue, "a blocking task outlived its limit: it goes on, and keeps its slot");
}

pub(crate) fn dead_letter(queue: &str, reason: Reason) {
    counter!(DEAD_LETTERS, "messaging.destination.name" => queue.to_owned(), "reason" => reason.as_str())
        .increment(1);
}

pub(crate) fn revoked(queue: &str) {
    counter!(REVOKED, "messaging.destination.name" => queue.to_owned()).increment(1);
}

pub(crate) fn repeated(queue: &str) {
    counter!(REPEATED, "messaging.destination.name" => queue.to_owned()).increment(1);
}

pub(crate) fn unsettled(queue: &str) {
    counter!(UNSETTLED, "messaging.destination.name" => queue.to_owned()).increment(1);
}

pub(crate) fn events_lost(events: u64) {
    counter!(EVENTS_LOST).increment(events);
}
