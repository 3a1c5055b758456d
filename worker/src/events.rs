//! Events of tasks and of the worker itself, as Celery's monitors read them.
//!
//! The worker says that it is online, that it is still there every two seconds, and that it goes. What becomes of tasks
//! it says only while somebody wants to know, in batches, and rather not at all than late: while the broker takes
//! nothing, the oldest events are lost, and no task waits for one.

mod text;
mod vitals;

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use coney_amqp::{Broker, Outbox, Publication};
use coney_protocol::clock::Clock;
use coney_protocol::event::{
    self, Attempt, Batch, Call, Event, LamportClock, Revoked, Signal, Vitals, What,
};
use coney_protocol::outcome::ErrorReport;
use coney_protocol::property::Properties;
use coney_protocol::topology;
use serde_json::value::RawValue;
use tokio::sync::Notify;
use tokio::task::JoinSet;

use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep};
use tokio_util::sync::CancellationToken;

use crate::card::Card;
use crate::telemetry;

/// Time between two heartbeats. A monitor takes a worker for dead after twice of it.
pub(crate) const HEARTBEAT: Duration = Duration::from_secs(2);

/// The time that an extra heartbeat claims to be the one between two, as Celery's does.
const EXTRA_HEARTBEAT: Duration = Duration::from_secs(5);

/// How long an event waits for others to travel with.
const LINGER: Duration = Duration::from_millis(10);

/// How long the last events may take to be sent when the worker stops.
const FAREWELL: Duration = Duration::from_secs(2);

/// How busy a worker is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Tasks that run.
    pub(crate) active: u64,
    /// Tasks that were started since the worker was.
    pub(crate) processed: u64,
}

/// What the events of a worker need.
pub(crate) struct Setup {
    /// The worker's name: `name@host`.
    pub(crate) name: String,
    pub(crate) broker: Broker,
    /// The logical clock of this process, shared with the remote control.
    pub(crate) clock: Arc<LamportClock>,
    /// True to tell of tasks from the start and always, as Celery's `-E` does; otherwise while it is switched on.
    pub(crate) always: bool,
    /// How busy the worker is at the moment.
    pub(crate) counts: Box<dyn Fn() -> Counts + Send + Sync>,
}

/// Tells monitors what happens; cheap to clone. Costs one atomic load per event while nobody wants to know.
#[derive(Clone)]
pub(crate) struct Events(Arc<Inner>);

struct Inner {
    name: String,
    clock: Arc<LamportClock>,
    time: Clock,
    counts: Box<dyn Fn() -> Counts + Send + Sync>,
    always: bool,
    /// True while it tells of tasks.
    tells: AtomicBool,
    /// The properties of all its messages.
    properties: Properties,
    /// What waits to travel together. Whoever holds it numbers events and hands them on, so that they leave in the order
    /// of their numbers.
    batch: Mutex<Batch>,
    /// Woken when something is put into an empty batch.
    begun: Notify,
    outbox: Outbox,
}

impl Events {
    pub(crate) fn new(setup: Setup) -> Self {
        let time = setup.broker.clock().clone();
        let outbox = Outbox::new(
            &setup.broker,
            topology::event_exchange(),
            telemetry::events_lost,
        );
        Self(Arc::new(Inner {
            properties: event::properties(&setup.name),
            name: setup.name,
            clock: setup.clock,
            time,
            counts: setup.counts,
            always: setup.always,
            tells: AtomicBool::new(setup.always),
            batch: Mutex::default(),
            begun: Notify::new(),
            outbox,
        }))
    }

    /// True while it tells of tasks.
    pub(crate) fn is_on(&self) -> bool {
        self.0.tells.load(Ordering::Relaxed)
    }

    /// Tells of tasks from now on; false if it did already.
    pub(crate) fn enable(&self) -> bool {
        !self.0.always && !self.0.tells.swap(true, Ordering::Relaxed)
    }

    /// Tells of tasks no more; false if it did not, or if it is set to do so always: it goes on then, as Celery's workers
    /// do.
    pub(crate) fn disable(&self) -> bool {
        !self.0.always && self.0.tells.swap(false, Ordering::Relaxed)
    }

    /// Says at once that the worker is there.
    pub(crate) fn heartbeat_now(&self) {
        let vitals = vitals::bare(EXTRA_HEARTBEAT);
        self.say_of_itself(What::WorkerHeartbeat(vitals), Some(EXTRA_HEARTBEAT));
    }

    pub(crate) fn received(&self, card: &Card) {
        if self.is_on() {
            self.say_of_task(What::TaskReceived(Call::of(&card.message)));
        }
    }

    pub(crate) fn started(&self, card: &Card) {
        if self.is_on() {
            let uuid = text::id(card.id());
            self.say_of_task(What::TaskStarted { uuid });
        }
    }

    pub(crate) fn succeeded(&self, card: &Card, result: &RawValue, took: Duration) {
        if self.is_on() {
            self.say_of_task(What::TaskSucceeded {
                uuid: text::id(card.id()),
                result: text::result(result).into(),
                runtime: took.as_secs_f64(),
            });
        }
    }

    pub(crate) fn failed(&self, card: &Card, report: &ErrorReport) {
        if self.is_on() {
            self.say_of_task(What::TaskFailed(attempt(card, report)));
        }
    }

    pub(crate) fn retried(&self, card: &Card, report: &ErrorReport) {
        if self.is_on() {
            self.say_of_task(What::TaskRetried(attempt(card, report)));
        }
    }

    /// A task was cancelled, while it ran (`terminated`) or before, or came too late (`expired`).
    pub(crate) fn revoked(
        &self,
        card: &Card,
        terminated: bool,
        signum: Option<i32>,
        expired: bool,
    ) {
        if !self.is_on() {
            return;
        }
        let mut revoked = Revoked::new(text::id(card.id()));
        revoked.terminated = terminated;
        revoked.signum = signum.map(|number| Signal::Number(number.into()));
        revoked.expired = expired;
        self.say_of_task(What::TaskRevoked(revoked));
    }

    pub(crate) fn rejected(&self, card: &Card, requeue: bool) {
        if self.is_on() {
            let uuid = text::id(card.id());
            self.say_of_task(What::TaskRejected { uuid, requeue });
        }
    }

    /// Says that the worker is there until `stop` fires, then that it goes; sends all events meanwhile. Run it once.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses what was not sent.
    async fn run(self, stop: CancellationToken) {
        let inner = &self.0;
        let too_late = async {
            stop.cancelled().await;
            sleep(FAREWELL).await;
        };
        let sending = async {
            tokio::select! {
                () = inner.outbox.run() => {}
                () = too_late => {}
            }
        };
        tokio::join!(sending, self.live(&stop));
    }

    /// Runs on a task of its own.
    pub(crate) fn start(self) -> Telling {
        let stop = CancellationToken::new();
        let mut running = JoinSet::new();
        running.spawn(self.run(stop.clone()));
        Telling { stop, running }
    }

    async fn live(&self, stop: &CancellationToken) {
        let inner = &self.0;
        self.say_of_itself(What::WorkerOnline(self.vitals()), None);
        let mut beat = interval_at(Instant::now() + HEARTBEAT, HEARTBEAT);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                _ = beat.tick() => {
                    self.say_of_itself(What::WorkerHeartbeat(self.vitals()), Some(HEARTBEAT));
                }
                () = inner.begun.notified() => {
                    sleep(LINGER).await;
                    inner.send(&mut inner.batch());
                }
            }
        }
        self.say_of_itself(What::WorkerOffline(self.vitals()), None);
        inner.outbox.close();
    }

    fn vitals(&self) -> Vitals<'static> {
        vitals::full(HEARTBEAT, (self.0.counts)())
    }

    fn say_of_task(&self, what: What<'_>) {
        let inner = &self.0;
        let mut batch = inner.batch();
        if batch.is_empty() {
            inner.begun.notify_one();
        }
        batch.push(&inner.event(what));
        if batch.is_full() {
            inner.send(&mut batch);
        }
    }

    /// Says something of the worker, behind all that was said of tasks. After `limit` it is no longer true.
    fn say_of_itself(&self, what: What<'_>, limit: Option<Duration>) {
        let inner = &self.0;
        let mut batch = inner.batch();
        inner.send(&mut batch);
        let event = inner.event(what);
        let publication =
            Publication::new(event.route(), inner.properties.clone(), event.encode()).optional();
        match limit {
            Some(limit) => inner.outbox.push_for(publication, 1, limit),
            None => inner.outbox.push(publication, 1),
        }
    }
}

/// The task that sends the events of a worker; it ends without a word when this is dropped.
pub(crate) struct Telling {
    stop: CancellationToken,
    running: JoinSet<()>,
}

impl Telling {
    /// Says that the worker goes, and waits until that is sent, for a short time.
    pub(crate) async fn farewell(mut self) {
        self.stop.cancel();
        while self.running.join_next().await.is_some() {}
    }
}

impl Inner {
    fn batch(&self) -> MutexGuard<'_, Batch> {
        self.batch.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Numbers an event. Only whoever holds the batch may.
    fn event<'a>(&'a self, what: What<'a>) -> Event<'a> {
        let now = event::timestamp(self.time.now());
        Event::new(&*self.name, self.clock.tick(), now, what)
    }

    /// Hands on what waits to travel.
    fn send(&self, batch: &mut Batch) {
        if batch.is_empty() {
            return;
        }
        let batch = std::mem::take(batch);
        let events = u64::try_from(batch.len()).unwrap_or(u64::MAX);
        let publication =
            Publication::new(Batch::route(), self.properties.clone(), batch.into_body()).optional();
        self.outbox.push(publication, events);
    }
}

fn attempt<'a>(card: &'a Card, report: &ErrorReport) -> Attempt<'a> {
    Attempt::new(
        text::id(card.id()),
        text::exception(report),
        text::traceback(report),
    )
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events")
            .field("name", &self.0.name)
            .field("tells", &self.is_on())
            .field("outbox", &self.0.outbox)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
