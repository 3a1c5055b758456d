//! All that a running worker consists of: what its remote control looks at and turns.

use std::sync::Arc;
use std::time::Instant;

use coney_amqp::{Broker, Session};
use coney_protocol::event::LamportClock;
use tokio::runtime::Handle;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::activity::Meter;
use crate::events::{Counts, Events, Setup, Telling};
use crate::limits::TaskLimits;
use crate::queues::{Common, Queues};
use crate::registry::Registry;
use crate::revocations::{MOST_REMEMBERED, Revocations};
use crate::roster::Roster;
use crate::uplink::ReplyLine;
use crate::worker::Parts;

/// A running worker.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) name: String,
    pub(crate) broker: Broker,
    pub(crate) registry: Arc<Registry>,
    pub(crate) roster: Arc<Roster>,
    pub(crate) task_limits: Arc<TaskLimits>,
    pub(crate) revocations: Arc<Revocations>,
    pub(crate) events: Events,
    /// Counts what this process tells and hears; shared by events and remote control.
    pub(crate) clock: Arc<LamportClock>,
    pub(crate) queues: Queues,
    /// Attempts, and what is settled.
    pub(crate) running: TaskTracker,
    pub(crate) started: Instant,
    /// Fires when somebody asks the worker to stop as a signal would.
    pub(crate) asked_to_stop: CancellationToken,
}

impl Node {
    pub(crate) fn new(
        parts: &Parts,
        session: &Session,
        meter: Meter,
        stopping: &CancellationToken,
        abort: &CancellationToken,
    ) -> Self {
        let revocations = Revocations::new(parts.revocation_memory, MOST_REMEMBERED);
        let roster = Arc::new(Roster::default());
        let task_limits = Arc::new(TaskLimits::default());
        for handler in parts.registry.sorted() {
            let spec = handler.spec();
            if spec.rate_limit.is_some() {
                task_limits.set_rate(spec.name, spec.rate_limit);
            }
        }
        let clock = Arc::new(LamportClock::new());
        let events = Events::new(Setup {
            name: parts.name.clone(),
            broker: parts.broker.clone(),
            clock: Arc::clone(&clock),
            always: parts.task_events,
            counts: counts(&roster),
        });
        let running = TaskTracker::new();
        let homes = parts.queues.iter().map(|plan| plan.spec.name.to_string());
        let common = Common {
            name: parts.name.clone(),
            broker: parts.broker.clone(),
            session: session.clone(),
            registry: Arc::clone(&parts.registry),
            states: Arc::clone(&parts.states),
            limits: parts.limits,
            replies: ReplyLine::new(parts.broker.clone(), Handle::current()),
            revocations: Arc::clone(&revocations),
            task_limits: Arc::clone(&task_limits),
            roster: Arc::clone(&roster),
            homes: Arc::new(homes.collect()),
            events: events.clone(),
            outlives_connection: parts.outlives_connection,
            revoke_grace: parts.revoke_grace,
            running: running.clone(),
            meter,
            stopping: stopping.clone(),
            abort: abort.clone(),
        };
        Self {
            name: parts.name.clone(),
            broker: parts.broker.clone(),
            registry: Arc::clone(&parts.registry),
            roster,
            task_limits,
            revocations,
            events,
            clock,
            queues: Queues::new(common, parts.slots),
            running,
            started: Instant::now(),
            asked_to_stop: stopping.child_token(),
        }
    }

    /// Tells monitors what happens, until the returned value says farewell.
    pub(crate) fn tell_monitors(&self) -> Telling {
        self.events.clone().start()
    }

    /// Lets the slots follow the load, for as long as the returned set lives.
    pub(crate) fn follow_load(self: &Arc<Self>) -> JoinSet<()> {
        let mut following = JoinSet::new();
        if let Some(pool) = self.queues.shared() {
            let (node, pool) = (Arc::downgrade(self), pool.clone());
            let waiting = move || node.upgrade().map_or(0, |node| node.queues.waiting());
            following.spawn(async move { pool.follow_load(waiting).await });
        }
        following
    }
}

/// How busy the worker is, for its heartbeats.
fn counts(roster: &Arc<Roster>) -> Box<dyn Fn() -> Counts + Send + Sync> {
    let roster = Arc::clone(roster);
    Box::new(move || Counts {
        active: u64::try_from(roster.running()).unwrap_or(u64::MAX),
        processed: roster.total(),
    })
}
