//! A worker that runs beside the test.

use coney_worker::{Activity, Worker, WorkerError};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;

use super::error::TestError;

/// A running worker; dropping it ends it where it stands.
#[derive(Debug)]
pub(super) struct Crew {
    activity: watch::Receiver<Activity>,
    stop: oneshot::Sender<()>,
    /// One future, in a set because that ends it when it is dropped.
    running: JoinSet<Result<(), WorkerError>>,
}

impl Crew {
    /// Starts a worker and waits until it consumes its queues.
    pub(super) async fn start(worker: Worker) -> Result<Self, TestError> {
        let (activity, mut ready) = (worker.activity(), worker.ready());
        let (stop, stopped) = oneshot::channel::<()>();
        let mut running = JoinSet::new();
        running.spawn(worker.run_until(async {
            // dropping the sender stops it as well
            let _ = stopped.await;
        }));
        if !ready.ready().await {
            return Err(end_of(&mut running)
                .await
                .err()
                .unwrap_or(TestError::WorkerGone));
        }
        Ok(Self {
            activity,
            stop,
            running,
        })
    }

    /// What it is doing.
    pub(super) fn activity(&self) -> watch::Receiver<Activity> {
        self.activity.clone()
    }

    /// Stops it, and waits for what it runs.
    pub(super) async fn stop(self) -> Result<(), TestError> {
        let Self {
            stop, mut running, ..
        } = self;
        drop(stop);
        end_of(&mut running).await
    }
}

async fn end_of(running: &mut JoinSet<Result<(), WorkerError>>) -> Result<(), TestError> {
    match running.join_next().await {
        Some(Ok(ended)) => ended.map_err(TestError::Worker),
        Some(Err(_)) | None => Err(TestError::WorkerGone),
    }
}
