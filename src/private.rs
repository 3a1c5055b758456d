//! What the macros expand to. Not part of the public API: it changes in any version.

pub use core;

pub use coney_protocol::answer::{AnswerErr, AnswerOk, answer_err, answer_ok};
pub use coney_protocol::argument::{Param, param};
pub use coney_protocol::call::Call;
pub use coney_protocol::expansion::{
    Probe, ProbeFallback, Returns, Shape, ShapeFallback, Wire, WireFallback, defer, no_answer,
    report, retry_after, runs_elsewhere, travels,
};
pub use coney_protocol::inject::{Inject, inject};
pub use coney_protocol::options::Priority;
pub use coney_protocol::outcome::{ErrorReport, Next, TaskError};
pub use coney_protocol::rate::Rate;
pub use coney_protocol::spec::{
    AckMode, Backoff, DefaultQueue, Queue, QueueSpec, RetryPolicy, TaskSpec,
};
pub use coney_protocol::task::{Run, Task, queue};

pub use crate::__register as register;

/// Registers a task in the program that links it. Two bodies, so that the feature is judged here and not in the crate
/// that the macro expands in.
#[cfg(not(feature = "worker"))]
#[doc(hidden)]
#[macro_export]
macro_rules! __register {
    ($task:ty) => {};
}

/// Registers a task in the program that links it.
#[cfg(feature = "worker")]
#[doc(hidden)]
#[macro_export]
macro_rules! __register {
    ($task:ty) => {
        $crate::__private::inventory::submit! { $crate::__private::Entry::of::<$task>() }
    };
}

#[cfg(feature = "worker")]
pub use self::registry::{Entry, inventory, registered, registered_in};

/// The tasks that are linked into this program.
#[cfg(feature = "worker")]
mod registry {
    pub use inventory;

    use coney_protocol::task::Run;
    use coney_worker::{Handler, Tasks};

    /// A task that registered itself.
    #[derive(Debug)]
    pub struct Entry(Handler);

    impl Entry {
        /// The entry of the task `T`.
        #[must_use]
        pub const fn of<T: Run>() -> Self {
            Self(Handler::of::<T>())
        }
    }

    inventory::collect!(Entry);

    fn handlers() -> impl Iterator<Item = Handler> {
        inventory::iter::<Entry>().map(|entry| entry.0.clone())
    }

    /// All tasks that are linked into this program.
    #[must_use]
    pub fn registered() -> Tasks {
        Tasks::all(handlers())
    }

    /// Those of these crates.
    #[must_use]
    pub fn registered_in(crates: &[&str]) -> Tasks {
        Tasks::of_crates(handlers(), crates)
    }
}
