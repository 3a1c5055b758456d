//! Errors as Python knows them.

use std::error::Error;
use std::fmt;

use serde_json::Value as Json;

use crate::outcome::ErrorReport;
use crate::repr;

/// An exception as Python knows it: a class, the module that has it, and the arguments that it is raised with.
///
/// A Python client raises this class if it has loaded the module, and else one of the same name. Return it in a
/// [`Failure`](crate::outcome::Failure), which says what happens next.
///
/// ```
/// use coney_protocol::outcome::{Exception, Failure};
///
/// fn check(amount: i64) -> Result<(), Failure> {
///     if amount < 0 {
///         let error = Exception::builtin("ValueError").arg("negative").arg(amount);
///         return Err(Failure::discard(error));
///     }
///     Ok(())
/// }
/// # assert_eq!(check(-1).unwrap_err().to_string(), "('negative', -1)");
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Exception {
    module: String,
    class: String,
    args: Vec<Json>,
}

impl Exception {
    /// An exception of this class of this module, without arguments.
    #[must_use]
    pub fn new(module: impl Into<String>, class: impl Into<String>) -> Self {
        Self {
            module: module.into(),
            class: class.into(),
            args: Vec::new(),
        }
    }

    /// One of Python's own exceptions, such as `ValueError`.
    #[must_use]
    pub fn builtin(class: impl Into<String>) -> Self {
        Self::new("builtins", class)
    }

    /// What Celery raises in a task at its soft time limit.
    #[must_use]
    pub fn soft_time_limit() -> Self {
        Self::new("billiard.exceptions", "SoftTimeLimitExceeded")
    }

    /// Adds an argument.
    #[must_use]
    pub fn arg(mut self, value: impl Into<Json>) -> Self {
        self.args.push(value.into());
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args(mut self, values: impl IntoIterator<Item = Json>) -> Self {
        self.args.extend(values);
        self
    }

    /// What the caller, the log and the dead letter are told.
    #[must_use]
    pub fn report(&self) -> ErrorReport {
        ErrorReport::new(&*self.class, self.to_string())
            .module(&self.module)
            .args(self.args.clone())
    }
}

/// As Python's `str`: the only argument, or all as a tuple.
impl fmt::Display for Exception {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.args[..] {
            [] => Ok(()),
            [Json::String(text)] => f.write_str(text),
            [one] => f.write_str(&repr::text(&one.to_string())),
            several => f.write_str(&repr::exception("", several)),
        }
    }
}

impl Error for Exception {}
