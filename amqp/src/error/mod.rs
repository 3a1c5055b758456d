//! What can go wrong, one error per family of operations.
//!
//! Every error is an opaque struct with a `kind()` to match on; its text says what to do next; lapin's own error, if
//! there is one, is the `source()`. No error holds a password.

mod connect;
mod consume;
mod declare;
mod publish;
mod reply;

pub use self::connect::{ConnectError, ConnectErrorKind};
pub use self::consume::{ConsumeError, ConsumeErrorKind};
pub use self::declare::{DeclareError, DeclareErrorKind, Resource};
pub use self::publish::{PublishError, PublishErrorKind};

pub(crate) use self::reply::{BrokerReply, mentions_exchange, mentions_topic, oversized};

/// The cause behind one of our errors.
pub(crate) type Cause = Box<dyn std::error::Error + Send + Sync>;
