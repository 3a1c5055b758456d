//! Stage three: a job runs, and comes to an outcome; nothing that it does harms another.

use std::convert::Infallible;
use std::future::poll_fn;
use std::panic::AssertUnwindSafe;
use std::task::{Poll, ready};
use std::time::Duration;

use coney_amqp::Acker;
use coney_protocol::context::TaskContext;
use coney_protocol::header::TimeLimit;
use futures_util::FutureExt;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use crate::handler::{Attempt, Handler};
use crate::outcome::{Outcome, message_of};
use crate::pool::Slot;
use crate::revocations::Entered;
use crate::telemetry;

/// What an attempt has to keep to.
#[derive(Debug)]
pub(crate) struct Limits<'a> {
    /// Hard: the attempt is cut off. Soft: its token fires.
    pub(crate) time: TimeLimit,
    /// Says that the task is revoked, or shall end at once.
    pub(crate) entered: &'a Entered,
    /// How long it may go on after it was revoked.
    pub(crate) revoke_grace: Duration,
    /// Fires when running attempts shall be stopped and returned.
    pub(crate) abort: &'a CancellationToken,
}

/// Runs an attempt to its end, to its hard limit, or until it is revoked, aborted, or the delivery lost that it depends
/// on, if it depends on one.
///
/// A blocking attempt cannot be cut off: it takes the slot, and if it is abandoned, which is counted, keeps it until it
/// ends by itself.
///
/// # Cancel safety
///
/// Dropping the future drops an async task where it stands; a blocking one runs on and its outcome is lost.
pub(crate) async fn execute(
    handler: &Handler,
    context: &TaskContext,
    attempt: Attempt,
    limits: &Limits<'_>,
    delivery: Option<&Acker>,
    slot: &mut Option<Slot>,
) -> Outcome {
    let span = telemetry::span(context);
    let running = if handler.spec().blocking {
        run_blocking(attempt, span.clone(), slot.take()).left_future()
    } else {
        run_async(attempt, delivery).right_future()
    };
    let mut running = std::pin::pin!(running.instrument(span));
    // most tasks never get so far that anything else has to be looked at
    let mut cut_off = None;
    poll_fn(|cx| {
        if let Poll::Ready(outcome) = running.as_mut().poll(cx) {
            return Poll::Ready(outcome);
        }
        let cut_off =
            cut_off.get_or_insert_with(|| Box::pin(cut_off_by(limits, context, delivery)));
        let outcome = ready!(cut_off.as_mut().poll(cx));
        context.cancel();
        if handler.spec().blocking {
            telemetry::abandoned(context.queue());
        }
        Poll::Ready(outcome)
    })
    .await
}

/// Waits for what ends an attempt that does not end by itself; fires its token at its soft limit and when it is revoked.
async fn cut_off_by(
    limits: &Limits<'_>,
    context: &TaskContext,
    delivery: Option<&Acker>,
) -> Outcome {
    tokio::select! {
        biased;
        limit = after(limits.time.hard) => Outcome::TimedOut(limit),
        never = warn_after(limits.time.soft, context) => match never {},
        () = limits.entered.terminated().fired() => Outcome::Revoked,
        () = revoked(limits, context) => Outcome::Revoked,
        () = limits.abort.cancelled() => Outcome::Aborted,
        () = lost(delivery) => Outcome::Aborted,
    }
}

/// Waits for the limit, for ever without one.
async fn after(limit: Option<Duration>) -> Duration {
    match limit {
        Some(limit) => {
            tokio::time::sleep(limit).await;
            limit
        }
        None => std::future::pending().await,
    }
}

/// Fires the attempt's token at its soft limit, and waits on for the attempt to end.
async fn warn_after(limit: Option<Duration>, context: &TaskContext) -> Infallible {
    after(limit).await;
    context.reach_soft_limit();
    std::future::pending().await
}

/// Waits for the task to be revoked, fires the attempt's token, and gives it time to end.
async fn revoked(limits: &Limits<'_>, context: &TaskContext) {
    limits.entered.revoked().fired().await;
    context.cancel();
    tokio::time::sleep(limits.revoke_grace).await;
}

/// Waits until the broker has the message of an attempt delivered again.
async fn lost(delivery: Option<&Acker>) {
    match delivery {
        Some(delivery) => delivery.lost().await,
        None => std::future::pending().await,
    }
}

async fn run_async(attempt: Attempt, delivery: Option<&Acker>) -> Outcome {
    let attempt = AssertUnwindSafe(attempt).catch_unwind();
    let ended = match delivery {
        Some(delivery) => delivery.while_answered(attempt).await,
        None => attempt.await,
    };
    ended.unwrap_or_else(|panic| Outcome::panicked(message_of(&*panic)))
}

async fn run_blocking(attempt: Attempt, span: tracing::Span, slot: Option<Slot>) -> Outcome {
    let joined = tokio::task::spawn_blocking(move || {
        let _slot = slot;
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
