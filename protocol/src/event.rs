//! Events: what clients and workers say of tasks and of themselves, to whoever listens. Celery's format, so that Flower
//! and `celery events` understand them.
//!
//! An event is one JSON object. Those of a worker about itself travel alone, under their type as routing key
//! (`worker.heartbeat`); those about tasks travel as a list under `task.multi`, at most [`MOST_IN_BATCH`] together. A
//! reader accepts both forms under any key.

mod call;
mod decode;
mod encode;
mod lamport;
mod what;

use std::borrow::Cow;

pub use self::call::{Call, SentTo};
pub use self::decode::{EventError, decode};
pub use self::encode::{Batch, MOST_IN_BATCH, properties};
pub use self::lamport::LamportClock;
pub use self::what::{Attempt, Other, Revoked, Signal, Vitals, What};

/// The routing key of a list of task events.
pub const MULTI_KEY: &str = "task.multi";

/// The name that coney's workers give as their software (Celery: `py-celery`).
pub const SOFTWARE: &str = "coney";

/// What somebody says has happened.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Event<'a> {
    /// The worker or client that says it: `name@host`.
    pub hostname: Cow<'a, str>,
    /// Its process, if it says so.
    pub pid: Option<u32>,
    /// Its [`LamportClock`] at that moment: the order of its events.
    pub clock: u64,
    /// The time, in seconds since 1970.
    pub timestamp: f64,
    /// Hours that the clock of the sender's time zone is behind UTC; zero for UTC.
    pub utcoffset: f64,
    /// What has happened.
    pub what: What<'a>,
}

impl<'a> Event<'a> {
    /// An event of this process.
    #[must_use]
    pub fn new(
        hostname: impl Into<Cow<'a, str>>,
        clock: u64,
        timestamp: f64,
        what: What<'a>,
    ) -> Self {
        Self {
            hostname: hostname.into(),
            pid: Some(std::process::id()),
            clock,
            timestamp,
            utcoffset: 0.0,
            what,
        }
    }

    /// The routing key if it travels alone: its type, with a dot for every dash.
    #[must_use]
    pub fn routing_key(&self) -> String {
        self.what.kind().replace('-', ".")
    }
}

/// Seconds since 1970, as events have their times.
#[must_use]
pub fn timestamp(time: std::time::SystemTime) -> f64 {
    time.duration_since(std::time::SystemTime::UNIX_EPOCH)
        .map_or(0.0, |since| since.as_secs_f64())
}
