//! Publishing what may be lost: nobody waits for it, and what is too old makes room for what is new.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use coney_protocol::topology::Topology;
use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};
use tracing::{debug, warn};

use crate::backoff::Backoff;
use crate::broker::Broker;
use crate::error::{DeclareError, PublishError, PublishErrorKind};
use crate::publisher::Publication;

/// How many messages wait at most.
const MOST_WAITING: usize = 1024;

/// How many bytes of bodies wait at most.
const MOST_BYTES: usize = 16 * 1024 * 1024;

/// How many messages may be on their way, with no word from the broker yet.
const MOST_ON_WAY: usize = 32;

/// How long to leave an exchange alone that may not be written to: every attempt closes a channel.
const FORBIDDEN: Duration = Duration::from_secs(60);

/// What is told of everything that gets lost: the weight of it.
type OnLost = Box<dyn Fn(u64) + Send + Sync>;

/// Messages that nobody waits for, such as events: bounded in memory, published in order, lost rather than in the way.
///
/// [`push`](Self::push) never waits. While the broker takes nothing, the oldest messages make room for new ones. Cheap
/// to clone; [`run`](Self::run) does the work.
#[derive(Clone)]
pub struct Outbox(Arc<Inner>);

struct Inner {
    broker: Broker,
    /// What has to exist before anything is published: a message for an exchange that is not there closes the channel.
    topology: Topology,
    waiting: Mutex<Waiting>,
    woken: Notify,
    on_lost: OnLost,
}

#[derive(Default)]
struct Waiting {
    parcels: VecDeque<Parcel>,
    bytes: usize,
    closed: bool,
}

/// A message, with how much is lost with it and until when it is worth sending.
struct Parcel {
    publication: Publication,
    weight: u64,
    until: Option<Instant>,
}

impl Outbox {
    /// An outbox for messages that need `topology`, which is declared before the first one and again when it is gone.
    ///
    /// `on_lost` is told the weight of whatever is lost, on whichever thread that is.
    #[must_use]
    pub fn new(
        broker: &Broker,
        topology: Topology,
        on_lost: impl Fn(u64) + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(Inner {
            broker: broker.clone(),
            topology,
            waiting: Mutex::default(),
            woken: Notify::new(),
            on_lost: Box::new(on_lost),
        }))
    }

    /// Puts a message at the end; the oldest ones are lost if there is no room.
    pub fn push(&self, publication: Publication, weight: u64) {
        self.put(Parcel {
            publication,
            weight,
            until: None,
        });
    }

    /// Puts a message at the end that is worth nothing when it is not sent within `limit`.
    pub fn push_for(&self, publication: Publication, weight: u64, limit: Duration) {
        self.put(Parcel {
            publication,
            weight,
            until: Some(Instant::now() + limit),
        });
    }

    fn put(&self, parcel: Parcel) {
        let mut lost = 0;
        let mut waiting = self.0.waiting();
        if waiting.closed {
            lost = parcel.weight;
        } else {
            waiting.bytes += parcel.publication.payload.len();
            waiting.parcels.push_back(parcel);
            while waiting.parcels.len() > MOST_WAITING || waiting.bytes > MOST_BYTES {
                lost += waiting.take().map_or(0, |oldest| oldest.weight);
            }
        }
        drop(waiting);
        self.0.woken.notify_one();
        self.0.lost(lost);
    }

    /// How many messages wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.0.waiting().parcels.len()
    }

    /// Takes no more; what waits is still sent by [`run`](Self::run), which ends then.
    pub fn close(&self) {
        self.0.waiting().closed = true;
        self.0.woken.notify_one();
    }

    /// Sends what is put in, until the outbox is closed and empty. Run it once.
    ///
    /// Messages with the same routing key are published in their order, and those with another key after them.
    ///
    /// # Delivery
    ///
    /// None is promised: a message that the broker did not confirm is not sent again, unless the connection was lost
    /// over it.
    ///
    /// # Cancel safety
    ///
    /// When the future is dropped, what waits stays, and up to some tens of messages may or may not have been sent.
    pub async fn run(&self) {
        let mut sender = Sender {
            inner: &self.0,
            is_declared: false,
            not_before: None,
            backoff: Backoff::default(),
            has_told: false,
        };
        sender.run().await;
    }
}

impl Inner {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lost(&self, weight: u64) {
        if weight > 0 {
            (self.on_lost)(weight);
        }
    }

    /// The next message that is worth sending; `None` if there will be none.
    async fn next(&self) -> Option<Parcel> {
        loop {
            let (parcel, closed) = {
                let mut waiting = self.waiting();
                (waiting.take(), waiting.closed)
            };
            match parcel {
                Some(parcel) if parcel.is_stale() => self.lost(parcel.weight),
                Some(parcel) => return Some(parcel),
                None if closed => return None,
                None => self.woken.notified().await,
            }
        }
    }

    async fn closed(&self) {
        while !self.waiting().closed {
            self.woken.notified().await;
        }
    }
}

impl Waiting {
    fn take(&mut self) -> Option<Parcel> {
        let parcel = self.parcels.pop_front()?;
        self.bytes -= parcel.publication.payload.len();
        Some(parcel)
    }
}

impl Parcel {
    fn is_stale(&self) -> bool {
        self.until.is_some_and(|until| until < Instant::now())
    }
}

/// The working side of an outbox.
struct Sender<'a> {
    inner: &'a Inner,
    is_declared: bool,
    /// When to try next to declare, after something went wrong.
    not_before: Option<Instant>,
    backoff: Backoff,
    /// True if the log says already that nothing is sent.
    has_told: bool,
}

impl Sender<'_> {
    async fn run(&mut self) {
        let publisher = self.inner.broker.publisher();
        let mut on_way = FuturesUnordered::new();
        let mut key = None;
        loop {
            let parcel = tokio::select! {
                biased;
                Some((weight, verdict)) = on_way.next() => {
                    self.heard(weight, verdict);
                    continue;
                }
                parcel = self.inner.next(), if on_way.len() < MOST_ON_WAY => parcel,
            };
            let Some(parcel) = parcel else { break };
            if key.as_ref() != Some(&parcel.publication.routing_key) {
                // another key may go another way, and overtake
                while let Some((weight, verdict)) = on_way.next().await {
                    self.heard(weight, verdict);
                }
                key = Some(parcel.publication.routing_key.clone());
            }
            if !self.is_ready().await || parcel.is_stale() {
                self.inner.lost(parcel.weight);
                continue;
            }
            let receipt = publisher.submit(parcel.publication).await;
            on_way.push(async move { (parcel.weight, receipt.await) });
        }
        while let Some((weight, verdict)) = on_way.next().await {
            self.heard(weight, verdict);
        }
    }

    /// Waits until what is needed exists; false if the outbox is closed before.
    async fn is_ready(&mut self) -> bool {
        while !self.is_declared {
            if let Some(at) = self.not_before.take() {
                tokio::select! {
                    () = sleep_until(at) => {}
                    () = self.inner.closed() => return false,
                }
            }
            match self.inner.broker.declare(&self.inner.topology).await {
                Ok(()) => {
                    self.is_declared = true;
                    self.has_told = false;
                }
                Err(error) => {
                    let wait = match error.is_transient() {
                        true => self.backoff.next(),
                        false => FORBIDDEN,
                    };
                    self.tell(&error);
                    self.not_before = Some(Instant::now() + wait);
                }
            }
        }
        true
    }

    /// Says once that nothing is sent for now.
    fn tell(&mut self, error: &DeclareError) {
        let cause = std::error::Error::source(error).map(ToString::to_string);
        if std::mem::replace(&mut self.has_told, true) {
            debug!(target: "coney::amqp", %error, cause, "messages that may be lost are still not sent");
        } else {
            warn!(target: "coney::amqp", %error, cause, "messages that may be lost are not sent for now");
        }
    }

    fn heard(&mut self, weight: u64, verdict: Result<(), PublishError>) {
        let Err(error) = verdict else {
            self.backoff.reset();
            return;
        };
        self.inner.lost(weight);
        debug!(target: "coney::amqp", %error, "a message that nobody waits for was not published");
        match error.kind() {
            PublishErrorKind::NoExchange { .. } => self.is_declared = false,
            PublishErrorKind::Permission { .. } => {
                self.is_declared = false;
                self.not_before = Some(Instant::now() + FORBIDDEN);
            }
            _ => {}
        }
    }
}

impl fmt::Debug for Outbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outbox")
            .field("waiting", &self.waiting())
            .finish_non_exhaustive()
    }
}
