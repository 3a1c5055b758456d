//! The receiving end of a queue.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use coney_protocol::property::{Table, Value};
use coney_protocol::topology::Topology;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::delivery::Delivery;
use crate::session;

/// How many deliveries wait outside lapin at most.
const BUFFER: u16 = 64;

/// What to consume, and how.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ConsumerSpec {
    /// The queue.
    pub queue: String,
    /// What has to exist; declared (or checked) before every attempt to consume.
    pub topology: Topology,
    /// True if the topology is this program's own, and declared even by one that declares nothing that is shared.
    pub own: bool,
    /// How many messages may be delivered and not settled; at least 1.
    pub prefetch: u16,
    /// The consumer's name, as the management UI shows it; made up by the broker if empty.
    pub tag: String,
    /// True to be the queue's only consumer. Quorum queues ignore it.
    pub exclusive: bool,
    /// The consumer's priority: higher ones are served first. The broker's default is 0.
    pub priority: Option<i32>,
    /// Optional arguments.
    pub arguments: Table,
    /// Set if the queue is a stream: entries that are at most this old are received, too.
    pub replay: Option<Duration>,
    /// True if the session counts as ready without it.
    pub optional: bool,
}

impl ConsumerSpec {
    /// Consumes a queue one message at a time, without declaring anything.
    #[must_use]
    pub fn new(queue: impl Into<String>) -> Self {
        Self {
            queue: queue.into(),
            topology: Topology::default(),
            own: false,
            prefetch: 1,
            tag: String::new(),
            exclusive: false,
            priority: None,
            arguments: Table::new(),
            replay: None,
            optional: false,
        }
    }

    /// Sets what has to exist before the queue can be consumed.
    #[must_use]
    pub fn topology(mut self, topology: Topology) -> Self {
        self.topology = topology;
        self
    }

    /// Sets what has to exist, and that nobody else uses it: it is declared even by a program that may not declare what
    /// is shared ([`BrokerBuilder::declare`](crate::BrokerBuilder::declare)).
    #[must_use]
    pub fn own_topology(mut self, topology: Topology) -> Self {
        self.own = true;
        self.topology(topology)
    }

    /// Sets how many messages may be delivered and not settled. There is no "without limit": zero counts as one.
    #[must_use]
    pub fn prefetch(mut self, messages: u16) -> Self {
        self.prefetch = messages;
        self
    }

    /// Sets the consumer's name, as the management UI shows it.
    #[must_use]
    pub fn tag(mut self, tag: impl Into<String>) -> Self {
        self.tag = tag.into();
        self
    }

    /// Sets whether to be the queue's only consumer.
    #[must_use]
    pub fn exclusive(mut self, exclusive: bool) -> Self {
        self.exclusive = exclusive;
        self
    }

    /// Sets the consumer's priority.
    #[must_use]
    pub fn priority(mut self, priority: i32) -> Self {
        self.priority = Some(priority);
        self
    }

    /// Sets optional arguments.
    #[must_use]
    pub fn arguments(mut self, arguments: Table) -> Self {
        self.arguments = arguments;
        self
    }

    /// Says that the queue is a stream: it is read, not emptied, from the entries on that are `age` old.
    ///
    /// The broker finds the start by whole chunks, so that some older entries may come, too. After a lost connection
    /// reading starts `age` before that moment again. However a delivery of a stream is settled, it is acknowledged:
    /// RabbitMQ answers a `basic.nack` of a stream by closing the whole connection (540).
    #[must_use]
    pub fn replay(mut self, age: Duration) -> Self {
        self.replay = Some(age);
        self
    }

    /// Says that the session counts as ready without this consumer.
    #[must_use]
    pub fn optional(mut self) -> Self {
        self.optional = true;
        self
    }

    pub(crate) fn limit(&self) -> u16 {
        self.prefetch.max(1)
    }

    pub(crate) fn buffer(&self) -> usize {
        self.limit().min(BUFFER).into()
    }

    pub(crate) fn all_arguments(&self, now: SystemTime) -> Table {
        let mut arguments = self.arguments.clone();
        if let Some(priority) = self.priority {
            arguments.insert("x-priority", Value::I32(priority));
        }
        if let Some(age) = self.replay {
            let since_epoch = now.duration_since(SystemTime::UNIX_EPOCH);
            let start = since_epoch.unwrap_or_default().saturating_sub(age);
            arguments.insert("x-stream-offset", Value::Timestamp(start.as_secs()));
        }
        arguments
    }
}

/// Receives messages from one queue, across lost connections.
///
/// Dropping it cancels the consumer; what was received and not taken goes back to the queue. What was taken can still
/// be settled.
pub struct Consumer {
    deliveries: mpsc::Receiver<Delivery>,
    prefetch: watch::Sender<u16>,
    cancel: CancellationToken,
    session: Arc<session::Inner>,
    queue: String,
}

impl Consumer {
    pub(crate) fn new(
        deliveries: mpsc::Receiver<Delivery>,
        prefetch: watch::Sender<u16>,
        cancel: CancellationToken,
        session: Arc<session::Inner>,
        queue: String,
    ) -> Self {
        Self {
            deliveries,
            prefetch,
            cancel,
            session,
            queue,
        }
    }

    /// The queue.
    #[must_use]
    pub fn queue(&self) -> &str {
        &self.queue
    }

    /// The next message; waits through lost connections. `None` only after the consumer was cancelled, or the session
    /// or the broker handle closed.
    ///
    /// # Cancel safety
    ///
    /// No message is lost: one that was not returned yet is returned by the next call.
    pub async fn next(&mut self) -> Option<Delivery> {
        loop {
            let delivery = tokio::select! {
                biased;
                () = self.cancel.cancelled() => None,
                delivery = self.deliveries.recv() => delivery,
            }?;
            // received on a connection that has gone since: the broker delivers it again
            if !delivery.acker.is_stale() {
                return Some(delivery);
            }
            delivery.acker.forget();
        }
    }

    /// The next message if it is here already.
    #[must_use]
    pub fn next_ready(&mut self) -> Option<Delivery> {
        while !self.cancel.is_cancelled() {
            let delivery = self.deliveries.try_recv().ok()?;
            if !delivery.acker.is_stale() {
                return Some(delivery);
            }
            delivery.acker.forget();
        }
        None
    }

    /// Sets how many messages may be delivered and not settled from now on; zero counts as one.
    ///
    /// A consumer keeps the limit that it began with
    /// (<https://www.rabbitmq.com/docs/consumer-prefetch>), so it is started over with the new one: what was received and
    /// not taken goes back to the queue and comes again; what was taken can still be settled.
    pub fn set_prefetch(&self, messages: u16) {
        let messages = messages.max(1);
        self.prefetch
            .send_if_modified(|prefetch| std::mem::replace(prefetch, messages) != messages);
    }

    /// Stops receiving: what was received and not taken goes back to the queue; what was taken can still be settled.
    ///
    /// Returns when the broker has agreed, or cannot be asked.
    ///
    /// # Cancel safety
    ///
    /// The consumer is cancelled once this was polled; dropping the future only stops waiting.
    pub async fn cancel(&mut self) {
        self.cancel.cancel();
        self.deliveries.close();
        while let Some(delivery) = self.deliveries.recv().await {
            drop(delivery);
        }
    }

    /// Waits until everything settled so far is written to the broker; see [`Session::flush`](crate::Session::flush).
    pub async fn flush(&self) -> bool {
        self.session.flush().await
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        self.cancel.cancel();
    }
}

impl fmt::Debug for Consumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consumer")
            .field("queue", &self.queue)
            .field("cancelled", &self.cancel.is_cancelled())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_read_from_an_age_on_counted_from_now() {
        let spec = ConsumerSpec::new("s").replay(Duration::from_secs(60));
        let at = |seconds| {
            let now = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
            spec.all_arguments(now).get("x-stream-offset").cloned()
        };
        assert_eq!(at(100), Some(Value::Timestamp(40)));
        assert_eq!(at(10), Some(Value::Timestamp(0)));
    }
}
