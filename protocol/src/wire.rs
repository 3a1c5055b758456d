//! Celery's message protocol: task messages of version 2, read also those of version 1.
//!
//! [`encode`] makes properties and bytes of a [`Message`](crate::message::Message), [`decode`] the reverse. The body of
//! version 2 stays closed: it is cut by [`RawCall::cut`](crate::codec::body::RawCall::cut) when a task is about to run.
//!
//! Source: <https://docs.celeryq.dev/en/stable/internals/protocol.html>, and Celery 5.7's own worker where that is silent.

mod decode;
mod encode;
mod legacy;
pub mod time;

pub use crate::codec::Limits;
pub(crate) use decode::is_of_the_broker;
pub use decode::{Undecoded, decode};
pub use encode::{encode, outgoing};
pub(crate) use legacy::value as header_value;
