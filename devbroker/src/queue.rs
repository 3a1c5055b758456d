//! One queue: messages in their order, and who gets them. Classic and quorum queues; a stream keeps its messages apart.

mod consumer;
mod settings;
mod stream;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use amq_protocol::types::FieldTable;

pub(crate) use consumer::{Consumer, Consumers};
pub(crate) use settings::{DeadLetter, Overflow, Settings};
pub(crate) use stream::{Log, Offset};

use crate::content::Content;
use crate::dead::Reason;

/// When a message that could not be dead-lettered at least once is tried again: RabbitMQ's interval.
const TRY_AGAIN: Duration = Duration::from_secs(180);

/// A queue, told apart from an earlier one of the same name.
pub(crate) type QueueId = u64;

/// How a queue keeps its messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Kind {
    #[default]
    Classic,
    Quorum,
    Stream,
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Classic => "classic",
            Self::Quorum => "quorum",
            Self::Stream => "stream",
        }
    }
}

/// The place of a message in its queue; the lowest is delivered first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Position {
    /// 255 less the priority; on quorum queues 0 for what came back.
    rank: u8,
    number: u64,
}

impl Position {
    /// The place of a message of a stream.
    pub(crate) fn of_offset(number: u64) -> Self {
        Self { rank: 0, number }
    }
}

/// A message in a queue.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    pub(crate) content: Arc<Content>,
    pub(crate) expires: Option<SystemTime>,
    pub(crate) redelivered: bool,
    /// How often it came back to a quorum queue.
    pub(crate) returns: u32,
}

/// A message that its queue gives up.
#[derive(Debug)]
pub(crate) struct GivenUp {
    pub(crate) message: Message,
    pub(crate) reason: Reason,
}

/// A queue.
#[derive(Debug)]
pub(crate) struct Queue {
    pub(crate) id: QueueId,
    pub(crate) name: Arc<str>,
    pub(crate) durable: bool,
    /// The connection that alone may use it.
    pub(crate) owner: Option<u64>,
    pub(crate) auto_delete: bool,
    pub(crate) arguments: FieldTable,
    pub(crate) settings: Settings,
    pub(crate) consumers: Consumers,
    pub(crate) ready: BTreeMap<Position, Message>,
    pub(crate) unacked: BTreeMap<Position, Message>,
    /// Of the bodies of ready messages.
    ready_bytes: usize,
    /// Messages that nobody wants yet and that may not be lost, and when to try again, in the order of that.
    pub(crate) held: Vec<(SystemTime, GivenUp)>,
    pub(crate) log: Option<Log>,
    last: u64,
    /// When it was used for the last time, for `x-expires`.
    pub(crate) used: SystemTime,
    /// When the agenda has it.
    pub(crate) scheduled: Option<SystemTime>,
    /// Delivers nothing: a fault.
    pub(crate) paused: bool,
    /// How many of the next deliveries are made twice: a fault.
    pub(crate) duplicates: usize,
}

impl Queue {
    pub(crate) fn new(id: QueueId, name: Arc<str>, settings: Settings, now: SystemTime) -> Self {
        Self {
            id,
            name,
            durable: false,
            owner: None,
            auto_delete: false,
            arguments: FieldTable::default(),
            log: (settings.kind == Kind::Stream).then(|| Log::new(&settings)),
            settings,
            consumers: Consumers::default(),
            ready: BTreeMap::new(),
            unacked: BTreeMap::new(),
            ready_bytes: 0,
            held: Vec::new(),
            last: 0,
            used: now,
            scheduled: None,
            paused: false,
            duplicates: 0,
        }
    }

    /// How many messages wait, as `queue.declare-ok` tells it: RabbitMQ 3.10 tells none for a stream.
    pub(crate) fn count(&self) -> usize {
        self.ready.len()
    }

    pub(crate) fn is_classic(&self) -> bool {
        self.settings.kind == Kind::Classic
    }

    pub(crate) fn is_quorum(&self) -> bool {
        self.settings.kind == Kind::Quorum
    }

    /// Whether another message is refused. A quorum queue learns of its limit one message late.
    pub(crate) fn refuses(&self, size: usize) -> bool {
        if self.settings.overflow == Overflow::DropHead {
            return false;
        }
        let (more, bytes) = if self.is_quorum() { (0, 0) } else { (1, size) };
        self.is_over(more, bytes)
    }

    fn is_over(&self, more: usize, bytes: usize) -> bool {
        let length = self.settings.max_length;
        let max_bytes = self.settings.max_bytes;
        length.is_some_and(|most| self.ready.len() + more > most)
            || max_bytes.is_some_and(|most| self.ready_bytes + bytes > most)
    }

    /// Takes a new message to its end.
    pub(crate) fn arrive(
        &mut self,
        content: Arc<Content>,
        priority: u8,
        ttl: Option<Duration>,
        now: SystemTime,
    ) {
        if let Some(log) = &mut self.log {
            log.append(content, now);
            return;
        }
        let ttl = match (ttl, self.settings.message_ttl) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
        let message = Message {
            content,
            expires: ttl.and_then(|ttl| now.checked_add(ttl)),
            redelivered: false,
            returns: 0,
        };
        let rank = 255 - priority.min(self.settings.max_priority.unwrap_or(0));
        self.append(rank, message);
    }

    fn append(&mut self, rank: u8, message: Message) {
        self.last += 1;
        let number = self.last;
        self.put(Position { rank, number }, message);
    }

    fn put(&mut self, at: Position, message: Message) {
        self.ready_bytes += message.content.size();
        self.ready.insert(at, message);
    }

    /// Takes the first ready message out of the queue.
    pub(crate) fn pop(&mut self) -> Option<(Position, Message)> {
        let (at, message) = self.ready.pop_first()?;
        self.ready_bytes -= message.content.size();
        Some((at, message))
    }

    /// Gives up what no longer fits, from the head.
    pub(crate) fn shrink(&mut self, given_up: &mut Vec<GivenUp>) {
        while self.settings.overflow == Overflow::DropHead && self.is_over(0, 0) {
            let Some((_, message)) = self.pop() else {
                return;
            };
            given_up.push(GivenUp {
                message,
                reason: Reason::MaxLength,
            });
        }
    }

    /// Gives up what has expired. Only the head of each priority is looked at, as RabbitMQ does.
    pub(crate) fn expire(&mut self, now: SystemTime, given_up: &mut Vec<GivenUp>) {
        while let Some(at) = self.expired_head(now)
            && let Some(message) = self.ready.remove(&at)
        {
            self.ready_bytes -= message.content.size();
            given_up.push(GivenUp {
                message,
                reason: Reason::Expired,
            });
        }
    }

    fn expired_head(&self, now: SystemTime) -> Option<Position> {
        let due = |message: &Message| message.expires.is_some_and(|due| due <= now);
        let mut heads = self.heads();
        heads.find(|(_, message)| due(message)).map(|(at, _)| *at)
    }

    /// Whether the first message is late. One that comes with no time to live is not yet: it may be delivered at once.
    pub(crate) fn head_is_late(&self, now: SystemTime) -> bool {
        let head = self.ready.first_key_value();
        head.and_then(|(_, message)| message.expires)
            .is_some_and(|due| due < now)
    }

    /// The first message of each priority.
    fn heads(&self) -> impl Iterator<Item = (&Position, &Message)> {
        let mut from = Some(Position { rank: 0, number: 0 });
        std::iter::from_fn(move || {
            let head = self.ready.range(from?..).next()?;
            from = head
                .0
                .rank
                .checked_add(1)
                .map(|rank| Position { rank, number: 0 });
            Some(head)
        })
    }

    /// When the first waiting message expires.
    pub(crate) fn next_expiry(&self) -> Option<SystemTime> {
        self.heads()
            .filter_map(|(_, message)| message.expires)
            .min()
    }

    /// When something happens here by itself.
    pub(crate) fn due(&self) -> Option<SystemTime> {
        let idle = match self.settings.expires {
            Some(expires) if self.consumers.is_empty() => self.used.checked_add(expires),
            _ => None,
        };
        let held = self.held.first().map(|(again, _)| *again);
        self.next_expiry().into_iter().chain(idle).chain(held).min()
    }

    /// Whether nobody used it for the time that it may live without.
    pub(crate) fn is_abandoned(&self, now: SystemTime) -> bool {
        let lives = self.settings.expires.filter(|_| self.consumers.is_empty());
        lives
            .and_then(|lives| self.used.checked_add(lives))
            .is_some_and(|end| end <= now)
    }

    /// Keeps a message until it is tried again.
    pub(crate) fn hold(&mut self, given_up: GivenUp, now: SystemTime) {
        self.held.push((now + TRY_AGAIN, given_up));
    }

    /// What is to be tried again now.
    pub(crate) fn retry_held(&mut self, now: SystemTime, given_up: &mut Vec<GivenUp>) {
        let due = self.held.partition_point(|(again, _)| *again <= now);
        let due = self.held.drain(..due);
        given_up.extend(due.map(|(_, message)| message));
    }

    /// Takes a delivered message back to where it was.
    ///
    /// A quorum queue counts it, gives it up when that was too often, and without a limit puts what a client
    /// requeues at the end.
    pub(crate) fn take_back(&mut self, at: Position, by: Return) -> Option<GivenUp> {
        let mut message = self.unacked.remove(&at)?;
        message.redelivered = true;
        if !self.is_quorum() {
            self.put(at, message);
            return None;
        }
        message.returns += 1;
        match self.settings.delivery_limit {
            Some(limit) if message.returns > limit => {
                return Some(GivenUp {
                    message,
                    reason: Reason::DeliveryLimit,
                });
            }
            None if by == Return::Requeued => self.append(255, message),
            _ => self.append(0, message),
        }
        None
    }

    /// Panics if bytes were counted wrongly.
    #[cfg(feature = "__fuzzing")]
    pub(crate) fn check_bytes(&self) {
        let bytes: usize = self.ready.values().map(|one| one.content.size()).sum();
        assert_eq!(self.ready_bytes, bytes, "of queue {}", self.name);
    }

    /// Empties the queue of ready messages; how many there were.
    pub(crate) fn purge(&mut self) -> usize {
        self.ready_bytes = 0;
        std::mem::take(&mut self.ready).len()
    }
}

/// How a message comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Return {
    /// By `basic.nack`, `basic.reject` or `basic.recover`.
    Requeued,
    /// Its channel is gone.
    Lost,
}
