//! Stopping: take no more, finish what runs, return the rest.

use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use crate::error::WorkerError;

/// How long running tasks may go on after the signal to stop unless the builder says otherwise.
pub const DEFAULT_GRACE: Duration = Duration::from_secs(25);

/// Waits for running attempts, at most for the grace period; then stops them and returns them to their queues.
pub(crate) async fn drain(
    running: &TaskTracker,
    abort: &CancellationToken,
    grace: Duration,
) -> Result<(), WorkerError> {
    running.close();
    if !running.is_empty() {
        info!(target: "coney::worker", running = running.len(), ?grace, "finishing what runs");
    }
    if tokio::time::timeout(grace, running.wait()).await.is_ok() {
        return Ok(());
    }
    let tasks = running.len();
    warn!(target: "coney::worker", tasks, "the grace period is over: stopping what runs");
    abort.cancel();
    running.wait().await;
    Err(WorkerError::Aborted { tasks })
}

/// Waits for Ctrl-C, or for SIGTERM where there are signals.
///
/// For `worker.run_until(shutdown_signal())`. Installs the process's signal handlers when it is first polled.
pub async fn shutdown_signal() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminate) = signal(SignalKind::terminate()) {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = tokio::signal::ctrl_c() => {}
            }
            return;
        }
    }
    // without a handler there is no signal to wait for: the process ends the default way
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
}
