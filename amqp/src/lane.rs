//! Confirmed publishing: the task that owns a confirm channel.
//!
//! It keeps a window of messages on their way and settles each as soon as its fate is certain (`ledger` says when),
//! rather than in batches: a queue that cannot confirm for the moment then holds up nobody but its own messages.

use std::collections::{BTreeMap, VecDeque};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt};
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::types::ShortString;
use lapin::{BasicProperties, Channel, Confirmation};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::backoff::Backoff;
use crate::blame;
use crate::error::{BrokerReply, ConnectError, PublishError, PublishErrorKind};
use crate::ledger::{Answer, Ledger, Resolved, Verdict};
use crate::link::Link;
use crate::pool::Pool;
use crate::settings::Settings;

/// How many messages may be on their way.
const WINDOW: usize = 512;

/// How many bytes may be on their way; one larger message is let through alone. lapin copies them.
const WINDOW_BYTES: usize = 16 * 1024 * 1024;

/// How many messages may wait behind the window, while there is no connection for example.
const WAITING: usize = 1024;

/// How often deadlines are looked at.
const TICK: Duration = Duration::from_millis(50);

/// One message, with everything checked and converted.
pub(crate) struct Job {
    pub(crate) exchange: ShortString,
    pub(crate) routing_key: ShortString,
    pub(crate) properties: BasicProperties,
    pub(crate) header_frame: usize,
    pub(crate) payload: Bytes,
    pub(crate) mandatory: bool,
    pub(crate) id: String,
    pub(crate) deadline: Instant,
    pub(crate) answer: oneshot::Sender<Result<(), PublishError>>,
}

impl Job {
    fn answer(self, result: Result<(), PublishError>) {
        // nobody listening is fine: the receipt was dropped
        let _ = self.answer.send(result);
    }

    fn fail(self, kind: PublishErrorKind) {
        self.answer(Err(PublishError::new(kind)));
    }

    fn settle(self, verdict: Verdict) {
        let (exchange, routing_key) = (self.exchange.to_string(), self.routing_key.to_string());
        match verdict {
            Verdict::Stored => self.answer(Ok(())),
            Verdict::Unroutable => self.fail(PublishErrorKind::Unroutable {
                exchange,
                routing_key,
            }),
            Verdict::Rejected => self.fail(PublishErrorKind::Rejected {
                exchange,
                routing_key,
            }),
        }
    }
}

type Confirm = BoxFuture<'static, (u64, Result<Confirmation, lapin::Error>)>;

/// An open channel, and what is on its way on it.
struct Open {
    link: Arc<Link>,
    channel: Channel,
    confirms: FuturesUnordered<Confirm>,
    ledger: Ledger,
    /// By number; a message whose caller got tired of waiting is not here any more, but still in the ledger.
    jobs: BTreeMap<u64, Job>,
    bytes: usize,
    /// Messages on their way that nobody waits for any more.
    abandoned: usize,
    /// When the broker last confirmed anything.
    heard: Instant,
}

/// The task that owns a confirm channel.
pub(crate) struct Lane {
    settings: Arc<Settings>,
    pool: Pool,
    queue: mpsc::Receiver<Job>,
    stop: CancellationToken,
    /// To be published next, in this order.
    waiting: VecDeque<Job>,
    open: Option<Open>,
    opening: Option<BoxFuture<'static, Result<Open, OpenError>>>,
    backoff: Backoff,
    /// True if the next attempt to open a channel has to wait.
    pause: bool,
    /// Why there is no channel.
    trouble: String,
    /// How many messages are to be published one at a time, because one of them closes the channel.
    suspects: usize,
}

/// Why there is no channel.
enum OpenError {
    Connect(ConnectError),
    Channel(lapin::Error),
    Timeout,
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
            waiting: VecDeque::new(),
            open: None,
            opening: None,
            backoff: Backoff::default(),
            pause: false,
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
            let lost = lost(&self.open);
            if idle && self.queue.is_closed() && self.queue.is_empty() {
                break;
            }
            tokio::select! {
                job = self.queue.recv(), if self.waiting.len() < WAITING => self.accept(job),
                group = group(&mut self.open) => self.confirmed(group),
                () = lost => self.connection_lost(),
                opened = opened(&mut self.opening) => self.opened(opened),
                _ = tick.tick(), if !idle => self.expire(),
                () = self.stop.cancelled(), if !self.queue.is_closed() => self.queue.close(),
            }
        }
        if let Some(open) = self.open.take() {
            let _ = timeout(TICK * 20, open.channel.close(200, "goodbye".into())).await;
        }
    }

    fn accept(&mut self, job: Option<Job>) {
        match job {
            Some(job) => self.waiting.push_back(job),
            // every publisher is gone
            None => self.queue.close(),
        }
    }

    fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.open.as_ref().is_none_or(|open| open.jobs.is_empty())
    }

    /// Publishes as much of what waits as the window lets through.
    fn publish_waiting(&mut self) {
        let limit = if self.suspects > 0 { 1 } else { WINDOW };
        let Some(open) = &mut self.open else { return };
        while let Some(job) = self.waiting.front() {
            if !open.has_room(job, limit) {
                break;
            }
            let Some(job) = self.waiting.pop_front() else {
                break;
            };
            open.publish(job);
        }
    }

    fn start_opening(&mut self) {
        if self.open.is_some() || self.opening.is_some() || self.waiting.is_empty() {
            return;
        }
        let wait = match std::mem::take(&mut self.pause) {
            true => self.backoff.next(),
            false => Duration::ZERO,
        };
        let (pool, limit) = (self.pool.clone(), self.settings.connect_timeout);
        self.opening = Some(Box::pin(async move {
            sleep(wait).await;
            Open::on(pool, limit).await
        }));
    }

    fn opened(&mut self, opened: Result<Open, OpenError>) {
        self.opening = None;
        match opened {
            Ok(open) => self.open = Some(open),
            Err(error) => {
                self.trouble = match error {
                    OpenError::Connect(error) => error.to_string(),
                    OpenError::Channel(error) => error.to_string(),
                    OpenError::Timeout => "the broker did not open a channel in time".to_owned(),
                };
                self.pause = true;
                let (reason, attempt) = (&self.trouble, self.backoff.attempt() + 1);
                warn!(target: "coney::amqp", reason, attempt, "cannot publish: reconnecting");
            }
        }
    }

    /// Answers the callers whose message is settled by a group of confirms.
    fn confirmed(&mut self, group: Group) {
        let Some(open) = &mut self.open else { return };
        if !group.resolved.is_empty() {
            open.heard = Instant::now();
            self.backoff.reset();
        }
        for (number, verdict) in open.ledger.resolved(&group.resolved) {
            let Some(job) = open.jobs.remove(&number) else {
                open.abandoned -= 1;
                continue;
            };
            open.bytes -= job.payload.len();
            self.suspects = self.suspects.saturating_sub(1);
            job.settle(verdict);
        }
        if let Some(error) = group.error {
            self.channel_failed(&error);
        }
    }

    /// Finds out whether one message is at fault, and has everything else published again.
    fn channel_failed(&mut self, error: &lapin::Error) {
        let Some(open) = self.open.take() else { return };
        let alone = open.jobs.len() == 1 && open.abandoned == 0;
        let jobs: Vec<_> = open.jobs.into_values().collect();
        if !error.is_amqp_soft_error() {
            open.link.cut(&error.to_string());
            self.pause = true;
        }
        let Some(reply) = BrokerReply::of(error).filter(|reply| !is_general(reply)) else {
            let (reason, count) = (open.link.reason(), jobs.len());
            warn!(target: "coney::amqp", %reason, unconfirmed = count, "publishing channel lost");
            return self.retry(jobs, reason);
        };
        let (guilty, innocent): (Vec<_>, Vec<_>) = jobs
            .into_iter()
            .partition(|job| alone || blame::fits(&reply, job));
        if guilty.is_empty() {
            // one of them closes the channel: published one at a time, it harms nobody but itself
            self.suspects = innocent.len();
        }
        for job in guilty {
            self.suspects = self.suspects.saturating_sub(1);
            let error = blame::verdict(&reply, &job).caused_by(error.clone());
            job.answer(Err(error));
        }
        self.retry(innocent, reply.text.to_owned());
    }

    fn connection_lost(&mut self) {
        let Some(mut open) = self.open.take() else {
            return;
        };
        // what was confirmed before the end counts
        let group = open.drain(None);
        let reason = open.link.reason();
        self.open = Some(open);
        self.confirmed(Group {
            error: None,
            ..group
        });
        let jobs = self.open.take().map(|open| open.jobs).unwrap_or_default();
        let count = jobs.len();
        warn!(target: "coney::amqp", %reason, unconfirmed = count, "publishing connection lost");
        self.pause = true;
        self.retry(jobs.into_values().collect(), reason);
    }

    /// Puts messages back in front, with the ids they have.
    fn retry(&mut self, jobs: Vec<Job>, reason: String) {
        self.trouble = reason;
        for job in jobs.into_iter().rev() {
            self.waiting.push_front(job);
        }
    }

    /// Answers the callers whose time is up.
    fn expire(&mut self) {
        let now = Instant::now();
        let blocked = self.open.as_ref().and_then(|open| open.link.blocked());
        let late = |job: &Job| job.deadline <= now;
        let mut expired: Vec<Job> = Vec::new();
        if self.waiting.iter().any(late) {
            let (done, keep) = self.waiting.drain(..).partition(late);
            self.waiting = keep;
            let done: VecDeque<Job> = done;
            expired.extend(done);
        }
        if let Some(open) = &mut self.open {
            expired.extend(open.take_expired(now));
        }
        if expired.is_empty() {
            return;
        }
        let kind = match (blocked, &self.open) {
            (Some(reason), _) => PublishErrorKind::Blocked { reason },
            (None, Some(_)) => PublishErrorKind::TimedOut,
            (None, None) => PublishErrorKind::Closed {
                reason: self.trouble.clone(),
            },
        };
        for job in expired {
            self.suspects = self.suspects.saturating_sub(1);
            job.fail(kind.clone());
        }
        self.give_up_mute_connection(now);
    }

    /// Replaces a connection on which nothing is confirmed any more, and a channel clogged by messages that never are.
    ///
    /// A blocked connection is neither: a new one would be blocked as well.
    fn give_up_mute_connection(&mut self, now: Instant) {
        let Some(open) = &self.open else { return };
        if open.link.blocked().is_some() {
            return;
        }
        let mute = now.duration_since(open.heard) >= self.settings.publish_timeout;
        let clogged = open.abandoned > WINDOW / 2;
        if mute {
            open.link.cut("the broker confirms nothing");
        } else if clogged {
            let jobs = self.open.take().map(|open| open.jobs).unwrap_or_default();
            let reason = "most messages on the channel were never confirmed".to_owned();
            warn!(target: "coney::amqp", %reason, "replacing the publishing channel");
            self.retry(jobs.into_values().collect(), reason);
        }
    }
}

impl Open {
    async fn on(pool: Pool, limit: Duration) -> Result<Self, OpenError> {
        let link = pool.link().await.map_err(OpenError::Connect)?;
        let channel = async {
            let channel = link.channel().await?;
            channel
                .confirm_select(ConfirmSelectOptions::default())
                .await?;
            Ok(channel)
        };
        let channel = match timeout(limit, channel).await {
            Ok(channel) => channel.map_err(OpenError::Channel)?,
            Err(_) => {
                link.cut("the broker did not open a channel in time");
                return Err(OpenError::Timeout);
            }
        };
        Ok(Self {
            link,
            channel,
            confirms: FuturesUnordered::new(),
            ledger: Ledger::default(),
            jobs: BTreeMap::new(),
            bytes: 0,
            abandoned: 0,
            heard: Instant::now(),
        })
    }

    fn has_room(&self, job: &Job, limit: usize) -> bool {
        let bytes = self.bytes + job.payload.len();
        self.jobs.len() < limit
            && self.jobs.len() + self.abandoned < WINDOW
            && (bytes <= WINDOW_BYTES || self.jobs.is_empty())
            // returns are told apart by id: the same one twice has to wait for the first
            && !self.ledger.contains(&job.id)
    }

    fn publish(&mut self, job: Job) {
        // larger ones would close the connection (501 FRAME_ERROR), and everybody else's messages with it
        let limit = self.link.frame_max();
        if job.header_frame > limit {
            let size = job.header_frame;
            let detail = format!("headers of {size} bytes, at most {limit} fit in a frame");
            return job.fail(PublishErrorKind::TooLarge { detail });
        }
        if self.jobs.is_empty() {
            // the time before did not count as silence
            self.heard = Instant::now();
        }
        let number = self.ledger.published(&job.id);
        let confirm = confirm(self.channel.clone(), number, &job);
        let mut confirm: Confirm = Box::pin(confirm);
        // the first poll puts the frames in lapin's queue, so the order is ours; a channel that is gone answers at once
        let first = confirm
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()));
        self.confirms.push(match first {
            Poll::Ready(done) => Box::pin(std::future::ready(done)),
            Poll::Pending => confirm,
        });
        self.bytes += job.payload.len();
        self.jobs.insert(number, job);
    }

    /// Takes a confirm and all others that are ready.
    ///
    /// lapin's I/O thread resolves confirms one after the other and wakes each at once, and the ready queue of
    /// `FuturesUnordered` is first in, first out: when a confirm is seen, those that resolved before it are in the
    /// queue. So what is taken until the queue is empty holds everything that resolved before any of it, which the
    /// ledger relies on.
    fn drain(&mut self, first: Option<(u64, Result<Confirmation, lapin::Error>)>) -> Group {
        let mut group = Group::default();
        let mut next = first;
        loop {
            match next {
                Some((number, Ok(confirmation))) => {
                    group.resolved.push(resolved(number, confirmation));
                }
                Some((_, Err(error))) => {
                    group.error.get_or_insert(error);
                }
                None => {}
            }
            next = match self.confirms.next().now_or_never() {
                Some(Some(done)) => Some(done),
                Some(None) | None => return group,
            };
        }
    }

    fn take_expired(&mut self, now: Instant) -> Vec<Job> {
        let late: Vec<u64> = self
            .jobs
            .iter()
            .filter(|(_, job)| job.deadline <= now)
            .map(|(number, _)| *number)
            .collect();
        let jobs: Vec<Job> = late
            .iter()
            .filter_map(|number| self.jobs.remove(number))
            .collect();
        for job in &jobs {
            self.bytes -= job.payload.len();
        }
        self.abandoned += jobs.len();
        jobs
    }
}

/// What was confirmed together.
#[derive(Default)]
struct Group {
    resolved: Vec<Resolved>,
    error: Option<lapin::Error>,
}

/// Publishes, and waits for the confirm.
fn confirm(
    channel: Channel,
    number: u64,
    job: &Job,
) -> impl Future<Output = (u64, Result<Confirmation, lapin::Error>)> + Send + use<> {
    let options = BasicPublishOptions {
        mandatory: job.mandatory,
        immediate: false,
    };
    let (exchange, routing_key) = (job.exchange.clone(), job.routing_key.clone());
    let (payload, properties) = (job.payload.clone(), job.properties.clone());
    async move {
        let written = channel.basic_publish(exchange, routing_key, options, &payload, properties);
        match written.await {
            Ok(confirm) => (number, confirm.await),
            Err(error) => (number, Err(error)),
        }
    }
}

fn resolved(number: u64, confirmation: Confirmation) -> Resolved {
    let answer = match confirmation.is_nack() {
        true => Answer::Nack,
        false => Answer::Ack,
    };
    let returned = confirmation.take_message().map(|message| {
        let id = message.delivery.properties.message_id().as_ref();
        id.map(ToString::to_string).unwrap_or_default()
    });
    Resolved {
        number,
        answer,
        returned,
    }
}

/// True if the broker closes everything for a reason of its own, such as a restart (320) or an internal error (541).
fn is_general(reply: &BrokerReply<'_>) -> bool {
    matches!(reply.code, 320 | 541)
}

/// Resolves with the next confirms, never without a channel.
async fn group(open: &mut Option<Open>) -> Group {
    if let Some(open) = open
        && let Some(first) = open.confirms.next().await
    {
        return open.drain(Some(first));
    }
    std::future::pending().await
}

/// Resolves when the connection is lost, never without one.
fn lost(open: &Option<Open>) -> impl Future<Output = ()> + use<> {
    let lost = open.as_ref().map(|open| open.link.lost());
    async move {
        match lost {
            Some(lost) => lost.await,
            None => std::future::pending().await,
        }
    }
}

/// Resolves when a channel was opened or could not be, never without an attempt.
async fn opened(
    opening: &mut Option<BoxFuture<'static, Result<Open, OpenError>>>,
) -> Result<Open, OpenError> {
    match opening {
        Some(opening) => Pin::new(opening).await,
        None => std::future::pending().await,
    }
}
