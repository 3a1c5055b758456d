//! Waiting until there is nothing left to do, and letting time pass.

use std::future::Future;
use std::time::{Duration, SystemTime};

use coney_devbroker::{Depth, DevBroker};
use coney_worker::Activity;
use tokio::sync::watch;
use tokio::time::timeout;

use super::builder::Limits;
use super::enqueued::Enqueued;
use super::error::TestError;
use super::view;

/// How many calls a text names at most.
const NAMED: usize = 5;

/// The course of things in one virtual host.
pub(super) struct Course<'a> {
    broker: &'a DevBroker,
    vhost: &'a str,
    limits: Limits,
}

impl<'a> Course<'a> {
    pub(super) fn new(broker: &'a DevBroker, vhost: &'a str, limits: Limits) -> Self {
        Self {
            broker,
            vhost,
            limits,
        }
    }

    /// Runs everything, and lets time pass to whatever is due next until nothing waits any more; `from` is where attempts
    /// are counted from.
    pub(super) async fn run_out(
        &self,
        activity: &mut watch::Receiver<Activity>,
        from: u64,
    ) -> Result<(), TestError> {
        loop {
            self.rest(activity, from).await?;
            let Some(due) = self.next_due() else {
                return Ok(());
            };
            self.pass_to(due).await?;
        }
    }

    /// Waits until the worker has run all that is in its queues.
    pub(super) async fn rest(
        &self,
        activity: &mut watch::Receiver<Activity>,
        from: u64,
    ) -> Result<(), TestError> {
        loop {
            let now = *activity.borrow_and_update();
            self.check(now.taken - from)?;
            if now.running == 0 && self.is_over(activity) {
                return Ok(());
            }
            let is_idle = now.running == 0;
            let stirs = async {
                tokio::select! {
                    changed = activity.changed() => changed.map_err(|_| TestError::WorkerGone),
                    () = self.quiet(), if is_idle => Ok(()),
                }
            };
            self.patiently(stirs).await??;
        }
    }

    /// True if nothing waits, nothing runs, and nothing was taken while this looked.
    ///
    /// What is acknowledged early runs without being in a queue, and may put something into one: so it looks at queues
    /// and worker in turn.
    fn is_over(&self, activity: &watch::Receiver<Activity>) -> bool {
        let is_quiet = || view::is_quiet(&self.broker.depths(self.vhost));
        if !is_quiet() {
            return false;
        }
        let before = *activity.borrow();
        before.running == 0 && is_quiet() && *activity.borrow() == before
    }

    async fn quiet(&self) {
        let is_quiet = |queues: &[Depth]| view::is_quiet(queues).then_some(());
        self.broker.until_depths(self.vhost, is_quiet).await;
    }

    fn check(&self, attempts: u64) -> Result<(), TestError> {
        if attempts <= self.limits.most_attempts {
            return Ok(());
        }
        Err(TestError::Endless {
            attempts,
            unfinished: self.unfinished(),
        })
    }

    /// When the next delayed message moves on.
    pub(super) fn next_due(&self) -> Option<SystemTime> {
        view::next_due(&self.broker.depths(self.vhost))
    }

    /// Sets the clock to this time, and waits until the broker has moved what was due.
    pub(super) async fn pass_to(&self, time: SystemTime) -> Result<(), TestError> {
        let clock = self.broker.clock();
        clock.advance_to(time);
        let now = clock.now();
        let has_moved = |queues: &[Depth]| {
            let next = view::next_due(queues);
            next.is_none_or(|next| next > now).then_some(())
        };
        self.patiently(self.broker.until_depths(self.vhost, has_moved))
            .await
    }

    async fn patiently<T>(&self, future: impl Future<Output = T>) -> Result<T, TestError> {
        let patience: Duration = self.limits.patience;
        timeout(patience, future)
            .await
            .map_err(|_| TestError::Stuck {
                patience,
                unfinished: self.unfinished(),
            })
    }

    fn unfinished(&self) -> String {
        let calls = view::enqueued(self.broker, self.vhost);
        list(&calls, self.broker.clock().now(), "; ")
    }
}

/// The first few calls, for people.
pub(super) fn list(calls: &[Enqueued], now: SystemTime, between: &str) -> String {
    let mut named: Vec<_> = calls
        .iter()
        .take(NAMED)
        .map(|call| call.tell(now))
        .collect();
    if calls.len() > NAMED {
        named.push(format!("and {} more", calls.len() - NAMED));
    }
    if named.is_empty() {
        return "a task that was acknowledged before it ran".to_owned();
    }
    named.join(between)
}
