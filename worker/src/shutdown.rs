//! Stopping: take no more, finish what runs, return the rest.

use std::future::Future;
use std::time::Duration;

#[cfg(unix)]
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use crate::error::WorkerError;

/// How long running tasks may go on after the signal to stop unless the builder says otherwise.
pub const DEFAULT_GRACE: Duration = Duration::from_secs(25);

/// Waits for running attempts, until the grace period is over or `hurry` is ready; then stops them and returns them to
/// their queues.
pub(crate) async fn drain(
    running: &TaskTracker,
    abort: &CancellationToken,
    grace: Duration,
    hurry: impl Future<Output = ()>,
) -> Result<(), WorkerError> {
    running.close();
    if !running.is_empty() {
        info!(target: "coney::worker", running = running.len(), ?grace, "finishing what runs");
    }
    tokio::select! {
        () = running.wait() => return Ok(()),
        () = tokio::time::sleep(grace) => {}
        () = hurry => {}
    }
    let tasks = running.len();
    warn!(target: "coney::worker", tasks, "stopping what still runs");
    abort.cancel();
    running.wait().await;
    Err(WorkerError::Aborted { tasks })
}

/// Waits for Ctrl-C, or for SIGTERM where there are signals.
///
/// For `worker.run_until(shutdown_signal())`; [`Worker::run`](crate::Worker::run) also heeds a second signal. Installs
/// the process's signal handlers when it is first polled.
pub async fn shutdown_signal() {
    Signals::install().next().await;
}

/// The signals that ask a process to end, one after the other: those that come after [`install`](Self::install) count,
/// whether or not anybody waits for them yet.
#[cfg(unix)]
pub(crate) struct Signals {
    interrupt: Option<Signal>,
    terminate: Option<Signal>,
}

#[cfg(unix)]
impl Signals {
    pub(crate) fn install() -> Self {
        Self {
            interrupt: signal(SignalKind::interrupt()).ok(),
            terminate: signal(SignalKind::terminate()).ok(),
        }
    }

    /// Waits for the next one; for ever where none can be received, as the process then ends the default way.
    pub(crate) async fn next(&mut self) {
        tokio::select! {
            () = received(&mut self.interrupt) => {}
            () = received(&mut self.terminate) => {}
        }
    }
}

#[cfg(unix)]
async fn received(signal: &mut Option<Signal>) {
    let received = match signal {
        Some(signal) => signal.recv().await,
        None => None,
    };
    if received.is_none() {
        std::future::pending::<()>().await;
    }
}

/// Ctrl-C, where there are no other signals.
#[cfg(not(unix))]
pub(crate) struct Signals;

#[cfg(not(unix))]
impl Signals {
    pub(crate) fn install() -> Self {
        Self
    }

    /// Waits for the next one; for ever where none can be received, as the process then ends the default way.
    pub(crate) async fn next(&mut self) {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One attempt that ends only when it is aborted.
    fn endless() -> (TaskTracker, CancellationToken) {
        let (running, abort) = (TaskTracker::new(), CancellationToken::new());
        running.spawn(abort.clone().cancelled_owned());
        (running, abort)
    }

    #[tokio::test(start_paused = true)]
    async fn the_grace_period_ends() {
        let (running, abort) = endless();
        let drained = drain(&running, &abort, DEFAULT_GRACE, std::future::pending()).await;
        assert!(matches!(drained, Err(WorkerError::Aborted { tasks: 1 })));
    }

    #[tokio::test]
    async fn a_second_signal_ends_it_at_once() {
        let (running, abort) = endless();
        let drained = drain(&running, &abort, Duration::MAX, std::future::ready(())).await;
        assert!(matches!(drained, Err(WorkerError::Aborted { tasks: 1 })));
    }

    #[tokio::test]
    async fn without_running_tasks_there_is_nothing_to_wait_for() {
        let (running, abort) = (TaskTracker::new(), CancellationToken::new());
        let drained = drain(&running, &abort, Duration::MAX, std::future::pending()).await;
        assert!(drained.is_ok());
    }
}
