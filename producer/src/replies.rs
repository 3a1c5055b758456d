//! One consumer for all results of a client, however many calls are in flight.
//!
//! Results arrive on a queue of the client's own (`coney.reply.<uuid>`), are matched by correlation id and put into
//! the slot of the call. The queue is durable and consumed with acks, so that results in flight outlive a lost
//! connection (the broker keeps it for [`REPLY_QUEUE_EXPIRES`](topology::REPLY_QUEUE_EXPIRES)).

use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use coney_amqp::{Broker, ConsumeError, Consumer, ConsumerSpec, Delivery, Session, SessionStatus};
use coney_protocol::error::DecodeError;
use coney_protocol::id::TaskId;
use coney_protocol::outcome::ErrorReport;
use coney_protocol::reply::{Reply, Status};
use coney_protocol::topology;
use foldhash::HashMap;
use tokio::sync::{Notify, OnceCell, mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};
use uuid::Uuid;

use crate::telemetry::{ReplyMeter, ReplyOutcome};

/// States that a slow reader of `progress()` may fall behind before it misses some.
pub const PROGRESS_BUFFER: usize = 256;

/// Replies that the broker may send ahead of their acks.
const PREFETCH: u16 = 500;

/// The calls of a client that wait for a result.
#[derive(Debug)]
pub struct Replies {
    queue: String,
    slots: Mutex<HashMap<TaskId, Arc<Slot>>>,
    /// Set once results are received: whether they come.
    started: OnceCell<watch::Receiver<SessionStatus>>,
    meter: ReplyMeter,
    tasks: TaskTracker,
    closed: CancellationToken,
}

impl Replies {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            queue: format!("{}{}", topology::REPLY_PREFIX, Uuid::now_v7()),
            slots: Mutex::default(),
            started: OnceCell::new(),
            meter: ReplyMeter::default(),
            tasks: TaskTracker::new(),
            closed: CancellationToken::new(),
        })
    }

    /// The name of the reply queue.
    #[must_use]
    pub fn queue(&self) -> &str {
        &self.queue
    }

    /// The number of calls that wait for a result.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.slots().len()
    }

    /// Starts to consume on the first call; later ones find it running.
    pub(crate) async fn start(self: &Arc<Self>, broker: &Broker) -> Result<(), ConsumeError> {
        let start = || async {
            let session = broker.session("client");
            let spec = ConsumerSpec::new(self.queue.clone())
                .own_topology(topology::reply_queue(self.queue.clone()))
                .prefetch(PREFETCH)
                .tag("replies");
            let consumer = session.consume(spec).await?;
            let end = End {
                broker: broker.clone(),
                session,
            };
            let status = end.session.status();
            self.tasks.spawn(listen(Arc::clone(self), consumer, end));
            Ok(status)
        };
        self.started.get_or_try_init(start).await.map(|_| ())
    }

    /// True once results are received.
    pub(crate) fn is_started(&self) -> bool {
        self.started.initialized()
    }

    /// Whether results are received; `None` while none was asked for.
    pub(crate) fn status(&self) -> Option<SessionStatus> {
        Some(self.started.get()?.borrow().clone())
    }

    /// Makes a slot for the result of `id`; `None` if there is one already.
    pub(crate) fn expect(self: &Arc<Self>, id: &TaskId) -> Option<Ticket> {
        let slot = Arc::new(Slot::default());
        let mut slots = self.slots();
        match slots.entry(id.clone()) {
            Entry::Occupied(_) => return None,
            Entry::Vacant(vacant) => vacant.insert(Arc::clone(&slot)),
        };
        // under the lock: whoever closes the slots that exist has seen this one, or is seen here
        if self.closed.is_cancelled() {
            slot.close();
        }
        drop(slots);
        Some(Ticket {
            id: id.clone(),
            slot,
            replies: Arc::clone(self),
        })
    }

    /// Stops to take replies.
    pub(crate) fn stop(&self) {
        self.closed.cancel();
    }

    pub(crate) async fn close(&self) {
        self.stop();
        self.tasks.close();
        self.tasks.wait().await;
    }

    fn slots(&self) -> MutexGuard<'_, HashMap<TaskId, Arc<Slot>>> {
        // nothing can panic while it is held
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn deliver(&self, delivery: Delivery) {
        let correlation = delivery.properties.correlation_id.as_deref();
        let content_type = delivery.properties.content_type.as_deref();
        let outcome = match Reply::read(content_type, &delivery.payload) {
            Ok(reply) => self.hand_over(correlation, reply),
            Err(error) => {
                warn!(target: "coney::client", queue = %self.queue, %error, "a reply could not be read");
                // whoever waits for it shall not wait for ever
                if let Some(id) = correlation.map(TaskId::from) {
                    self.hand_over(None, unreadable(id, &error));
                }
                ReplyOutcome::Undecodable
            }
        };
        self.meter.count(outcome);
        // nobody else can want it: a reply is settled whether or not somebody still waits
        delivery.acker.ack();
    }

    fn hand_over(&self, correlation: Option<&str>, reply: Reply) -> ReplyOutcome {
        let id = correlation.map_or_else(|| reply.task_id.clone(), TaskId::from);
        let Some(slot) = self.slots().get(&id).cloned() else {
            return ReplyOutcome::Unwanted;
        };
        slot.put(Arc::new(reply));
        ReplyOutcome::Delivered
    }
}

/// What the caller is told instead of a reply that cannot be read, one that is no JSON.
fn unreadable(id: TaskId, error: &DecodeError) -> Reply {
    let report = ErrorReport::new(
        "UnreadableReply",
        format!("the reply cannot be read: {error}"),
    );
    Reply::failure(id, Status::Failure, &report)
}

/// What is cleaned up when a client ends.
struct End {
    broker: Broker,
    session: Session,
}

/// Takes replies until the client is closed or dropped.
async fn listen(replies: Arc<Replies>, mut consumer: Consumer, end: End) {
    let closed = replies.closed.clone();
    while let Some(Some(delivery)) = closed.run_until_cancelled(consumer.next()).await {
        replies.deliver(delivery);
    }
    // also when the session ended by itself: nobody takes replies any more
    replies.stop();
    for slot in replies.slots().values() {
        slot.close();
    }
    drop(consumer);
    end.session.close().await;
    // one that cannot be deleted now goes by itself when it expires
    if let Err(error) = end.broker.delete_queue(&replies.queue).await {
        debug!(target: "coney::client", queue = %replies.queue, %error, "the reply queue is left to expire");
    }
}

/// A place in the table of calls in flight; dropping it gives the place up.
#[derive(Debug)]
pub(crate) struct Ticket {
    id: TaskId,
    slot: Arc<Slot>,
    replies: Arc<Replies>,
}

impl Ticket {
    /// The final reply; `None` if the client was closed.
    pub(crate) async fn done(&self) -> Option<Arc<Reply>> {
        loop {
            let woken = self.slot.woken.notified();
            let mut woken = std::pin::pin!(woken);
            // registered before looking, so that no wake-up is missed
            woken.as_mut().enable();
            match &self.slot.state().phase {
                Phase::Done(reply) => return Some(Arc::clone(reply)),
                Phase::Closed => return None,
                Phase::Waiting => {}
            }
            woken.await;
        }
    }

    pub(crate) fn watch(&self) -> mpsc::Receiver<Arc<Reply>> {
        let (sender, receiver) = mpsc::channel(PROGRESS_BUFFER);
        let mut state = self.slot.state();
        if let Some(last) = state.last.clone() {
            // a fresh channel has room
            let _ = sender.try_send(last);
        }
        if matches!(state.phase, Phase::Waiting) {
            state.watchers.retain(|watcher| !watcher.is_closed());
            state.watchers.push(sender);
        }
        receiver
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.replies.slots().remove(&self.id);
    }
}

/// What is known about one call in flight.
#[derive(Debug, Default)]
struct Slot {
    state: Mutex<SlotState>,
    woken: Notify,
}

#[derive(Debug, Default)]
struct SlotState {
    phase: Phase,
    last: Option<Arc<Reply>>,
    watchers: Vec<mpsc::Sender<Arc<Reply>>>,
}

#[derive(Debug, Default)]
enum Phase {
    #[default]
    Waiting,
    Done(Arc<Reply>),
    Closed,
}

impl Slot {
    fn state(&self) -> MutexGuard<'_, SlotState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, reply: Arc<Reply>) {
        let mut state = self.state();
        if !matches!(state.phase, Phase::Waiting) {
            // a second final reply: the task ran twice, and the first answer stands
            return;
        }
        if reply.status.is_final() {
            state.phase = Phase::Done(reply);
            state.watchers.clear();
            drop(state);
            self.woken.notify_waiters();
        } else {
            state.watchers.retain(|watcher| {
                !matches!(
                    watcher.try_send(Arc::clone(&reply)),
                    Err(mpsc::error::TrySendError::Closed(_))
                )
            });
            state.last = Some(reply);
        }
    }

    fn close(&self) {
        let mut state = self.state();
        if matches!(state.phase, Phase::Waiting) {
            state.phase = Phase::Closed;
        }
        state.watchers.clear();
        drop(state);
        self.woken.notify_waiters();
    }
}
