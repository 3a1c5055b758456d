//! The worker: owns the loops of its queues from start to stop.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use coney_amqp::{Broker, Session, SessionStatus};
use coney_protocol::inject::States;
use coney_protocol::spec::QueueSpec;
use coney_protocol::topology::Topology;
use coney_protocol::wire::Limits;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::activity::{Activity, Meter};
use crate::banner;
use crate::builder::WorkerBuilder;
use crate::control::Mailbox;
use crate::error::WorkerError;
use crate::listen::{self, Listener, Stage};
use crate::node::Node;
use crate::pool::Range;
use crate::readiness::{Readiness, Ready};
use crate::registry::Registry;
use crate::revocations::Revocations;
use crate::shutdown::{self, Signals};
use crate::telemetry;

/// Runs tasks: consumes its queues, each with its own concurrency, until it is told to stop.
///
/// Workers hold no state of their own: start as many as you like, on as many machines.
pub struct Worker {
    pub(crate) parts: Parts,
    ready: watch::Sender<Ready>,
    meter: Meter,
}

/// What the builder has checked.
pub(crate) struct Parts {
    pub(crate) name: String,
    pub(crate) broker: Broker,
    pub(crate) states: Arc<States>,
    pub(crate) state_names: Vec<&'static str>,
    pub(crate) registry: Arc<Registry>,
    pub(crate) queues: Vec<QueuePlan>,
    pub(crate) limits: Limits,
    pub(crate) grace: Duration,
    pub(crate) revocation_memory: Duration,
    pub(crate) revoke_grace: Duration,
    pub(crate) outlives_connection: bool,
    pub(crate) task_events: bool,
    /// True to answer remote control.
    pub(crate) remote_control: bool,
    /// Slots that all queues share, from the least to the most; each queue has its own if absent.
    pub(crate) slots: Option<Range>,
}

/// How a queue is consumed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct QueuePlan {
    pub(crate) spec: QueueSpec,
    /// Tasks that run at once.
    pub(crate) concurrency: u32,
    /// Messages that the worker holds.
    pub(crate) prefetch: u16,
}

impl QueuePlan {
    pub(crate) fn new(spec: QueueSpec, concurrency: u32) -> Self {
        let prefetch = spec.prefetch.unwrap_or_else(|| look_ahead(concurrency));
        Self {
            spec,
            concurrency,
            prefetch,
        }
    }

    /// Messages that the worker holds when so many tasks run at once: the same number for each slot as at the start.
    pub(crate) fn prefetch_for(&self, slots: usize) -> u16 {
        let slots = u32::try_from(slots).unwrap_or(u32::MAX);
        if slots == self.concurrency {
            return self.prefetch;
        }
        if self.spec.prefetch.is_none() {
            return look_ahead(slots);
        }
        let each = u64::from(self.prefetch) * u64::from(slots);
        let scaled = each.div_ceil(u64::from(self.concurrency.max(1)));
        u16::try_from(scaled).unwrap_or(u16::MAX)
    }
}

/// As many again as run, so that a slot that becomes free finds its next message here; at least 8, at most 1,000.
fn look_ahead(concurrency: u32) -> u16 {
    let ahead = concurrency.clamp(8, 1000);
    u16::try_from(concurrency.saturating_add(ahead)).unwrap_or(u16::MAX)
}

impl Worker {
    /// Starts to set up a worker on `broker`.
    #[must_use]
    pub fn builder(broker: &Broker) -> WorkerBuilder {
        WorkerBuilder::new(broker)
    }

    pub(crate) fn new(parts: Parts) -> Self {
        let reason = "not started".to_owned();
        let (ready, _) = watch::channel(Ready::NotYet { reason });
        Self {
            parts,
            ready,
            meter: Meter::default(),
        }
    }

    /// The name in logs, dead letters and the management UI.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.parts.name
    }

    /// Watches whether the worker takes messages.
    #[must_use]
    pub fn ready(&self) -> Readiness {
        Readiness::new(self.ready.subscribe())
    }

    /// Watches how much it has taken and what of it still runs.
    #[doc(hidden)]
    #[must_use]
    pub fn activity(&self) -> watch::Receiver<Activity> {
        self.meter.subscribe()
    }

    /// Runs until `stop` is ready, then takes no more, finishes what runs and returns the rest.
    ///
    /// The queues are declared first, so that either side may start first. Before the first task is taken the worker
    /// reads which ones were cancelled; if it may not, it says so in the log and works without.
    ///
    /// # Errors
    ///
    /// [`WorkerError::Consume`] when a queue cannot be declared or consumed at the start; what fails later is tried
    /// again. [`WorkerError::Aborted`] when tasks were still running at the end of the grace period.
    ///
    /// # Delivery
    ///
    /// A message is acknowledged after its task ended and all that follows is confirmed. Whatever has not come that
    /// far when the worker ends, in whatever way, is delivered again.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future stops at once, without the grace period: running tasks are dropped and delivered again.
    pub async fn run_until(self, stop: impl Future<Output = ()>) -> Result<(), WorkerError> {
        self.run_until_or(stop, std::future::pending()).await
    }

    /// Runs until SIGTERM or Ctrl-C, then as [`run_until`](Self::run_until); a second signal ends the grace period at
    /// once.
    ///
    /// Installs the process's signal handlers.
    ///
    /// # Errors
    ///
    /// As [`run_until`](Self::run_until).
    ///
    /// # Delivery
    ///
    /// As [`run_until`](Self::run_until).
    ///
    /// # Cancel safety
    ///
    /// As [`run_until`](Self::run_until).
    pub async fn run(self) -> Result<(), WorkerError> {
        let signals = tokio::sync::Mutex::new(Signals::install());
        let next = || async { signals.lock().await.next().await };
        self.run_until_or(next(), next()).await
    }

    /// Runs until `stop` is ready; `hurry` ends the grace period that follows.
    async fn run_until_or(
        self,
        stop: impl Future<Output = ()>,
        hurry: impl Future<Output = ()>,
    ) -> Result<(), WorkerError> {
        let Self {
            parts,
            ready,
            meter,
        } = self;
        telemetry::describe();
        let session = parts.broker.session("worker");
        // dropped with this future: whatever ends it also ends the loops
        let stopping = CancellationToken::new();
        let abort = CancellationToken::new();
        let _stop_all = (stopping.clone().drop_guard(), abort.clone().drop_guard());
        let node = Arc::new(Node::new(&parts, &session, meter, &stopping, &abort));
        // to the very end: what runs on after the signal to stop can still be cancelled
        let _listening = parts.listen(&session, &node.revocations).await;
        let _following = node.follow_load();
        let telling = node.tell_monitors();
        for plan in &parts.queues {
            let opened = node.queues.open(plan.clone(), Topology::default()).await;
            opened.map_err(|source| WorkerError::Consume {
                queue: plan.spec.name.to_string(),
                source: Box::new(source),
            })?;
        }
        // to the very end: what drains can still be looked at and terminated
        let _answering = parts.answer(&node).await;
        info!(target: "coney::worker", "{}", banner::text(&parts));
        tokio::select! {
            () = stop => {}
            () = node.asked_to_stop.cancelled() => {}
            () = follow(&session, &ready) => {}
        }
        stopping.cancel();
        ready.send_replace(Ready::Stopped);
        // each queue returns what waits in its prefetch
        node.queues.closed().await;
        let drained = shutdown::drain(&node.running, &abort, parts.grace, hurry).await;
        session.flush().await;
        session.close().await;
        telling.farewell().await;
        info!(target: "coney::worker", worker = parts.name, "stopped");
        drained
    }
}

impl Parts {
    /// Starts to answer remote control.
    async fn answer(&self, node: &Arc<Node>) -> JoinSet<()> {
        match self.remote_control {
            true => Mailbox::new(node).open().await,
            false => JoinSet::new(),
        }
    }

    /// Starts to read revocations, and waits until those are known that were there before.
    async fn listen(&self, session: &Session, revocations: &Arc<Revocations>) -> JoinSet<()> {
        let mut listening = JoinSet::new();
        if !self.revocation_memory.is_zero() {
            let listener = Listener {
                broker: self.broker.clone(),
                session: session.clone(),
                revocations: Arc::clone(revocations),
                worker: self.name.clone(),
            };
            let (stage, stages) = watch::channel(Stage::Opening);
            listening.spawn(listener.run(stage));
            listen::caught_up(stages).await;
        }
        listening
    }
}

/// Publishes what the session says about itself until it is closed.
async fn follow(session: &Session, ready: &watch::Sender<Ready>) {
    let mut status = session.status();
    loop {
        let now = match &*status.borrow_and_update() {
            SessionStatus::Ready => Ready::Yes,
            SessionStatus::Closed => return,
            SessionStatus::Connecting { reason, .. } => Ready::NotYet {
                reason: reason.clone(),
            },
            other => Ready::NotYet {
                reason: format!("{other:?}"),
            },
        };
        ready.send_replace(now);
        if status.changed().await.is_err() {
            return;
        }
    }
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker")
            .field("name", &self.parts.name)
            .field("queues", &self.parts.queues)
            .finish_non_exhaustive()
    }
}
