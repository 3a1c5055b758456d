//! One delivery, the stages in order.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime};

use coney_amqp::{Acker, Delivery};
use coney_protocol::header::TimeLimit;
use coney_protocol::message::Message;
use coney_protocol::property::Value;
use coney_protocol::spec::AckMode;
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

use crate::decide::{Disposition, Facts, decide, early, poisoned, revoked};
use crate::decode::{self, Decoder, Job, NoJob, Poison};
use crate::execute::{Limits, execute};
use crate::repeats::{Arrival, Repeats};
use crate::settle::{Letter, Settler};
use crate::telemetry;

/// The stages of one queue.
#[derive(Debug)]
pub(crate) struct Pipeline {
    pub(crate) decoder: Decoder,
    pub(crate) settler: Settler,
    pub(crate) repeats: Arc<Repeats>,
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

impl Pipeline {
    /// Takes one delivery through all stages, unless it is a repetition. The slot is free again when the attempt has
    /// ended.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future returns the delivery to its queue.
    pub(crate) async fn run(self: Arc<Self>, delivery: Delivery, slot: OwnedSemaphorePermit) {
        match self
            .repeats
            .arrive(delivery.properties.message_id.as_deref())
        {
            Arrival::New(work) => {
                if self.work(delivery, slot).await {
                    work.finished();
                }
            }
            Arrival::Finished => self.skip(delivery),
            Arrival::Repeated(original) => {
                drop(slot);
                // otherwise it is dropped, and with that comes again
                if original.ends_well().await {
                    self.skip(delivery);
                }
            }
        }
    }

    /// Acknowledges a message that this worker has finished already.
    fn skip(&self, delivery: Delivery) {
        let queue = &self.settler.queue;
        let id = delivery.properties.message_id.as_deref();
        debug!(target: "coney::worker", %queue, message_id = id, "delivered again, and finished already");
        telemetry::repeated(queue);
        Settler::skip(delivery.acker);
    }

    /// Takes one delivery through all stages; true if all that follows from it is confirmed.
    async fn work(&self, delivery: Delivery, slot: OwnedSemaphorePermit) -> bool {
        let under_way = self.under_way.enter();
        if !self.has_way_back(&delivery, under_way.is_alone).await {
            return false;
        }
        let redeliveries = redeliveries(&delivery);
        let Delivery {
            properties,
            unreadable,
            payload,
            acker,
            ..
        } = delivery;
        let cancellation = self.abort.child_token();
        let decoded = match unreadable {
            Some(unreadable) => Err(decode::unreadable(unreadable, properties, payload)),
            None => self.decoder.decode(
                properties,
                payload,
                redeliveries,
                cancellation,
                SystemTime::now(),
            ),
        };
        match decoded.map_err(|no_job| *no_job) {
            Ok(job) => self.perform(job, acker, slot).await,
            Err(NoJob::Poison(poison)) => self.refuse(poison, acker).await,
            Err(NoJob::Revoked(message)) => {
                let disposition = revoked(&message.header, SystemTime::now());
                self.cancelled(&message, "a task that was cancelled is not started");
                self.settle(disposition, message, Some(acker)).await
            }
            Err(NoJob::Early(message, remaining)) => {
                let disposition = early(remaining);
                self.settle(disposition, message, Some(acker)).await
            }
            Err(NoJob::Counted(message)) => {
                self.settle(Disposition::AGAIN, message, Some(acker)).await
            }
        }
    }

    /// Waits until what follows from a task can be published and acknowledged; false if the message goes back instead,
    /// being dropped.
    ///
    /// A task that is run before would have to be held when it has ended, and is run again if its delivery is lost
    /// meanwhile.
    async fn has_way_back(&self, delivery: &Delivery, is_alone: bool) -> bool {
        let way = async {
            // without a reply nothing is published, as a rule, and running tasks is what relieves a broker that is full;
            // and one task alone does not wait for an answer, but is the question
            if delivery.properties.reply_to.is_some() && !is_alone {
                self.settler.broker.publishes().await;
            }
            self.settler.keeps_up().await;
            delivery.acker.answers().await;
        };
        let is_open = self.stopping.run_until_cancelled(way).await.is_some();
        is_open && !delivery.acker.is_stale()
    }

    async fn perform(&self, job: Job, acker: Acker, slot: OwnedSemaphorePermit) -> bool {
        let Job {
            message,
            handler,
            context,
            attempt,
            entered,
        } = job;
        let spec = handler.spec();
        let acker = match spec.ack {
            AckMode::Late => Some(acker),
            AckMode::Early => {
                Settler::accept_early(acker);
                None
            }
        };
        let queue = &self.settler.queue;
        let limit = message.header.time_limit;
        let limits = Limits {
            time: TimeLimit::new(
                limit.hard.or(spec.timeout),
                limit.soft.or(spec.soft_timeout),
            ),
            revoked: entered.revoked().clone(),
            revoke_grace: self.revoke_grace,
            abort: self.abort.clone(),
        };
        // the end of a blocking attempt is awaited, as nothing can end it
        let goes_on = self.outlives_connection || spec.blocking;
        let delivery = acker.as_ref().filter(|_| !goes_on);
        let started = Instant::now();
        let outcome = {
            let _running = telemetry::Running::on(queue);
            execute(&handler, &context, attempt, &limits, delivery, slot).await
        };
        let facts = Facts {
            header: &message.header,
            spec,
            revoked: entered.revoked().is_cancelled(),
            worker: &self.settler.worker,
            now: SystemTime::now(),
            chance: rand::random(),
        };
        let disposition = decide(facts, outcome);
        telemetry::ended(queue, spec.name, disposition.outcome(), started.elapsed());
        // from here on a revocation meets what comes after this attempt
        drop(entered);
        if disposition.revoked {
            self.cancelled(&message, "a running task was cancelled");
        }
        tell(&message, queue, disposition.outcome(), started);
        self.settle(disposition, message, acker).await
    }

    fn cancelled(&self, message: &Message, what: &'static str) {
        let queue = &self.settler.queue;
        telemetry::revoked(queue);
        info!(target: "coney::worker", %queue, task = %message.header.task, id = %message.header.id, "{what}");
    }

    async fn refuse(&self, poison: Poison, acker: Acker) -> bool {
        let queue = &self.settler.queue;
        info!(target: "coney::worker", %queue, reason = poison.reason.as_str(), error = %poison.report.message, "message refused");
        let disposition = poisoned(&poison, SystemTime::now());
        self.settler
            .settle(disposition, || poison.letter, Some(acker))
            .await
    }

    /// Settles a message that was read, with the header that it goes on with.
    async fn settle(
        &self,
        mut disposition: Disposition,
        message: Message,
        acker: Option<Acker>,
    ) -> bool {
        let message = match disposition.header.take() {
            Some(header) => Message::new(header, message.body),
            None => message,
        };
        self.settler
            .settle(disposition, || Letter::of(&message), acker)
            .await
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

fn tell(message: &Message, queue: &str, outcome: &'static str, started: Instant) {
    debug!(
        target: "coney::worker",
        %queue,
        task = %message.header.task,
        id = %message.header.id,
        outcome,
        took = ?started.elapsed(),
        "attempt ended"
    );
}
