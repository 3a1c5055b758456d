//! `#[derive(TaskError)]` beside thiserror, serde and imported macros of the marks' names.
#![deny(warnings, missing_docs, unused)]

use std::time::Duration;

use coney::TaskError;
use serde::{Deserialize, Serialize};

/// Every mark.
#[derive(Debug, thiserror::Error, Serialize, Deserialize, TaskError)]
pub enum MailError {
    /// No mark.
    #[error("none")]
    None,
    /// Plain.
    #[error("retry")]
    #[retry]
    Retry(u8),
    /// With a wait.
    #[error("retry after")]
    #[retry(after = "0s")]
    RetryAfter,
    /// Done.
    #[error("discard")]
    #[discard]
    Discard {
        /// Why.
        why: String,
    },
    /// Dead.
    #[error("dead")]
    #[dead]
    #[deprecated]
    Dead,
    /// Later.
    #[error("defer {0:?}")]
    #[defer(after = .0)]
    Position(Duration),
    /// Later.
    #[error("defer")]
    #[defer(after = .wait.mul_f32(2.0))]
    Name {
        /// How long.
        wait: Duration,
    },
    /// Later.
    #[error("defer")]
    #[defer(after = .1.0)]
    Nested(u8, (Duration, u8)),
    /// Later.
    #[error("defer")]
    #[defer(after = .1.unwrap_or(Duration::from_secs(1)) * 2)]
    Expression(u8, Option<Duration>),
    /// Later.
    #[error("defer")]
    #[defer(after = "1m 30s",)]
    Text(String),
}

/// A struct.
#[derive(Debug, thiserror::Error, TaskError)]
#[error("limited")]
#[defer(after = .until)]
pub struct Limited {
    until: Duration,
}

/// With a type of its own inside.
#[derive(Debug, thiserror::Error, TaskError)]
#[error("generic")]
#[dead]
#[task_error(crate = coney)]
pub struct Generic<T: std::fmt::Debug + Send + 'static>(T);

/// Cannot happen.
#[derive(Debug, thiserror::Error, TaskError)]
pub enum Never {}

fn main() {
    fn error<E: TaskError>() {}
    error::<MailError>();
    error::<Limited>();
    error::<Generic<u8>>();
    error::<Never>();
    let _ = Limited { until: Duration::ZERO };
    let _ = Generic(1_u8);
}
