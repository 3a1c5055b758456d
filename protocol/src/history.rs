//! What became of earlier attempts: travels with the message and ends in the dead letter.

use std::time::SystemTime;

use crate::dead::shorten;
use crate::header::{Header, names};
use crate::property::{Table, Value};
use crate::wire::time;

/// How many attempts are remembered, the latest ones.
pub const REMEMBERED: usize = 10;

/// The longest error text of an attempt, in bytes.
const MAX_ERROR: usize = 256;

/// An attempt that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FailedAttempt {
    /// Which attempt it was, 1 for the first.
    pub attempt: u32,
    /// When it ended, to the microsecond.
    pub at: SystemTime,
    /// The worker that made it.
    pub worker: String,
    /// The error's type and text, shortened.
    pub error: String,
}

/// The attempts that a message remembers, oldest first. What cannot be read is left out.
#[must_use]
pub fn read(headers: &Table) -> Vec<FailedAttempt> {
    match headers.get(names::ATTEMPTS) {
        Some(Value::List(attempts)) => attempts.iter().filter_map(read_one).collect(),
        _ => Vec::new(),
    }
}

/// Adds the attempt that this header stands for.
pub fn add(header: &mut Header, error: &str, worker: &str, now: SystemTime) {
    let attempt = Table::new()
        .with("attempt", i64::from(header.attempt()))
        .with("at", time::format(now))
        .with("worker", worker.to_owned())
        .with("error", shorten(error.to_owned(), MAX_ERROR));
    let mut attempts = match header.extra.remove(names::ATTEMPTS) {
        Some(Value::List(attempts)) => attempts,
        _ => Vec::new(),
    };
    attempts.push(Value::Table(attempt));
    let forgotten = attempts.len().saturating_sub(REMEMBERED);
    attempts.drain(..forgotten);
    header.extra.insert(names::ATTEMPTS, Value::List(attempts));
}

fn read_one(value: &Value) -> Option<FailedAttempt> {
    let Value::Table(table) = value else {
        return None;
    };
    let text = |name| table.get(name).and_then(Value::as_str);
    Some(FailedAttempt {
        attempt: table.get("attempt")?.as_i64()?.try_into().ok()?,
        at: time::parse(text("at")?)?,
        worker: text("worker")?.to_owned(),
        error: text("error")?.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::TaskId;

    #[test]
    fn the_last_ten_attempts_are_remembered() {
        let mut header = Header::new("t", TaskId::generate());
        for retries in 0..25 {
            header.retries = retries;
            add(&mut header, &"é".repeat(1000), "w", SystemTime::UNIX_EPOCH);
        }
        let attempts = read(&header.extra);
        let numbers: Vec<_> = attempts.iter().map(|attempt| attempt.attempt).collect();
        assert_eq!(numbers, (16..=25).collect::<Vec<_>>());
        assert!(attempts.iter().all(|attempt| attempt.error.len() < 300));
    }
}
