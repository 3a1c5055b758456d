//! Why a queue could not be consumed.

use std::error::Error;
use std::fmt;

use super::{BrokerReply, Cause, DeclareError, DeclareErrorKind};

/// A queue could not be consumed.
#[derive(Debug)]
pub struct ConsumeError {
    kind: Box<ConsumeErrorKind>,
    queue: String,
    source: Option<Cause>,
}

/// Why a queue could not be consumed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConsumeErrorKind {
    /// The queue does not exist.
    Missing,
    /// The user may not read from the queue.
    Permission {
        /// What the broker says.
        detail: String,
    },
    /// Another consumer or connection has the queue for itself.
    Locked {
        /// What the broker says.
        detail: String,
    },
    /// What the queue needs could not be declared.
    Declare(DeclareErrorKind),
    /// There is no connection to the broker.
    Connection {
        /// What happened to the connection.
        reason: String,
    },
    /// The broker did not answer in time.
    Timeout,
    /// The name of the queue or the consumer tag cannot be written to the wire.
    InvalidName {
        /// Which, and why.
        detail: String,
    },
    /// The session or the broker handle was closed.
    Closed,
    /// The broker refused for another reason, such as an argument it does not know.
    Refused {
        /// What the broker says.
        detail: String,
    },
}

impl ConsumeError {
    pub(crate) fn new(kind: ConsumeErrorKind, queue: &str) -> Self {
        Self {
            kind: Box::new(kind),
            queue: queue.to_owned(),
            source: None,
        }
    }

    pub(crate) fn caused_by(mut self, cause: impl Into<Cause>) -> Self {
        self.source = Some(cause.into());
        self
    }

    pub(crate) fn from_declare(cause: DeclareError, queue: &str) -> Self {
        let kind = match cause.kind() {
            DeclareErrorKind::Connection { reason } => ConsumeErrorKind::Connection {
                reason: reason.clone(),
            },
            DeclareErrorKind::Timeout => ConsumeErrorKind::Timeout,
            kind => ConsumeErrorKind::Declare(kind.clone()),
        };
        Self::new(kind, queue).caused_by(cause)
    }

    pub(crate) fn from_lapin(cause: lapin::Error, queue: &str) -> Self {
        let kind = match BrokerReply::of(&cause) {
            Some(reply) if !reply.is_general() => match reply.code {
                404 => ConsumeErrorKind::Missing,
                // RabbitMQ answers 403 to both, and only the text tells them apart
                403 if reply.text.contains("exclusive") => ConsumeErrorKind::Locked {
                    detail: reply.text.to_owned(),
                },
                403 => ConsumeErrorKind::Permission {
                    detail: reply.text.to_owned(),
                },
                405 => ConsumeErrorKind::Locked {
                    detail: reply.text.to_owned(),
                },
                _ => ConsumeErrorKind::Refused {
                    detail: reply.text.to_owned(),
                },
            },
            _ => ConsumeErrorKind::Connection {
                reason: cause.to_string(),
            },
        };
        Self::new(kind, queue).caused_by(cause)
    }

    /// What went wrong.
    #[must_use]
    pub fn kind(&self) -> &ConsumeErrorKind {
        &self.kind
    }

    /// The queue that was to be consumed.
    #[must_use]
    pub fn queue(&self) -> &str {
        &self.queue
    }

    /// True if the same attempt may succeed later without anybody changing anything.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(
            *self.kind,
            ConsumeErrorKind::Connection { .. }
                | ConsumeErrorKind::Timeout
                | ConsumeErrorKind::Locked { .. }
        )
    }
}

impl fmt::Display for ConsumeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let queue = &self.queue;
        match &*self.kind {
            ConsumeErrorKind::Missing => write!(
                f,
                "queue `{queue}` does not exist: declare it before consuming it"
            ),
            ConsumeErrorKind::Permission { detail } => write!(
                f,
                "queue `{queue}` cannot be read ({detail}): grant the user read permission"
            ),
            ConsumeErrorKind::Locked { detail } => write!(
                f,
                "queue `{queue}` is taken ({detail}): stop the other consumer, or wait until it is gone"
            ),
            ConsumeErrorKind::Declare(_) => {
                write!(f, "what queue `{queue}` needs could not be declared")
            }
            ConsumeErrorKind::Connection { reason } => write!(
                f,
                "queue `{queue}` cannot be consumed without a connection: {reason}"
            ),
            ConsumeErrorKind::Timeout => {
                write!(f, "the broker did not answer in time about queue `{queue}`")
            }
            ConsumeErrorKind::InvalidName { detail } => {
                write!(f, "queue `{queue}` cannot be consumed: {detail}")
            }
            ConsumeErrorKind::Closed => write!(
                f,
                "queue `{queue}` cannot be consumed: the session is closed"
            ),
            ConsumeErrorKind::Refused { detail } => {
                write!(
                    f,
                    "the broker refused to let queue `{queue}` be consumed: {detail}"
                )
            }
        }
    }
}

impl Error for ConsumeError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|cause| cause as _)
    }
}
