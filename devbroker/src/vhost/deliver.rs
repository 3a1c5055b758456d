//! Messages on their way from a queue to its consumers.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use amq_protocol::types::AMQPValue;

use crate::channel::{Channel, ChannelKey, Unacked};
use crate::content::Content;
use crate::frame::{Delivery, Out};
use crate::queue::{Consumer, GivenUp, Message, Position, Queue};

type Channels = BTreeMap<ChannelKey, Channel>;

/// Delivers what can be delivered now.
pub(super) fn deliver(
    queue: &mut Queue,
    channels: &mut Channels,
    now: SystemTime,
    given_up: &mut Vec<GivenUp>,
) {
    if queue.paused {
        return;
    }
    if queue.log.is_some() {
        return read_log(queue, channels);
    }
    while !queue.ready.is_empty() {
        if queue.head_is_late(now) {
            queue.expire(now, given_up);
            continue;
        }
        let Some(index) = queue.consumers.next(|one| takes(channels, one)) else {
            return;
        };
        let Some((at, message)) = queue.pop() else {
            return;
        };
        let id = queue.id;
        let quorum = queue.is_quorum();
        let Some(consumer) = queue.consumers.at(index) else {
            return;
        };
        let Some(channel) = channels.get_mut(&consumer.channel) else {
            return;
        };
        let content = as_delivered(&message, quorum, false);
        channel.deliver(consumer, id, at, message.redelivered, content.clone());
        if queue.duplicates > 0 {
            queue.duplicates -= 1;
            channel.deliver_astray(&consumer.tag, content);
        }
        if !consumer.no_ack {
            queue.unacked.insert(at, message);
        }
    }
}

/// Gives each consumer of a stream what it has not read.
fn read_log(queue: &mut Queue, channels: &mut Channels) {
    let Some(log) = &queue.log else {
        return;
    };
    for index in 0..queue.consumers.len() {
        let Some(consumer) = queue.consumers.at(index) else {
            return;
        };
        while let Some((offset, content)) = log.read(consumer.offset)
            && consumer.has_room()
            && takes(channels, consumer)
            && let Some(channel) = channels.get_mut(&consumer.channel)
        {
            let value = AMQPValue::LongLongInt(offset.cast_signed());
            let content = content.with_header("x-stream-offset", &value);
            let at = Position::of_offset(offset);
            channel.deliver(consumer, queue.id, at, false, Arc::new(content));
            consumer.offset = offset + 1;
        }
    }
}

fn takes(channels: &Channels, consumer: &Consumer) -> bool {
    let channel = channels.get(&consumer.channel);
    channel.is_some_and(|channel| channel.takes(consumer.no_ack))
}

/// What of a message is sent: a quorum queue tells how often it came back; to consumers only if it did.
pub(crate) fn as_delivered(message: &Message, quorum: bool, fetched: bool) -> Arc<Content> {
    if !quorum || (message.returns == 0 && !fetched) {
        return message.content.clone();
    }
    let count = AMQPValue::LongLongInt(message.returns.into());
    Arc::new(message.content.with_header("x-delivery-count", &count))
}

impl Channel {
    /// Whether a delivery may go out here.
    pub(super) fn takes(&self, no_ack: bool) -> bool {
        let within_limit = no_ack || self.limit == 0 || self.in_flight < usize::from(self.limit);
        within_limit && self.outbox.has_room()
    }

    fn deliver(
        &mut self,
        consumer: &mut Consumer,
        queue: u64,
        at: Position,
        redelivered: bool,
        content: Arc<Content>,
    ) {
        self.last_tag += 1;
        if !consumer.no_ack {
            consumer.in_flight += 1;
            self.in_flight += 1;
            let unacked = Unacked {
                queue,
                at,
                consumer: Some(consumer.tag.clone()),
            };
            self.unacked.insert(self.last_tag, unacked);
        }
        self.send(&consumer.tag, self.last_tag, redelivered, content);
    }

    /// Delivers something a second time; acknowledging it does nothing.
    fn deliver_astray(&mut self, tag: &Arc<str>, content: Arc<Content>) {
        self.last_tag += 1;
        let unacked = Unacked {
            queue: 0,
            at: Position::of_offset(0),
            consumer: None,
        };
        self.unacked.insert(self.last_tag, unacked);
        self.send(tag, self.last_tag, true, content);
    }

    /// Delivers a direct reply, or drops it if the client does not read.
    pub(crate) fn deliver_reply(&mut self, tag: &Arc<str>, content: Arc<Content>) {
        if self.outbox.has_room() {
            // nobody settles it, so its tag is used again, as RabbitMQ does
            self.send(tag, self.last_tag + 1, false, content);
        }
    }

    fn send(&self, tag: &Arc<str>, delivery_tag: u64, redelivered: bool, content: Arc<Content>) {
        self.outbox.push(Out::Deliver(Delivery {
            channel: self.key.number,
            consumer_tag: tag.clone(),
            delivery_tag,
            redelivered,
            content,
        }));
    }
}
