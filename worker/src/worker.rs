//! The worker: owns the loops of its queues from start to stop.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use coney_amqp::{Broker, ConsumerSpec, Session, SessionStatus};
use coney_protocol::inject::States;
use coney_protocol::spec::QueueSpec;
use coney_protocol::wire::Limits;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::info;

use crate::banner;
use crate::builder::WorkerBuilder;
use crate::consume::consume;
use crate::decode::Decoder;
use crate::error::WorkerError;
use crate::listen::{self, Listener, Stage};
use crate::pipeline::{Pipeline, UnderWay};
use crate::readiness::{Readiness, Ready};
use crate::registry::Registry;
use crate::repeats::{REMEMBERED, Repeats};
use crate::revocations::{MOST_REMEMBERED, Revocations};
use crate::settle::Settler;
use crate::shutdown::{self, Signals};
use crate::telemetry;
use crate::uplink::ReplyLine;

/// Runs tasks: consumes its queues, each with its own concurrency, until it is told to stop.
///
/// Workers hold no state of their own: start as many as you like, on as many machines.
pub struct Worker {
    parts: Parts,
    ready: watch::Sender<Ready>,
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
        Self { parts, ready }
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
        let Self { parts, ready } = self;
        let session = parts.broker.session("worker");
        // dropped with this future: whatever ends it also ends the loops
        let stopping = CancellationToken::new();
        let abort = CancellationToken::new();
        let _stop_all = (stopping.clone().drop_guard(), abort.clone().drop_guard());
        let running = TaskTracker::new();
        let revocations = Revocations::new(parts.revocation_memory, MOST_REMEMBERED);
        // to the very end: what runs on after the signal to stop can still be cancelled
        let _listening = parts.listen(&session, &revocations).await;
        let mut loops = parts
            .start(&session, &running, &stopping, &abort, &revocations)
            .await?;
        info!(target: "coney::worker", "{}", banner::text(&parts));
        tokio::select! {
            () = stop => {}
            () = follow(&session, &ready) => {}
        }
        stopping.cancel();
        ready.send_replace(Ready::Stopped);
        // each loop returns what waits in its prefetch as it ends
        while loops.join_next().await.is_some() {}
        let drained = shutdown::drain(&running, &abort, parts.grace, hurry).await;
        session.flush().await;
        session.close().await;
        info!(target: "coney::worker", worker = parts.name, "stopped");
        drained
    }
}

impl Parts {
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

    /// Declares and consumes all queues; their loops run on the returned set.
    async fn start(
        &self,
        session: &Session,
        running: &TaskTracker,
        stop: &CancellationToken,
        abort: &CancellationToken,
        revocations: &Arc<Revocations>,
    ) -> Result<JoinSet<()>, WorkerError> {
        telemetry::describe();
        let replies = ReplyLine::new(self.broker.clone(), Handle::current());
        let mut loops = JoinSet::new();
        for plan in &self.queues {
            let queue = plan.spec.name.to_string();
            let consumer = session
                .consume(self.consumer_spec(plan))
                .await
                .map_err(|source| WorkerError::Consume {
                    queue: queue.clone(),
                    source: Box::new(source),
                })?;
            let pipeline = Pipeline {
                decoder: Decoder {
                    queue: queue.clone(),
                    registry: Arc::clone(&self.registry),
                    states: Arc::clone(&self.states),
                    limits: self.limits,
                    replies: Arc::clone(&replies),
                    revocations: Arc::clone(revocations),
                    delivery_limit: self.broker.preset().worker_delivery_limit(&plan.spec),
                },
                settler: Settler {
                    broker: self.broker.clone(),
                    topology: self.broker.preset().topology(&plan.spec),
                    queue,
                    worker: self.name.clone(),
                    abort: abort.clone(),
                    late: watch::Sender::new(0),
                },
                repeats: Repeats::new(REMEMBERED),
                outlives_connection: self.outlives_connection,
                revoke_grace: self.revoke_grace,
                under_way: UnderWay::default(),
                stopping: stop.clone(),
                abort: abort.clone(),
            };
            let slots = usize::try_from(plan.concurrency).unwrap_or(usize::MAX);
            loops.spawn(consume(
                consumer,
                slots,
                Arc::new(pipeline),
                running.clone(),
                stop.clone(),
            ));
        }
        Ok(loops)
    }

    fn consumer_spec(&self, plan: &QueuePlan) -> ConsumerSpec {
        let topology = self.broker.preset().topology(&plan.spec);
        ConsumerSpec::new(plan.spec.name.to_string())
            .topology(topology)
            .prefetch(plan.prefetch)
            .tag(format!("{} {}", self.name, plan.spec.name))
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
