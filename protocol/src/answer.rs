//! How the output of a task travels back, and how its error is told.

use std::fmt;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use crate::codec::typed;
use crate::outcome::{ErrorReport, Next, TaskError};

/// A value that can be the output of a task: anything that is `Serialize` and owned `Deserialize`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the output of a task",
    label = "does not travel back to the caller",
    note = "derive serde::Serialize and serde::Deserialize on it"
)]
pub trait Output: Sized {
    /// Encodes the value as JSON.
    #[doc(hidden)]
    fn encode(&self) -> Result<Box<RawValue>, serde_json::Error>;

    /// Decodes the value from JSON.
    #[doc(hidden)]
    fn decode(raw: &RawValue) -> Result<Self, serde_json::Error>;
}

#[diagnostic::do_not_recommend]
impl<T: Serialize + DeserializeOwned> Output for T {
    fn encode(&self) -> Result<Box<RawValue>, serde_json::Error> {
        serde_json::value::to_raw_value(self)
    }

    fn decode(raw: &RawValue) -> Result<Self, serde_json::Error> {
        typed::from_raw(raw)
    }
}

/// How outputs of type `T` travel.
pub struct AnswerOk<T> {
    /// Encodes an output as JSON.
    pub encode: fn(&T) -> Result<Box<RawValue>, serde_json::Error>,
    /// Decodes an output from JSON.
    pub decode: fn(&RawValue) -> Result<T, serde_json::Error>,
}

/// How errors of type `E` are told.
pub struct AnswerErr<E> {
    /// What happens next.
    pub next: fn(&E) -> Next,
    /// What the caller is told.
    pub report: fn(&E) -> ErrorReport,
}

/// How outputs of type `T` travel.
#[must_use]
pub const fn answer_ok<T: Output>() -> AnswerOk<T> {
    AnswerOk {
        encode: T::encode,
        decode: T::decode,
    }
}

/// How errors of type `E` are told.
#[must_use]
pub const fn answer_err<E: TaskError>() -> AnswerErr<E> {
    AnswerErr {
        next: E::next,
        report: E::report,
    }
}

impl<T> Clone for AnswerOk<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for AnswerOk<T> {}

impl<T> fmt::Debug for AnswerOk<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AnswerOk")
    }
}

impl<E> fmt::Debug for AnswerErr<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AnswerErr")
    }
}
