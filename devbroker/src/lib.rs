//! An AMQP 0-9-1 broker in memory, for development and tests: no installation, no configuration, nothing kept on disk.
//!
//! It listens on loopback only and follows RabbitMQ 3.10 in what it supports; what it does not support it refuses
//! (540 `NOT_IMPLEMENTED`) and never pretends. It knows nothing of coney.
//!
//! ```
//! # #[tokio::main]
//! # async fn main() -> Result<(), coney_devbroker::StartError> {
//! let broker = coney_devbroker::DevBroker::start().await?;
//! println!("connect to {}", broker.url());
//! # Ok(())
//! # }
//! ```
//!
//! From the outside in:
//!
//! | module | holds |
//! |---|---|
//! | `server` | the listener, the handle of a running broker, what connections share |
//! | `connection` | one client: handshake, frames in, frames out, heartbeats |
//! | `frame` `outbox` | frames to and from bytes; what waits to be written |
//! | `channel` | what each method does |
//! | `vhost` | exchanges, queues and channels of a virtual host; one lock; no I/O |
//! | `exchange` | which bindings a message fits |
//! | `queue` | messages in their order, and who gets them; streams |
//! | `dead` | what becomes of messages that a queue gives up |
//! | `content` `table` `arguments` | one message; the tables of AMQP |
//! | `access` `error` `meter` | who may do what; objections; memory |
//! | `clock` | real or virtual time |
//! | `faults` | what can be broken on purpose |
//! | `depth` `snapshot` | what is there, for people and tests |
//! | `management` | a part of RabbitMQ's management API |
//!
//! Where it differs from RabbitMQ 3.10 on purpose: arguments of queues, exchanges and consumers that begin with `x-`
//! and that it does not know are refused, not ignored; transactions are refused.
//!
//! | feature | |
//! |---|---|
//! | `program` (default) | the program `coney-devbroker` |
//! | `management` | `Builder::management`: a part of RabbitMQ's management API over HTTP |

mod access;
mod arguments;
mod channel;
mod clock;
mod connection;
mod content;
mod dead;
mod depth;
mod error;
mod exchange;
mod faults;
mod frame;
#[cfg(feature = "__fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
#[cfg(feature = "management")]
mod management;
mod meter;
mod outbox;
mod queue;
mod server;
mod snapshot;
mod table;
mod vhost;

pub use access::{PatternError, Permissions, TopicPermissions};
pub use amq_protocol;
pub use clock::Clock;
pub use depth::Depth;
pub use faults::Faults;
pub use server::{Builder, DevBroker, StartError};
pub use snapshot::{
    BindingView, ChannelView, ConnectionView, ConsumerView, ExchangeView, MessageView, QueueKind,
    QueueView, Snapshot, UserView, VhostView,
};
