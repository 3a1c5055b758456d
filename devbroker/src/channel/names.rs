//! Names that clients may not take, and names that the broker gives.

use std::hash::{BuildHasher, RandomState};

use crate::error::{Objection, Outcome};

/// Objects to names that are the broker's own.
pub(super) fn check_not_reserved(kind: &str, name: &str) -> Outcome<()> {
    if !name.starts_with("amq.") {
        return Ok(());
    }
    Err(Objection::access_refused(format_args!(
        "{kind} name '{name}' contains reserved prefix 'amq.*'"
    )))
}

/// Objects to what nobody can do to the default exchange.
pub(super) fn check_not_default(exchange: &str) -> Outcome<()> {
    if !exchange.is_empty() {
        return Ok(());
    }
    let text = "operation not permitted on the default exchange";
    Err(Objection::access_refused(text))
}

/// A name that nobody guesses or has.
pub(super) fn made_up(prefix: &str, number: u64) -> String {
    let random = RandomState::new().hash_one(number);
    format!("{prefix}{random:016x}{number:x}")
}
