//! The running side of coney: a [`Worker`] takes messages, runs their tasks, and settles what comes of them.
//!
//! Third layer of the workspace, beside the producer, which it does not know. One delivery goes through five stages,
//! each in its own file and each with an input and an output type of its own:
//!
//! | stage | from | to |
//! |---|---|---|
//! | [`consume`] | a queue | a `Delivery`; a slot for it, if it can run |
//! | [`decode`] | `Delivery` | on receipt `Received`, in a slot `Job`, or why neither |
//! | [`execute`] | `Job` | [`Outcome`](outcome::Outcome) |
//! | [`decide`] | `Outcome` | `Disposition`, purely |
//! | [`settle`] | `Disposition` | publishes, confirmed; then the ack |
//!
//! Around them: [`builder`] checks the set-up once, [`registry`] and [`handler`] find the task of a name, [`pipeline`]
//! strings the stages together, `flow` and `follow` send what a message says shall follow, [`listen`] and [`revocations`]
//! cancel tasks, [`worker`] owns the loops and [`shutdown`] ends them. A running worker is a `node`: its `queues`, `pool`s
//! and `limits` can change, its `roster` knows what is here, `control` answers who asks and `events` tell who listens.
//! [`uplink`] tells progress, [`banner`] and [`telemetry`] say what goes on.

#[cfg(feature = "bench")]
#[doc(hidden)]
pub mod __bench;
mod activity;
pub mod banner;
pub mod builder;
mod builtin;
mod card;
pub mod consume;
mod control;
pub mod decide;
pub mod decode;
pub mod error;
mod events;
pub mod execute;
mod flow;
mod follow;
pub mod handler;
mod limits;
pub mod listen;
mod node;
pub mod outcome;
pub mod pipeline;
mod pool;
mod queues;
pub mod readiness;
pub mod registry;
mod repeats;
pub mod revocations;
mod roster;
pub mod settle;
pub mod shutdown;
pub mod telemetry;
pub mod uplink;
pub mod worker;

#[doc(hidden)]
pub use activity::Activity;
pub use builder::WorkerBuilder;
pub use error::{BuildError, BuildProblem, WorkerError};
pub use handler::Handler;
pub use readiness::{Readiness, Ready};
pub use registry::Tasks;
pub use shutdown::shutdown_signal;
pub use worker::Worker;
