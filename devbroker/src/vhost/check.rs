//! What is true of a virtual host whenever nobody has its lock; for the fuzz target.

use super::Vhost;
use crate::channel::Channel;
use crate::exchange::Destination;
use crate::queue::{Consumer, Queue};

impl Vhost {
    /// Panics where its parts contradict each other, or where something waits that need not.
    pub(crate) fn check_sound(&self) {
        assert!(self.touched.is_empty() && self.letters.is_empty());
        assert_eq!(self.names.len(), self.queues.len());
        for (id, queue) in &self.queues {
            assert_eq!(self.names.get(&queue.name), Some(id));
            queue.check_bytes();
            self.check_unacked(queue);
            for consumer in queue.consumers.iter() {
                self.check_consumer(queue, consumer);
            }
        }
        let planned = self.queues.values().filter_map(|queue| queue.scheduled);
        assert_eq!(self.agenda.len(), planned.count());
        self.channels
            .values()
            .for_each(|one| self.check_channel(one));
        for reply in self.replies.values() {
            assert!(self.channels[&reply.channel].reply_to.is_some());
        }
        self.check_bindings();
    }

    /// Each message that is not settled is somebody's.
    fn check_unacked(&self, queue: &Queue) {
        let held = self.channels.values().flat_map(|one| one.unacked.values());
        let held = held.filter(|one| one.queue == queue.id);
        if queue.log.is_none() {
            let there = |one: &crate::channel::Unacked| queue.unacked.contains_key(&one.at);
            let held: Vec<_> = held.collect();
            assert!(held.iter().all(|one| there(one)));
            assert_eq!(held.len(), queue.unacked.len(), "of queue {}", queue.name);
        }
    }

    /// Nothing waits for a consumer that could take it.
    fn check_consumer(&self, queue: &Queue, consumer: &Consumer) {
        let channel = &self.channels[&consumer.channel];
        assert_eq!(channel.consumers.get(&consumer.tag), Some(&queue.id));
        let own = channel.unacked.values();
        let own =
            own.filter(|one| one.queue == queue.id && one.consumer.as_ref() == Some(&consumer.tag));
        assert!(
            consumer.in_flight <= own.count(),
            "room is lost for {consumer:?}"
        );
        let could = !queue.paused
            && consumer.has_room()
            && queue.consumers.is_active(consumer)
            && channel.takes(consumer.no_ack);
        let waits = match &queue.log {
            Some(log) => log.read(consumer.offset).is_some(),
            None => !queue.ready.is_empty(),
        };
        assert!(!(could && waits), "{consumer:?} of queue {}", queue.name);
    }

    fn check_channel(&self, channel: &Channel) {
        let of_consumers = channel
            .unacked
            .values()
            .filter(|one| one.consumer.is_some());
        assert_eq!(channel.in_flight, of_consumers.count());
        for (tag, id) in &channel.consumers {
            let mut all = self.queues[id].consumers.iter();
            assert!(all.any(|one| one.is(channel.key, tag)));
        }
    }

    /// Bindings lead to what is there, and exchanges that should be gone are.
    fn check_bindings(&self) {
        for exchange in self.exchanges.values() {
            for binding in exchange.bindings() {
                match binding.destination {
                    Destination::Queue(id) => assert!(self.queues.contains_key(&id)),
                    Destination::Exchange(name) => assert!(self.exchanges.contains_key(&name)),
                }
            }
        }
    }
}
