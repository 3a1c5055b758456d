//! Confirmed publishing: the handle.

use std::borrow::Cow;
use std::fmt;
use std::future::Future;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use coney_protocol::property::Properties;
use coney_protocol::topology::Route;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout_at};

use crate::broker::Core;
use crate::error::{PublishError, PublishErrorKind};
use crate::job::Job;
use crate::lane::Lane;
use crate::properties::Unfit;

/// How many publications may wait for a publishing task; those that it holds already are not counted.
const QUEUE: usize = 256;

/// A message to publish.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Publication {
    /// The exchange; empty for the default exchange, which leads straight to the queue named by the routing key.
    pub exchange: Cow<'static, str>,
    /// The routing key.
    pub routing_key: Cow<'static, str>,
    /// Properties and headers. A message id is made up if there is none and the message has to reach a queue; it should be
    /// fresh for every publication.
    pub properties: Properties,
    /// The body.
    pub payload: Bytes,
    /// True if it is an error that no queue takes the message.
    pub mandatory: bool,
}

impl Publication {
    /// A message that has to reach a queue.
    #[must_use]
    pub fn new(route: Route, properties: Properties, payload: impl Into<Bytes>) -> Self {
        Self {
            exchange: route.exchange,
            routing_key: route.key,
            properties,
            payload: payload.into(),
            mandatory: true,
        }
    }

    /// Says that nobody needs to be interested: a message without a queue counts as published.
    #[must_use]
    pub fn optional(mut self) -> Self {
        self.mandatory = false;
        self
    }
}

/// Publishes messages and waits for the broker's word; cheap to clone.
///
/// All clones feed the same publishing tasks. Each task owns one confirm channel and keeps up to some hundreds of
/// messages on their way: a lone publish is not delayed, many share their round trips.
///
/// # Delivery
///
/// At least once. `Ok` means that the broker confirmed the message: every queue it was routed to has it, on disk if the
/// message is persistent and the queue durable. When a connection is lost, what was not confirmed is published again on
/// the next one with the same message id, until its deadline: so the broker may have stored it twice. An error whose
/// [`may_have_been_stored`](PublishError::may_have_been_stored) is false means that no queue has it as far as the broker
/// said: an earlier attempt, of which nothing was heard because the connection was lost, may have come further.
///
/// A message that the broker objects to by closing the channel (no such exchange, no permission, too large) fails
/// alone: what else was on its way is published again.
#[derive(Clone)]
pub struct Publisher {
    core: Arc<Core>,
    lanes: Arc<[mpsc::Sender<Job>]>,
}

impl Publisher {
    pub(crate) fn start(core: &Arc<Core>) -> Self {
        let lanes = (0..core.settings.publishers).map(|_| {
            let (sender, waiting) = mpsc::channel(QUEUE);
            let lane = Lane::new(
                Arc::clone(&core.settings),
                core.pool.clone(),
                waiting,
                core.stop.child_token(),
            );
            core.tasks.spawn(lane.run());
            sender
        });
        Self {
            lanes: lanes.collect(),
            core: Arc::clone(core),
        }
    }

    /// Publishes a message and waits for the broker's confirm.
    ///
    /// # Errors
    ///
    /// [`PublishError`]; the deadline is the broker handle's publish timeout, counted from this call.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future before the message is queued publishes nothing; after that, the message is published but
    /// nobody learns its fate.
    ///
    /// # Delivery
    ///
    /// `Ok` means stored. See [`Publisher`].
    pub async fn publish(&self, publication: Publication) -> Result<(), PublishError> {
        // the message is not kept in two places: this is part of every task that answers
        match self.enqueue(publication) {
            Ok(receipt) => receipt.await,
            Err(queueing) => queueing.await.await,
        }
    }

    /// Queues a message and returns a [`Receipt`] for the broker's confirm, so that many can be on their way at once.
    ///
    /// Waits only while the queue is full. Messages submitted one after the other (by awaiting this in between, not the
    /// receipts) are published in this order, per routing key.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future publishes nothing.
    ///
    /// # Delivery
    ///
    /// The message is published even if the receipt is dropped.
    pub async fn submit(&self, publication: Publication) -> Receipt {
        match self.enqueue(publication) {
            Ok(receipt) => receipt,
            Err(queueing) => queueing.await,
        }
    }

    /// Queues a message, or says what to wait for if the queue is full.
    fn enqueue(&self, publication: Publication) -> Result<Receipt, BoxFuture<'_, Receipt>> {
        let deadline = Instant::now() + self.core.settings.publish_timeout;
        let lane = self.lane(&publication);
        let (answer, receipt) = oneshot::channel();
        let job = match Job::new(publication, deadline, answer) {
            Ok(job) => job,
            Err(Unfit(detail)) => {
                return Ok(Receipt::failed(PublishErrorKind::InvalidName { detail }));
            }
        };
        // none overtakes those that wait for room: what becomes free is theirs
        match lane.try_send(job) {
            Ok(()) => Ok(Receipt(State::Waiting(receipt))),
            Err(TrySendError::Closed(_)) => Ok(Receipt::failed(closed())),
            Err(TrySendError::Full(job)) => {
                let sent = timeout_at(deadline, lane.send(job));
                Err(Box::pin(sent.map(|sent| match sent {
                    Ok(Ok(())) => Receipt(State::Waiting(receipt)),
                    Ok(Err(_)) => Receipt::failed(closed()),
                    Err(_) => Receipt::failed(PublishErrorKind::TimedOut),
                })))
            }
        }
    }

    /// The task for a message: always the same for a routing key, to keep its messages in order.
    fn lane(&self, publication: &Publication) -> &mpsc::Sender<Job> {
        if let [only] = &*self.lanes {
            return only;
        }
        let mut hasher = DefaultHasher::new();
        publication.routing_key.hash(&mut hasher);
        let count = self.lanes.len() as u64;
        let at = usize::try_from(hasher.finish() % count).unwrap_or_default();
        &self.lanes[at]
    }
}

impl fmt::Debug for Publisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Publisher")
            .field("tasks", &self.lanes.len())
            .finish_non_exhaustive()
    }
}

fn closed() -> PublishErrorKind {
    PublishErrorKind::Closed {
        reason: "the broker handle was closed".to_owned(),
    }
}

/// The broker's confirm of one message, to come.
///
/// Dropping it does not stop the publish.
#[derive(Debug)]
#[must_use = "await the receipt to learn whether the message was stored"]
pub struct Receipt(State);

#[derive(Debug)]
enum State {
    Waiting(oneshot::Receiver<Result<(), PublishError>>),
    Failed(Option<PublishError>),
}

impl Receipt {
    fn failed(kind: PublishErrorKind) -> Self {
        Self(State::Failed(Some(PublishError::new(kind))))
    }
}

impl Future for Receipt {
    type Output = Result<(), PublishError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            State::Waiting(answer) => Pin::new(answer)
                .poll(cx)
                .map(|answer| answer.unwrap_or_else(|_| Err(PublishError::new(closed())))),
            State::Failed(error) => {
                let error = error.take();
                Poll::Ready(Err(error.unwrap_or_else(|| PublishError::new(closed()))))
            }
        }
    }
}
