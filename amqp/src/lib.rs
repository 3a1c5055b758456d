//! RabbitMQ as coney uses it: connections, declarations, confirmed publishing, consuming.
//!
//! This is the layer above `coney-protocol`, which computes *what* is declared and sent, and below the producer and
//! the worker, which decide *when*. It is the only crate that names lapin and deadpool; neither shows in a signature.
//!
//! | module | what it holds |
//! |---|---|
//! | `address`, `tls`, `builder`, `settings` | where the broker is, and how to get there |
//! | `broker` | [`Broker`]: the cheap handle that everything starts from |
//! | `socket`, `link`, `pool`, `backoff` | one connection; several; when to try again |
//! | `declare` | applies a [`Topology`](coney_protocol::topology::Topology) |
//! | `publisher`, `job`, `lane`, `window` | confirmed publishing: the handle, one message, the task, its channel |
//! | `outbox` | publishing what may be lost, such as events |
//! | `ledger`, `blame` | which message was unroutable; which one closed the channel |
//! | `session`, `subscription`, `consumer`, `status` | consuming on a supervised connection |
//! | `delivery`, `acks` | one message, and settling it |
//! | `properties` | header tables to and from lapin's |
//! | `error` | one error per family of operations |
//!
//! # Logging
//!
//! Everything of this crate is logged with the target `coney::amqp`: lost connections and every attempt to reconnect
//! at `warn`, never a password or a payload. lapin logs by itself, and logs each message that was unroutable at `warn`
//! *with its body*: start from a filter such as `info,lapin=off` (every such error is reported by this crate too).
//!
//! # Features
//!
//! | feature | adds |
//! |---|---|
//! | `tls` | `amqps://` with rustls and the certificate authorities of the operating system |

#[cfg(feature = "bench")]
#[doc(hidden)]
pub mod __bench;
mod acks;
mod address;
mod backoff;
mod blame;
mod broker;
mod builder;
mod consumer;
mod declare;
mod delivery;
mod error;
mod job;
mod lane;
mod ledger;
mod link;
mod outbox;
mod pool;
mod properties;
mod publisher;
mod pulse;
mod ready;
mod screen;
mod server;
mod session;
mod settings;
mod socket;
mod status;
mod subscription;
mod tls;
mod watchdog;
mod window;

pub use self::address::Address;
pub use self::broker::Broker;
pub use self::builder::BrokerBuilder;
pub use self::consumer::{Consumer, ConsumerSpec};
pub use self::delivery::{Acker, Delivery};
pub use self::error::{
    ConnectError, ConnectErrorKind, ConsumeError, ConsumeErrorKind, DeclareError, DeclareErrorKind,
    PublishError, PublishErrorKind, Resource,
};
pub use self::outbox::Outbox;
pub use self::properties::Unreadable;
#[doc(hidden)]
pub use self::properties::read as read_properties;
pub use self::publisher::{Publication, Publisher, Receipt};
pub use self::server::Server;
pub use self::session::Session;
pub use self::status::{PublisherStatus, SessionStatus};
pub use self::tls::Tls;
