//! Confirmed publishing: the task behind the handle.
//!
//! It keeps a window of messages on their way and settles each as soon as its fate is certain (`ledger` says when),
//! rather than in batches: a queue that is slow to confirm does not hold up the others. One that confirms nothing at all
//! does, as soon as its messages fill the window, until their deadline; with several publishing tasks
//! (`BrokerBuilder::publishers`) only the routing keys that share its task wait.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::backoff::Backoff;
use crate::blame;
use crate::error::{BrokerReply, PublishErrorKind};
use crate::job::Job;
use crate::pool::Pool;
use crate::settings::Settings;
use crate::window::{Group, WINDOW, Window};

/// How many messages may wait behind the window, while there is no connection for example.
const WAITING: usize = 1024;

/// How often deadlines are looked at.
const TICK: Duration = Duration::from_millis(50);

/// After how long without a confirm the broker is asked whether it still hears us.
const QUIET: Duration = Duration::from_millis(100);

/// A channel being opened.
type Opening = BoxFuture<'static, Result<Window, String>>;

/// The task that owns a confirm channel.
pub(crate) struct Lane {
    settings: Arc<Settings>,
    pool: Pool,
    queue: mpsc::Receiver<Job>,
    stop: CancellationToken,
    /// True once nothing more can come in: the queue is closed, empty, and nobody is about to put something in.
    ended: bool,
    /// To be published next, in this order.
    waiting: VecDeque<Job>,
    window: Option<Window>,
    opening: Option<Opening>,
    backoff: Backoff,
    /// True if the next attempt to open a channel has to wait.
    pause: bool,
    /// True from the loss of a channel until there is another: nobody should have to wait for it later.
    reconnects: bool,
    /// Why there is no channel.
    trouble: String,
    /// How many messages are to be published one at a time, because one of them closes the channel.
    suspects: usize,
}

impl Lane {
    pub(crate) fn new(
        settings: Arc<Settings>,
        pool: Pool,
        queue: mpsc::Receiver<Job>,
        stop: CancellationToken,
    ) -> Self {
        Self {
            settings,
            pool,
            queue,
            stop,
            ended: false,
            waiting: VecDeque::new(),
            window: None,
            opening: None,
            backoff: Backoff::default(),
            pause: false,
            reconnects: false,
            trouble: "not connected yet".to_owned(),
            suspects: 0,
        }
    }

    /// Publishes what comes in, until the broker handle is gone; what was accepted by then is still published.
    pub(crate) async fn run(mut self) {
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            self.publish_waiting();
            self.start_opening();
            let idle = self.is_idle();
            if idle && self.ended {
                break;
            }
            let takes = !self.ended && self.waiting.len() < WAITING;
            let lost = lost(self.window.as_ref());
            tokio::select! {
                job = self.queue.recv(), if takes => self.take(job),
                group = confirms(self.window.as_mut()) => self.confirmed(group),
                () = lost => self.connection_lost(),
                opened = opened(self.opening.as_mut()) => self.opened(opened),
                _ = tick.tick(), if !idle => self.expire(),
                () = self.stop.cancelled(), if !self.queue.is_closed() => self.queue.close(),
            }
        }
        if let Some(window) = self.window {
            window.close().await;
        }
    }

    fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.window.as_ref().is_none_or(Window::is_idle)
    }

    /// Takes a message, and what came in with it.
    fn take(&mut self, job: Option<Job>) {
        // closed and empty is not the end: a sender that was let in before may still be about to put its message there
        self.ended = job.is_none();
        self.waiting.extend(job);
        while self.waiting.len() < WAITING {
            let Ok(job) = self.queue.try_recv() else {
                return;
            };
            self.waiting.push_back(job);
        }
    }

    /// Publishes as much of what waits as the window lets through.
    fn publish_waiting(&mut self) {
        let limit = if self.suspects > 0 { 1 } else { WINDOW };
        let Some(window) = &mut self.window else {
            return;
        };
        if window.link().pulse().is_overdue() {
            // what goes into the void has to be published again, and may arrive twice
            return;
        }
        while let Some(job) = self.waiting.pop_front() {
            if !window.has_room(&job, limit) {
                self.waiting.push_front(job);
                break;
            }
            window.publish(job);
        }
    }

    fn start_opening(&mut self) {
        let wanted = !self.waiting.is_empty() || (self.reconnects && !self.ended);
        if self.window.is_some() || self.opening.is_some() || !wanted {
            return;
        }
        let wait = match std::mem::take(&mut self.pause) {
            true => self.backoff.next(),
            false => Duration::ZERO,
        };
        let (pool, limit) = (self.pool.clone(), self.settings.connect_timeout);
        self.opening = Some(Box::pin(async move {
            sleep(wait).await;
            Window::open(pool, limit).await
        }));
    }

    fn opened(&mut self, opened: Result<Window, String>) {
        self.opening = None;
        match opened {
            Ok(window) => {
                self.window = Some(window);
                self.reconnects = false;
            }
            Err(reason) => {
                self.pause = true;
                let attempt = self.backoff.attempt() + 1;
                warn!(target: "coney::amqp", reason, attempt, "cannot publish: reconnecting");
                self.trouble = reason;
            }
        }
    }

    /// Answers the callers whose message is settled by a group of confirms.
    fn confirmed(&mut self, group: Group) {
        let Some(window) = &mut self.window else {
            return;
        };
        if !group.resolved.is_empty() {
            self.backoff.reset();
        }
        for (job, verdict) in window.settle(&group.resolved) {
            self.suspects = self.suspects.saturating_sub(1);
            job.settle(verdict);
        }
        if let Some(error) = group.error {
            self.channel_failed(&error);
        }
    }

    /// Finds out whether one message is at fault, and has everything else published again.
    fn channel_failed(&mut self, error: &lapin::Error) {
        let Some(window) = self.window.take() else {
            return;
        };
        if !error.is_amqp_soft_error() {
            window.link().cut(&error.to_string());
            self.pause = true;
        }
        // the end of a connection may be somebody else's fault, once; that of a channel may not
        let certain = error.is_amqp_soft_error() || self.suspects > 0;
        let (alone, reason) = (window.has_one() && certain, window.link().reason());
        let jobs = window.into_jobs();
        let Some(reply) = BrokerReply::of(error).filter(|reply| !reply.is_general()) else {
            let unconfirmed = jobs.len();
            warn!(target: "coney::amqp", reason, unconfirmed, "publishing channel lost");
            return self.retry(jobs, reason);
        };
        let (guilty, innocent): (Vec<_>, Vec<_>) = jobs
            .into_iter()
            .partition(|job| alone || blame::fits(&reply, job));
        if guilty.is_empty() {
            // one of them closes the channel: published one at a time, it harms nobody but itself
            self.suspects = innocent.len();
            let (reason, suspects) = (reply.text, innocent.len());
            warn!(target: "coney::amqp", reason, suspects, "publishing one message at a time to find the one at fault");
        }
        for job in guilty {
            self.suspects = self.suspects.saturating_sub(1);
            let error = blame::verdict(&reply, &job).caused_by(error.clone());
            job.answer(Err(error));
        }
        self.retry(innocent, reply.text.to_owned());
    }

    fn connection_lost(&mut self) {
        let Some(window) = &mut self.window else {
            return;
        };
        let reason = window.link().reason();
        // what the broker said before the end counts, about single messages and about the end
        let group = window.last_words();
        self.confirmed(group);
        self.pause = true;
        let Some(window) = self.window.take() else {
            return;
        };
        let jobs = window.into_jobs();
        let unconfirmed = jobs.len();
        warn!(target: "coney::amqp", reason, unconfirmed, "publishing connection lost");
        self.retry(jobs, reason);
    }

    /// Puts messages back in front, with the ids they have.
    fn retry(&mut self, jobs: Vec<Job>, reason: String) {
        self.trouble = reason;
        self.reconnects = true;
        for job in jobs.into_iter().rev() {
            self.waiting.push_front(job);
        }
    }

    /// Answers the callers whose time is up, and has the broker asked whether it still hears us.
    fn expire(&mut self) {
        let now = Instant::now();
        if let Some(window) = self
            .window
            .as_ref()
            .filter(|window| window.is_mute(QUIET, now))
        {
            window.link().pulse().used();
        }
        let mut expired = Vec::new();
        if let Some(window) = &mut self.window {
            expired.extend(window.take_expired(now));
        }
        if self.waiting.iter().any(|job| job.deadline() <= now) {
            let waiting = std::mem::take(&mut self.waiting);
            let (late, early): (VecDeque<_>, _) =
                waiting.into_iter().partition(|job| job.deadline() <= now);
            self.waiting = early;
            expired.extend(late);
        }
        if expired.is_empty() {
            return;
        }
        let kind = self.why_late();
        for job in expired {
            self.suspects = self.suspects.saturating_sub(1);
            job.fail(kind.clone());
        }
        self.give_up_mute_connection(now);
    }

    fn why_late(&self) -> PublishErrorKind {
        match &self.window {
            None => PublishErrorKind::Closed {
                reason: self.trouble.clone(),
            },
            Some(window) => match window.link().blocked() {
                Some(reason) => PublishErrorKind::Blocked { reason },
                None => PublishErrorKind::TimedOut,
            },
        }
    }

    /// Replaces a connection on which nothing is confirmed any more, and a channel clogged by messages that never are.
    ///
    /// A blocked connection is neither: a new one would be blocked as well.
    fn give_up_mute_connection(&mut self, now: Instant) {
        let Some(window) = self
            .window
            .take_if(|window| window.link().blocked().is_none())
        else {
            return;
        };
        if window.is_mute(self.settings.publish_timeout, now) {
            window.link().cut("the broker confirms nothing");
        } else if !window.is_clogged() {
            self.window = Some(window);
            return;
        }
        let reason = "messages on the channel were never confirmed".to_owned();
        warn!(target: "coney::amqp", reason, "replacing the publishing channel");
        self.retry(window.into_jobs(), reason);
    }
}

/// Resolves with the next confirms, never without a channel.
async fn confirms(window: Option<&mut Window>) -> Group {
    match window {
        Some(window) => window.next().await,
        None => std::future::pending().await,
    }
}

/// Resolves when the connection is lost, never without one.
fn lost(window: Option<&Window>) -> impl Future<Output = ()> + use<> {
    match window {
        Some(window) => window.link().lost().left_future(),
        None => std::future::pending().right_future(),
    }
}

/// Resolves when a channel was opened or could not be, never without an attempt.
async fn opened(opening: Option<&mut Opening>) -> Result<Window, String> {
    match opening {
        Some(opening) => opening.await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
