//! What can be wrong with a worker: when it is built, and while it runs.

use std::fmt;

use coney_amqp::ConsumeError;

/// Why a worker cannot be built: every problem at once.
#[derive(Debug)]
pub struct BuildError(Vec<BuildProblem>);

/// One thing that is wrong with the set-up of a worker.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BuildProblem {
    /// There is nothing to run.
    NoTasks,
    /// A crate of `coney::tasks![..]` registers nothing.
    EmptyCrate {
        /// The crate.
        name: String,
    },
    /// Two tasks have the same wire name.
    DuplicateTask {
        /// The wire name.
        name: &'static str,
        /// The modules that define one each.
        modules: [&'static str; 2],
    },
    /// A task needs state that the builder was not given.
    MissingState {
        /// The wire name of the task.
        task: &'static str,
        /// The type of the state.
        state: &'static str,
    },
    /// Two queue types have the same name and different options.
    ConflictingQueue {
        /// The queue's name.
        name: String,
    },
    /// A queue would run no task at all.
    NoSlots {
        /// The queue's name.
        queue: String,
    },
    /// The worker as a whole would run no task at all, or less at most than at least.
    Concurrency {
        /// Tasks at once at least.
        min: u32,
        /// Tasks at once at most.
        max: u32,
    },
    /// An environment variable is not a number of tasks.
    Environment {
        /// The variable.
        variable: String,
        /// Its value.
        value: String,
    },
}

impl BuildError {
    pub(crate) fn of(problems: Vec<BuildProblem>) -> Result<(), Self> {
        if problems.is_empty() {
            Ok(())
        } else {
            Err(Self(problems))
        }
    }

    /// What is wrong.
    #[must_use]
    pub fn problems(&self) -> &[BuildProblem] {
        &self.0
    }
}

impl fmt::Display for BuildProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoTasks => f.write_str(
                "the worker has no tasks: add `.tasks(coney::tasks![my_tasks])`, `.tasks(coney::registered())` or \
                 `.task::<my_task>()`",
            ),
            Self::EmptyCrate { name } => write!(
                f,
                "crate `{name}` registers no task: does it have a `#[task]` with a body, and is coney's feature `worker` on?"
            ),
            Self::DuplicateTask { name, modules: [first, second] } => {
                write!(f, "task name `{name}` is used twice: in `{first}` and `{second}`")
            }
            Self::MissingState { task, state } => {
                write!(f, "task `{task}` needs `State<{state}>`: add `.state(..)` to the builder")
            }
            Self::ConflictingQueue { name } => {
                write!(f, "queue `{name}` is declared twice with different options: share one type")
            }
            Self::NoSlots { queue } => write!(f, "queue `{queue}` has a concurrency of 0: it needs at least 1"),
            Self::Concurrency { min, max } => {
                write!(f, "the worker cannot run between {min} and {max} tasks at once: it needs at least 1, and no more at least than at most")
            }
            Self::Environment { variable, value } => {
                write!(f, "{variable}=`{value}` is not a number of tasks from 1 to 65535")
            }
        }
    }
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, problem) in self.0.iter().enumerate() {
            if at > 0 {
                f.write_str("; ")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for BuildError {}

/// Why a worker stopped, or did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WorkerError {
    /// A queue could not be declared or consumed.
    #[error("queue `{queue}` cannot be consumed")]
    Consume {
        /// The queue's name.
        queue: String,
        /// Why not.
        #[source]
        source: Box<ConsumeError>,
    },
    /// Tasks were still running at the end of the grace period: stopped, and returned to their queues.
    #[error(
        "{tasks} tasks were still running at the end of the grace period and were returned to their queues"
    )]
    Aborted {
        /// How many.
        tasks: usize,
    },
}
