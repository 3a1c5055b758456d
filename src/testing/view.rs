//! What is in the broker, read without touching it.

use std::time::SystemTime;

use coney_devbroker::{Depth, DevBroker};
use coney_protocol::delay;
use coney_protocol::topology::{DEAD_SUFFIX, REVOKED_STREAM};

use super::enqueued::{Enqueued, Waiting};

/// The virtual host that an app works in.
pub(super) const MAIN: &str = "/";

/// What the name of a client's reply queue starts with.
const REPLIES: &str = "coney.reply.";

/// Those queues that tasks wait in to be run at once.
fn task_queues(queues: &[Depth]) -> impl Iterator<Item = &Depth> {
    queues.iter().filter(|depth| {
        let name = &*depth.queue;
        let is_ours =
            delay::level_of(name).is_some() || name.starts_with(REPLIES) || name == REVOKED_STREAM;
        let is_dead = || {
            name.strip_suffix(DEAD_SUFFIX)
                .is_some_and(|alive| queues.iter().any(|depth| *depth.queue == *alive))
        };
        !is_ours && !is_dead()
    })
}

/// True if a worker has nothing left of what it consumes.
pub(super) fn is_quiet(queues: &[Depth]) -> bool {
    task_queues(queues)
        .filter(|depth| depth.consumers > 0)
        .all(|depth| depth.ready + depth.unacked == 0)
}

/// When the next delayed message moves on.
pub(super) fn next_due(queues: &[Depth]) -> Option<SystemTime> {
    let waiting = queues.iter().filter(|depth| depth.next_expiry.is_some());
    let levels = waiting.filter(|depth| delay::level_of(&depth.queue).is_some());
    levels.filter_map(|level| level.next_expiry).min()
}

/// All calls that are sent and not finished: those of each queue in its order, then the delayed ones.
pub(super) fn enqueued(broker: &DevBroker, vhost: &str) -> Vec<Enqueued> {
    let queues = broker.depths(vhost);
    let waiting = task_queues(&queues).flat_map(|depth| in_queue(broker, vhost, &depth.queue));
    let delayed = queues
        .iter()
        .flat_map(|depth| on_level(broker, vhost, depth));
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
fn on_level(broker: &DevBroker, vhost: &str, depth: &Depth) -> Vec<Enqueued> {
    let Some(level) = delay::level_of(&depth.queue).filter(|_| depth.ready > 0) else {
        return Vec::new();
    };
    let messages = broker.messages(vhost, &depth.queue).unwrap_or_default();
    let read = messages.into_iter().filter_map(|message| {
        let (below, target) = delay::below_level(&message.routing_key, level)?;
        let target = target.to_owned();
        let until = message.expires? + below;
        let waiting = Waiting::Delayed { until };
        Enqueued::read(&target, waiting, message)
    });
    read.collect()
}
