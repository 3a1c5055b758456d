//! The contract of a task, and the body that some crates have for it.

use std::future::Future;

use crate::answer::{AnswerErr, AnswerOk};
use crate::argument::Params;
use crate::inject::Injects;
use crate::spec::{Queue, QueueSpec, TaskSpec};

/// What caller and worker agree on about a task: implemented by `#[task]`.
///
/// The traits that arguments, outputs and errors need are checked by the functions that make the constants, not by
/// bounds here: so that one mistake gives one message, at the word that is wrong.
pub trait Task: Sized + 'static {
    /// Name and options.
    const SPEC: TaskSpec;

    /// The queue that calls go to.
    const QUEUE: QueueSpec;

    /// The parameters that travel.
    type Params: Params;

    /// How each of them travels.
    const PARAMS: Self::Params;

    /// What the task returns when it succeeds.
    type Output: Send + 'static;

    /// What it returns when it fails.
    type Error: 'static;

    /// How both travel back.
    const ANSWER: (AnswerOk<Self::Output>, AnswerErr<Self::Error>);
}

/// A task whose body is in this program.
#[diagnostic::on_unimplemented(
    message = "task `{Self}` has no body in this crate",
    label = "declared without a body: it runs elsewhere",
    note = "send it with `{Self}::call(..)`"
)]
pub trait Run: Task {
    /// The parameters that the worker supplies.
    type Injects: Injects;

    /// Where each of them comes from.
    const INJECTS: Self::Injects;

    /// Runs the task.
    ///
    /// The future of a blocking task does all its work when it is polled the first time, and is ready then.
    fn run(
        arguments: <Self::Params as Params>::Values,
        injected: <Self::Injects as Injects>::Values,
    ) -> impl Future<Output = Result<Self::Output, Self::Error>> + Send;
}

/// The options of the queue type `Q`.
#[must_use]
pub const fn queue<Q: Queue>() -> QueueSpec {
    Q::SPEC
}
