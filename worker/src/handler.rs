//! A task behind function pointers: decode the arguments, run, encode what comes back.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use coney_protocol::argument::Params;
use coney_protocol::codec::body::RawCall;
use coney_protocol::context::{BoxFuture, TaskContext};
use coney_protocol::error::ArgumentError;
use coney_protocol::inject::{Injects, Requirements};
use coney_protocol::outcome::{ErrorReport, Next, TaskError};
use coney_protocol::spec::{DefaultQueue, Queue, QueueSpec, RetryPolicy, TaskSpec};
use coney_protocol::task::Run;

use crate::outcome::{Outcome, message_of};

/// An attempt that has its arguments and waits to be polled.
pub(crate) type Attempt = BoxFuture<'static, Outcome>;

/// A task that this program can run, without its types.
///
/// One generic function for each task, everything behind it is shared: compile time grows with the tasks.
#[derive(Clone)]
pub struct Handler {
    spec: TaskSpec,
    queue: QueueSpec,
    requires: fn(&mut Requirements),
    start: fn(&RawCall<'_>, &TaskContext) -> Result<Attempt, ArgumentError>,
}

impl Handler {
    /// The handler of the task `T`.
    #[must_use]
    pub const fn of<T: Run>() -> Self {
        Self {
            spec: T::SPEC,
            queue: T::QUEUE,
            requires: requires::<T>,
            start: start::<T>,
        }
    }

    /// The handler of a task that every worker has. One that fails is not tried again.
    pub(crate) const fn builtin(
        name: &'static str,
        start: fn(&RawCall<'_>, &TaskContext) -> Result<Attempt, ArgumentError>,
    ) -> Self {
        Self {
            spec: TaskSpec::new(name, module_path!()).retry(RetryPolicy::max(0)),
            queue: DefaultQueue::SPEC,
            requires: |_| {},
            start,
        }
    }

    /// Name and options of the task.
    #[must_use]
    pub fn spec(&self) -> &TaskSpec {
        &self.spec
    }

    /// The queue that its calls go to.
    #[must_use]
    pub fn queue(&self) -> &QueueSpec {
        &self.queue
    }

    /// The state that it needs.
    #[must_use]
    pub fn requirements(&self) -> Requirements {
        let mut requirements = Requirements::default();
        (self.requires)(&mut requirements);
        requirements
    }

    /// Binds the arguments; the attempt does not run before it is polled.
    ///
    /// Arguments and extractors are the user's code as well: a panic of theirs is an attempt that panicked.
    pub(crate) fn start(
        &self,
        call: &RawCall<'_>,
        ctx: &TaskContext,
    ) -> Result<Attempt, ArgumentError> {
        let start = AssertUnwindSafe(|| (self.start)(call, ctx));
        catch_unwind(start).unwrap_or_else(|panic| {
            let outcome = Outcome::panicked(message_of(&*panic));
            Ok(Box::pin(std::future::ready(outcome)))
        })
    }
}

impl fmt::Debug for Handler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Handler({} on {})", self.spec.name, self.queue.name)
    }
}

fn requires<T: Run>(requirements: &mut Requirements) {
    T::INJECTS.requires(requirements);
}

fn start<T: Run>(call: &RawCall<'_>, ctx: &TaskContext) -> Result<Attempt, ArgumentError> {
    let arguments = T::PARAMS.bind(T::SPEC.name, call)?;
    let injected = match T::INJECTS.take(ctx) {
        Ok(injected) => injected,
        Err(failure) => {
            let (next, report) = (failure.next(), failure.report());
            return Ok(Box::pin(std::future::ready(Outcome::Failed {
                next,
                report,
            })));
        }
    };
    let running = T::run(arguments, injected);
    Ok(Box::pin(async move {
        let (ok, err) = T::ANSWER;
        match running.await {
            Ok(output) => encoded((ok.encode)(&output)),
            Err(error) => Outcome::Failed {
                next: (err.next)(&error),
                report: (err.report)(&error),
            },
        }
    }))
}

/// An output without a JSON form will not get one by another attempt.
fn encoded(output: Result<Box<serde_json::value::RawValue>, serde_json::Error>) -> Outcome {
    match output {
        Ok(raw) => Outcome::Success(raw),
        Err(error) => Outcome::Failed {
            next: Next::Dead,
            report: ErrorReport::new(
                "OutputError",
                format!("the output has no JSON form: {error}"),
            ),
        },
    }
}
