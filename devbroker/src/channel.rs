//! Channels: what each method of a client does.

mod consuming;
mod exchanges;
mod names;
mod publishing;
mod queues;
mod settling;

use std::collections::{BTreeMap, HashMap};
use std::ops::RangeInclusive;
use std::sync::Arc;

use amq_protocol::protocol::{AMQPClass, access, basic, channel, confirm, exchange, queue};

use crate::error::{Objection, Outcome};
use crate::outbox::Outbox;
use crate::queue::{Position, QueueId};
use crate::vhost::Vhost;
pub(crate) use publishing::LARGEST;

/// One channel of one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct ChannelKey {
    pub(crate) connection: u64,
    pub(crate) number: u16,
}

impl ChannelKey {
    /// The channels of a connection.
    pub(crate) fn all_of(connection: u64) -> RangeInclusive<Self> {
        let channel = |number| Self { connection, number };
        channel(0)..=channel(u16::MAX)
    }
}

/// What a channel knows.
#[derive(Debug)]
pub(crate) struct Channel {
    pub(crate) key: ChannelKey,
    pub(crate) user: Arc<str>,
    pub(crate) outbox: Arc<Outbox>,
    /// The prefetch of consumers to come.
    pub(crate) prefetch: u16,
    /// How many unacknowledged messages all consumers together may have; any number if 0.
    pub(crate) limit: u16,
    /// The queue that was declared last, which an empty name means.
    pub(crate) last_queue: String,
    pub(crate) last_tag: u64,
    /// By delivery tag.
    pub(crate) unacked: BTreeMap<u64, Unacked>,
    /// How many of them were delivered to consumers.
    pub(crate) in_flight: usize,
    /// By consumer tag.
    pub(crate) consumers: HashMap<Arc<str>, QueueId>,
    /// How many messages were published since `confirm.select`.
    pub(crate) published: Option<u64>,
    pub(crate) reply_to: Option<ReplyTo>,
}

/// A delivered message that is not settled.
#[derive(Debug)]
pub(crate) struct Unacked {
    pub(crate) queue: QueueId,
    pub(crate) at: Position,
    /// `None` if it was fetched by `basic.get`.
    pub(crate) consumer: Option<Arc<str>>,
}

/// Who gets direct replies.
#[derive(Clone, Debug)]
pub(crate) struct ReplyTo {
    /// The pseudo-queue.
    pub(crate) name: String,
    pub(crate) channel: ChannelKey,
    pub(crate) tag: Arc<str>,
}

impl Channel {
    pub(crate) fn new(key: ChannelKey, user: Arc<str>, outbox: Arc<Outbox>) -> Self {
        Self {
            key,
            user,
            outbox,
            prefetch: 0,
            limit: 0,
            last_queue: String::new(),
            last_tag: 0,
            unacked: BTreeMap::new(),
            in_flight: 0,
            consumers: HashMap::new(),
            published: None,
            reply_to: None,
        }
    }

    /// The queue that a method means: the one that was declared last, if it names none.
    fn named_queue(&self, name: &str) -> Outcome<String> {
        if !name.is_empty() {
            return Ok(name.to_owned());
        }
        if self.last_queue.is_empty() {
            let objection = Objection::not_found("no previously declared queue");
            return Err(objection);
        }
        Ok(self.last_queue.clone())
    }
}

impl Vhost {
    /// Does what a method says and answers it. Methods of connections, the opening and closing of channels and what
    /// has a content are not for here.
    pub(crate) fn handle(&mut self, key: ChannelKey, method: AMQPClass) -> Outcome<()> {
        self.channel(key)?;
        match method {
            AMQPClass::Basic(method) => self.handle_basic(key, method),
            AMQPClass::Exchange(method) => self.handle_exchange(key, method),
            AMQPClass::Queue(method) => self.handle_queue(key, method),
            AMQPClass::Confirm(confirm::AMQPMethod::Select(method)) => {
                let channel = self.channel_mut(key)?;
                channel.published.get_or_insert(0);
                if !method.nowait {
                    self.answer(key, CONFIRM_SELECT_OK);
                }
                Ok(())
            }
            AMQPClass::Channel(channel::AMQPMethod::Flow(method)) => self.flow(key, method.active),
            AMQPClass::Access(access::AMQPMethod::Request(_)) => {
                let ok = access::AMQPMethod::RequestOk(access::RequestOk {});
                self.answer(key, AMQPClass::Access(ok));
                Ok(())
            }
            AMQPClass::Tx(_) => Err(Objection::not_implemented(
                "transactions are not supported by coney-devbroker: use publisher confirms",
            )),
            _ => Err(unexpected()),
        }
    }

    fn handle_basic(&mut self, key: ChannelKey, method: basic::AMQPMethod) -> Outcome<()> {
        use basic::AMQPMethod as Basic;
        match method {
            Basic::Ack(ack) => self.ack(key, ack.delivery_tag, ack.multiple),
            Basic::Nack(nack) => self.refuse(key, nack.delivery_tag, nack.multiple, nack.requeue),
            Basic::Reject(reject) => self.refuse(key, reject.delivery_tag, false, reject.requeue),
            Basic::Get(get) => self.get(key, &get),
            Basic::Consume(consume) => self.consume(key, &consume),
            Basic::Cancel(cancel) => self.cancel_consumer(key, cancel),
            Basic::Qos(qos) => self.qos(key, &qos),
            Basic::Recover(recover) => {
                self.recover(key, recover.requeue)?;
                self.answer(key, AMQPClass::Basic(Basic::RecoverOk(basic::RecoverOk {})));
                Ok(())
            }
            Basic::RecoverAsync(recover) => self.recover(key, recover.requeue),
            _ => Err(unexpected()),
        }
    }

    fn handle_exchange(&mut self, key: ChannelKey, method: exchange::AMQPMethod) -> Outcome<()> {
        use exchange::AMQPMethod as Method;
        match method {
            Method::Declare(declare) => self.declare_exchange(key, &declare),
            Method::Delete(delete) => self.delete_exchange(key, &delete),
            Method::Bind(bind) => self.bind_exchange(key, bind),
            Method::Unbind(unbind) => self.unbind_exchange(key, unbind),
            _ => Err(unexpected()),
        }
    }

    fn handle_queue(&mut self, key: ChannelKey, method: queue::AMQPMethod) -> Outcome<()> {
        use queue::AMQPMethod as Method;
        match method {
            Method::Declare(declare) => self.declare_queue(key, declare),
            Method::Delete(delete) => self.delete_queue(key, &delete),
            Method::Purge(purge) => self.purge_queue(key, &purge),
            Method::Bind(bind) => self.bind_queue(key, bind),
            Method::Unbind(unbind) => self.unbind_queue(key, unbind),
            _ => Err(unexpected()),
        }
    }

    fn flow(&mut self, key: ChannelKey, active: bool) -> Outcome<()> {
        if !active {
            return Err(Objection::not_implemented("active=false"));
        }
        let ok = channel::AMQPMethod::FlowOk(channel::FlowOk { active });
        self.answer(key, AMQPClass::Channel(ok));
        Ok(())
    }
}

const CONFIRM_SELECT_OK: AMQPClass =
    AMQPClass::Confirm(confirm::AMQPMethod::SelectOk(confirm::SelectOk {}));

/// What only a server may send, or nobody.
fn unexpected() -> Objection {
    Objection::command_invalid("unimplemented method")
}
