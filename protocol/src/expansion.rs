//! What the expansions of the macros are made of; not for use by hand.
//!
//! Two techniques, both resolved by the compiler from types, so that aliases are seen through:
//!
//! * *inherent over trait*: an inherent item exists only where its bound holds and then wins over the item of the same
//!   name of a `..Fallback` trait, which everything has. It asks "does `T` have this?" without specialization.
//! * *a boolean as const generic argument* turns the answer into a choice between two implementations.
//!
//! Every trait here has a blanket implementation and is hidden, or it would stand on each type's page of a user's docs.

use std::convert::Infallible;
use std::error::Error;
use std::marker::PhantomData;
use std::time::Duration;

use serde_json::value::RawValue;

use crate::answer::{AnswerErr, AnswerOk};
use crate::argument::Argument;
use crate::inject::FromContext;
use crate::outcome::{ErrorReport, Next, WireError};

/// Asks whether a return type is a `Result`: `Shape::<R>::FALLIBLE`.
#[derive(Debug)]
pub struct Shape<R>(PhantomData<fn() -> R>);

impl<T, E> Shape<Result<T, E>> {
    /// It is.
    pub const FALLIBLE: bool = true;
}

/// The answer for all types that are no `Result`.
#[doc(hidden)]
pub trait ShapeFallback {
    /// It is not.
    const FALLIBLE: bool = false;
}

impl<R> ShapeFallback for Shape<R> {}

/// The two ways to return: a `Result`, or a plain value that stands for success.
#[doc(hidden)]
pub trait Returns<const FALLIBLE: bool> {
    /// What is returned on success.
    type Output;

    /// What is returned on failure.
    type Error;

    /// The same as a `Result`.
    ///
    /// # Errors
    ///
    /// Where the value itself is an error.
    fn into_result(self) -> Result<Self::Output, Self::Error>;
}

impl<T, E> Returns<true> for Result<T, E> {
    type Output = T;
    type Error = E;

    fn into_result(self) -> Self {
        self
    }
}

impl<T> Returns<false> for T {
    type Output = T;
    type Error = Infallible;

    fn into_result(self) -> Result<T, Infallible> {
        Ok(self)
    }
}

/// Asks whether a type could be an argument and an injected parameter alike: `Probe::<T>::AMBIGUOUS`.
#[derive(Debug)]
pub struct Probe<T>(PhantomData<fn() -> T>);

impl<T: Argument + FromContext> Probe<T> {
    /// It could.
    pub const AMBIGUOUS: bool = true;
}

/// The answer for all types that are at most one of the two.
#[doc(hidden)]
pub trait ProbeFallback {
    /// It could not.
    const AMBIGUOUS: bool = false;
}

impl<T> ProbeFallback for Probe<T> {}

/// A type that is clearly an argument.
#[doc(hidden)]
#[diagnostic::on_unimplemented(
    message = "`{Self}` can travel in the message and can be injected by the worker: say which",
    label = "argument or injected?",
    note = "mark the parameter #[arg] or #[inject]"
)]
pub trait Travels<const AMBIGUOUS: bool> {}

impl<T> Travels<false> for T {}

/// Checks that an argument without a mark is clearly one.
pub const fn travels<T: Travels<AMBIGUOUS>, const AMBIGUOUS: bool>() {}

/// Encodes an error that is serde; `#[derive(TaskError)]` asks for every error.
#[derive(Debug)]
pub struct Wire<E>(PhantomData<fn() -> E>);

impl<E: WireError> Wire<E> {
    /// The error as JSON, unless its own `Serialize` refuses.
    #[must_use]
    pub fn encode(error: &E) -> Option<Box<RawValue>> {
        error.encode().ok()
    }
}

/// The answer for all errors that are not serde.
#[doc(hidden)]
pub trait WireFallback<E> {
    /// Nothing travels but kind, text and causes.
    #[must_use]
    fn encode(_: &E) -> Option<Box<RawValue>> {
        None
    }
}

impl<E> WireFallback<E> for Wire<E> {}

/// An error with a text and causes: what `#[derive(TaskError)]` makes a report of.
#[doc(hidden)]
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an error: it has no text to report",
    label = "does not implement std::error::Error",
    note = "derive it beside TaskError with thiserror, or implement Display and std::error::Error"
)]
pub trait Reported {
    /// Describes the error and its causes.
    fn described(&self) -> ErrorReport;
}

#[diagnostic::do_not_recommend]
impl<E: Error> Reported for E {
    fn described(&self) -> ErrorReport {
        ErrorReport::of(self)
    }
}

/// Describes an error.
#[must_use]
pub fn report<E: Reported>(error: &E, payload: Option<Box<RawValue>>) -> ErrorReport {
    error.described().payload(payload)
}

/// A value that says how long to wait.
#[doc(hidden)]
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a `Duration`",
    label = "not a `Duration`",
    note = "`after` takes a field that is a `Duration`, or what a method of a field answers: `.wait.mul_f32(2.0)`"
)]
pub trait Wait {
    /// How long.
    fn wait(self) -> Duration;
}

impl Wait for Duration {
    fn wait(self) -> Duration {
        self
    }
}

/// Another attempt after `wait`.
#[must_use]
pub fn retry_after<W: Wait>(wait: W) -> Next {
    Next::RetryAfter(wait.wait())
}

/// The same attempt again after `wait`.
#[must_use]
pub fn defer<W: Wait>(wait: W) -> Next {
    Next::Defer(wait.wait())
}

/// The body of a task that has none; the bound on its function keeps it from being called.
///
/// # Panics
///
/// Always.
pub fn runs_elsewhere() -> ! {
    panic!("this task has no body here: send it")
}

/// The answer of a task whose signature is wrong: compiles, so that nothing is said beyond that error.
#[must_use]
pub const fn no_answer<T>() -> (AnswerOk<T>, AnswerErr<Infallible>) {
    (
        AnswerOk {
            encode: |_| runs_elsewhere(),
            decode: |_| runs_elsewhere(),
        },
        AnswerErr {
            next: |error| match *error {},
            report: |error| match *error {},
        },
    )
}
