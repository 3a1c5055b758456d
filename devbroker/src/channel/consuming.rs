//! Consumers come and go; single messages are fetched.

use std::sync::Arc;

use amq_protocol::protocol::{AMQPClass, basic};
use amq_protocol::types::FieldTable;

use super::names::made_up;
use super::publishing::REPLY_TO;
use super::{ChannelKey, ReplyTo, Unacked};
use crate::access::Right;
use crate::arguments::{not_an_integer, wrong_kind};
use crate::error::{Objection, Outcome};
use crate::frame::Out;
use crate::queue::{Consumer, Offset, Queue, QueueId};
use crate::table::integer;
use crate::vhost::{Vhost, as_delivered};

/// Arguments of `basic.consume` that RabbitMQ knows and that mean nothing here.
const WITHOUT_EFFECT: [&str; 3] = ["x-cancel-on-ha-failover", "x-consumer-timeout", "x-credit"];

impl Vhost {
    pub(super) fn qos(&mut self, key: ChannelKey, qos: &basic::Qos) -> Outcome<()> {
        let channel = self.channel_mut(key)?;
        if qos.global {
            channel.limit = qos.prefetch_count;
            let queues: Vec<_> = channel.consumers.values().copied().collect();
            for id in queues {
                self.touch(id);
            }
        } else {
            channel.prefetch = qos.prefetch_count;
        }
        let ok = basic::AMQPMethod::QosOk(basic::QosOk {});
        self.answer(key, AMQPClass::Basic(ok));
        Ok(())
    }

    pub(super) fn consume(&mut self, key: ChannelKey, consume: &basic::Consume) -> Outcome<()> {
        let mut tag = consume.consumer_tag.as_str().to_owned();
        if tag.is_empty() {
            tag = made_up("amq.ctag-", self.next_id());
        }
        let tag: Arc<str> = tag.into();
        if consume.queue.as_str() == REPLY_TO {
            return self.consume_replies(key, &tag, consume);
        }
        let name = self.channel(key)?.named_queue(consume.queue.as_str())?;
        self.check_queue(key, Right::Read, &name)?;
        if self.channel(key)?.consumers.contains_key(&tag) {
            return Err(Objection::not_allowed(format_args!(
                "attempt to reuse consumer tag '{tag}'"
            )));
        }
        let id = self.usable_queue(&name, key.connection)?;
        let consumer = self.new_consumer(key, id, tag.clone(), consume)?;
        self.channel_mut(key)?.consumers.insert(tag.clone(), id);
        if let Some(queue) = self.queues.get_mut(&id) {
            let single = queue.settings.single_active;
            queue.consumers.add(consumer, single);
        }
        self.touch(id);
        if !consume.nowait {
            self.answer_consume(key, &tag);
        }
        Ok(())
    }

    fn answer_consume(&self, key: ChannelKey, tag: &str) {
        let ok = basic::AMQPMethod::ConsumeOk(basic::ConsumeOk {
            consumer_tag: tag.into(),
        });
        self.answer(key, AMQPClass::Basic(ok));
    }

    fn new_consumer(
        &self,
        key: ChannelKey,
        id: QueueId,
        tag: Arc<str>,
        consume: &basic::Consume,
    ) -> Outcome<Consumer> {
        let channel = self.channel(key)?;
        let mut consumer = Consumer {
            tag,
            channel: key,
            no_ack: consume.no_ack,
            exclusive: consume.exclusive,
            priority: 0,
            prefetch: if consume.no_ack { 0 } else { channel.prefetch },
            in_flight: 0,
            arguments: consume.arguments.clone(),
            offset: 0,
        };
        if let Some(queue) = self.queues.get(&id) {
            let thing = self.queue_called(&queue.name);
            check_known(&consume.arguments, queue, &thing)?;
            consumer.priority = priority(&consume.arguments, &thing)?;
            check_exclusive(queue, &mut consumer, &thing)?;
            if let Some(log) = &queue.log {
                check_reader(&consumer, &thing)?;
                consumer.offset = log.start(Offset::read(&consume.arguments, self.now)?);
            }
            if !queue.is_classic() && channel.limit > 0 {
                return Err(Objection::not_implemented(format_args!(
                    "{thing} does not support global qos"
                )));
            }
        }
        Ok(consumer)
    }

    fn consume_replies(
        &mut self,
        key: ChannelKey,
        tag: &Arc<str>,
        consume: &basic::Consume,
    ) -> Outcome<()> {
        if !consume.no_ack {
            return Err(Objection::precondition("reply consumer cannot acknowledge"));
        }
        let id = self.next_id();
        let channel = self.channel_mut(key)?;
        if channel.reply_to.is_some() {
            return Err(Objection::precondition("reply consumer already set"));
        }
        let reply = ReplyTo {
            name: made_up("amq.rabbitmq.reply-to.", id),
            channel: key,
            tag: tag.clone(),
        };
        channel.reply_to = Some(reply.clone());
        self.replies.insert(reply.name.clone(), reply);
        if !consume.nowait {
            self.answer_consume(key, tag);
        }
        Ok(())
    }

    pub(super) fn cancel_consumer(
        &mut self,
        key: ChannelKey,
        cancel: basic::Cancel,
    ) -> Outcome<()> {
        let tag = cancel.consumer_tag.as_str();
        let channel = self.channel_mut(key)?;
        if let Some(reply) = channel.reply_to.take_if(|reply| *reply.tag == *tag) {
            self.replies.remove(&reply.name);
        } else if let Some(id) = channel.consumers.remove(tag) {
            self.remove_consumer(id, key, tag);
        }
        if !cancel.nowait {
            let ok = basic::AMQPMethod::CancelOk(basic::CancelOk {
                consumer_tag: cancel.consumer_tag,
            });
            self.answer(key, AMQPClass::Basic(ok));
        }
        Ok(())
    }

    /// Takes a consumer from its queue; an auto-delete queue goes with its last.
    pub(crate) fn remove_consumer(&mut self, id: QueueId, key: ChannelKey, tag: &str) {
        let now = self.now;
        let Some(queue) = self.queues.get_mut(&id) else {
            return;
        };
        queue.consumers.remove(key, tag);
        queue.used = now;
        if queue.auto_delete && queue.consumers.had_any && queue.consumers.is_empty() {
            return self.remove_queue(id);
        }
        self.touch(id);
    }

    pub(super) fn get(&mut self, key: ChannelKey, get: &basic::Get) -> Outcome<()> {
        let name = self.channel(key)?.named_queue(get.queue.as_str())?;
        self.check_queue(key, Right::Read, &name)?;
        let id = self.usable_queue(&name, key.connection)?;
        let thing = self.queue_called(&name);
        let now = self.now;
        let Some(queue) = self.queues.get_mut(&id) else {
            return Ok(());
        };
        if queue.log.is_some() {
            return Err(Objection::not_implemented(format_args!(
                "basic.get not supported by stream queues {thing}"
            )));
        }
        queue.used = now;
        let mut given_up = Vec::new();
        queue.expire(now, &mut given_up);
        let fetched = queue.pop();
        // the next may be late, too: it is not counted
        queue.expire(now, &mut given_up);
        self.give_up(id, given_up);
        self.touch(id);
        let Some((at, message)) = fetched else {
            let empty = basic::AMQPMethod::GetEmpty(basic::GetEmpty {});
            self.answer(key, AMQPClass::Basic(empty));
            return Ok(());
        };
        let Some(queue) = self.queues.get_mut(&id) else {
            return Ok(());
        };
        let content = as_delivered(&message, queue.is_quorum(), true);
        let left = queue.ready.len();
        let redelivered = message.redelivered;
        if !get.no_ack {
            queue.unacked.insert(at, message);
        }
        let channel = self.channel_mut(key)?;
        channel.last_tag += 1;
        if !get.no_ack {
            let unacked = Unacked {
                queue: id,
                at,
                consumer: None,
            };
            channel.unacked.insert(channel.last_tag, unacked);
        }
        let ok = basic::GetOk {
            delivery_tag: channel.last_tag,
            redelivered,
            exchange: content.exchange.as_str().into(),
            routing_key: content.routing_key.as_str().into(),
            message_count: left as u32,
        };
        let ok = AMQPClass::Basic(basic::AMQPMethod::GetOk(ok));
        channel.outbox.push(Out::Content(key.number, ok, content));
        Ok(())
    }
}

fn priority(arguments: &FieldTable, thing: &str) -> Outcome<i64> {
    let value = arguments.inner().get("x-priority");
    value.map_or(Ok(0), |value| {
        integer(value).ok_or_else(|| not_an_integer("x-priority", thing, value))
    })
}

fn check_known(arguments: &FieldTable, queue: &Queue, thing: &str) -> Outcome<()> {
    for name in arguments.inner().keys() {
        let name = name.as_str();
        let of_stream = name == "x-stream-offset";
        if of_stream && queue.log.is_none() {
            return Err(wrong_kind(name, thing, queue.settings.kind));
        }
        let known = of_stream || name == "x-priority" || WITHOUT_EFFECT.contains(&name);
        if name.starts_with("x-") && !known {
            return Err(Objection::not_implemented(format_args!(
                "argument '{name}' of a consumer of {thing} is not known to coney-devbroker: leave it out or use RabbitMQ"
            )));
        }
    }
    Ok(())
}

/// An exclusive consumer is alone; quorum queues and single active consumers do not know it.
fn check_exclusive(queue: &Queue, consumer: &mut Consumer, thing: &str) -> Outcome<()> {
    if !queue.is_classic() {
        consumer.exclusive = false;
        return Ok(());
    }
    if queue.settings.single_active && consumer.exclusive {
        return Err(Objection::access_refused(format_args!(
            "{thing} in exclusive use"
        )));
    }
    if queue.consumers.is_exclusive() || (consumer.exclusive && !queue.consumers.is_empty()) {
        return Err(Objection::access_refused(format_args!(
            "{thing} in exclusive use"
        )));
    }
    Ok(())
}

/// Streams are read with acknowledgements and a prefetch.
fn check_reader(consumer: &Consumer, thing: &str) -> Outcome<()> {
    if consumer.no_ack {
        return Err(Objection::not_implemented(format_args!(
            "automatic acknowledgement not supported by stream queues {thing}"
        )));
    }
    if consumer.prefetch == 0 {
        return Err(Objection::precondition(format_args!(
            "consumer prefetch count is not set for '{thing}'"
        )));
    }
    Ok(())
}
