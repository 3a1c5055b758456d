//! Exchanges, queues and channels of a virtual host: plain data behind one lock, with no I/O and no await.

mod agenda;
#[cfg(feature = "__fuzzing")]
mod check;
mod deliver;
mod host;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::SystemTime;

use amq_protocol::protocol::{AMQPClass, basic};

use crate::access::{Access, Right};
use crate::channel::{Channel, ChannelKey, ReplyTo};
use crate::dead::Letter;
use crate::error::{Objection, Outcome};
use crate::exchange::{Destination, Exchange, Kind};
use crate::faults::ConfirmFaults;
use crate::queue::{GivenUp, Queue, QueueId, Return};
use agenda::Agenda;
pub(crate) use deliver::as_delivered;
pub(crate) use host::{Host, Signals};

/// The exchanges that every virtual host has.
const PREDECLARED: [(&str, Kind); 7] = [
    ("", Kind::Direct),
    ("amq.direct", Kind::Direct),
    ("amq.fanout", Kind::Fanout),
    ("amq.headers", Kind::Headers),
    ("amq.match", Kind::Headers),
    ("amq.rabbitmq.trace", Kind::Topic),
    ("amq.topic", Kind::Topic),
];

/// A virtual host.
#[derive(Debug)]
pub(crate) struct Vhost {
    pub(crate) name: Arc<str>,
    /// The time of what happens now.
    pub(crate) now: SystemTime,
    pub(crate) access: Access,
    pub(crate) exchanges: BTreeMap<Arc<str>, Exchange>,
    pub(crate) queues: HashMap<QueueId, Queue>,
    pub(crate) names: BTreeMap<Arc<str>, QueueId>,
    /// In the order of their connections.
    pub(crate) channels: BTreeMap<ChannelKey, Channel>,
    /// Who waits for direct replies, by the name of the pseudo-queue.
    pub(crate) replies: HashMap<String, ReplyTo>,
    pub(crate) confirms: ConfirmFaults,
    agenda: Agenda,
    last_id: u64,
    /// Queues that may have something to deliver or to give up.
    touched: VecDeque<QueueId>,
    /// Messages that go to a dead-letter exchange.
    letters: VecDeque<Letter>,
}

impl Vhost {
    pub(crate) fn new(name: &str, now: SystemTime) -> Self {
        let exchange = |(name, kind): (&str, Kind)| {
            let name: Arc<str> = name.into();
            (name.clone(), Exchange::new(name, kind, Default::default()))
        };
        let mut exchanges: BTreeMap<_, _> = PREDECLARED.into_iter().map(exchange).collect();
        if let Some(trace) = exchanges.get_mut("amq.rabbitmq.trace") {
            trace.internal = true;
        }
        Self {
            name: name.into(),
            now,
            access: Access::default(),
            exchanges,
            queues: HashMap::new(),
            names: BTreeMap::new(),
            channels: BTreeMap::new(),
            replies: HashMap::new(),
            confirms: ConfirmFaults::default(),
            agenda: Agenda::default(),
            last_id: 0,
            touched: VecDeque::new(),
            letters: VecDeque::new(),
        }
    }

    /// A number that nothing else here has.
    pub(crate) fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    pub(crate) fn exchange_called(&self, name: &str) -> String {
        let shown = if name.is_empty() { "amq.default" } else { name };
        format!("exchange '{shown}' in vhost '{}'", self.name)
    }

    pub(crate) fn queue_called(&self, name: &str) -> String {
        format!("queue '{name}' in vhost '{}'", self.name)
    }

    pub(crate) fn exchange(&self, name: &str) -> Outcome<&Exchange> {
        self.exchanges
            .get(name)
            .ok_or_else(|| Objection::not_found(format_args!("no {}", self.exchange_called(name))))
    }

    pub(crate) fn queue(&mut self, name: &str) -> Option<&mut Queue> {
        self.queues.get_mut(self.names.get(name)?)
    }

    /// The queue of this name that the connection may use.
    pub(crate) fn usable_queue(&self, name: &str, connection: u64) -> Outcome<QueueId> {
        let Some(id) = self.names.get(name) else {
            let text = format!("no {}", self.queue_called(name));
            return Err(Objection::not_found(text));
        };
        let owner = self.queues.get(id).and_then(|queue| queue.owner);
        if owner.is_none_or(|owner| owner == connection) {
            return Ok(*id);
        }
        Err(Objection::locked(format_args!(
            "cannot obtain exclusive access to locked {}. It could be originally declared on another connection \
             or the exclusive property value does not match that of the original declaration.",
            self.queue_called(name)
        )))
    }

    pub(crate) fn check_queue(&self, key: ChannelKey, right: Right, name: &str) -> Outcome<()> {
        self.check(key, right, "queue", name)
    }

    pub(crate) fn check_exchange(&self, key: ChannelKey, right: Right, name: &str) -> Outcome<()> {
        self.check(key, right, "exchange", name)
    }

    /// Objects unless the client may use the exchange by this routing key, where that is limited.
    pub(crate) fn check_topic(
        &self,
        key: ChannelKey,
        right: Right,
        exchange: &str,
        routing_key: &str,
    ) -> Outcome<()> {
        let there = self.exchanges.get(exchange);
        if !there.is_some_and(|exchange| exchange.kind == Kind::Topic) {
            return Ok(());
        }
        let user = &self.channel(key)?.user;
        self.access
            .check_topic(user, right, exchange, routing_key, &self.name)
    }

    fn check(&self, key: ChannelKey, right: Right, kind: &str, name: &str) -> Outcome<()> {
        let user = &self.channel(key)?.user;
        self.access.check(user, right, kind, name, &self.name)
    }

    pub(crate) fn channel(&self, key: ChannelKey) -> Outcome<&Channel> {
        self.channels
            .get(&key)
            .ok_or_else(|| Objection::no_channel(key.number))
    }

    pub(crate) fn channel_mut(&mut self, key: ChannelKey) -> Outcome<&mut Channel> {
        self.channels
            .get_mut(&key)
            .ok_or_else(|| Objection::no_channel(key.number))
    }

    /// Answers a method.
    pub(crate) fn answer(&self, key: ChannelKey, method: AMQPClass) {
        if let Some(channel) = self.channels.get(&key) {
            channel.outbox.method(key.number, method);
        }
    }

    /// Has the queue looked at before the lock is given back.
    pub(crate) fn touch(&mut self, id: QueueId) {
        if self.touched.back() != Some(&id) {
            self.touched.push_back(id);
        }
    }

    /// Sends given up messages on their way, if their queue has one for them.
    pub(crate) fn give_up(&mut self, id: QueueId, given_up: Vec<GivenUp>) {
        let Some(queue) = self.queues.get(&id) else {
            return;
        };
        let Some(to) = &queue.settings.dead_letter else {
            return;
        };
        let letter = |given_up| Letter {
            from: id,
            queue: queue.name.clone(),
            to: to.clone(),
            given_up,
        };
        self.letters.extend(given_up.into_iter().map(letter));
    }

    /// Delivers, expires and dead-letters until nothing is left to do.
    ///
    /// It ends: a message that goes round in a cycle by itself is dropped.
    pub(crate) fn settle_down(&mut self) {
        loop {
            if let Some(id) = self.touched.pop_front() {
                self.look_at(id);
            } else if let Some(letter) = self.letters.pop_front() {
                self.bury(letter);
            } else {
                return;
            }
        }
    }

    fn look_at(&mut self, id: QueueId) {
        let now = self.now;
        let Some(queue) = self.queues.get_mut(&id) else {
            return;
        };
        let mut given_up = Vec::new();
        deliver::deliver(queue, &mut self.channels, now, &mut given_up);
        queue.expire(now, &mut given_up);
        queue.shrink(&mut given_up);
        queue.retry_held(now, &mut given_up);
        let (abandoned, due) = (queue.is_abandoned(now), queue.due());
        self.agenda.plan(queue, due);
        self.give_up(id, given_up);
        if abandoned {
            self.remove_queue(id);
        }
    }

    /// Does what became due until now. Virtual time passes from one event to the next, so that what follows from
    /// an event is due after it, not after the time to which the clock was moved. True if something was due.
    pub(crate) fn catch_up(&mut self, now: SystemTime, steps: bool) -> bool {
        let mut changed = false;
        while let Some((due, id)) = self.agenda.pop_due(now) {
            self.now = if steps { due.max(self.now) } else { now };
            if let Some(queue) = self.queues.get_mut(&id) {
                queue.scheduled = None;
                changed = true;
                self.touch(id);
                self.settle_down();
            }
        }
        self.now = now.max(self.now);
        changed
    }

    /// Removes a queue with its messages, bindings and consumers.
    pub(crate) fn remove_queue(&mut self, id: QueueId) {
        let Some(mut queue) = self.queues.remove(&id) else {
            return;
        };
        self.names.remove(&queue.name);
        self.agenda.plan(&mut queue, None);
        self.forget_destination(&Destination::Queue(id));
        for consumer in queue.consumers.iter() {
            let Some(channel) = self.channels.get_mut(&consumer.channel) else {
                continue;
            };
            channel.consumers.remove(&*consumer.tag);
            channel.tell_cancelled(&consumer.tag);
        }
    }

    /// Removes all bindings to it, and auto-delete exchanges that lose their last by that.
    pub(crate) fn forget_destination(&mut self, destination: &Destination) {
        let unused = self.unbind_all(destination);
        self.remove_exchanges(unused);
    }

    pub(crate) fn remove_exchange(&mut self, name: &str) {
        self.remove_exchanges(vec![name.into()]);
    }

    /// Removes exchanges, and those that are unused by that. It does not call itself: the chain may be long.
    fn remove_exchanges(&mut self, mut unused: Vec<Arc<str>>) {
        while let Some(name) = unused.pop() {
            if let Some(gone) = self.exchanges.remove(&name) {
                unused.extend(self.unbind_all(&Destination::Exchange(gone.name)));
            }
        }
    }

    /// Removes all bindings to it; tells the auto-delete exchanges that lost their last by that.
    fn unbind_all(&mut self, destination: &Destination) -> Vec<Arc<str>> {
        let mut unused = Vec::new();
        for exchange in self.exchanges.values_mut() {
            if exchange.forget(destination) && exchange.auto_delete && !exchange.is_used() {
                unused.push(exchange.name.clone());
            }
        }
        unused
    }

    /// Ends a channel: what it has not acknowledged goes back, its consumers go.
    pub(crate) fn close_channel(&mut self, key: ChannelKey) {
        let Some(channel) = self.channels.remove(&key) else {
            return;
        };
        self.confirms.forget(key);
        if let Some(reply) = &channel.reply_to {
            self.replies.remove(&reply.name);
        }
        for (tag, id) in &channel.consumers {
            self.remove_consumer(*id, key, tag);
        }
        for unacked in channel.unacked.into_values() {
            self.take_back(&unacked, Return::Lost);
        }
    }

    /// Ends a connection with all that is its own.
    pub(crate) fn close_connection(&mut self, connection: u64) {
        let channels = self.channels.range(ChannelKey::all_of(connection));
        for key in channels.map(|(key, _)| *key).collect::<Vec<_>>() {
            self.close_channel(key);
        }
        let own = |queue: &&Queue| queue.owner == Some(connection);
        let own: Vec<_> = self
            .queues
            .values()
            .filter(own)
            .map(|queue| queue.id)
            .collect();
        for id in own {
            self.remove_queue(id);
        }
    }

    /// Delivers again to a connection that had no room.
    pub(crate) fn resume(&mut self, connection: u64) {
        let channels = self.channels.range(ChannelKey::all_of(connection));
        let queues = channels.flat_map(|(_, channel)| channel.consumers.values().copied());
        self.touched.extend(queues.collect::<Vec<_>>());
    }

    /// Cancels a consumer in the broker's name.
    pub(crate) fn cancel(&mut self, id: QueueId, key: ChannelKey, tag: &str) {
        if let Some(channel) = self.channels.get_mut(&key) {
            channel.consumers.remove(tag);
            channel.tell_cancelled(tag);
        }
        self.remove_consumer(id, key, tag);
    }
}

impl Channel {
    /// Tells the client, if it understands, that a consumer is gone.
    pub(crate) fn tell_cancelled(&self, tag: &str) {
        if self.outbox.hears_cancel {
            let cancel = basic::Cancel {
                consumer_tag: tag.into(),
                nowait: true,
            };
            let cancel = AMQPClass::Basic(basic::AMQPMethod::Cancel(cancel));
            self.outbox.method(self.key.number, cancel);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exchange::Binding;

    #[test]
    fn a_chain_of_exchanges_goes_however_long_it_is() {
        // the stack is small so that the chain need not be long
        let small = std::thread::Builder::new().stack_size(128 * 1024);
        let chain = small.spawn(|| {
            let mut vhost = Vhost::new("/", SystemTime::UNIX_EPOCH);
            let length = 1000;
            for number in 0..length {
                let exchange = link(number);
                vhost.exchanges.insert(exchange.name.clone(), exchange);
            }
            vhost.remove_exchange(&(length - 1).to_string());
            assert_eq!(vhost.exchanges.len(), PREDECLARED.len());
        });
        chain.expect("started").join().expect("all are gone");
    }

    /// An auto-delete exchange that leads to the next.
    fn link(number: u32) -> Exchange {
        let name = number.to_string().into();
        let mut exchange = Exchange::new(name, Kind::Fanout, Default::default());
        exchange.auto_delete = true;
        exchange.bind(Binding {
            destination: Destination::Exchange((number + 1).to_string().into()),
            routing_key: String::new(),
            arguments: Default::default(),
        });
        exchange
    }
}
