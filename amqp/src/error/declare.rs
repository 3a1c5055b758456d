//! Why an exchange, a queue or a binding could not be declared.

use std::error::Error;
use std::fmt;

use super::reply::Inequivalent;
use super::{BrokerReply, Cause, ConnectError};

/// An exchange, a queue or a binding could not be declared, or is not there.
#[derive(Debug)]
pub struct DeclareError {
    kind: Box<DeclareErrorKind>,
    source: Option<Cause>,
}

/// What was to be declared.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Resource {
    /// An exchange of this name.
    Exchange(String),
    /// A queue of this name.
    Queue(String),
    /// A binding.
    Binding {
        /// The exchange it starts at.
        exchange: String,
        /// The queue it leads to.
        queue: String,
        /// The binding key.
        key: String,
    },
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exchange(name) => write!(f, "exchange `{name}`"),
            Self::Queue(name) => write!(f, "queue `{name}`"),
            Self::Binding {
                exchange,
                queue,
                key,
            } => write!(
                f,
                "binding of queue `{queue}` to exchange `{exchange}` with key `{key}`"
            ),
        }
    }
}

/// Why something could not be declared.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DeclareErrorKind {
    /// The user may not declare it.
    Permission {
        /// What was to be declared.
        resource: Resource,
        /// What the broker says.
        detail: String,
    },
    /// It does not exist.
    Missing {
        /// What is missing.
        resource: Resource,
        /// False if this program was told not to declare anything itself.
        may_declare: bool,
    },
    /// Another connection has it for itself.
    Locked {
        /// What was to be declared.
        resource: Resource,
        /// What the broker says.
        detail: String,
    },
    /// It exists with other properties.
    Mismatch {
        /// What was to be declared.
        resource: Resource,
        /// The argument that differs, if the broker says so.
        argument: Option<String>,
        /// The value that this program wants.
        wanted: Option<String>,
        /// The value that the broker has.
        found: Option<String>,
        /// What the broker says.
        detail: String,
    },
    /// The broker refused for another reason, such as an argument it does not know.
    Refused {
        /// What was to be declared.
        resource: Resource,
        /// What the broker says.
        detail: String,
    },
    /// A name or an argument cannot be written to the wire.
    InvalidName {
        /// Which, and why.
        detail: String,
    },
    /// There is no connection to the broker.
    Connection {
        /// What happened to the connection.
        reason: String,
    },
    /// The broker did not answer in time.
    Timeout,
}

impl DeclareError {
    pub(crate) fn new(kind: DeclareErrorKind) -> Self {
        Self {
            kind: Box::new(kind),
            source: None,
        }
    }

    pub(crate) fn caused_by(mut self, cause: impl Into<Cause>) -> Self {
        self.source = Some(cause.into());
        self
    }

    pub(crate) fn from_connect(cause: ConnectError) -> Self {
        let reason = cause.to_string();
        Self::new(DeclareErrorKind::Connection { reason }).caused_by(cause)
    }

    pub(crate) fn from_lapin(cause: lapin::Error, resource: Resource, may_declare: bool) -> Self {
        let kind = match BrokerReply::of(&cause) {
            Some(reply) if !reply.is_general() => kind_of(&reply, resource, may_declare),
            _ => DeclareErrorKind::Connection {
                reason: cause.to_string(),
            },
        };
        Self::new(kind).caused_by(cause)
    }

    /// What went wrong.
    #[must_use]
    pub fn kind(&self) -> &DeclareErrorKind {
        &self.kind
    }

    /// True if the same attempt may succeed later without anybody changing anything.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(
            *self.kind,
            DeclareErrorKind::Connection { .. }
                | DeclareErrorKind::Timeout
                | DeclareErrorKind::Locked { .. }
        )
    }
}

fn kind_of(reply: &BrokerReply<'_>, resource: Resource, may_declare: bool) -> DeclareErrorKind {
    let detail = reply.text.to_owned();
    match reply.code {
        403 => DeclareErrorKind::Permission { resource, detail },
        404 => DeclareErrorKind::Missing {
            resource,
            may_declare,
        },
        405 => DeclareErrorKind::Locked { resource, detail },
        406 => match Inequivalent::parse(reply.text) {
            Some(difference) => DeclareErrorKind::Mismatch {
                resource,
                argument: Some(difference.argument.to_owned()),
                wanted: Some(difference.wanted.to_owned()),
                found: Some(difference.found.to_owned()),
                detail,
            },
            None if reply.text.contains("inequivalent") => DeclareErrorKind::Mismatch {
                resource,
                argument: None,
                wanted: None,
                found: None,
                detail,
            },
            None => DeclareErrorKind::Refused { resource, detail },
        },
        _ => DeclareErrorKind::Refused { resource, detail },
    }
}

impl fmt::Display for DeclareError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.kind {
            DeclareErrorKind::Permission { resource, detail } => write!(
                f,
                "{resource} cannot be declared ({detail}): grant configure, or use declare(false)"
            ),
            DeclareErrorKind::Missing {
                resource,
                may_declare: false,
            } => write!(
                f,
                "{resource} does not exist and this program may not declare (declare = false): \
                 ask for it to be declared, e.g. by starting a worker that may"
            ),
            DeclareErrorKind::Missing { resource, .. } => {
                write!(
                    f,
                    "{resource} needs something that does not exist: declare that first"
                )
            }
            DeclareErrorKind::Locked { resource, detail } => write!(
                f,
                "{resource} belongs to another connection ({detail}): wait until that one is gone"
            ),
            DeclareErrorKind::Mismatch {
                resource,
                argument: Some(argument),
                wanted,
                found,
                ..
            } => write!(
                f,
                "{resource} exists with other properties: `{argument}` is {}, wanted {}: \
                 change the declaration, or delete it and let it be declared again",
                Found(found),
                Found(wanted)
            ),
            DeclareErrorKind::Mismatch {
                resource, detail, ..
            } => write!(
                f,
                "{resource} exists with other properties ({detail}): change the declaration, or delete it and let it be declared again"
            ),
            DeclareErrorKind::Refused { resource, detail } => {
                write!(f, "the broker refused {resource}: {detail}")
            }
            DeclareErrorKind::InvalidName { detail } => {
                write!(f, "the declaration cannot be written to the wire: {detail}")
            }
            DeclareErrorKind::Connection { reason } => {
                write!(f, "nothing can be declared without a connection: {reason}")
            }
            DeclareErrorKind::Timeout => {
                f.write_str("the broker did not answer a declaration in time")
            }
        }
    }
}

impl Error for DeclareError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|cause| cause as _)
    }
}

/// A value that may be absent.
struct Found<'a>(&'a Option<String>);

impl fmt::Display for Found<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_deref() {
            None | Some("none") => f.write_str("not set"),
            Some(value) => write!(f, "`{value}`"),
        }
    }
}

#[cfg(test)]
mod tests {
    use lapin::ErrorKind;
    use lapin::protocol::{AMQPError, AMQPErrorKind, AMQPHardError, AMQPSoftError};

    use super::*;
    use crate::error::ConsumeError;

    fn said(kind: AMQPErrorKind) -> lapin::Error {
        ErrorKind::ProtocolError(AMQPError::new(kind, "the broker's words".into())).into()
    }

    #[test]
    fn a_broker_that_shuts_down_has_refused_nothing() {
        let forced = || said(AMQPErrorKind::Hard(AMQPHardError::CONNECTIONFORCED));
        let queue = || Resource::Queue("q".to_owned());
        assert!(DeclareError::from_lapin(forced(), queue(), true).is_transient());
        assert!(ConsumeError::from_lapin(forced(), "q").is_transient());

        let refused = || said(AMQPErrorKind::Soft(AMQPSoftError::ACCESSREFUSED));
        assert!(!DeclareError::from_lapin(refused(), queue(), true).is_transient());
        assert!(!ConsumeError::from_lapin(refused(), "q").is_transient());
    }
}
