//! Stage two: a delivery becomes a job that can run, or poison that never will.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use coney_amqp::Unreadable;
use coney_protocol::canvas::{CanvasError, Plan};
use coney_protocol::clock::Clock;
use coney_protocol::codec::body::RawCall;
use coney_protocol::context::{DeliveryInfo, Inner, TaskContext};
use coney_protocol::dead::Reason;
use coney_protocol::delay;
use coney_protocol::error::{ArgumentError, DecodeError};
use coney_protocol::header::{Header, TimeLimit, is_reserved};
use coney_protocol::id::TaskId;
use coney_protocol::inject::States;
use coney_protocol::outcome::ErrorReport;
use coney_protocol::property::{Properties, Table, Value};
use coney_protocol::wire::{self, Limits, Undecoded};

use crate::card::Card;
use crate::flow;
use crate::handler::{Attempt, Handler};
use crate::limits::TaskLimits;
use crate::registry::Registry;
use crate::revocations::{Entered, Revocations};
use crate::settle::{Letter, ReplyAddress};
use crate::uplink::ReplyLine;

/// Clocks differ: a message is not sent back to wait for less than this.
const CLOCK_SLACK: Duration = Duration::from_millis(2);

/// A message that can run as soon as there is a slot for it.
#[derive(Debug)]
pub(crate) struct Received {
    pub(crate) card: Arc<Card>,
    pub(crate) handler: Arc<Handler>,
    /// How often it was delivered before.
    pub(crate) redeliveries: u32,
}

/// An attempt that can run: everything but the run itself is decided.
pub(crate) struct Job {
    /// When its turn came.
    pub(crate) now: SystemTime,
    pub(crate) context: TaskContext,
    pub(crate) attempt: Attempt,
    /// What shall follow.
    pub(crate) plan: Option<Box<Plan>>,
    /// Lets it be revoked while it runs.
    pub(crate) entered: Entered,
}

/// A message that cannot run here: it goes to the dead letters with the reason.
#[derive(Debug)]
pub(crate) struct Poison {
    pub(crate) reason: Reason,
    pub(crate) report: ErrorReport,
    /// True if the message itself cannot be read, whatever it asks for.
    pub(crate) is_unread: bool,
    pub(crate) letter: Letter,
    /// Where a caller waits, if one does, and under which id.
    pub(crate) reply: Option<ReplyAddress>,
    /// The message, if its header can be read.
    pub(crate) card: Option<Arc<Card>>,
}

/// A message as it came, without what settles it.
#[derive(Debug)]
pub(crate) struct Arrived {
    pub(crate) properties: Properties,
    pub(crate) payload: Bytes,
    pub(crate) exchange: String,
    pub(crate) routing_key: String,
    pub(crate) redelivered: bool,
    /// How often it was delivered before, as far as the broker says.
    pub(crate) redeliveries: u32,
}

/// Why a delivery is no job.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "it is boxed wherever it goes")]
pub(crate) enum NoJob {
    /// It never will be.
    Poison(Poison),
    /// It shall not be: its task was revoked.
    Revoked(Arc<Card>),
    /// It will be after this time, at which it is due.
    Early(Arc<Card>, Duration),
    /// It will be after this time: others of its task have their turn before.
    Throttled(Arc<Card>, Duration),
    /// It was delivered before, and nobody but us counts that: the number is in the message now.
    Counted(Arc<Card>),
}

/// What the stage knows of the worker and the queue.
#[derive(Debug)]
pub(crate) struct Decoder {
    pub(crate) queue: Arc<str>,
    /// The worker's name.
    pub(crate) worker: Arc<str>,
    pub(crate) registry: Arc<Registry>,
    pub(crate) states: Arc<States>,
    pub(crate) limits: Limits,
    pub(crate) replies: Arc<ReplyLine>,
    pub(crate) revocations: Arc<Revocations>,
    pub(crate) task_limits: Arc<TaskLimits>,
    /// After how many redeliveries a message is given up, if the broker does not do that.
    pub(crate) delivery_limit: Option<u32>,
    pub(crate) clock: Clock,
}

impl Decoder {
    /// Reads a message as far as it takes to know whether it shall run now; its arguments are not looked at.
    pub(crate) fn receive(&self, arrived: Arrived) -> Result<Received, Box<NoJob>> {
        let Arrived {
            properties,
            payload,
            exchange,
            routing_key,
            redelivered,
            redeliveries,
        } = arrived;
        // the way through the broker while it waited says nothing of where it was sent
        let (exchange, routing_key) = match delay::meant_for(&exchange, &routing_key) {
            Some(queue) => (String::new(), queue.to_owned()),
            None => (exchange, routing_key),
        };
        let now = self.clock.now();
        let mut message = wire::decode(properties, payload, &self.limits).map_err(poison_of)?;
        let is_revoked = self
            .revocations
            .is_revoked(&message.header, self.clock.instant());
        let remaining = remaining(&message.header, now);
        let redeliveries = match self.delivery_limit {
            Some(limit) if !is_revoked && remaining.is_none() => {
                count(&mut message.header, redeliveries > 0, limit)
            }
            _ => Ok(Some(redeliveries)),
        };
        let delivery = DeliveryInfo {
            exchange,
            routing_key,
            priority: message.header.priority,
            redelivered,
        };
        let card = Arc::new(Card {
            message: Arc::new(message),
            delivery: Arc::new(delivery),
        });
        if is_revoked {
            return Err(Box::new(NoJob::Revoked(card)));
        }
        if let Some(remaining) = remaining {
            return Err(Box::new(NoJob::Early(card, remaining)));
        }
        let redeliveries = match redeliveries {
            Ok(Some(redeliveries)) => redeliveries,
            Ok(None) => return Err(Box::new(NoJob::Counted(card))),
            Err(refused) => return Err(refused.of(card)),
        };
        let handler = match self.handler(card.header(), now) {
            Ok(handler) => Arc::clone(handler),
            Err(refused) => return Err(refused.of(card)),
        };
        if let Some(wait) = self.task_limits.wait(card.task(), card.id(), now) {
            return Err(Box::new(NoJob::Throttled(card, wait)));
        }
        Ok(Received {
            card,
            handler,
            redeliveries,
        })
    }

    /// Binds the arguments of a message whose turn it is, unless it was revoked or has expired while it waited.
    pub(crate) fn start(
        &self,
        received: &Received,
        time_limit: TimeLimit,
    ) -> Result<Box<Job>, Box<NoJob>> {
        let Received {
            card,
            handler,
            redeliveries,
        } = received;
        let now = self.clock.now();
        let Some(entered) = self.revocations.enter(card.header(), self.clock.instant()) else {
            return Err(Box::new(NoJob::Revoked(Arc::clone(card))));
        };
        if is_late(card.header(), now) {
            return Err(Refused::new(Reason::Expired, expired()).of(Arc::clone(card)));
        }
        let mut parts = self.context(received, time_limit, now);
        parts.redeliveries = *redeliveries;
        let context = TaskContext::new(parts);
        match self.bind(card, handler, &context) {
            Ok((attempt, plan)) => Ok(Box::new(Job {
                now,
                context,
                attempt,
                plan,
                entered,
            })),
            Err(refused) => Err(refused.of(Arc::clone(card))),
        }
    }

    /// What runs a message, if anything does and it is not too late.
    fn handler(&self, header: &Header, now: SystemTime) -> Result<&Arc<Handler>, Box<Refused>> {
        if is_late(header, now) {
            return Err(Refused::new(Reason::Expired, expired()));
        }
        let unknown = || Refused::new(Reason::UnknownTask, unknown(&header.task));
        self.registry.get(&header.task).ok_or_else(unknown)
    }

    fn bind(
        &self,
        card: &Card,
        handler: &Handler,
        context: &TaskContext,
    ) -> Result<(Attempt, Option<Box<Plan>>), Box<Refused>> {
        let plain = card.message.body.plain(&self.limits);
        let plain = plain.map_err(|e| Refused::undecodable(&e))?;
        let call = RawCall::cut(&plain).map_err(|e| Refused::undecodable(&e))?;
        // nothing runs whose consequences cannot be sent
        let plan = Plan::read(&call.embed).map_err(|error| Refused::canvas(&error))?;
        let attempt = handler.start(&call, context);
        let attempt = attempt.map_err(|error| Refused::arguments(&error))?;
        Ok((attempt, plan.map(Box::new)))
    }

    /// What should have followed from a message that does not run.
    pub(crate) fn plan(&self, card: &Card) -> Option<Plan> {
        let plain = card.message.body.plain(&self.limits).ok()?;
        Plan::salvage(&RawCall::cut(&plain).ok()?.embed)
    }

    fn context(&self, received: &Received, time_limit: TimeLimit, now: SystemTime) -> Inner {
        let Received { card, handler, .. } = received;
        let header = card.header();
        let (message, delivery) = (Arc::clone(&card.message), Arc::clone(&card.delivery));
        let mut parts = Inner::of(message, delivery, Arc::clone(&self.states));
        parts.queue = Arc::clone(&self.queue);
        parts.time_limit = time_limit;
        parts.deadline = time_limit.hard.and_then(|limit| now.checked_add(limit));
        parts.hostname = Arc::clone(&self.worker);
        parts.headers = own_headers(&header.extra);
        let ignored = header.ignore_result.is_none() && handler.spec().ignore_result;
        if ReplyAddress::is_in(header) && !ignored {
            let replies = Arc::clone(&self.replies);
            parts.uplink = Some(replies.to(Arc::clone(&card.message)));
        }
        parts
    }
}

/// The caller's own headers: those that neither coney nor the broker wrote.
fn own_headers(extra: &Table) -> Table {
    extra
        .iter()
        .filter(|(name, _)| !is_reserved(name))
        .map(|(name, value)| (name.to_owned().into(), value.clone()))
        .collect()
}

/// Why a message is refused, and what its caller is told.
struct Refused {
    reason: Reason,
    report: ErrorReport,
    is_unread: bool,
}

impl Refused {
    fn new(reason: Reason, report: ErrorReport) -> Box<Self> {
        Box::new(Self {
            reason,
            report,
            is_unread: false,
        })
    }

    /// The message that is refused.
    fn of(self, card: Arc<Card>) -> Box<NoJob> {
        Box::new(NoJob::Poison(Poison {
            reason: self.reason,
            report: self.report,
            is_unread: self.is_unread,
            reply: ReplyAddress::of(card.header()),
            letter: Letter::of(&card.message),
            card: Some(card),
        }))
    }

    /// What Celery answers for arguments that do not fit.
    fn arguments(error: &ArgumentError) -> Box<Self> {
        let report = ErrorReport::new("TypeError", error.to_string()).module("builtins");
        let cause = std::error::Error::source(error);
        Self::new(Reason::Arguments, report.caused_by(cause))
    }

    fn canvas(error: &CanvasError) -> Box<Self> {
        let (reason, report) = flow::objection(error);
        Self::new(reason, report)
    }

    fn undecodable(error: &DecodeError) -> Box<Self> {
        let reason = match error {
            DecodeError::TooLarge { .. } => Reason::TooLarge,
            DecodeError::ContentType { .. } | DecodeError::Compression { .. } => {
                Reason::ContentType
            }
            _ => Reason::Decode,
        };
        Box::new(Self {
            reason,
            report: ErrorReport::of(error),
            // what is too large could be read elsewhere
            is_unread: reason != Reason::TooLarge,
        })
    }
}

/// Counts how often a message was delivered before, on a queue that only says whether it was; `None` if it does not run
/// this time.
///
/// The count lives in the message, so that it survives the worker that the message kills; and it can only grow by
/// publishing the message anew. So a redelivery is not run: the message goes to the end of its queue with its count, and
/// runs when it comes from there.
fn count(
    header: &mut Header,
    is_redelivery: bool,
    limit: u32,
) -> Result<Option<u32>, Box<Refused>> {
    let before = header.redeliveries();
    // retries, dead letters and what is deferred start from 0 again, as on a quorum queue
    header.set_redeliveries(0);
    if !is_redelivery {
        return Ok(Some(before));
    }
    if before >= limit {
        return Err(Refused::new(Reason::DeliveryLimit, too_often(limit)));
    }
    header.set_redeliveries(before + 1);
    Ok(None)
}

/// How long a message has yet to wait: one that is late, or has expired, waits no more.
fn remaining(header: &Header, now: SystemTime) -> Option<Duration> {
    let remaining = header.eta?.duration_since(now).ok()?;
    (!is_late(header, now) && remaining >= CLOCK_SLACK).then_some(remaining)
}

/// True if a message is no longer worth starting.
fn is_late(header: &Header, now: SystemTime) -> bool {
    header.expires.is_some_and(|expires| expires <= now)
}

fn poison_of(undecoded: Box<Undecoded>) -> Box<NoJob> {
    let refused = Refused::undecodable(&undecoded.error);
    Box::new(NoJob::Poison(Poison {
        reason: refused.reason,
        report: refused.report,
        is_unread: refused.is_unread,
        reply: ReplyAddress::new(undecoded.reply_to, undecoded.correlation_id, undecoded.id),
        letter: Letter::new(undecoded.properties, undecoded.body),
        card: None,
    }))
}

/// A message whose properties hold what nobody can read. Its dead letter has them as they were read.
pub(crate) fn unreadable(why: Unreadable, properties: Properties, body: Bytes) -> Box<NoJob> {
    let id = properties.headers.get("id").and_then(Value::as_str);
    let reply = ReplyAddress::new(
        properties.reply_to.clone(),
        properties.correlation_id.clone(),
        id.map(TaskId::from),
    );
    Box::new(NoJob::Poison(Poison {
        reason: Reason::Decode,
        report: ErrorReport::new("DecodeError", why.to_string()),
        is_unread: true,
        reply,
        letter: Letter::new(properties, body),
        card: None,
    }))
}

/// What Celery answers for a task that it does not know, so that its clients raise what they expect.
fn unknown(task: &str) -> ErrorReport {
    ErrorReport::new("NotRegistered", task).module("celery.exceptions")
}

/// What Celery answers for a task that was too late.
fn expired() -> ErrorReport {
    ErrorReport::new("TaskRevokedError", "expired").module("celery.exceptions")
}

fn too_often(limit: u32) -> ErrorReport {
    ErrorReport::new(
        "DeliveryLimitExceeded",
        format!(
            "delivered again more than {limit} times and never finished: its workers died over it"
        ),
    )
}
