//! What of a queue changes all the time, cheap enough to be asked for after every change.

use std::sync::Arc;
use std::time::SystemTime;

use crate::queue::{Log, Queue};
use crate::vhost::Vhost;

/// How much is in a queue; a [`QueueView`](crate::QueueView) says more and costs more.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Depth {
    /// The name of the queue.
    pub queue: Arc<str>,
    /// How many messages wait; all messages of a stream.
    pub ready: usize,
    /// How many are delivered and not settled; of a stream, none.
    pub unacked: usize,
    /// How many consumers it has.
    pub consumers: usize,
    /// When the first waiting message is given up by its time to live.
    pub next_expiry: Option<SystemTime>,
}

impl Depth {
    fn of(queue: &Queue) -> Self {
        Self {
            queue: queue.name.clone(),
            ready: queue.log.as_ref().map_or(queue.ready.len(), Log::len),
            unacked: queue.unacked.len(),
            consumers: queue.consumers.iter().count(),
            next_expiry: queue.next_expiry(),
        }
    }
}

/// Of all queues of a virtual host, by name.
pub(crate) fn depths(vhost: &Vhost) -> Vec<Depth> {
    let ids = vhost.names.values();
    let queues = ids.filter_map(|id| vhost.queues.get(id));
    queues.map(Depth::of).collect()
}
