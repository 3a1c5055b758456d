//! One delivery, the stages in order.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime};

use coney_amqp::{Acker, Delivery};
use coney_protocol::canvas::Plan;
use coney_protocol::context::{DeliveryInfo, TaskContext};
use coney_protocol::dead::Reason;
use coney_protocol::header::{Header, TimeLimit};
use coney_protocol::message::Message;
use coney_protocol::outcome::{ErrorReport, Next};
use coney_protocol::property::Value;
use coney_protocol::reply::Status;
use coney_protocol::spec::AckMode;
use coney_protocol::topology::Preset;
use futures_util::FutureExt;
use serde_json::value::RawValue;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

use crate::activity::Counted;
use crate::card::Card;
use crate::decide::{
    Again, Disposition, Facts, Then, decide, early, poisoned, revoked, time_limit,
};
use crate::decode::{self, Arrived, Decoder, Job, NoJob, Poison, Received};
use crate::events::Events;
use crate::execute::{Limits, execute};
use crate::flow::Flow;
use crate::outcome::Outcome;
use crate::pool::Slot;
use crate::repeats::{Arrival, Original, Repeats, Work};
use crate::revocations::Entered;
use crate::roster::{Roster, Seat};
use crate::settle::{Letter, Settlement, Settler};
use crate::telemetry::{self, QueueMeter};

/// The stages of one queue.
#[derive(Debug)]
pub(crate) struct Pipeline {
    pub(crate) decoder: Decoder,
    pub(crate) settler: Settler,
    pub(crate) repeats: Arc<Repeats>,
    pub(crate) roster: Arc<Roster>,
    pub(crate) events: Events,
    pub(crate) meter: QueueMeter,
    /// True if a running attempt goes on when the connection that delivered it is lost.
    pub(crate) outlives_connection: bool,
    /// How long a task may go on after it was revoked.
    pub(crate) revoke_grace: Duration,
    pub(crate) under_way: UnderWay,
    /// Fires when no more attempts shall be started.
    pub(crate) stopping: CancellationToken,
    /// Fires when running attempts shall be stopped and returned.
    pub(crate) abort: CancellationToken,
}

/// A message that was read and waits for a slot. Dropping it returns it to its queue.
#[derive(Debug)]
pub(crate) struct Waiting {
    received: Received,
    seat: Seat,
    acker: Acker,
    work: Work,
}

impl Waiting {
    /// True if the connection that brought it is gone, and the broker delivers it again.
    pub(crate) fn is_stale(&self) -> bool {
        self.acker.is_stale()
    }
}

/// A message that needs no slot.
#[derive(Debug)]
pub(crate) enum Rest {
    /// It is worked on already.
    Repeated(Original, Acker),
    /// It does not run, or not now.
    NoJob(Box<NoJob>, Acker, Work),
}

impl Pipeline {
    /// Reads a delivery: waits for a slot, or needs none; nothing if it is done with.
    pub(crate) fn receive(&self, delivery: Delivery) -> Option<Result<Box<Waiting>, Rest>> {
        let redeliveries = redeliveries(&delivery);
        let Delivery {
            exchange,
            routing_key,
            redelivered,
            properties,
            unreadable,
            payload,
            acker,
            ..
        } = delivery;
        let work = match self.repeats.arrive(properties.message_id.as_deref()) {
            Arrival::New(work) => work,
            Arrival::Finished => {
                self.skip(acker);
                return None;
            }
            Arrival::Repeated(original) => return Some(Err(Rest::Repeated(original, acker))),
        };
        let received = match unreadable {
            Some(unreadable) => Err(decode::unreadable(unreadable, properties, payload)),
            None => self.decoder.receive(Arrived {
                properties,
                payload,
                exchange,
                routing_key,
                redelivered,
                redeliveries,
            }),
        };
        Some(match received {
            Ok(received) => Ok(Box::new(Waiting {
                seat: self.seat(&received.card),
                received,
                acker,
                work,
            })),
            Err(no_job) => {
                if let NoJob::Early(card, wait) = &*no_job {
                    drop(self.seat(card));
                    // as the message says it, not as it is reckoned from here
                    let eta = card.header().eta;
                    let eta = eta.unwrap_or_else(|| self.now() + *wait);
                    self.roster.schedule(card, eta);
                }
                Err(Rest::NoJob(no_job, acker, work))
            }
        })
    }

    /// Enters a message in the roster, and tells who listens unless it comes back from where this worker sent it.
    fn seat(&self, card: &Arc<Card>) -> Seat {
        let seat = self.roster.receive(card);
        if !seat.comes_back() {
            self.events.received(card);
        }
        seat
    }

    /// Takes a message through the other stages. The slot is free again when the attempt has ended; it comes back from a
    /// message that is settled at once.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future returns the delivery to its queue.
    pub(crate) async fn run(&self, waiting: Box<Waiting>, slot: Slot) -> Option<Slot> {
        let under_way = self.under_way.enter();
        let wants_reply = waiting.received.card.header().reply_to.is_some();
        let way_back = self.has_way_back(&waiting.acker, wants_reply, under_way.is_alone);
        if !way_back.await {
            return None;
        }
        let Waiting {
            received,
            seat,
            acker,
            work,
        } = *waiting;
        let time = self.time_limit(&received);
        let mut slot = Some(slot);
        let is_done = match self.decoder.start(&received, time) {
            Ok(job) => {
                let performed = self.perform(job, &received, &seat, acker, &mut slot);
                performed.await
            }
            Err(no_job) => self.refuse(*no_job, acker).await,
        };
        if is_done {
            work.finished();
        }
        slot
    }

    /// Settles a message that needs no slot.
    ///
    /// # Cancel safety
    ///
    /// As [`run`](Self::run).
    pub(crate) async fn dismiss(self: Arc<Self>, rest: Rest, _counted: Counted) {
        match rest {
            Rest::Repeated(original, acker) => {
                // otherwise it is dropped, and with that comes again
                if original.ends_well().await {
                    self.skip(acker);
                }
            }
            Rest::NoJob(no_job, acker, work) => {
                let under_way = self.under_way.enter();
                if self.has_way_back(&acker, true, under_way.is_alone).await
                    && self.refuse(*no_job, acker).await
                {
                    work.finished();
                }
            }
        }
    }

    /// Acknowledges a message that this worker has finished already.
    fn skip(&self, acker: Acker) {
        let queue = &self.settler.queue;
        debug!(target: "coney::worker", %queue, "delivered again, and finished already");
        telemetry::repeated(queue);
        Settler::skip(acker);
    }

    /// The caller's limits, else those that were set while the worker runs, else the task's own.
    pub(crate) fn time_limit(&self, received: &Received) -> TimeLimit {
        let spec = received.handler.spec();
        let own = TimeLimit::new(spec.timeout, spec.soft_timeout);
        let own = self.decoder.task_limits.time(spec.name).unwrap_or(own);
        let limit = received.card.header().time_limit;
        TimeLimit::new(limit.hard.or(own.hard), limit.soft.or(own.soft))
    }

    /// Waits until what follows from a task can be published and acknowledged; false if the message goes back instead,
    /// being dropped.
    ///
    /// A task that is run before would have to be held when it has ended, and is run again if its delivery is lost
    /// meanwhile.
    async fn has_way_back(&self, acker: &Acker, wants_reply: bool, is_alone: bool) -> bool {
        // without a reply nothing is published, as a rule, and running tasks is what relieves a broker that is full; and
        // one task alone does not wait for an answer, but is the question
        let publishes = wants_reply && !is_alone;
        let way = || async {
            if publishes {
                self.settler.broker.publishes().await;
            }
            self.settler.keeps_up().await;
            acker.answers().await;
        };
        if self.stopping.is_cancelled() {
            return false;
        }
        // as a rule it is open, and the wait takes no room in the task
        let is_open = way().now_or_never().is_some()
            || Box::pin(self.stopping.run_until_cancelled(way()))
                .await
                .is_some();
        is_open && !acker.is_stale()
    }

    /// Runs a job to its end; true if all that follows from it is confirmed.
    async fn perform(
        &self,
        job: Box<Job>,
        received: &Received,
        seat: &Seat,
        acker: Acker,
        slot: &mut Option<Slot>,
    ) -> bool {
        let Job {
            now,
            context,
            attempt,
            plan,
            entered,
        } = *job;
        let Received { card, handler, .. } = received;
        let spec = handler.spec();
        let acker = match spec.ack {
            AckMode::Late => Some(acker),
            AckMode::Early => {
                Settler::accept_early(acker);
                None
            }
        };
        seat.started(now, acker.is_none());
        self.events.started(card);
        let limits = Limits {
            time: context.time_limit(),
            entered: &entered,
            revoke_grace: self.revoke_grace,
            abort: &self.abort,
        };
        // the end of a blocking attempt is awaited, as nothing can end it
        let goes_on = self.outlives_connection || spec.blocking;
        let delivery = acker.as_ref().filter(|_| !goes_on);
        if spec.track_started {
            // nobody waits for the news when the worker stops at once
            let told = tell_caller(&context);
            Box::pin(self.abort.run_until_cancelled(told)).await;
        }
        let started = Instant::now();
        let outcome = {
            let _running = self.meter.start();
            execute(handler, &context, attempt, &limits, delivery, slot).await
        };
        // apart, so that nothing of it is kept while what follows is waited for
        let settlement = self.conclude(
            received,
            &context,
            plan.as_deref(),
            entered,
            outcome,
            started,
        );
        if settlement.publishes() {
            // others can run while it is not confirmed
            *slot = None;
        }
        self.settler.settle(settlement, acker).await
    }

    /// Decides what follows from an attempt, and tells whoever wants to know how it ended.
    fn conclude(
        &self,
        received: &Received,
        context: &TaskContext,
        plan: Option<&Plan>,
        entered: Entered,
        outcome: Outcome,
        started: Instant,
    ) -> Settlement {
        let Received { card, handler, .. } = received;
        let (header, spec) = (card.header(), handler.spec());
        let ending = self.events.is_on().then(|| Ending::of(&outcome));
        let facts = Facts {
            header,
            spec,
            revoked: entered.revoked().has_fired(),
            worker: &self.settler.worker,
            now: self.now(),
            chance: rand::random(),
            flow: self.flow(plan, header),
            replacement: context.replacement(),
            children: &context.children().list(),
        };
        let disposition = decide(facts, outcome);
        let took = started.elapsed();
        self.meter.ended(spec.name, disposition.outcome(), took);
        let signal = entered.signal();
        // from here on a revocation meets what comes after this attempt
        drop(entered);
        if disposition.revoked {
            self.cancelled(header, "a running task was cancelled");
        }
        tell(header, &self.settler.queue, disposition.outcome(), took);
        self.expect_again(card, &disposition);
        if let Some(ending) = ending {
            self.tell_monitors(card, &disposition, &ending, signal, took);
        }
        settlement(disposition, &card.message)
    }

    /// Notes that the next attempt of a task waits in the broker, for Celery's tools: its workers receive it at once and
    /// wait with it, so monitors hear of it now, and not when it comes back.
    fn expect_again(&self, card: &Card, disposition: &Disposition) {
        let Disposition {
            again: Some(Again::After(_)),
            header: Some(header),
            ..
        } = disposition
        else {
            return;
        };
        let is_told = self.settler.broker.preset() == Preset::Celery;
        let Some(eta) = header.eta.filter(|_| is_told) else {
            return;
        };
        let next = Arc::new(Card {
            message: Arc::new(Message::new((**header).clone(), card.message.body.clone())),
            delivery: Arc::new(DeliveryInfo {
                redelivered: false,
                ..DeliveryInfo::clone(&card.delivery)
            }),
        });
        self.events.received(&next);
        self.roster.schedule(&next, eta);
    }

    fn tell_monitors(
        &self,
        card: &Card,
        disposition: &Disposition,
        ending: &Ending,
        signal: Option<i32>,
        runtime: Duration,
    ) {
        match ending {
            _ if disposition.revoked => self.events.revoked(card, true, signal, false),
            Ending::Value(result) => self.events.succeeded(card, result, runtime),
            Ending::Error(report) if disposition.again.is_some() => {
                self.events.retried(card, report);
            }
            Ending::Error(report) => self.events.failed(card, report),
            Ending::Rejected(report, requeue) => {
                self.events.failed(card, report);
                self.events.rejected(card, *requeue);
            }
            Ending::None => {}
        }
    }

    pub(crate) fn flow<'a>(&'a self, plan: Option<&'a Plan>, header: &'a Header) -> Flow<'a> {
        let Settler {
            follower, worker, ..
        } = &self.settler;
        Flow::new(plan, header, (&follower.oid, worker), self.now())
    }

    fn now(&self) -> SystemTime {
        self.settler.broker.clock().now()
    }

    fn cancelled(&self, header: &Header, what: &'static str) {
        let queue = &self.settler.queue;
        telemetry::revoked(queue);
        info!(target: "coney::worker", %queue, task = %header.task, id = %header.id, "{what}");
    }

    /// Settles a message that does not run, or not now.
    fn refuse(&self, no_job: NoJob, acker: Acker) -> impl Future<Output = bool> + Send + use<'_> {
        self.settler.settle(self.refusal(no_job), Some(acker))
    }

    fn refusal(&self, no_job: NoJob) -> Settlement {
        let (disposition, card) = match no_job {
            NoJob::Poison(poison) => return self.burial(poison),
            NoJob::Revoked(card) => {
                self.cancelled(card.header(), "a task that was cancelled is not started");
                self.events.revoked(&card, false, None, false);
                let plan = self.decoder.plan(&card);
                let flow = self.flow(plan.as_ref(), card.header());
                (revoked(card.header(), self.now(), &flow), card)
            }
            NoJob::Early(card, wait) | NoJob::Throttled(card, wait) => (early(wait), card),
            NoJob::Counted(card) => (Disposition::again(), card),
        };
        settlement(disposition, &card.message)
    }

    fn burial(&self, poison: Poison) -> Settlement {
        let queue = &self.settler.queue;
        info!(target: "coney::worker", %queue, reason = poison.reason.as_str(), error = %poison.report.message, "message refused");
        if let Some(card) = &poison.card {
            match poison.reason {
                Reason::Expired => self.events.revoked(card, false, None, true),
                Reason::Arguments => {
                    // Celery calls the task to learn that they do not fit
                    self.events.started(card);
                    self.events.failed(card, &poison.report);
                }
                _ => self.events.failed(card, &poison.report),
            }
        }
        let card = poison.card.as_deref();
        let plan = card.and_then(|card| self.decoder.plan(card));
        let flow = card.map(|card| self.flow(plan.as_ref(), card.header()));
        let mut disposition = poisoned(&poison, self.now(), flow);
        let is_refused = !matches!(poison.reason, Reason::Expired | Reason::Arguments);
        if self.settler.broker.preset() == Preset::Celery && is_refused {
            // who runs the queue may have given it a dead-letter exchange of its own
            disposition.then = Then::Reject;
        }
        Settlement::of(disposition, || poison.letter)
    }
}

/// What becomes of a message that was read, which goes on with the header that the disposition gives it.
fn settlement(mut disposition: Disposition, message: &Message) -> Settlement {
    let changed = disposition.header.take();
    let changed = changed.map(|header| Message::new(*header, message.body.clone()));
    Settlement::of(disposition, || {
        Letter::of(changed.as_ref().unwrap_or(message))
    })
}

/// Tells the caller that its task runs, as Celery's workers do.
async fn tell_caller(context: &TaskContext) {
    let who = serde_json::json!({ "pid": std::process::id(), "hostname": context.hostname() });
    if let Err(error) = context.update_state(Status::Started.as_str(), &who).await {
        debug!(target: "coney::worker", id = %context.id(), %error, "the caller is not told that its task runs");
    }
}

/// What a monitor is told of the end of an attempt.
enum Ending {
    Value(Box<RawValue>),
    Error(ErrorReport),
    /// The task refused its message: whether that goes back.
    Rejected(ErrorReport, bool),
    /// Nothing: it did not come to an end, or ended in silence.
    None,
}

impl Ending {
    fn of(outcome: &Outcome) -> Self {
        match outcome {
            Outcome::Success(result) => Self::Value(result.clone()),
            Outcome::Failed {
                next: Next::Ignore, ..
            } => Self::None,
            Outcome::Failed {
                next: Next::Reject { requeue },
                report,
            } => Self::Rejected(report.clone(), *requeue),
            Outcome::Failed { report, .. } => Self::Error(report.clone()),
            Outcome::TimedOut(limit) => Self::Error(time_limit(*limit)),
            Outcome::Revoked | Outcome::Aborted => Self::None,
        }
    }
}

/// How many messages of a queue are worked on.
#[derive(Debug, Default)]
pub(crate) struct UnderWay(AtomicUsize);

/// A message that is worked on until this is dropped.
struct OneUnderWay<'a> {
    all: &'a AtomicUsize,
    is_alone: bool,
}

impl UnderWay {
    fn enter(&self) -> OneUnderWay<'_> {
        let others = self.0.fetch_add(1, Ordering::Relaxed);
        OneUnderWay {
            all: &self.0,
            is_alone: others == 0,
        }
    }
}

impl Drop for OneUnderWay<'_> {
    fn drop(&mut self) {
        self.all.fetch_sub(1, Ordering::Relaxed);
    }
}

/// How often a message was delivered before: quorum queues count; others say only whether it was.
fn redeliveries(delivery: &Delivery) -> u32 {
    let count = delivery.properties.headers.get("x-delivery-count");
    let count = count
        .and_then(Value::as_i64)
        .and_then(|count| count.try_into().ok());
    count.unwrap_or(0).max(delivery.redelivered.into())
}

fn tell(header: &Header, queue: &str, outcome: &'static str, took: Duration) {
    debug!(
        target: "coney::worker",
        %queue,
        task = %header.task,
        id = %header.id,
        outcome,
        ?took,
        "attempt ended"
    );
}
