//! The tasks that travel.

use coney::prelude::*;

/// A short task whose caller waits for the result.
#[task]
pub(crate) async fn add(a: i64, b: i64) -> i64 {
    a + b
}

/// A short task without a result.
#[task(ignore_result)]
pub(crate) async fn note(text: String) {
    drop(text);
}
