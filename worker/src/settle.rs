//! Stage five: performs a disposition. Everything is confirmed before the delivery is acknowledged, and nothing else
//! acknowledges.

use std::time::Duration;

use bytes::Bytes;
use coney_amqp::{Acker, Broker, DeclareError, Publication, PublishError, PublishErrorKind};
use coney_protocol::canvas::Outgoing;
use coney_protocol::codec;
use coney_protocol::dead::{self, Reason};
use coney_protocol::delay;
use coney_protocol::header::Header;
use coney_protocol::id::TaskId;
use coney_protocol::message::Message;
use coney_protocol::outcome::ErrorReport;
use coney_protocol::property::Properties;
use coney_protocol::reply::{Reply, Status};
use coney_protocol::topology::{Preset, REPLY_PREFIX, Route, Topology};
use coney_protocol::wire;
use futures_util::FutureExt;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, warn};

use crate::decide::{Again, Disposition, Then};
use crate::flow::{self, Follow};
use crate::follow::{AT_ONCE, Follower, Pending, Undeliverable};
use crate::telemetry;

/// Where a caller waits for a result.
#[derive(Clone, Debug)]
pub(crate) struct ReplyAddress {
    pub(crate) queue: String,
    pub(crate) correlation_id: String,
    pub(crate) id: TaskId,
}

impl ReplyAddress {
    /// True if a header gives an address: the caller wants the result.
    pub(crate) fn is_in(header: &Header) -> bool {
        header.reply_to.is_some() && header.ignore_result != Some(true)
    }

    /// The address that a header gives, if it does.
    pub(crate) fn of(header: &Header) -> Option<Self> {
        if !Self::is_in(header) {
            return None;
        }
        Some(Self {
            queue: header.reply_to.clone()?,
            correlation_id: header.correlation(),
            id: header.id.clone(),
        })
    }

    /// The address that is left of a message without a readable header: id and correlation id stand in for each other.
    pub(crate) fn new(
        reply_to: Option<String>,
        correlation_id: Option<String>,
        id: Option<TaskId>,
    ) -> Option<Self> {
        let id = id.or_else(|| correlation_id.as_deref().map(TaskId::from))?;
        Some(Self {
            queue: reply_to?,
            correlation_id: correlation_id.unwrap_or_else(|| id.to_string()),
            id,
        })
    }

    /// The address of a task's own result.
    pub(crate) fn of_task(queue: String, id: TaskId) -> Self {
        Self {
            queue,
            correlation_id: id.to_string(),
            id,
        }
    }

    /// True if a client of coney waits there.
    pub(crate) fn is_of_coney(&self) -> bool {
        self.queue.starts_with(REPLY_PREFIX)
    }

    /// The publication of a reply to this address.
    ///
    /// Not mandatory: a caller that is gone wants no result, and its queue went with it. Kept on disk for clients of
    /// coney; those of Celery want their results in memory, unless they say otherwise to workers of their own.
    pub(crate) fn publication(self, reply: &Reply) -> Publication {
        let mut properties = Properties::default();
        properties.content_type = Some(codec::JSON.into());
        properties.content_encoding = Some(codec::UTF_8.into());
        // Celery's clients are answered as its workers do
        properties.persistent = self.is_of_coney();
        properties.priority = (!self.is_of_coney()).then_some(0);
        properties.correlation_id = Some(self.correlation_id);
        let route = Route::to_queue(self.queue);
        Publication::new(route, properties, reply.encode()).optional()
    }
}

/// A message as it is put into the dead letters: as it came, headers and all.
#[derive(Clone, Debug)]
pub(crate) struct Letter {
    properties: Properties,
    body: Bytes,
}

impl Letter {
    pub(crate) fn new(properties: Properties, body: Bytes) -> Self {
        Self { properties, body }
    }

    pub(crate) fn of(message: &Message) -> Self {
        let (properties, body) = wire::encode(message);
        Self::new(properties, body)
    }

    /// The same message, to be published there.
    pub(crate) fn publication(self, route: Route) -> Publication {
        Publication::new(route, self.properties, self.body)
    }
}

/// A disposition, ready to be performed.
pub(crate) struct Settlement {
    then: Then,
    /// On the heap: from most tasks little follows, and none shall take the room of all that may.
    consequences: Option<Box<Consequences>>,
}

impl Settlement {
    /// What a disposition says; `letter` makes the message that moves on, if it does.
    pub(crate) fn of(disposition: Disposition, letter: impl FnOnce() -> Letter) -> Self {
        let then = disposition.then;
        let publishes = disposition.publishes();
        Self {
            then,
            consequences: publishes.then(|| Box::new(Consequences::of(disposition, letter))),
        }
    }

    /// True if something has to be published and confirmed first.
    pub(crate) fn publishes(&self) -> bool {
        self.consequences.is_some()
    }
}

/// What follows from a task and is not confirmed yet.
struct Consequences {
    before: Pending,
    reply: Option<(ReplyAddress, Reply)>,
    moved: Option<(Letter, Move)>,
    after: Pending,
    told: Vec<(ReplyAddress, Reply)>,
}

/// Where a message goes on.
enum Move {
    Again(Again),
    Bury(Reason, ErrorReport),
}

impl Consequences {
    fn of(disposition: Disposition, letter: impl FnOnce() -> Letter) -> Self {
        let again = disposition.again.map(Move::Again);
        let dead = disposition
            .dead
            .map(|(reason, report)| Move::Bury(reason, report));
        let Follow {
            before,
            after,
            told,
        } = disposition.follow;
        Self {
            before: Pending::new(before),
            reply: disposition.reply,
            moved: again.or(dead).map(|movement| (letter(), movement)),
            after: Pending::new(after),
            told,
        }
    }
}

/// How long to wait before what the broker did not confirm is published again.
const UNSETTLED_PAUSE: Duration = Duration::from_secs(1);

/// How long what follows from a task may stay unconfirmed before no other is started.
const LATE: Duration = Duration::from_millis(100);

/// Performs dispositions of one queue.
#[derive(Debug)]
pub(crate) struct Settler {
    pub(crate) broker: Broker,
    pub(crate) queue: String,
    /// What the queue needs, its dead letters among it.
    pub(crate) topology: Topology,
    pub(crate) worker: String,
    pub(crate) follower: Follower,
    /// Fires when the worker stops at once.
    pub(crate) abort: CancellationToken,
    /// How many dispositions wait for their confirms for longer than they should.
    pub(crate) late: watch::Sender<usize>,
}

impl Settler {
    /// Acknowledges a delivery whose task asked for it before it runs.
    pub(crate) fn accept_early(acker: Acker) {
        acker.ack();
    }

    /// Acknowledges a delivery of a message that was settled before.
    pub(crate) fn skip(acker: Acker) {
        acker.ack();
    }

    /// Publishes what the disposition says, waits for the confirms, then settles the delivery; true if it is done with,
    /// and need not be run again should it come again.
    ///
    /// While the broker does not confirm (an alarm, a lost connection), the same messages are tried again and the task
    /// is not run again: its slot of the prefetch is the back-pressure.
    ///
    /// # Delivery
    ///
    /// A crash before the ack lets the broker deliver the message again: the task runs twice and both runs have the
    /// same id. So does a worker that stops before everything is confirmed, and one that loses the delivery's connection
    /// if the broker hands the message to another worker.
    pub(crate) async fn settle(&self, settlement: Settlement, acker: Option<Acker>) -> bool {
        let Settlement { then, consequences } = settlement;
        let confirmed = match consequences {
            Some(consequences) => Box::pin(self.confirm(consequences)).await,
            None => Ok(()),
        };
        let is_done = confirmed.is_ok() && then != Then::Requeue;
        match (confirmed, acker, then) {
            (Ok(()), Some(acker), Then::Ack) => acker.ack(),
            (Ok(()), Some(acker), Then::Requeue) => acker.requeue(),
            (Ok(()), Some(acker), Then::Reject) => acker.reject(),
            (Ok(()), None, _) => {}
            (Err(error), Some(acker), _) => self.give_back(acker, &error).boxed().await,
            (Err(error), None, _) => {
                error!(target: "coney::worker", queue = %self.queue, %error, "what follows from a task that was acknowledged early is lost");
            }
        }
        is_done
    }

    /// Publishes what follows from a task until it is confirmed, or never will be.
    async fn confirm(&self, mut consequences: Box<Consequences>) -> Result<(), Unsettled> {
        loop {
            let Err(error) = self.publish_all(&mut consequences).await else {
                return Ok(());
            };
            telemetry::unsettled(&self.queue);
            // also when the delivery is lost: a repetition that comes here waits for it, and the result is as good
            if !error.is_transient() || self.abort.is_cancelled() {
                return Err(error);
            }
            warn!(target: "coney::worker", queue = %self.queue, %error, "what follows from a task is not confirmed yet: trying again");
            let _ = tokio::time::timeout(UNSETTLED_PAUSE, self.abort.cancelled()).await;
        }
    }

    /// False while what follows from other tasks of the queue is not confirmed for longer than it should be.
    pub(crate) fn is_on_time(&self) -> bool {
        *self.late.borrow() == 0
    }

    /// Waits while what follows from other tasks of the queue is not confirmed for longer than it should be.
    pub(crate) async fn keeps_up(&self) {
        if self.is_on_time() {
            return;
        }
        let mut late = self.late.subscribe();
        // what is returned is a lock, not to be kept
        drop(late.wait_for(|late| *late == 0).await);
    }

    /// Publishes what is not confirmed yet, and says so when that takes long.
    async fn publish_all(&self, consequences: &mut Consequences) -> Result<(), Unsettled> {
        let mut confirmed = std::pin::pin!(self.publish_in_order(consequences));
        if let Ok(confirmed) = tokio::time::timeout(LATE, &mut confirmed).await {
            return confirmed;
        }
        let _late = Late::note(&self.late);
        confirmed.await
    }

    /// What the result lists is sent before it, what asks for the result after it.
    async fn publish_in_order(&self, consequences: &mut Consequences) -> Result<(), Unsettled> {
        if !consequences.before.is_empty() {
            self.send_all(&mut consequences.before).boxed().await?;
        }
        self.publish_both(consequences).await?;
        if !consequences.after.is_empty() {
            self.send_all(&mut consequences.after).boxed().await?;
        }
        self.tell_all(&mut consequences.told).await
    }

    /// Sends tasks, some at a time. One that can never be delivered is a dead letter, and its callers are told.
    async fn send_all(&self, pending: &mut Pending) -> Result<(), Unsettled> {
        while !pending.is_empty() {
            let next = pending.next();
            let sent = next.iter().map(|(id, outgoing)| self.send(id, outgoing));
            let sent = futures_util::future::join_all(sent).await;
            let mut first_error = Ok(());
            // backwards, so that those that go back stand as they stood
            for (unconfirmed, sent) in next.into_iter().zip(sent).rev() {
                if let Err(error) = sent {
                    pending.put_back(unconfirmed);
                    first_error = Err(error);
                }
            }
            first_error?;
        }
        Ok(())
    }

    async fn send(&self, id: &str, outgoing: &Outgoing) -> Result<(), Unsettled> {
        let Some(undeliverable) = self.follower.send(id, outgoing).await? else {
            return Ok(());
        };
        let Undeliverable { letter, report } = *undeliverable;
        self.bury(&letter, Reason::Undeliverable, &report).await?;
        let now = self.broker.clock().now();
        let mut told: Vec<_> = flow::told(outgoing.abandoned(), &Status::Failure, &report, now);
        self.tell_all(&mut told).await
    }

    /// Tells callers, some at a time, that their tasks will not run.
    async fn tell_all(&self, told: &mut Vec<(ReplyAddress, Reply)>) -> Result<(), Unsettled> {
        while !told.is_empty() {
            let next = told.len().min(AT_ONCE);
            let replies = told[..next].iter();
            let replies = replies.map(|(address, reply)| self.send_reply(address, reply));
            let sent = futures_util::future::join_all(replies).await;
            // who is told twice takes the first
            sent.into_iter().collect::<Result<(), _>>()?;
            told.drain(..next);
        }
        Ok(())
    }

    async fn publish_both(&self, consequences: &mut Consequences) -> Result<(), Unsettled> {
        let Consequences { reply, moved, .. } = consequences;
        if let (Some((address, told)), None) = (&reply, &moved) {
            self.send_reply(address, told).await?;
            *reply = None;
            return Ok(());
        }
        // the message moves on whether or not its caller can be told
        let (answered, moved_on) = tokio::join!(
            async {
                match reply {
                    Some((address, reply)) => self.send_reply(address, reply).await,
                    None => Ok(()),
                }
            },
            async {
                match moved {
                    Some((letter, movement)) => self.move_on(letter, movement).boxed().await,
                    None => Ok(()),
                }
            }
        );
        if answered.is_ok() {
            *reply = None;
        }
        if moved_on.is_ok() {
            *moved = None;
        }
        answered.and(moved_on)
    }

    async fn move_on(&self, letter: &Letter, movement: &Move) -> Result<(), Unsettled> {
        match movement {
            Move::Again(again) => self.send_again(letter, *again).await,
            Move::Bury(reason, report) => self.bury(letter, *reason, report).await,
        }
    }

    /// Returns a delivery whose consequences cannot be published. What will never be confirmed is left to the broker,
    /// which dead-letters at least once by itself, where the queue has dead letters of its own.
    async fn give_back(&self, acker: Acker, error: &Unsettled) {
        if error.is_transient() {
            warn!(target: "coney::worker", queue = %self.queue, %error, "not confirmed: the message goes back to its queue");
            return acker.requeue();
        }
        error!(target: "coney::worker", queue = %self.queue, %error, "what follows from a task cannot be published");
        // it comes back at once: not in a hot loop
        let _ = tokio::time::timeout(UNSETTLED_PAUSE, self.abort.cancelled()).await;
        match self.broker.preset() {
            Preset::Native => acker.reject(),
            _ => acker.requeue(),
        }
    }

    /// Sends a message to its own queue again, through the delay ladder if it has to wait.
    async fn send_again(&self, letter: &Letter, again: Again) -> Result<(), Unsettled> {
        let route = match again {
            Again::Now => self.broker.preset().route(self.queue.clone()),
            Again::After(steps) => {
                let ladder = self.broker.ensure_ladder().await;
                ladder.map_err(Unsettled::Declare)?;
                steps.route(&self.queue)
            }
        };
        let Letter { properties, body } = letter.clone();
        let publication = Publication::new(route, properties, body);
        let what_it_needs = || {
            let mut topology = match again {
                Again::Now => Topology::default(),
                Again::After(_) => delay::ladder(),
            };
            topology.append(self.topology.clone());
            topology
        };
        self.publish(publication, what_it_needs).await
    }

    /// Publishes, and once more after declaring what it needs if that is gone.
    async fn publish(
        &self,
        publication: Publication,
        topology: impl FnOnce() -> Topology,
    ) -> Result<(), Unsettled> {
        let publisher = self.broker.publisher();
        match publisher.publish(publication.clone()).await {
            Err(error) if is_missing(&error) => {
                warn!(target: "coney::worker", queue = %self.queue, %error, "declaring again what is gone");
                let declared = self.broker.declare(&topology()).await;
                declared.map_err(Unsettled::Declare)?;
                publisher
                    .publish(publication)
                    .await
                    .map_err(Unsettled::Publish)
            }
            verdict => verdict.map_err(Unsettled::Publish),
        }
    }

    /// Sends a result. One that the broker never takes is replaced by a failure, so that the caller learns of it.
    async fn send_reply(&self, address: &ReplyAddress, reply: &Reply) -> Result<(), Unsettled> {
        let publisher = self.broker.publisher();
        let refused = match publisher.publish(address.clone().publication(reply)).await {
            Ok(()) => return Ok(()),
            Err(error) if error.is_transient() => return Err(Unsettled::Publish(error)),
            Err(error) => error,
        };
        self.send_substitute(address, &refused).boxed().await
    }

    /// Sends a failure in place of a result that the broker refuses.
    async fn send_substitute(
        &self,
        address: &ReplyAddress,
        refused: &PublishError,
    ) -> Result<(), Unsettled> {
        let publisher = self.broker.publisher();
        warn!(target: "coney::worker", queue = %self.queue, id = %address.id, error = %refused, "the broker refuses a result");
        let report = ErrorReport::new(
            "ResultError",
            format!("the worker could not send the result: {refused}"),
        );
        let failure = Reply::failure(address.id.clone(), Status::Failure, &report);
        match publisher
            .publish(address.clone().publication(&failure))
            .await
        {
            Err(error) if error.is_transient() => Err(Unsettled::Publish(error)),
            Err(error) => {
                // nothing can reach this caller; running the task again would not change that
                error!(target: "coney::worker", queue = %self.queue, %error, "the broker refuses every result for this caller");
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    /// Moves a message to the dead letters.
    async fn bury(
        &self,
        letter: &Letter,
        reason: Reason,
        report: &ErrorReport,
    ) -> Result<(), Unsettled> {
        let Letter {
            mut properties,
            body,
        } = letter.clone();
        let now = self.broker.clock().now();
        dead::mark(
            &mut properties,
            reason,
            report,
            &self.queue,
            &self.worker,
            now,
        );
        let route = self.broker.preset().dead_route(&self.queue);
        debug!(target: "coney::worker", queue = %self.queue, reason = reason.as_str(), "dead letter");
        let publication = Publication::new(route, properties, body);
        self.publish(publication, || self.topology.clone()).await?;
        telemetry::dead_letter(&self.queue, reason);
        Ok(())
    }
}

/// A disposition that waits for its confirms for longer than it should.
struct Late<'a>(&'a watch::Sender<usize>);

impl<'a> Late<'a> {
    fn note(late: &'a watch::Sender<usize>) -> Self {
        late.send_modify(|late| *late += 1);
        Self(late)
    }
}

impl Drop for Late<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|late| *late -= 1);
    }
}

/// Why what follows from a task is not confirmed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unsettled {
    #[error(transparent)]
    Publish(PublishError),
    #[error(transparent)]
    Declare(DeclareError),
}

impl Unsettled {
    pub(crate) fn is_transient(&self) -> bool {
        match self {
            Self::Publish(error) => error.is_transient(),
            Self::Declare(error) => error.is_transient(),
        }
    }
}

pub(crate) fn is_missing(error: &PublishError) -> bool {
    matches!(
        error.kind(),
        PublishErrorKind::Unroutable { .. } | PublishErrorKind::NoExchange { .. }
    )
}
