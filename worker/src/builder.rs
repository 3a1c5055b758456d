//! The set-up of a worker, checked once: raw settings in, a [`Worker`] without open questions out.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use coney_amqp::Broker;
use coney_protocol::inject::States;
use coney_protocol::spec::{Queue, QueueSpec};
use coney_protocol::task::Run;
use coney_protocol::topology::REVOCATIONS_KEPT;
use coney_protocol::wire::Limits;

use crate::error::{BuildError, BuildProblem};
use crate::handler::Handler;
use crate::pool::Range;
use crate::registry::{Registry, Tasks};
use crate::revocations::{DEFAULT_MEMORY, DEFAULT_REVOKE_GRACE};
use crate::shutdown::DEFAULT_GRACE;
use crate::worker::{QueuePlan, Worker};

/// How many tasks of a queue one worker runs at once unless told otherwise.
pub const DEFAULT_CONCURRENCY: u32 = 16;

/// What the environment variables that set a queue's concurrency start with; the queue's name follows in capitals, with
/// `_` for everything but letters and digits.
pub const CONCURRENCY_VARIABLE: &str = "CONEY_CONCURRENCY_";

/// The set-up of a [`Worker`].
///
/// ```no_run
/// # use coney_amqp::Broker;
/// # use coney_worker::{Tasks, Worker, shutdown_signal};
/// # #[derive(Clone)] struct Db;
/// # async fn example(my_tasks: Tasks) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
/// let broker = Broker::connect("amqp://localhost").await?;
/// let worker = Worker::builder(&broker).state(Db).tasks(my_tasks).build()?;
/// worker.run_until(shutdown_signal()).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct WorkerBuilder {
    broker: Broker,
    name: Option<String>,
    states: States,
    state_names: Vec<&'static str>,
    tasks: Vec<Handler>,
    queues: Vec<QueueSpec>,
    limits: Limits,
    grace: Duration,
    revocation_memory: Duration,
    revoke_grace: Duration,
    outlives_connection: bool,
    task_events: bool,
    remote_control: bool,
    /// Slots that all queues share, at least and at most.
    concurrency: Option<(u32, u32)>,
    problems: Vec<BuildProblem>,
}

impl WorkerBuilder {
    pub(crate) fn new(broker: &Broker) -> Self {
        Self {
            broker: broker.clone(),
            name: None,
            states: States::default(),
            state_names: Vec::new(),
            tasks: Vec::new(),
            queues: Vec::new(),
            limits: Limits::default(),
            grace: DEFAULT_GRACE,
            revocation_memory: DEFAULT_MEMORY,
            revoke_grace: DEFAULT_REVOKE_GRACE,
            outlives_connection: false,
            task_events: false,
            remote_control: true,
            concurrency: None,
            problems: Vec::new(),
        }
    }

    /// The name in logs, dead letters and the management UI; `<program>-<pid>@<host>` unless set.
    ///
    /// Remote control and monitors know workers by name: two that have the same are one to them.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Shares a value with all tasks, which take it as `State<T>`; a second one of the same type replaces the first.
    #[must_use]
    pub fn state<T: Clone + Send + Sync + 'static>(mut self, value: T) -> Self {
        if self.states.insert(value) {
            self.state_names.push(std::any::type_name::<T>());
        }
        self
    }

    /// Adds the tasks of other crates, or all that are linked: see `coney::tasks!` and `coney::registered()`.
    #[must_use]
    pub fn tasks(mut self, tasks: Tasks) -> Self {
        let (handlers, problems) = tasks.into_parts();
        self.tasks.extend(handlers);
        self.problems.extend(problems);
        self
    }

    /// Adds one task by its type.
    #[must_use]
    pub fn task<T: Run>(mut self) -> Self {
        self.tasks.push(Handler::of::<T>());
        self
    }

    /// Consumes this queue, and only those that are named this way; without any, those of all its tasks.
    #[must_use]
    pub fn queue<Q: Queue>(self) -> Self {
        self.queue_spec(Q::SPEC)
    }

    /// Consumes a queue with other options than its type's: `.queue_spec(Emails::SPEC.concurrency(4))`.
    #[must_use]
    pub fn queue_spec(mut self, spec: QueueSpec) -> Self {
        self.queues.push(spec);
        self
    }

    /// Runs at most so many tasks at once over all queues together, instead of so many of each queue.
    ///
    /// Each queue may still look ahead: without a prefetch of its own it holds as many messages again as run.
    #[must_use]
    pub fn concurrency(mut self, slots: u32) -> Self {
        self.concurrency = Some((slots, slots));
        self
    }

    /// Runs between `min` and `max` tasks at once over all queues together: more as soon as tasks wait, fewer after half
    /// a minute with empty slots.
    #[must_use]
    pub fn autoscale(mut self, min: u32, max: u32) -> Self {
        self.concurrency = Some((min, max));
        self
    }

    /// The largest body that is read, in bytes after decompression; larger messages become dead letters.
    #[must_use]
    pub fn max_body(mut self, bytes: usize) -> Self {
        self.limits = self.limits.body(bytes);
        self
    }

    /// Whether bodies may be MessagePack as well as JSON; false unless set.
    #[cfg(feature = "msgpack")]
    #[must_use]
    pub fn accept_msgpack(mut self, accepted: bool) -> Self {
        self.limits = self.limits.msgpack(accepted);
        self
    }

    /// How long running tasks may go on after the signal to stop; 25 seconds unless set.
    #[must_use]
    pub fn grace(mut self, period: Duration) -> Self {
        self.grace = period;
        self
    }

    /// How long a cancelled task is remembered, also by a worker that starts after it was cancelled; 3 hours unless set.
    ///
    /// The broker keeps revocations for a day
    /// ([`REVOCATIONS_KEPT`]), and a worker remembers
    /// [`MOST_REMEMBERED`](crate::revocations::MOST_REMEMBERED) at most. Zero switches cancelling off: the worker
    /// neither declares nor reads their stream.
    #[must_use]
    pub fn revocation_memory(mut self, memory: Duration) -> Self {
        self.revocation_memory = memory.min(REVOCATIONS_KEPT);
        self
    }

    /// How long a running task that is cancelled may go on after its token fired; 5 seconds unless set.
    ///
    /// Then it is aborted: an async task is dropped where it stands, a blocking one is abandoned and keeps its slot
    /// until it ends.
    #[must_use]
    pub fn revoke_grace(mut self, period: Duration) -> Self {
        self.revoke_grace = period;
        self
    }

    /// Whether running async tasks go on when the connection that delivered them is lost; false unless set.
    ///
    /// The broker delivers such a message again at once, to this worker or another. Unless this is set, the attempt
    /// that has lost its delivery has its token fired and is dropped where it stands, so that two do not run to their
    /// ends beside each other. With it the attempt goes on, its result counts, and a repetition that comes to the same
    /// worker is not run; one that comes to another worker is. Set it for long tasks on a single worker.
    ///
    /// Blocking tasks cannot be ended and always go on.
    #[must_use]
    pub fn outlive_connection(mut self, goes_on: bool) -> Self {
        self.outlives_connection = goes_on;
        self
    }

    /// True to tell monitors of every task from the start, as Celery's `-E` does; unless set, they are told once they
    /// ask (`celery control enable_events`; Flower asks by itself).
    #[must_use]
    pub fn task_events(mut self, always: bool) -> Self {
        self.task_events = always;
        self
    }

    /// Whether the worker answers remote control, such as `celery inspect active` and the buttons of Flower; true unless
    /// set.
    ///
    /// It takes a connection of its own, and the permission to declare what is called `celery.pidbox`; without that the
    /// worker says so in the log and works without. Whoever may publish there can stop it and terminate its tasks.
    #[must_use]
    pub fn remote_control(mut self, answers: bool) -> Self {
        self.remote_control = answers;
        self
    }

    /// Checks the set-up and makes the worker.
    ///
    /// # Errors
    ///
    /// [`BuildError`] with every [`BuildProblem`] at once: no tasks, missing state, a name used twice, a concurrency
    /// of 0 or one that is no number.
    pub fn build(mut self) -> Result<Worker, BuildError> {
        let mut problems = std::mem::take(&mut self.problems);
        let registry = Registry::new(std::mem::take(&mut self.tasks), &mut problems);
        let handlers = registry.sorted();
        if handlers.is_empty() && problems.is_empty() {
            problems.push(BuildProblem::NoTasks);
        }
        for handler in &handlers {
            let requirements = handler.requirements();
            problems.extend(requirements.missing_in(&self.states).map(|state| {
                BuildProblem::MissingState {
                    task: handler.spec().name,
                    state,
                }
            }));
        }
        let wanted = if self.queues.is_empty() {
            handlers.iter().map(|h| h.queue().clone()).collect()
        } else {
            std::mem::take(&mut self.queues)
        };
        let queues = plan(
            wanted,
            |variable| std::env::var(variable).ok(),
            &mut problems,
        );
        let queues = match self.concurrency {
            Some((slots, _)) => queues
                .into_iter()
                .map(|plan| QueuePlan::new(plan.spec, slots))
                .collect(),
            None => queues,
        };
        if let Some((min, max)) = self.concurrency
            && (min == 0 || min > max)
        {
            problems.push(BuildProblem::Concurrency { min, max });
        }
        BuildError::of(problems)?;
        let registry = Arc::new(registry);
        // for what calls other tasks in this worker
        self.states.insert(Arc::clone(&registry));
        Ok(Worker::new(crate::worker::Parts {
            name: self.name.unwrap_or_else(|| default_name(&self.broker)),
            broker: self.broker,
            states: Arc::new(self.states),
            state_names: self.state_names,
            registry,
            queues,
            limits: self.limits,
            grace: self.grace,
            revocation_memory: self.revocation_memory,
            revoke_grace: self.revoke_grace,
            outlives_connection: self.outlives_connection,
            task_events: self.task_events,
            remote_control: self.remote_control,
            slots: self.concurrency.map(|(min, max)| Range::new(min, max)),
        }))
    }
}

/// Several workers of one program on one machine have to be told apart: remote control and monitors know them by name.
fn default_name(broker: &Broker) -> String {
    let host = gethostname::gethostname();
    let pid = std::process::id();
    format!("{}-{pid}@{}", broker.program(), host.to_string_lossy())
}

/// One plan for each queue, sorted by name.
fn plan(
    specs: Vec<QueueSpec>,
    environment: impl Fn(&str) -> Option<String>,
    problems: &mut Vec<BuildProblem>,
) -> Vec<QueuePlan> {
    let mut by_name: BTreeMap<String, QueueSpec> = BTreeMap::new();
    for spec in specs {
        let name = spec.name.to_string();
        if by_name.get(&name).is_some_and(|known| *known != spec) {
            problems.push(BuildProblem::ConflictingQueue { name: name.clone() });
        }
        by_name.insert(name, spec);
    }
    by_name
        .into_values()
        .map(|spec| {
            let variable = concurrency_variable(&spec.name);
            let concurrency = match environment(&variable) {
                None => spec.concurrency.unwrap_or(DEFAULT_CONCURRENCY),
                Some(value) => parse_concurrency(&value).unwrap_or_else(|| {
                    problems.push(BuildProblem::Environment { variable, value });
                    DEFAULT_CONCURRENCY
                }),
            };
            if concurrency == 0 {
                let queue = spec.name.to_string();
                problems.push(BuildProblem::NoSlots { queue });
            }
            QueuePlan::new(spec, concurrency)
        })
        .collect()
}

fn parse_concurrency(value: &str) -> Option<u32> {
    let number: u16 = value.trim().parse().ok()?;
    (number > 0).then(|| number.into())
}

fn concurrency_variable(queue: &str) -> String {
    let name = queue.chars().map(|c| match c {
        'a'..='z' | 'A'..='Z' | '0'..='9' => c.to_ascii_uppercase(),
        _ => '_',
    });
    CONCURRENCY_VARIABLE.chars().chain(name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn planned(spec: QueueSpec, variable: Option<&str>) -> (QueuePlan, Vec<BuildProblem>) {
        let mut problems = Vec::new();
        let environment = |name: &str| {
            assert_eq!(name, "CONEY_CONCURRENCY_E_MAILS_2");
            variable.map(str::to_owned)
        };
        let mut plans = plan(vec![spec], environment, &mut problems);
        (plans.remove(0), problems)
    }

    #[test]
    fn the_environment_overrides_the_concurrency_of_a_queue() {
        let spec = QueueSpec::new("e-mails.2").concurrency(4);
        assert_eq!(planned(spec.clone(), None).0.concurrency, 4);
        assert_eq!(planned(spec.clone(), Some("64")).0.concurrency, 64);
        for wrong in ["", "many", "0", "-1", "70000"] {
            let (_, problems) = planned(spec.clone(), Some(wrong));
            assert!(
                matches!(&problems[..], [BuildProblem::Environment { .. }]),
                "{wrong}: {problems:?}"
            );
        }
    }

    #[test]
    fn a_worker_holds_what_it_runs_and_a_little_more() {
        let (plan, _) = planned(QueueSpec::new("e-mails.2").concurrency(10), None);
        assert!(plan.prefetch > 10);
        let (plan, _) = planned(QueueSpec::new("e-mails.2").prefetch(1), None);
        assert_eq!(plan.prefetch, 1);
    }

    #[test]
    fn two_types_of_one_queue_have_to_agree() {
        let mut problems = Vec::new();
        let specs = vec![QueueSpec::new("q"), QueueSpec::new("q").prefetch(3)];
        let plans = plan(specs, |_| None, &mut problems);
        assert_eq!(plans.len(), 1);
        assert!(matches!(
            &problems[..],
            [BuildProblem::ConflictingQueue { .. }]
        ));
    }
}
