//! What can go wrong with dead letters.

use std::fmt;

use coney_amqp::{ConsumeError, DeclareError, PublishError};
use coney_protocol::id::TaskId;
use coney_protocol::topology;

/// Why dead letters could not be looked at, put back or thrown away.
#[derive(Debug)]
pub struct DeadLetterError(Box<Failed>);

#[derive(Debug)]
struct Failed {
    queue: String,
    done: usize,
    kind: DeadLetterErrorKind,
}

/// What went wrong with dead letters.
#[derive(Debug)]
#[non_exhaustive]
pub enum DeadLetterErrorKind {
    /// There is no such dead-letter queue.
    Missing,
    /// No letter has this task id.
    NotFound(TaskId),
    /// The broker could not be asked how many letters there are.
    Look(DeclareError),
    /// The dead-letter queue could not be consumed.
    Consume(ConsumeError),
    /// The broker did not take a letter back.
    Publish {
        /// The letter's task, if it can be read.
        task: Option<String>,
        /// The letter's task id, if it can be read.
        id: Option<TaskId>,
        /// Why it was not taken.
        error: PublishError,
    },
    /// The connection was lost, or the broker handle closed.
    Interrupted {
        /// What happened.
        reason: String,
    },
    /// There are letters, and the broker does not deliver them.
    Stalled,
}

impl DeadLetterError {
    pub(super) fn new(queue: &str, kind: DeadLetterErrorKind) -> Self {
        Self(Box::new(Failed {
            queue: queue.to_owned(),
            done: 0,
            kind,
        }))
    }

    pub(super) fn after(mut self, done: usize) -> Self {
        self.0.done = done;
        self
    }

    /// What went wrong.
    #[must_use]
    pub fn kind(&self) -> &DeadLetterErrorKind {
        &self.0.kind
    }

    /// The queue whose dead letters it is about.
    #[must_use]
    pub fn queue(&self) -> &str {
        &self.0.queue
    }

    /// How many letters were put back or thrown away before.
    #[must_use]
    pub fn done(&self) -> usize {
        self.0.done
    }

    /// True if the same operation may work later without anybody changing anything. It goes on with what is left.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self.kind() {
            DeadLetterErrorKind::Missing | DeadLetterErrorKind::NotFound(_) => false,
            DeadLetterErrorKind::Look(error) => error.is_transient(),
            DeadLetterErrorKind::Consume(error) => error.is_transient(),
            DeadLetterErrorKind::Publish { error, .. } => error.is_transient(),
            DeadLetterErrorKind::Interrupted { .. } | DeadLetterErrorKind::Stalled => true,
        }
    }
}

impl fmt::Display for DeadLetterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Failed { queue, done, kind } = &*self.0;
        let dead = topology::dead_queue(queue);
        match kind {
            DeadLetterErrorKind::Missing => write!(
                f,
                "there is no dead-letter queue `{dead}`: check the name `{queue}` and the virtual host, or start a \
                 worker of that queue, which declares it"
            )?,
            DeadLetterErrorKind::NotFound(id) => write!(
                f,
                "no dead letter of queue `{queue}` has the id {id}: it was put back or thrown away already, or another \
                 program holds it; list them"
            )?,
            DeadLetterErrorKind::Look(_) => {
                write!(f, "dead-letter queue `{dead}` cannot be looked at")?;
            }
            DeadLetterErrorKind::Consume(_) => {
                write!(f, "dead-letter queue `{dead}` cannot be read")?;
            }
            DeadLetterErrorKind::Publish { task, id, .. } => {
                let task = task.as_deref().unwrap_or("?");
                let id = id
                    .as_ref()
                    .map_or_else(|| "no id".to_owned(), ToString::to_string);
                write!(
                    f,
                    "dead letter `{task}` ({id}) was not put back into queue `{queue}`: it and those after it stay in \
                     `{dead}`"
                )?;
            }
            DeadLetterErrorKind::Interrupted { reason } => write!(
                f,
                "working on dead-letter queue `{dead}` was interrupted ({reason}): what is left is still there, call \
                 again"
            )?,
            DeadLetterErrorKind::Stalled => write!(
                f,
                "dead-letter queue `{dead}` has letters and does not deliver them: is another program its single \
                 active consumer, or a node of the broker down?"
            )?,
        }
        match done {
            0 => Ok(()),
            done => write!(f, " ({done} were done before)"),
        }
    }
}

impl std::error::Error for DeadLetterError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self.kind() {
            DeadLetterErrorKind::Look(error) => Some(error),
            DeadLetterErrorKind::Consume(error) => Some(error),
            DeadLetterErrorKind::Publish { error, .. } => Some(error),
            _ => None,
        }
    }
}
