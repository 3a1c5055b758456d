//! Acknowledgements, rejections, and what comes back to its queue.

use super::{ChannelKey, Unacked};
use crate::dead::Reason;
use crate::error::{Objection, Outcome};
use crate::queue::{GivenUp, Return};
use crate::vhost::Vhost;

impl Vhost {
    pub(super) fn ack(&mut self, key: ChannelKey, tag: u64, multiple: bool) -> Outcome<()> {
        for unacked in self.take_unacked(key, tag, multiple)? {
            if let Some(queue) = self.queues.get_mut(&unacked.queue) {
                queue.unacked.remove(&unacked.at);
            }
            self.make_room_of_consumer(key, &unacked);
        }
        self.make_room_of_channel(key);
        Ok(())
    }

    /// `basic.nack` and `basic.reject`.
    pub(super) fn refuse(
        &mut self,
        key: ChannelKey,
        tag: u64,
        multiple: bool,
        requeue: bool,
    ) -> Outcome<()> {
        let taken = self.take_unacked(key, tag, multiple)?;
        let mut of_stream = None;
        for unacked in taken {
            let Some(queue) = self.queues.get_mut(&unacked.queue) else {
                continue;
            };
            if queue.log.is_some() {
                // what was taken beside it still has to be settled
                of_stream = Some(queue.name.clone());
            } else if requeue {
                self.take_back(&unacked, Return::Requeued);
            } else if let Some(message) = queue.unacked.remove(&unacked.at) {
                let reason = Reason::Rejected;
                self.give_up(unacked.queue, vec![GivenUp { message, reason }]);
            }
            self.make_room_of_consumer(key, &unacked);
        }
        self.make_room_of_channel(key);
        match of_stream {
            None => Ok(()),
            Some(name) => Err(Objection::not_implemented(format_args!(
                "basic.nack and basic.reject not supported by stream queues {}",
                self.queue_called(&name)
            ))),
        }
    }

    pub(super) fn recover(&mut self, key: ChannelKey, requeue: bool) -> Outcome<()> {
        if !requeue {
            return Err(Objection::not_implemented("requeue=false"));
        }
        let channel = self.channel_mut(key)?;
        let all = std::mem::take(&mut channel.unacked);
        channel.in_flight = 0;
        for unacked in all.into_values() {
            self.take_back(&unacked, Return::Requeued);
            self.make_room_of_consumer(key, &unacked);
        }
        self.make_room_of_channel(key);
        Ok(())
    }

    /// What a delivery tag means; it must be one that is not settled yet.
    fn take_unacked(&mut self, key: ChannelKey, tag: u64, multiple: bool) -> Outcome<Vec<Unacked>> {
        let channel = self.channel_mut(key)?;
        let taken: Vec<Unacked> = if multiple && tag == 0 {
            std::mem::take(&mut channel.unacked).into_values().collect()
        } else if !channel.unacked.contains_key(&tag) {
            return Err(Objection::precondition(format_args!(
                "unknown delivery tag {tag}"
            )));
        } else if multiple {
            let later = channel.unacked.split_off(&(tag + 1));
            let taken = std::mem::replace(&mut channel.unacked, later);
            taken.into_values().collect()
        } else {
            channel.unacked.remove(&tag).into_iter().collect()
        };
        let of_consumers = taken.iter().filter(|one| one.consumer.is_some()).count();
        channel.in_flight -= of_consumers;
        Ok(taken)
    }

    /// Takes a message back to its queue.
    pub(crate) fn take_back(&mut self, unacked: &Unacked, by: Return) {
        if let Some(queue) = self.queues.get_mut(&unacked.queue) {
            let given_up = queue.take_back(unacked.at, by);
            self.give_up(unacked.queue, given_up.into_iter().collect());
            self.touch(unacked.queue);
        }
    }

    /// Lets all consumers of a channel have what its own limit now leaves room for.
    fn make_room_of_channel(&mut self, key: ChannelKey) {
        let limited = self.channels.get(&key).filter(|channel| channel.limit > 0);
        let queues: Vec<_> = limited
            .into_iter()
            .flat_map(|channel| channel.consumers.values().copied())
            .collect();
        for id in queues {
            self.touch(id);
        }
    }

    /// Lets a consumer have the next message in place of one that is settled.
    fn make_room_of_consumer(&mut self, key: ChannelKey, unacked: &Unacked) {
        let Some(tag) = &unacked.consumer else {
            return;
        };
        let Some(queue) = self.queues.get_mut(&unacked.queue) else {
            return;
        };
        if let Some(consumer) = queue.consumers.find(key, tag) {
            consumer.in_flight = consumer.in_flight.saturating_sub(1);
            self.touch(unacked.queue);
        }
    }
}
