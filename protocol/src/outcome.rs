//! What a task may answer: its output, or an error that says what happens next.

use std::convert::Infallible;
use std::error::Error;
use std::fmt;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value as Json;
use serde_json::value::RawValue;

pub use self::exception::Exception;
use crate::repr;

mod exception;

/// Any error, boxed.
pub type BoxError = Box<dyn Error + Send + Sync + 'static>;

/// What happens after a failed attempt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Next {
    /// Another attempt, as the task's retry policy says; a dead letter after the last.
    #[default]
    Retry,
    /// Another attempt after this wait instead of the policy's; a dead letter after the last.
    RetryAfter(Duration),
    /// No further attempt: the task has failed, and that is all right. Not a dead letter.
    Discard,
    /// No further attempt: a dead letter at once.
    Dead,
    /// The same attempt again after this wait: it costs none.
    Defer(Duration),
    /// Another attempt on other terms than the policy's; a dead letter after the last.
    RetryUpTo {
        /// How long to wait, instead of as long as the policy says.
        wait: Option<Duration>,
        /// How many attempts may follow the first.
        max: u32,
    },
    /// No further attempt and no result: nobody is told that the task has ended. Not a dead letter.
    Ignore,
    /// The message is refused: the broker puts it back into the queue, or hands it to the queue's own dead-letter exchange.
    Reject {
        /// True to put it back.
        requeue: bool,
    },
}

/// The error of a task: says what happens next, and what the caller is told.
///
/// Derive it on an enum of your own (`#[derive(TaskError)]`), or return [`coney::Result`](Result), `anyhow::Result`
/// or a boxed error, all of which retry. There is deliberately no implementation for every error: a domain error
/// would be retried in silence.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not say what happens after a failure",
    label = "not an error of a task",
    note = "`#[derive(TaskError)]` on your own error, or return coney::Result<T> / anyhow::Result<T>, which retry"
)]
pub trait TaskError: Send + 'static {
    /// What happens next.
    fn next(&self) -> Next;

    /// What the caller, the log and the dead letter are told.
    fn report(&self) -> ErrorReport;
}

/// An error that travels back to the caller whole, because it is serde.
///
/// Implemented for every error with `Serialize` and `Deserialize`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not travel back to the caller",
    note = "derive serde::Serialize and serde::Deserialize on it, or read kind(), message() and chain()"
)]
pub trait WireError: Sized {
    /// Encodes the error as JSON.
    ///
    /// # Errors
    ///
    /// Whatever the error's own `Serialize` answers.
    fn encode(&self) -> Result<Box<RawValue>, serde_json::Error>;

    /// Decodes the error from JSON.
    ///
    /// # Errors
    ///
    /// When the JSON is not this error.
    fn decode(raw: &RawValue) -> Result<Self, serde_json::Error>;
}

#[diagnostic::do_not_recommend]
impl<E: Serialize + DeserializeOwned> WireError for E {
    fn encode(&self) -> Result<Box<RawValue>, serde_json::Error> {
        serde_json::value::to_raw_value(self)
    }

    fn decode(raw: &RawValue) -> Result<Self, serde_json::Error> {
        serde_json::from_str(raw.get())
    }
}

/// An error as it is told to the caller, the log and the dead letter.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ErrorReport {
    /// The type of the error, such as `MailError`.
    pub kind: String,
    /// The module that Python looks the type up in; coney's own errors have none.
    pub module: Option<String>,
    /// The error's text.
    pub message: String,
    /// The arguments of the exception, where they are not just its text.
    pub args: Option<Vec<Json>>,
    /// The texts of its causes, nearest first.
    pub chain: Vec<String>,
    /// A longer account for people, such as a backtrace.
    pub traceback: Option<String>,
    /// The error itself as JSON, if it is serde.
    pub payload: Option<Box<RawValue>>,
}

impl ErrorReport {
    /// A report of this kind and text.
    #[must_use]
    pub fn new(kind: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            kind: kind.into(),
            message: message.into(),
            ..Self::default()
        }
    }

    /// Describes `error` with its causes; `E`'s own name is the kind.
    #[must_use]
    pub fn of<E: Error>(error: &E) -> Self {
        Self::new(short_type_name::<E>(), error.to_string()).caused_by(error.source())
    }

    /// Sets the causes.
    #[must_use]
    pub fn caused_by(mut self, cause: Option<&dyn Error>) -> Self {
        self.chain = std::iter::successors(cause, |&error| error.source())
            .map(ToString::to_string)
            .collect();
        self
    }

    /// Sets the module that Python looks the kind up in.
    #[must_use]
    pub fn module(mut self, module: &str) -> Self {
        self.module = Some(module.to_owned());
        self
    }

    /// Sets the arguments that Python raises the kind with, instead of just the text.
    #[must_use]
    pub fn args(mut self, args: Vec<Json>) -> Self {
        self.args = Some(args);
        self
    }

    /// The error as Python shows it: `ValueError('boom')`.
    #[must_use]
    pub fn repr(&self) -> String {
        match &self.args {
            Some(args) => repr::exception(&self.kind, args),
            None => repr::exception(&self.kind, &[self.message.as_str().into()]),
        }
    }

    /// Sets the longer account.
    #[must_use]
    pub fn traceback(mut self, text: impl Into<String>) -> Self {
        self.traceback = Some(text.into());
        self
    }

    /// Adds the error itself as JSON.
    #[must_use]
    pub fn payload(mut self, payload: Option<Box<RawValue>>) -> Self {
        self.payload = payload;
        self
    }
}

/// The name of a type without its path and its parameters: `MailError` of `shop::mail::MailError<T>`.
#[must_use]
pub fn short_type_name<T: ?Sized>() -> &'static str {
    let full = std::any::type_name::<T>();
    let path = full.split('<').next().unwrap_or(full);
    path.rsplit("::").next().unwrap_or(path)
}

/// What tasks with no error type of their own return: any error by `?`, which retries, or a [`Failure`] that says
/// otherwise.
pub type Result<T, E = Failure> = std::result::Result<T, E>;

/// Any error of a task together with what happens next.
///
/// Like `anyhow::Error` it takes every error by `?` and is not an [`Error`] itself. An error taken by `?` retries.
///
/// ```
/// use coney_protocol::outcome::{Failure, Next, TaskError};
///
/// fn parse(text: &str) -> Result<u32, Failure> {
///     if text.is_empty() {
///         return Err(Failure::discard("nothing to do"));
///     }
///     Ok(text.parse::<u32>()?)
/// }
///
/// assert_eq!(parse("").unwrap_err().next(), Next::Discard);
/// assert_eq!(parse("x").unwrap_err().next(), Next::Retry);
/// ```
pub struct Failure {
    next: Next,
    kind: &'static str,
    error: BoxError,
}

impl Failure {
    fn with<E: Into<BoxError>>(next: Next, error: E) -> Self {
        Self {
            next,
            kind: kind_of::<E>(),
            error: error.into(),
        }
    }

    /// Another attempt, as the retry policy says.
    pub fn retry<E: Into<BoxError>>(error: E) -> Self {
        Self::with(Next::Retry, error)
    }

    /// Another attempt after `wait` instead of the policy's.
    pub fn retry_after<E: Into<BoxError>>(error: E, wait: Duration) -> Self {
        Self::with(Next::RetryAfter(wait), error)
    }

    /// No further attempt, and no dead letter.
    pub fn discard<E: Into<BoxError>>(error: E) -> Self {
        Self::with(Next::Discard, error)
    }

    /// A dead letter at once.
    pub fn dead<E: Into<BoxError>>(error: E) -> Self {
        Self::with(Next::Dead, error)
    }

    /// The same attempt again after `wait`; costs none.
    pub fn defer<E: Into<BoxError>>(error: E, wait: Duration) -> Self {
        Self::with(Next::Defer(wait), error)
    }

    /// No further attempt and no result: the task ends in silence.
    pub fn ignore<E: Into<BoxError>>(error: E) -> Self {
        Self::with(Next::Ignore, error)
    }

    /// Refuses the message: it goes back into its queue, or to the queue's own dead-letter exchange, if it has one.
    ///
    /// A task that acknowledges early has nothing left to refuse.
    pub fn reject<E: Into<BoxError>>(error: E, requeue: bool) -> Self {
        Self::with(Next::Reject { requeue }, error)
    }

    /// Retries after `wait` instead of the policy's, as often as was said before.
    #[must_use]
    pub fn after(mut self, wait: Duration) -> Self {
        self.next = match self.next {
            Next::RetryUpTo { max, .. } => Next::RetryUpTo {
                wait: Some(wait),
                max,
            },
            _ => Next::RetryAfter(wait),
        };
        self
    }

    /// Retries until so many attempts have followed the first, instead of as often as the policy says.
    #[must_use]
    pub fn at_most(mut self, max: u32) -> Self {
        let wait = match self.next {
            Next::RetryUpTo { wait, .. } => wait,
            Next::RetryAfter(wait) => Some(wait),
            _ => None,
        };
        self.next = Next::RetryUpTo { wait, max };
        self
    }

    /// Retries without end.
    #[must_use]
    pub fn unlimited(self) -> Self {
        self.at_most(u32::MAX)
    }

    /// The error itself.
    #[must_use]
    pub fn error(&self) -> &(dyn Error + Send + Sync + 'static) {
        &*self.error
    }
}

/// Texts and boxed errors have no type worth telling.
fn kind_of<E>() -> &'static str {
    match short_type_name::<E>() {
        "&str" | "str" | "String" | "Cow" | "Box" => "Failure",
        kind => kind,
    }
}

impl<E: Into<BoxError>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::retry(error)
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({:?}): {:?}", self.kind, self.next, self.error)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl TaskError for Failure {
    fn next(&self) -> Next {
        self.next
    }

    fn report(&self) -> ErrorReport {
        match self.error.downcast_ref::<Exception>() {
            Some(exception) => exception.report(),
            None => {
                ErrorReport::new(self.kind, self.error.to_string()).caused_by(self.error.source())
            }
        }
    }
}

impl TaskError for BoxError {
    fn next(&self) -> Next {
        Next::Retry
    }

    fn report(&self) -> ErrorReport {
        ErrorReport::new("Error", self.to_string()).caused_by(self.source())
    }
}

impl TaskError for Infallible {
    fn next(&self) -> Next {
        match *self {}
    }

    fn report(&self) -> ErrorReport {
        match *self {}
    }
}

#[cfg(feature = "anyhow")]
impl TaskError for anyhow::Error {
    fn next(&self) -> Next {
        Next::Retry
    }

    fn report(&self) -> ErrorReport {
        ErrorReport {
            chain: self.chain().skip(1).map(ToString::to_string).collect(),
            ..ErrorReport::new("Error", self.to_string())
        }
    }
}
