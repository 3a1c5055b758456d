//! One message from a queue, and how to settle it.

use std::fmt;
use std::future::{Future, poll_fn};
use std::sync::Arc;
use std::task::{Poll, ready};

use bytes::Bytes;
use coney_protocol::property::Properties;

use crate::acks::{Epoch, Settlement};
use crate::properties::{self, Unreadable};

/// One message from a queue. Dropping it hands it back to the queue.
#[derive(Debug)]
#[must_use = "a delivery that is dropped goes back to the queue"]
#[non_exhaustive]
pub struct Delivery {
    /// The exchange it was published to; empty for the default exchange.
    pub exchange: String,
    /// The routing key it was published with.
    pub routing_key: String,
    /// True if it may have been delivered before.
    pub redelivered: bool,
    /// Its properties and headers.
    pub properties: Properties,
    /// Why its properties are not what was sent, if they are not: they hold what nobody can read.
    pub unreadable: Option<Unreadable>,
    /// Its body.
    pub payload: Bytes,
    /// Settles it.
    pub acker: Acker,
}

impl Delivery {
    pub(crate) fn new(delivery: lapin::message::Delivery, epoch: &Arc<Epoch>) -> Self {
        epoch.receive();
        let (properties, unreadable) = properties::from_lapin(&delivery.properties);
        Self {
            acker: Acker::new(delivery.delivery_tag, Arc::clone(epoch)),
            exchange: delivery.exchange.into(),
            routing_key: delivery.routing_key.into(),
            redelivered: delivery.redelivered,
            properties,
            unreadable,
            payload: delivery.data.into(),
        }
    }

    /// Takes the settling handle off, to keep it while the contents are consumed: properties, body and handle.
    pub fn into_parts(self) -> (Properties, Bytes, Acker) {
        (self.properties, self.payload, self.acker)
    }
}

/// Settles one delivery, once.
///
/// The methods do not wait: they note the decision, and a task writes it to the broker within five milliseconds,
/// together with what else is waiting. [`Consumer::flush`](crate::Consumer::flush) and
/// [`Session::flush`](crate::Session::flush) wait until it is written. If the connection that brought the delivery is
/// gone, the broker hands the message to somebody else anyway; settling it then does nothing but count up
/// [`Session::stale_acks`](crate::Session::stale_acks).
///
/// Dropping the handle without settling hands the message back to the queue; one of a stream, which keeps what it has,
/// is acknowledged however it is settled.
#[must_use = "a delivery whose handle is dropped goes back to the queue"]
pub struct Acker {
    tag: u64,
    epoch: Option<Arc<Epoch>>,
}

impl Acker {
    pub(crate) fn new(tag: u64, epoch: Arc<Epoch>) -> Self {
        Self {
            tag,
            epoch: Some(epoch),
        }
    }

    /// Says that the message is finished: the broker forgets it.
    pub fn ack(mut self) {
        self.settle(Settlement::Ack);
    }

    /// Hands the message back to the queue, to be delivered again.
    ///
    /// Sent as `basic.nack`, which from RabbitMQ 4.3 on does not count towards the queue's delivery limit.
    pub fn requeue(mut self) {
        self.settle(Settlement::Requeue);
    }

    /// Refuses the message for good: the queue's dead-letter exchange gets it, or nobody if it has none.
    pub fn reject(mut self) {
        self.settle(Settlement::Reject);
    }

    /// True if the connection that brought the delivery is gone, so that the broker delivers the message again.
    #[must_use]
    pub fn is_stale(&self) -> bool {
        self.epoch.as_ref().is_none_or(|epoch| epoch.is_over())
    }

    /// Waits until the connection that brought the delivery is gone, so that the broker delivers the message again.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn lost(&self) {
        if let Some(epoch) = &self.epoch {
            epoch.lost().await;
        }
    }

    /// Waits while the connection that brought the delivery has not answered for a third of a second: what is acknowledged
    /// now may not arrive. Returns when it is lost, too.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn answers(&self) {
        if let Some(epoch) = &self.epoch {
            epoch.pulse().answers().await;
        }
    }

    /// Drives `work` only while the connection that brought the delivery answers, and never again once it is lost: the
    /// broker delivers the message again then, and somebody else does the work.
    ///
    /// That goes for a process that was stopped for longer than the broker waits, too, whatever its clocks say then.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops `work` where it stands.
    pub async fn while_answered<T>(&self, work: impl Future<Output = T>) -> T {
        let Some(epoch) = &self.epoch else {
            return work.await;
        };
        let pulse = epoch.pulse();
        let _reliance = pulse.rely();
        let mut work = std::pin::pin!(work);
        let mut wait = None;
        poll_fn(|context| {
            loop {
                if epoch.is_over() {
                    return Poll::Pending;
                }
                if pulse.is_fresh() {
                    wait = None;
                    return work.as_mut().poll(context);
                }
                let answer = wait.get_or_insert_with(|| Box::pin(pulse.next_answer()));
                ready!(answer.as_mut().poll(context));
                wait = None;
            }
        })
        .await
    }

    /// Drops the handle of a stale delivery, which nobody has seen: nothing to settle, nothing to count.
    pub(crate) fn forget(mut self) {
        self.epoch = None;
    }

    fn settle(&mut self, settlement: Settlement) {
        if let Some(epoch) = self.epoch.take() {
            epoch.settle(self.tag, settlement);
        }
    }
}

impl Drop for Acker {
    fn drop(&mut self) {
        self.settle(Settlement::Requeue);
    }
}

impl fmt::Debug for Acker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Acker")
            .field("tag", &self.tag)
            .field("stale", &self.is_stale())
            .finish()
    }
}
