//! The sending side of coney: a [`Client`] sends calls, confirmed, and awaits their typed results.
//!
//! Third layer of the workspace, beside the worker, which it does not know.
//!
//! | module | holds |
//! |---|---|
//! | [`client`] | the handle, its settings, sending one call |
//! | [`workflow`] | chains and groups |
//! | [`batch`] | many calls, confirmed together |
//! | [`enqueue`] | an encoded call becomes a publication |
//! | [`handle`] | awaiting one result, or watching its progress |
//! | [`replies`] | one consumer for all results of a client |
//! | [`dead_letters`] | looking at dead letters, putting them back, throwing them away |
//! | [`revoke`] | cancelling a task |
//! | [`control`] | asking workers what they do, telling them what to do |
//! | [`events`] | telling monitors of sent tasks; listening to events |
//! | [`status`] | whether it works, and why not |
//! | [`error`] | what can go wrong on the way there and back |
//! | [`telemetry`] | the counters and histograms of this side |

#[cfg(feature = "bench")]
#[doc(hidden)]
pub mod __bench;
pub mod batch;
pub mod client;
pub mod control;
pub mod dead_letters;
pub mod enqueue;
pub mod error;
pub mod events;
pub mod handle;
pub mod replies;
pub mod revoke;
pub mod status;
pub mod telemetry;
pub mod workflow;

pub use client::{Client, ClientBuilder};
pub use control::{Answers, Broadcast, Control, ControlError};
pub use dead_letters::{
    DeadLetter, DeadLetterError, DeadLetterErrorKind, DeadLetters, DeadReason, Discarded, Redriven,
    Selection,
};
pub use error::{ResultError, ResultErrorKind, SendError, SendErrorKind, TaskFailed};
pub use events::EventStream;
pub use handle::{Progress, ResultOf, TaskHandle};
pub use revoke::{RevokeError, RevokeErrorKind};
pub use status::ClientStatus;
