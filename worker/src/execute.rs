//! Stage three: a job runs, and comes to an outcome; nothing that it does harms another.

use std::any::Any;
use std::panic::AssertUnwindSafe;

use coney_protocol::context::TaskContext;
use futures_util::FutureExt;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use crate::handler::{Attempt, Handler};
use crate::outcome::Outcome;
use crate::telemetry;

/// Runs an attempt to its end, or until `abort` fires.
///
/// # Cancel safety
///
/// Dropping the future drops an async task where it stands; a blocking one runs on and its outcome is lost.
pub(crate) async fn execute(
    handler: &Handler,
    context: &TaskContext,
    attempt: Attempt,
    abort: &CancellationToken,
) -> Outcome {
    let span = telemetry::span(context);
    let running = if handler.spec().blocking {
        run_blocking(attempt, span.clone()).boxed()
    } else {
        run_async(attempt).boxed()
    };
    tokio::select! {
        biased;
        outcome = running.instrument(span) => outcome,
        () = abort.cancelled() => Outcome::Aborted,
    }
}

async fn run_async(attempt: Attempt) -> Outcome {
    AssertUnwindSafe(attempt)
        .catch_unwind()
        .await
        .unwrap_or_else(|panic| Outcome::panicked(message_of(&*panic)))
}

async fn run_blocking(attempt: Attempt, span: tracing::Span) -> Outcome {
    let joined = tokio::task::spawn_blocking(move || {
        // a blocking task does all its work in its first poll
        span.in_scope(|| attempt.now_or_never())
    });
    match joined.await {
        Ok(Some(outcome)) => outcome,
        Ok(None) => Outcome::panicked("a blocking task cannot wait for a future"),
        Err(error) if error.is_panic() => Outcome::panicked(message_of(&*error.into_panic())),
        Err(_) => Outcome::Aborted,
    }
}

/// The text that a panic was raised with.
fn message_of(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("a panic without a text")
}
