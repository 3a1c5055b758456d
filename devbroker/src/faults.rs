//! What can be broken on purpose.

use std::sync::Arc;

use amq_protocol::protocol::{AMQPClass, basic};

use crate::channel::ChannelKey;
use crate::queue::{Queue, QueueId};
use crate::server::Broker;
use crate::vhost::Vhost;

/// Breaks things, for tests of what an application does then.
///
/// Connections are named as [`ConnectionView::name`](crate::ConnectionView::name) tells, or by the `connection_name`
/// that a client gave. Where a thing is not there, the answer is `false` or 0, and nothing happens.
#[derive(Debug)]
pub struct Faults {
    broker: Arc<Broker>,
}

impl Faults {
    pub(crate) fn new(broker: Arc<Broker>) -> Self {
        Self { broker }
    }

    /// Drops a connection without a word, as a broken network does.
    pub fn drop_connection(&self, name: &str) -> bool {
        let client = self.broker.client(name);
        client.is_some_and(|client| {
            client.cut.cancel();
            true
        })
    }

    /// Drops all connections; how many there were.
    pub fn drop_connections(&self) -> usize {
        let clients = self.broker.clients();
        for client in &clients {
            client.cut.cancel();
        }
        clients.len()
    }

    /// Drops a connection after so many more frames to the client.
    pub fn drop_connection_after(&self, name: &str, frames: u64) -> bool {
        let client = self.broker.client(name);
        client.is_some_and(|client| {
            client.limit_frames(frames);
            true
        })
    }

    /// Closes a connection as an operator does, with code 320 and this reason.
    pub fn close_connection(&self, name: &str, reason: &str) -> bool {
        let client = self.broker.client(name);
        client.is_some_and(|client| {
            client.force_close(reason);
            true
        })
    }

    /// Blocks all publishers, as RabbitMQ does when memory is low, until [`unblock`](Self::unblock).
    pub fn block(&self, reason: &str) {
        self.broker.signals.force(Some(reason.to_owned()));
    }

    /// Ends [`block`](Self::block).
    pub fn unblock(&self) {
        self.broker.signals.force(None);
    }

    /// Holds back all confirms in a virtual host until [`release_confirms`](Self::release_confirms).
    pub fn hold_confirms(&self, vhost: &str) -> bool {
        self.in_vhost(vhost, |vhost| {
            vhost.confirms.held.get_or_insert_default();
            true
        })
    }

    /// Sends the confirms that were held back, and holds none any more.
    pub fn release_confirms(&self, vhost: &str) -> bool {
        self.in_vhost(vhost, |vhost| {
            for confirm in vhost.confirms.held.take().unwrap_or_default() {
                vhost.send_confirm(&confirm);
            }
            true
        })
    }

    /// Refuses the next messages that are published with confirms: each is dropped and answered by `basic.nack`.
    pub fn nack_confirms(&self, vhost: &str, count: usize) -> bool {
        self.in_vhost(vhost, |vhost| {
            vhost.confirms.nacks = count;
            true
        })
    }

    /// Makes the next deliveries of a queue twice. Acknowledging the second of two does nothing.
    pub fn duplicate_deliveries(&self, vhost: &str, queue: &str, count: usize) -> bool {
        self.in_queue(vhost, queue, |queue| queue.duplicates = count)
    }

    /// Cancels all consumers of a queue, as if it had moved away; how many there were.
    pub fn cancel_consumers(&self, vhost: &str, queue: &str) -> usize {
        let Some(host) = self.broker.host(vhost) else {
            return 0;
        };
        host.with(|vhost| {
            let consumers: Vec<_> = vhost.queue(queue).map_or_else(Vec::new, |queue| {
                let all = queue.consumers.iter();
                all.map(|one| (queue.id, one.channel, one.tag.clone()))
                    .collect()
            });
            for (id, channel, tag) in &consumers {
                vhost.cancel(*id, *channel, tag);
            }
            consumers.len()
        })
    }

    /// Lets a queue deliver nothing until [`resume_queue`](Self::resume_queue).
    pub fn pause_queue(&self, vhost: &str, queue: &str) -> bool {
        self.in_queue(vhost, queue, |queue| queue.paused = true)
    }

    /// Lets a paused queue deliver again.
    pub fn resume_queue(&self, vhost: &str, queue: &str) -> bool {
        self.in_queue(vhost, queue, |queue| queue.paused = false)
    }

    fn in_vhost(&self, vhost: &str, act: impl FnOnce(&mut Vhost) -> bool) -> bool {
        let host = self.broker.host(vhost);
        host.is_some_and(|host| host.with(act))
    }

    fn in_queue(&self, vhost: &str, queue: &str, act: impl FnOnce(&mut Queue)) -> bool {
        self.in_vhost(vhost, |vhost| {
            let found: Option<QueueId> = vhost.queue(queue).map(|queue| {
                act(queue);
                queue.id
            });
            found.is_some_and(|id| {
                vhost.touch(id);
                true
            })
        })
    }
}

/// What is done to confirms.
#[derive(Debug, Default)]
pub(crate) struct ConfirmFaults {
    held: Option<Vec<Confirm>>,
    nacks: usize,
}

#[derive(Debug)]
struct Confirm {
    channel: ChannelKey,
    number: u64,
    accepted: bool,
}

impl ConfirmFaults {
    /// Forgets what a channel that is closed still waits for: the next of its number has published nothing yet.
    pub(crate) fn forget(&mut self, channel: ChannelKey) {
        if let Some(held) = &mut self.held {
            held.retain(|confirm| confirm.channel != channel);
        }
    }
}

impl Vhost {
    /// Whether a publication with confirms is refused on purpose.
    pub(crate) fn is_refused_on_purpose(&mut self) -> bool {
        let refused = self.confirms.nacks > 0;
        self.confirms.nacks = self.confirms.nacks.saturating_sub(1);
        refused
    }

    /// Answers a publication, now or when held confirms are released.
    pub(crate) fn confirm(&mut self, channel: ChannelKey, number: u64, accepted: bool) {
        let confirm = Confirm {
            channel,
            number,
            accepted,
        };
        match &mut self.confirms.held {
            Some(held) => held.push(confirm),
            None => self.send_confirm(&confirm),
        }
    }

    fn send_confirm(&self, confirm: &Confirm) {
        let Some(channel) = self.channels.get(&confirm.channel) else {
            return;
        };
        if confirm.accepted {
            return channel.outbox.confirm(channel.key.number, confirm.number);
        }
        let nack = basic::Nack {
            delivery_tag: confirm.number,
            multiple: false,
            requeue: false,
        };
        let nack = AMQPClass::Basic(basic::AMQPMethod::Nack(nack));
        channel.outbox.method(channel.key.number, nack);
    }
}
