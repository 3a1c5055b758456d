//! What is in the broker, read without touching it.

use std::time::SystemTime;

use coney_devbroker::{DevBroker, QueueView, Snapshot};
use coney_protocol::delay;
use coney_protocol::topology::{DEAD_SUFFIX, REVOKED_STREAM};

use super::enqueued::{Enqueued, Waiting};

/// The virtual host that an app works in.
pub(super) const MAIN: &str = "/";

/// What the name of a client's reply queue starts with.
const REPLIES: &str = "coney.reply.";

/// The queues of a virtual host.
pub(super) fn queues<'a>(snapshot: &'a Snapshot, vhost: &str) -> &'a [QueueView] {
    let vhost = snapshot.vhosts.iter().find(|view| view.name == vhost);
    vhost.map_or(&[], |vhost| &vhost.queues)
}

/// Those of them that tasks wait in to be run at once.
fn task_queues(queues: &[QueueView]) -> impl Iterator<Item = &QueueView> {
    queues.iter().filter(|queue| {
        let name = queue.name.as_str();
        let is_dead = name
            .strip_suffix(DEAD_SUFFIX)
            .is_some_and(|alive| queues.iter().any(|queue| queue.name == alive));
        let is_ours =
            delay::level_of(name).is_some() || name.starts_with(REPLIES) || name == REVOKED_STREAM;
        !is_dead && !is_ours
    })
}

/// True if a worker has nothing left of what it consumes.
pub(super) fn is_quiet(snapshot: &Snapshot, vhost: &str) -> bool {
    task_queues(queues(snapshot, vhost))
        .filter(|queue| !queue.consumers.is_empty())
        .all(|queue| queue.ready + queue.unacked == 0)
}

/// When the next delayed message moves on.
pub(super) fn next_due(snapshot: &Snapshot, vhost: &str) -> Option<SystemTime> {
    let queues = queues(snapshot, vhost).iter();
    let levels = queues.filter(|queue| delay::level_of(&queue.name).is_some());
    levels.filter_map(|level| level.next_expiry).min()
}

/// All calls that are sent and not finished: those of each queue in its order, then the delayed ones.
pub(super) fn enqueued(broker: &DevBroker, vhost: &str) -> Vec<Enqueued> {
    let snapshot = broker.snapshot();
    let queues = queues(&snapshot, vhost);
    let waiting = task_queues(queues).flat_map(|queue| in_queue(broker, vhost, &queue.name));
    let delayed = queues
        .iter()
        .flat_map(|queue| on_level(broker, vhost, queue));
    let mut all: Vec<_> = waiting.chain(delayed).collect();
    // stable: the order within a queue stays
    all.sort_by_key(Enqueued::due);
    all
}

/// The calls in one queue, in its order.
pub(super) fn in_queue(broker: &DevBroker, vhost: &str, queue: &str) -> Vec<Enqueued> {
    let messages = broker.messages(vhost, queue).unwrap_or_default();
    let read = messages.into_iter().filter_map(|message| {
        let waiting = match message.unacked {
            true => Waiting::Taken,
            false => Waiting::Ready,
        };
        Enqueued::read(queue, waiting, message)
    });
    read.collect()
}

/// The calls that wait on one level of the delay ladder.
fn on_level(broker: &DevBroker, vhost: &str, queue: &QueueView) -> Vec<Enqueued> {
    let (Some(level), Some(next)) = (delay::level_of(&queue.name), queue.next_expiry) else {
        return Vec::new();
    };
    let messages = broker.messages(vhost, &queue.name).unwrap_or_default();
    let read = messages.into_iter().filter_map(|message| {
        let (below, target) = delay::below_level(&message.routing_key, level)?;
        let target = target.to_owned();
        let waiting = Waiting::Delayed {
            until: next + below,
        };
        Enqueued::read(&target, waiting, message)
    });
    read.collect()
}
