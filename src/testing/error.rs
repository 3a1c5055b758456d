//! Why a test cannot go on.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use coney_amqp::ConnectError;
use coney_devbroker::StartError;
use coney_producer::{DeadLetterError, SendError};
use coney_worker::{BuildError, WorkerError};

/// Why a test cannot go on; says what to do about it.
///
/// Its `Debug` form is the same text, as that is what a test shows that ends with an error.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum TestError {
    /// The broker in this process does not start.
    #[error("the broker of the test does not start")]
    Broker(#[source] StartError),
    /// There is no connection to the broker in this process.
    #[error("there is no connection to the broker of the test")]
    Connect(#[source] ConnectError),
    /// State or tasks are missing, or do not go together.
    #[error("the tasks of the test cannot be run")]
    Build(#[source] BuildError),
    /// The worker ended.
    #[error("the worker of the test has ended")]
    Worker(#[source] WorkerError),
    /// The worker panicked, or stopped without a reason.
    #[error(
        "the worker of the test has ended: its log says more, with `tracing_subscriber::fmt::try_init()`"
    )]
    WorkerGone,
    /// The app was not given any task, so there is nothing that it could run.
    #[error(
        "the app has no tasks to run: add `.task::<my_task>()` or `.tasks(coney::tasks![my_tasks])` to \
         `TestApp::builder()`"
    )]
    NoTasks,
    /// The call was not sent.
    #[error("the call was not sent")]
    Send(#[source] SendError),
    /// The dead letters cannot be read.
    #[error("the dead letters cannot be read")]
    DeadLetters(#[source] DeadLetterError),
    /// Nothing has moved for a while.
    #[error(
        "nothing has moved for {patience:?}, and this is not finished: {unfinished}; what a task waits for has to come \
         (time inside of a task is real time), or `TestApp::builder().patience(..)` has to be longer"
    )]
    Stuck {
        /// How long nothing has moved.
        patience: Duration,
        /// What waits or runs.
        unfinished: String,
    },
    /// Tasks make more tasks without end.
    #[error(
        "{attempts} attempts have run and there is still more to do: {unfinished}; a task that sends itself again never \
         ends, and needs `advance(..)` instead of `drain()`; if these are not too many, raise \
         `TestApp::builder().most_attempts(..)`"
    )]
    Endless {
        /// How many attempts have run.
        attempts: u64,
        /// What waits or runs.
        unfinished: String,
    },
}

impl fmt::Debug for TestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")?;
        let mut causes = std::iter::successors(self.source(), |&cause| cause.source());
        causes.try_for_each(|cause| write!(f, ": {cause}"))
    }
}
