//! The queues of a running worker: each can be added and given up while it runs.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use coney_amqp::{Broker, ConsumeError, ConsumerSpec, Session};
use coney_protocol::inject::States;
use coney_protocol::topology::Topology;
use coney_protocol::wire::Limits;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::activity::Meter;
use crate::consume::{Intake, Line, Runner};
use crate::decode::Decoder;
use crate::events::Events;
use crate::follow::Follower;
use crate::limits::TaskLimits;
use crate::pipeline::{Pipeline, UnderWay};
use crate::pool::{Pool, Range};
use crate::registry::Registry;
use crate::repeats::{REMEMBERED, Repeats};
use crate::revocations::Revocations;
use crate::roster::Roster;
use crate::settle::Settler;
use crate::telemetry::QueueMeter;
use crate::uplink::ReplyLine;
use crate::worker::QueuePlan;

/// What all queues of a worker have in common.
#[derive(Debug)]
pub(crate) struct Common {
    pub(crate) name: String,
    pub(crate) broker: Broker,
    pub(crate) session: Session,
    pub(crate) registry: Arc<Registry>,
    pub(crate) states: Arc<States>,
    pub(crate) limits: Limits,
    pub(crate) replies: Arc<ReplyLine>,
    pub(crate) revocations: Arc<Revocations>,
    pub(crate) task_limits: Arc<TaskLimits>,
    pub(crate) roster: Arc<Roster>,
    /// The queues that the worker was started for.
    pub(crate) homes: Arc<HashSet<String>>,
    pub(crate) events: Events,
    pub(crate) outlives_connection: bool,
    pub(crate) revoke_grace: Duration,
    pub(crate) running: TaskTracker,
    pub(crate) meter: Meter,
    /// Fires when the worker takes no more messages.
    pub(crate) stopping: CancellationToken,
    /// Fires when running attempts shall be stopped and returned.
    pub(crate) abort: CancellationToken,
}

/// The queues that a worker consumes.
#[derive(Debug)]
pub(crate) struct Queues {
    pub(crate) common: Common,
    /// The slots of all queues, unless each has its own.
    shared: Option<Pool>,
    open: Mutex<BTreeMap<String, OpenQueue>>,
    loops: TaskTracker,
}

/// A queue that is consumed.
#[derive(Clone, Debug)]
pub(crate) struct OpenQueue {
    pub(crate) plan: QueuePlan,
    /// What was declared for it beside what the preset says.
    pub(crate) topology: Topology,
    pub(crate) pool: Pool,
    line: Arc<Line>,
    stop: CancellationToken,
}

impl Queues {
    pub(crate) fn new(common: Common, shared: Option<Range>) -> Self {
        Self {
            common,
            shared: shared.map(Pool::within),
            open: Mutex::default(),
            loops: TaskTracker::new(),
        }
    }

    /// Declares and consumes a queue; `topology` is declared before what the preset says, and instead of it where both
    /// name the same. One that is consumed already is left as it is.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves the queue unconsumed; it may be declared.
    pub(crate) async fn open(
        &self,
        plan: QueuePlan,
        topology: Topology,
    ) -> Result<(), ConsumeError> {
        let name = plan.spec.name.to_string();
        if self.book().contains_key(&name) {
            return Ok(());
        }
        let common = &self.common;
        let mut needed = topology.clone();
        needed.append_missing(common.broker.preset().topology(&plan.spec));
        let own = Range::new(plan.concurrency, plan.concurrency);
        let pool = self.shared.clone().unwrap_or_else(|| Pool::within(own));
        let spec = ConsumerSpec::new(&*name)
            .topology(needed.clone())
            .prefetch(plan.prefetch_for(pool.size()))
            .tag(format!("{} {name}", common.name));
        let consumer = common.session.consume(spec).await?;
        let stop = common.stopping.child_token();
        let line = Arc::<Line>::default();
        let queue = OpenQueue {
            plan: plan.clone(),
            topology,
            pool: pool.clone(),
            line: Arc::clone(&line),
            stop: stop.clone(),
        };
        self.book().insert(name, queue);
        let intake = Intake {
            runner: Runner::new(common.pipeline(&plan, needed), common.meter.clone(), line),
            plan,
            pool,
            running: common.running.clone(),
        };
        self.loops.spawn(intake.run(consumer, stop));
        Ok(())
    }

    /// Stops consuming a queue: what runs is finished, what waits goes back. False if it was not consumed.
    pub(crate) fn cancel(&self, queue: &str) -> bool {
        let open = self.book().remove(queue);
        if let Some(open) = &open {
            open.stop.cancel();
        }
        open.is_some()
    }

    /// The queues that are consumed, by name.
    pub(crate) fn list(&self) -> Vec<OpenQueue> {
        self.book().values().cloned().collect()
    }

    /// The slots that all queues share, if they do.
    pub(crate) fn shared(&self) -> Option<&Pool> {
        self.shared.as_ref()
    }

    /// The pools that tasks run in: one, or one for each queue.
    pub(crate) fn pools(&self) -> Vec<Pool> {
        match &self.shared {
            Some(pool) => vec![pool.clone()],
            None => self.list().into_iter().map(|queue| queue.pool).collect(),
        }
    }

    /// How many tasks may run at once.
    pub(crate) fn slots(&self) -> usize {
        self.pools().iter().map(Pool::size).sum()
    }

    /// How many messages the worker holds at most.
    pub(crate) fn prefetch(&self) -> u32 {
        let queues = self.list();
        let each = queues
            .iter()
            .map(|queue| queue.plan.prefetch_for(queue.pool.size()));
        each.map(u32::from).sum()
    }

    /// How many messages wait for a slot.
    pub(crate) fn waiting(&self) -> usize {
        self.book().values().map(|queue| queue.line.len()).sum()
    }

    /// Waits until no queue is consumed any more; for after the worker was told to stop.
    pub(crate) async fn closed(&self) {
        self.loops.close();
        self.loops.wait().await;
    }

    fn book(&self) -> MutexGuard<'_, BTreeMap<String, OpenQueue>> {
        // nothing can panic while it is held
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Common {
    /// The stages of a queue.
    pub(crate) fn pipeline(&self, plan: &QueuePlan, topology: Topology) -> Pipeline {
        let queue: Arc<str> = (*plan.spec.name).into();
        let tasks = self.registry.all();
        let tasks = tasks.into_iter().map(|handler| handler.spec().name);
        Pipeline {
            meter: QueueMeter::new(&queue, tasks),
            decoder: Decoder {
                queue: Arc::clone(&queue),
                worker: (*self.name).into(),
                registry: Arc::clone(&self.registry),
                states: Arc::clone(&self.states),
                limits: self.limits,
                replies: Arc::clone(&self.replies),
                revocations: Arc::clone(&self.revocations),
                task_limits: Arc::clone(&self.task_limits),
                delivery_limit: self.broker.preset().worker_delivery_limit(&plan.spec),
                clock: self.broker.clock().clone(),
            },
            settler: Settler {
                broker: self.broker.clone(),
                topology,
                queue: queue.to_string(),
                worker: self.name.clone(),
                follower: Follower::new(
                    self.broker.clone(),
                    Arc::clone(&self.registry),
                    Arc::clone(&self.homes),
                    queue.to_string(),
                    &self.name,
                ),
                abort: self.abort.clone(),
                late: watch::Sender::new(0),
            },
            repeats: Repeats::new(REMEMBERED),
            roster: Arc::clone(&self.roster),
            events: self.events.clone(),
            outlives_connection: self.outlives_connection,
            revoke_grace: self.revoke_grace,
            under_way: UnderWay::default(),
            stopping: self.stopping.clone(),
            abort: self.abort.clone(),
        }
    }
}
