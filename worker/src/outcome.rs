//! What an attempt came to.

use std::any::Any;
use std::time::Duration;

use coney_protocol::outcome::{ErrorReport, Next};
use serde_json::value::RawValue;

/// What an attempt came to.
#[derive(Debug)]
#[non_exhaustive]
pub enum Outcome {
    /// The task returned a value, encoded here.
    Success(Box<RawValue>),
    /// The task failed, panicked, or returned what cannot be encoded.
    Failed {
        /// What the error says happens next.
        next: Next,
        /// What the caller is told.
        report: ErrorReport,
    },
    /// The attempt ran into its hard time limit.
    TimedOut(Duration),
    /// The worker shuts down and stopped the attempt.
    Aborted,
}

impl Outcome {
    /// A panic with this message: retried like any other failure.
    #[must_use]
    pub fn panicked(message: &str) -> Self {
        Self::Failed {
            next: Next::Retry,
            report: ErrorReport::new("Panic", message),
        }
    }
}

/// The text that a panic was raised with.
pub(crate) fn message_of(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("a panic without a text")
}
