//! Why a message was not published.

use std::error::Error;
use std::fmt;

use super::Cause;

/// A message was not published, or nobody knows whether it was.
#[derive(Debug)]
pub struct PublishError {
    kind: PublishErrorKind,
    source: Option<Cause>,
}

/// Why a message was not published.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PublishErrorKind {
    /// No queue is bound to the exchange with this routing key.
    Unroutable {
        /// The exchange; empty for the default exchange.
        exchange: String,
        /// The routing key that leads nowhere.
        routing_key: String,
    },
    /// The broker refused to store the message: a queue is full, or unavailable for the moment.
    Rejected {
        /// The exchange; empty for the default exchange.
        exchange: String,
        /// The routing key.
        routing_key: String,
    },
    /// The broker takes no messages at the moment, and did not until the deadline.
    Blocked {
        /// What the broker says, such as `low on memory`.
        reason: String,
    },
    /// The broker did not confirm the message before the deadline.
    TimedOut,
    /// The connection was lost and not back before the deadline, or the broker handle was closed.
    Closed {
        /// What happened to the connection.
        reason: String,
    },
    /// The exchange does not exist.
    NoExchange {
        /// Its name.
        exchange: String,
    },
    /// The user may not write to the exchange.
    Permission {
        /// What the broker says.
        detail: String,
    },
    /// The body or the headers are larger than the broker takes.
    TooLarge {
        /// What is too large, and what the limit is.
        detail: String,
    },
    /// A name or property cannot be written to the wire.
    InvalidName {
        /// Which, and why.
        detail: String,
    },
    /// The broker closed the channel over this message for another reason.
    Refused {
        /// What the broker says.
        detail: String,
    },
}

impl PublishError {
    pub(crate) fn new(kind: PublishErrorKind) -> Self {
        Self { kind, source: None }
    }

    pub(crate) fn caused_by(mut self, cause: impl Into<Cause>) -> Self {
        self.source = Some(cause.into());
        self
    }

    /// What went wrong.
    #[must_use]
    pub fn kind(&self) -> &PublishErrorKind {
        &self.kind
    }

    /// True if the same message may be accepted later without anybody changing anything.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(
            self.kind,
            PublishErrorKind::Rejected { .. }
                | PublishErrorKind::Blocked { .. }
                | PublishErrorKind::TimedOut
                | PublishErrorKind::Closed { .. }
        )
    }

    /// True if the broker may nevertheless have stored the message, or may yet do so.
    ///
    /// Publishing it again may then produce a duplicate; not publishing it again may lose it.
    #[must_use]
    pub fn may_have_been_stored(&self) -> bool {
        matches!(
            self.kind,
            // one of several queues may have taken what another refused
            PublishErrorKind::Rejected { .. }
                | PublishErrorKind::Blocked { .. }
                | PublishErrorKind::TimedOut
                | PublishErrorKind::Closed { .. }
        )
    }
}

impl fmt::Display for PublishError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            PublishErrorKind::Unroutable {
                exchange,
                routing_key,
            } => write!(
                f,
                "no queue is bound to {} with the routing key `{routing_key}`: start a worker for it, or declare the queue",
                Shown(exchange)
            ),
            PublishErrorKind::Rejected {
                exchange,
                routing_key,
            } => write!(
                f,
                "the broker rejected the message for `{routing_key}` through {}: the queue is full or unavailable, try again later",
                Shown(exchange)
            ),
            PublishErrorKind::Blocked { reason } => write!(
                f,
                "the broker accepts no messages for the moment ({reason}): free its resources, or try again later"
            ),
            PublishErrorKind::TimedOut => f.write_str(
                "the broker did not confirm the message in time: it may or may not have been stored",
            ),
            PublishErrorKind::Closed { reason } => write!(
                f,
                "there was no connection to the broker in time ({reason}): the message may or may not have been stored"
            ),
            PublishErrorKind::NoExchange { exchange } => write!(
                f,
                "the exchange `{exchange}` does not exist: declare it, or start a worker that does"
            ),
            PublishErrorKind::Permission { detail } => {
                write!(f, "the broker refused the message ({detail}): grant the user write permission")
            }
            PublishErrorKind::TooLarge { detail } => write!(
                f,
                "the message is too large ({detail}): send a reference to the data instead"
            ),
            PublishErrorKind::InvalidName { detail } => {
                write!(f, "the message cannot be written to the wire: {detail}")
            }
            PublishErrorKind::Refused { detail } => {
                write!(f, "the broker closed the channel over this message: {detail}")
            }
        }
    }
}

impl Error for PublishError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|cause| cause as _)
    }
}

/// An exchange as a person would call it.
struct Shown<'a>(&'a str);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            "" => f.write_str("the default exchange"),
            name => write!(f, "the exchange `{name}`"),
        }
    }
}
