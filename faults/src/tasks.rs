//! The tasks of the fault suite. Each writes down its starts and ends.

use std::time::Duration;

use coney::prelude::*;

use crate::journal::{Journal, Mark};

/// Queues of tasks, as the management UI names them.
pub(crate) const QUEUES: [&str; 2] = ["faults.quick", "faults.slow"];

/// Attempts of a task that always fails.
pub(crate) const ATTEMPTS: u32 = 2;

/// What a task that always fails says.
pub(crate) const COMPLAINT: &str = "never works";

#[derive(Queue)]
#[queue(name = "faults.quick", concurrency = 16)]
pub(crate) struct Quick;

#[derive(Queue)]
#[queue(name = "faults.slow", concurrency = 16)]
pub(crate) struct Slow;

#[derive(Debug, thiserror::Error, TaskError)]
pub(crate) enum Trouble {
    #[error("not yet")]
    #[retry]
    NotYet,
    #[error("{COMPLAINT}")]
    #[retry]
    Never,
}

#[task(queue = Quick)]
pub(crate) async fn fast(n: u64, State(journal): State<Journal>, ctx: TaskContext) -> u64 {
    journal.note(&ctx, Mark::Start);
    journal.note(&ctx, Mark::Done);
    n
}

#[task(queue = Slow)]
pub(crate) async fn slow(
    n: u64,
    millis: u64,
    State(journal): State<Journal>,
    ctx: TaskContext,
) -> u64 {
    journal.note(&ctx, Mark::Start);
    tokio::time::sleep(Duration::from_millis(millis)).await;
    journal.note(&ctx, Mark::Done);
    n
}

#[task(queue = Slow, blocking)]
pub(crate) fn blocking(
    n: u64,
    millis: u64,
    State(journal): State<Journal>,
    ctx: TaskContext,
) -> u64 {
    journal.note(&ctx, Mark::Start);
    std::thread::sleep(Duration::from_millis(millis));
    journal.note(&ctx, Mark::Done);
    n
}

/// Fails as often as it is told, then succeeds.
#[task(queue = Quick, retry(max = 5, backoff = fixed("500ms")))]
pub(crate) async fn flaky(
    n: u64,
    failures: u32,
    State(journal): State<Journal>,
    ctx: TaskContext,
) -> Result<u64, Trouble> {
    journal.note(&ctx, Mark::Start);
    if ctx.attempt() <= failures {
        journal.note(&ctx, Mark::Failed);
        return Err(Trouble::NotYet);
    }
    journal.note(&ctx, Mark::Done);
    Ok(n)
}

/// Always fails, and ends among the dead letters.
#[task(queue = Quick, retry(max = 1, backoff = fixed("500ms")))]
pub(crate) async fn failing(
    n: u64,
    State(journal): State<Journal>,
    ctx: TaskContext,
) -> Result<u64, Trouble> {
    journal.note(&ctx, Mark::Start);
    journal.note(&ctx, Mark::Failed);
    // never true: `n` is only there so that all tasks look alike
    if n == u64::MAX {
        return Ok(n);
    }
    Err(Trouble::Never)
}
