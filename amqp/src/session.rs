//! Consuming: one supervised connection, shared by all queues of a worker.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use crate::acks::Epoch;
use crate::backoff::Backoff;
use crate::broker::Core;
use crate::consumer::{Consumer, ConsumerSpec};
use crate::error::{ConsumeError, ConsumeErrorKind};
use crate::link::Link;
use crate::settings::Settings;
use crate::status::{Board, SessionStatus};
use crate::subscription::Subscription;

/// How long settlements may take to be written before nobody waits any more.
const FLUSH: Duration = Duration::from_secs(5);

/// How long consumers may take to end when the session closes.
const ENDING: Duration = Duration::from_secs(5);

/// One supervised consuming connection, shared by all its consumers; cheap to clone.
///
/// The first attempt to consume a queue is answered, with a typed error if it fails. From then on the session sees to
/// it that messages keep coming: when the connection is lost it reconnects, without limit, with growing and jittered
/// pauses of at most five seconds, declares again what the queue needs, sets the prefetch and consumes; when a single
/// channel ends (the queue was deleted, an acknowledgement took longer than the broker allows) only that queue starts
/// over. [`Session::status`] says whether everything works and why not.
///
/// Nothing is published on this connection, so the broker never blocks it: acknowledgements go through while publishers
/// wait.
#[derive(Clone)]
pub struct Session {
    inner: Arc<Inner>,
}

/// What keeps a session alive: its handles and its consumers.
pub(crate) struct Inner {
    shared: Arc<Shared>,
    core: Arc<Core>,
    started: AtomicBool,
    consumers: AtomicU64,
    _stop_on_drop: DropGuard,
}

impl Inner {
    pub(crate) async fn flush(&self) -> bool {
        self.shared.flush().await
    }
}

/// What a session's tasks know; they do not keep it alive.
pub(crate) struct Shared {
    pub(crate) settings: Arc<Settings>,
    pub(crate) role: String,
    pub(crate) stop: CancellationToken,
    pub(crate) board: Board,
    pub(crate) stale: Arc<AtomicU64>,
    /// The connection, while there is one.
    pub(crate) link: watch::Sender<Option<Arc<Link>>>,
    /// Consumers.
    pub(crate) consumers: TaskTracker,
    /// What writes settlements, for as long as there is a connection to write to.
    pub(crate) writers: TaskTracker,
    epochs: Mutex<Vec<Weak<Epoch>>>,
}

impl Session {
    pub(crate) fn new(core: Arc<Core>, role: &str) -> Self {
        let stop = core.stop.child_token();
        let shared = Shared {
            settings: Arc::clone(&core.settings),
            role: role.to_owned(),
            stop: stop.clone(),
            board: Board::default(),
            stale: Arc::default(),
            link: watch::Sender::new(None),
            consumers: TaskTracker::new(),
            writers: core.tasks.clone(),
            epochs: Mutex::default(),
        };
        let inner = Inner {
            shared: Arc::new(shared),
            core,
            started: AtomicBool::new(false),
            consumers: AtomicU64::new(0),
            _stop_on_drop: stop.drop_guard(),
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// Starts to consume a queue. The first call opens the connection.
    ///
    /// # Errors
    ///
    /// [`ConsumeError`] if the first attempt fails; later failures are repaired, see [`Session::status`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future cancels the consumer; what it had received goes back to the queue.
    pub async fn consume(&self, spec: ConsumerSpec) -> Result<Consumer, ConsumeError> {
        let shared = &self.inner.shared;
        let queue = spec.queue.clone();
        let closed = || ConsumeError::new(ConsumeErrorKind::Closed, &queue);
        if shared.stop.is_cancelled() {
            return Err(closed());
        }
        self.start();
        let (sender, deliveries) = mpsc::channel(spec.buffer());
        let (first, answer) = oneshot::channel();
        let cancel = shared.stop.child_token();
        let number = self.inner.consumers.fetch_add(1, Ordering::Relaxed);
        let (prefetch, limit) = watch::channel(spec.limit());
        let subscription = Subscription::new(
            Arc::clone(shared),
            spec,
            number,
            sender,
            limit,
            cancel.clone(),
        );
        shared.consumers.spawn(subscription.run(first));
        let session = Arc::clone(&self.inner);
        let consumer = Consumer::new(deliveries, prefetch, cancel, session, queue.clone());
        answer.await.unwrap_or_else(|_| Err(closed()))?;
        Ok(consumer)
    }

    /// Whether everything works, to be watched.
    #[must_use]
    pub fn status(&self) -> watch::Receiver<SessionStatus> {
        self.inner.shared.board.subscribe()
    }

    /// How many deliveries were settled when their channel or connection was gone already, or just going, so that the
    /// broker delivers them again.
    ///
    /// A measure, not an account: of what was settled in the last moments before a loss, some may have arrived although
    /// it is counted, and some may be lost although it is not.
    #[must_use]
    pub fn stale_acks(&self) -> u64 {
        self.inner.shared.stale.load(Ordering::Relaxed)
    }

    /// Waits until everything settled so far is written to the broker; false if that took too long (five seconds).
    ///
    /// What was settled on a connection that is gone counts as written, as nothing can be.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future only stops waiting.
    pub async fn flush(&self) -> bool {
        self.inner.shared.flush().await
    }

    /// Closes the session: cancels its consumers, writes what is settled, and closes the connection.
    ///
    /// What was delivered and is not settled by then goes back to its queue.
    ///
    /// # Cancel safety
    ///
    /// The session closes by itself once this was polled; dropping the future only stops waiting.
    pub async fn close(&self) {
        let shared = &self.inner.shared;
        let mut status = self.status();
        shared.stop.cancel();
        if self.inner.started.swap(true, Ordering::SeqCst) {
            let _ = status
                .wait_for(|status| *status == SessionStatus::Closed)
                .await;
        } else {
            shared.board.close();
        }
    }

    fn start(&self) {
        if !self.inner.started.swap(true, Ordering::SeqCst) {
            let supervisor = supervise(
                Arc::clone(&self.inner.shared),
                self.inner.core.tasks.clone(),
            );
            self.inner.core.tasks.spawn(supervisor);
        }
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("role", &self.inner.shared.role)
            .field("status", &*self.status().borrow())
            .finish_non_exhaustive()
    }
}

impl Shared {
    /// Notes a channel, so that it can be flushed.
    pub(crate) fn register(&self, epoch: &Arc<Epoch>) {
        let mut epochs = self.epochs.lock().unwrap_or_else(PoisonError::into_inner);
        epochs.retain(|epoch| epoch.strong_count() > 0);
        epochs.push(Arc::downgrade(epoch));
    }

    pub(crate) async fn flush(&self) -> bool {
        let epochs = self.epochs.lock();
        let epochs = epochs.unwrap_or_else(PoisonError::into_inner).clone();
        let all = async {
            for epoch in epochs.iter().filter_map(Weak::upgrade) {
                epoch.flush().await;
            }
        };
        timeout(FLUSH, all).await.is_ok()
    }
}

/// Keeps a connection open until the session is closed.
async fn supervise(shared: Arc<Shared>, tasks: TaskTracker) {
    let mut backoff = Backoff::default();
    while !shared.stop.is_cancelled() {
        let opened = tokio::select! {
            opened = Box::pin(Link::open(&shared.settings, &shared.role, &tasks)) => opened,
            () = shared.stop.cancelled() => break,
        };
        let reason = match opened {
            Ok(link) => {
                info!(target: "coney::amqp", role = shared.role, "consuming connection open");
                backoff.reset();
                connected(&shared, &link).await
            }
            Err(error) => error.to_string(),
        };
        if shared.stop.is_cancelled() {
            break;
        }
        let wait = backoff.next();
        let attempt = backoff.attempt();
        warn!(target: "coney::amqp", role = shared.role, attempt, reason, ?wait, "no consuming connection: reconnecting");
        shared.board.disconnected(attempt, reason);
        let _ = timeout(wait, shared.stop.cancelled()).await;
    }
    shared.consumers.close();
    let _ = timeout(ENDING, shared.consumers.wait()).await;
    shared.board.close();
}

/// Lends the connection to the consumers until it is lost or the session closes; returns why.
async fn connected(shared: &Shared, link: &Arc<Link>) -> String {
    shared.board.connected();
    shared.link.send_replace(Some(Arc::clone(link)));
    tokio::select! {
        () = link.lost() => {}
        () = shared.stop.cancelled() => {
            // consumers hand back what nobody took before the connection goes
            shared.consumers.close();
            let _ = timeout(ENDING, shared.consumers.wait()).await;
            shared.flush().await;
            link.close().await;
        }
    }
    shared.link.send_replace(None);
    link.reason()
}
