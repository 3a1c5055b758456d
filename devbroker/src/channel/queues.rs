//! Methods of queues.

use amq_protocol::protocol::{AMQPClass, queue};

use super::ChannelKey;
use super::names::{check_not_reserved, made_up};
use super::publishing::REPLY_TO;
use crate::access::Right;
use crate::arguments::{same_arguments, same_property};
use crate::error::{Objection, Outcome};
use crate::queue::{Kind, Queue, QueueId, Settings};
use crate::vhost::Vhost;

/// The number of no connection: for what nobody's connection does. What is exclusive to one stays so.
#[cfg(feature = "management")]
pub(crate) const NO_CONNECTION: u64 = 0;

impl Vhost {
    pub(super) fn declare_queue(
        &mut self,
        key: ChannelKey,
        declare: queue::Declare,
    ) -> Outcome<()> {
        let nowait = declare.nowait;
        let (name, messages, consumers) = if declare.passive {
            self.find_queue(key, declare.queue.as_str())?
        } else {
            let id = self.create_queue(key, declare)?;
            self.counts(id)
        };
        self.channel_mut(key)?.last_queue.clone_from(&name);
        if !nowait {
            let ok = queue::AMQPMethod::DeclareOk(queue::DeclareOk {
                queue: name.into(),
                message_count: messages as u32,
                consumer_count: consumers as u32,
            });
            self.answer(key, AMQPClass::Queue(ok));
        }
        Ok(())
    }

    fn find_queue(&self, key: ChannelKey, name: &str) -> Outcome<(String, usize, usize)> {
        if name == REPLY_TO || self.replies.contains_key(name) {
            return Ok((name.to_owned(), 0, 1));
        }
        let id = self.usable_queue(name, key.connection)?;
        Ok(self.counts(id))
    }

    fn counts(&self, id: QueueId) -> (String, usize, usize) {
        self.queues.get(&id).map_or_else(Default::default, |queue| {
            (queue.name.to_string(), queue.count(), queue.consumers.len())
        })
    }

    fn create_queue(&mut self, key: ChannelKey, declare: queue::Declare) -> Outcome<QueueId> {
        let mut name = declare.queue.as_str().to_owned();
        if name.is_empty() {
            name = made_up("amq.gen-", self.next_id());
        }
        self.check_queue(key, Right::Configure, &name)?;
        let owner = declare.exclusive.then_some(key.connection);
        if self.names.contains_key(&*name) {
            let id = self.usable_queue(&name, key.connection)?;
            self.use_same_queue(id, &declare, owner)?;
            return Ok(id);
        }
        if !declare.queue.as_str().is_empty() {
            check_not_reserved("queue", &name)?;
        }
        let settings = self.read_settings(&name, &declare)?;
        if let Some(dead_letter) = &settings.dead_letter {
            self.check_queue(key, Right::Read, &name)?;
            self.check_exchange(key, Right::Write, &dead_letter.exchange)?;
        }
        Ok(self.insert_queue(&name, declare, settings, owner))
    }

    /// Declares a queue in nobody's name, for all; true if it is new.
    #[cfg(feature = "management")]
    pub(crate) fn declare_for_all(&mut self, declare: queue::Declare) -> Outcome<bool> {
        let name = declare.queue.as_str().to_owned();
        if self.names.contains_key(&*name) {
            let id = self.usable_queue(&name, NO_CONNECTION)?;
            self.use_same_queue(id, &declare, None)?;
            return Ok(false);
        }
        check_not_reserved("queue", &name)?;
        let settings = self.read_settings(&name, &declare)?;
        self.insert_queue(&name, declare, settings, None);
        Ok(true)
    }

    fn read_settings(&self, name: &str, declare: &queue::Declare) -> Outcome<Settings> {
        let thing = self.queue_called(name);
        let settings = Settings::read(&declare.arguments, &thing)?;
        if declare.queue.as_str().is_empty() && settings.kind != Kind::Classic {
            return Err(Objection::precondition(format_args!(
                "Cannot declare a server-named queue for type rabbit_{}_queue",
                settings.kind.name()
            )));
        }
        check_properties(settings.kind, declare, &thing)?;
        Ok(settings)
    }

    fn insert_queue(
        &mut self,
        name: &str,
        declare: queue::Declare,
        settings: Settings,
        owner: Option<u64>,
    ) -> QueueId {
        let id = self.next_id();
        let mut made = Queue::new(id, name.into(), settings, self.now);
        made.durable = declare.durable;
        made.auto_delete = declare.auto_delete;
        made.owner = owner;
        made.arguments = declare.arguments;
        self.names.insert(made.name.clone(), id);
        self.queues.insert(id, made);
        self.touch(id);
        id
    }

    fn use_same_queue(
        &mut self,
        id: QueueId,
        declare: &queue::Declare,
        owner: Option<u64>,
    ) -> Outcome<()> {
        self.check_same_queue(id, declare, owner)?;
        if let Some(queue) = self.queues.get_mut(&id) {
            queue.used = self.now;
            self.touch(id);
        }
        Ok(())
    }

    fn check_same_queue(
        &self,
        id: QueueId,
        declare: &queue::Declare,
        owner: Option<u64>,
    ) -> Outcome<()> {
        let Some(there) = self.queues.get(&id) else {
            return Ok(());
        };
        let thing = self.queue_called(&there.name);
        same_property(&thing, "durable", &declare.durable, &there.durable)?;
        same_property(
            &thing,
            "auto_delete",
            &declare.auto_delete,
            &there.auto_delete,
        )?;
        if owner != there.owner {
            return Err(Objection::locked(format_args!(
                "cannot obtain exclusive access to locked {thing}. It could be originally declared on another \
                 connection or the exclusive property value does not match that of the original declaration."
            )));
        }
        same_arguments(&thing, &[], &declare.arguments, &there.arguments)
    }

    pub(super) fn delete_queue(&mut self, key: ChannelKey, delete: &queue::Delete) -> Outcome<()> {
        let name = self.channel(key)?.named_queue(delete.queue.as_str())?;
        self.check_queue(key, Right::Configure, &name)?;
        let mut count = 0;
        if self.names.contains_key(&*name) {
            let id = self.usable_queue(&name, key.connection)?;
            count = self.check_deletable(id, delete)?;
            self.remove_queue(id);
        }
        if !delete.nowait {
            let ok = queue::AMQPMethod::DeleteOk(queue::DeleteOk {
                message_count: count as u32,
            });
            self.answer(key, AMQPClass::Queue(ok));
        }
        Ok(())
    }

    /// How many messages go with the queue, if it may go.
    fn check_deletable(&self, id: QueueId, delete: &queue::Delete) -> Outcome<usize> {
        let Some(queue) = self.queues.get(&id) else {
            return Ok(0);
        };
        let thing = self.queue_called(&queue.name);
        if (delete.if_unused || delete.if_empty) && queue.is_quorum() {
            // RabbitMQ 3.10 cannot do it either
            let condition = if delete.if_unused {
                "if-unused"
            } else {
                "if-empty"
            };
            return Err(Objection::not_implemented(format_args!(
                "cannot delete {thing}. queue.delete operations with {condition} flag set are not supported by quorum queues"
            )));
        }
        if delete.if_unused && !queue.consumers.is_empty() {
            return Err(Objection::precondition(format_args!("{thing} in use")));
        }
        if delete.if_empty && !(queue.ready.is_empty() && queue.unacked.is_empty()) {
            return Err(Objection::precondition(format_args!("{thing} not empty")));
        }
        Ok(queue.count())
    }

    pub(super) fn purge_queue(&mut self, key: ChannelKey, purge: &queue::Purge) -> Outcome<()> {
        let name = self.channel(key)?.named_queue(purge.queue.as_str())?;
        self.check_queue(key, Right::Read, &name)?;
        let id = self.usable_queue(&name, key.connection)?;
        let count = self.purge(id)?;
        if !purge.nowait {
            let ok = queue::AMQPMethod::PurgeOk(queue::PurgeOk {
                message_count: count as u32,
            });
            self.answer(key, AMQPClass::Queue(ok));
        }
        Ok(())
    }

    /// Drops the messages that wait; how many there were.
    pub(crate) fn purge(&mut self, id: QueueId) -> Outcome<usize> {
        let Some(queue) = self.queues.get_mut(&id) else {
            return Ok(0);
        };
        if queue.log.is_some() {
            let name = queue.name.clone();
            return Err(Objection::not_implemented(format_args!(
                "queue.purge not supported by stream queues {}",
                self.queue_called(&name)
            )));
        }
        let count = queue.purge();
        self.touch(id);
        Ok(count)
    }
}

/// Quorum queues and streams are durable and for all.
fn check_properties(kind: Kind, declare: &queue::Declare, thing: &str) -> Outcome<()> {
    if kind == Kind::Classic {
        return Ok(());
    }
    let wrong = match declare {
        queue::Declare {
            auto_delete: true, ..
        } => "auto-delete",
        queue::Declare {
            exclusive: true, ..
        } => "exclusive-owner",
        queue::Declare { durable: false, .. } => "non-durable",
        _ => return Ok(()),
    };
    let text = format!("invalid property '{wrong}' for {thing}");
    Err(Objection::precondition(text))
}
