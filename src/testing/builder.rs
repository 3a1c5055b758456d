//! What a test wants of its app.

use std::fmt;
use std::time::{Duration, SystemTime};

use coney_amqp::Broker;
use coney_devbroker::{Clock, DevBroker};
use coney_producer::Client;
use coney_protocol::clock;
use coney_protocol::task::Run;
use coney_worker::{Tasks, Worker, WorkerBuilder};

use super::app::TestApp;
use super::error::TestError;

/// The largest frame on the connections of a test, in bytes: its headers are small, and each connection of each test
/// keeps buffers for 64 frames.
const FRAME: u32 = 16 * 1024;

/// How long a connection or a confirm may take.
const SLOWEST: Duration = Duration::from_secs(120);

/// How long nothing may move unless the test says otherwise.
const PATIENCE: Duration = Duration::from_secs(10);

/// How many attempts one [`drain`](TestApp::drain) runs at most unless the test says otherwise.
const MOST_ATTEMPTS: u64 = 1_000;

/// Adds something to the set-up of a worker, as often as a worker is started.
type Step = Box<dyn Fn(WorkerBuilder) -> WorkerBuilder + Send + Sync>;

/// The same before there is a client.
type Planned = Box<dyn FnOnce(&Client) -> Step + Send>;

/// Says what a [`TestApp`] consists of.
#[must_use = "a builder does nothing until `start`"]
pub struct TestAppBuilder {
    states: Vec<Planned>,
    tasks: Vec<Step>,
    limits: Limits,
}

/// How long a test waits, and for how much.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) patience: Duration,
    pub(super) most_attempts: u64,
}

impl Default for TestAppBuilder {
    fn default() -> Self {
        let limits = Limits {
            patience: PATIENCE,
            most_attempts: MOST_ATTEMPTS,
        };
        Self {
            states: Vec::new(),
            tasks: Vec::new(),
            limits,
        }
    }
}

impl TestAppBuilder {
    /// Shares a value with all tasks, which take it as `State<T>`: as
    /// [`WorkerBuilder::state`](crate::WorkerBuilder::state).
    pub fn state<T: Clone + Send + Sync + 'static>(self, value: T) -> Self {
        self.state_with(|_| value)
    }

    /// The same for a value that needs the client of the app, because tasks send calls with it.
    pub fn state_with<T: Clone + Send + Sync + 'static>(
        mut self,
        make: impl FnOnce(&Client) -> T + Send + 'static,
    ) -> Self {
        self.states.push(Box::new(move |client| {
            let value = make(client);
            Box::new(move |worker| worker.state(value.clone()))
        }));
        self
    }

    /// Adds a task that the app can run.
    pub fn task<T: Run>(mut self) -> Self {
        self.tasks.push(Box::new(WorkerBuilder::task::<T>));
        self
    }

    /// Adds the tasks of whole crates, or all that are linked: see [`coney::tasks!`](crate::tasks) and
    /// [`coney::registered()`](crate::registered).
    pub fn tasks(mut self, tasks: Tasks) -> Self {
        self.tasks
            .push(Box::new(move |worker| worker.tasks(tasks.clone())));
        self
    }

    /// How long nothing may move, in real time, before a wait is given up with [`TestError::Stuck`]; 10 seconds unless
    /// set.
    pub fn patience(mut self, limit: Duration) -> Self {
        self.limits.patience = limit;
        self
    }

    /// How many attempts one [`drain`](TestApp::drain) runs before it is given up with [`TestError::Endless`]; 1,000
    /// unless set.
    pub fn most_attempts(mut self, attempts: u64) -> Self {
        self.limits.most_attempts = attempts;
        self
    }

    /// Starts a broker in this process, with a clock that stands still, and connects a client to it. Nothing runs yet.
    ///
    /// # Errors
    ///
    /// [`TestError::Build`] if tasks need state that is missing, or do not go together; other errors when no port on
    /// loopback is free.
    pub async fn start(self) -> Result<TestApp, TestError> {
        let clock = Clock::stopped();
        clock.advance_to(next_second(clock.now()));
        let devbroker = DevBroker::builder()
            .clock(clock)
            .start()
            .await
            .map_err(TestError::Broker)?;
        let broker = connect(&devbroker, &devbroker.url()).await?;
        let client = Client::new(&broker);
        let states = self.states.into_iter().map(|plan| plan(&client)).collect();
        let setup = Setup {
            states,
            tasks: self.tasks,
        };
        if setup.has_tasks() {
            // what is missing shall be told before anything is sent
            setup.worker(&broker).build().map_err(TestError::Build)?;
        }
        Ok(TestApp::new(devbroker, client, setup, self.limits))
    }
}

/// The next whole second: times travel to the microsecond, and people compare them to what they have sent.
fn next_second(time: SystemTime) -> SystemTime {
    let since = time.duration_since(SystemTime::UNIX_EPOCH);
    SystemTime::UNIX_EPOCH + Duration::from_secs(since.unwrap_or_default().as_secs() + 1)
}

/// Connects to the broker in this process, by its clock.
pub(super) async fn connect(devbroker: &DevBroker, url: &str) -> Result<Broker, TestError> {
    let clock = devbroker.clock().clone();
    Broker::builder(url)
        .program("test")
        .frame_max(FRAME)
        // neither silence nor neglect is to be expected within one process
        .heartbeat(Duration::ZERO)
        // what is slow here is the machine, with many tests at once
        .connect_timeout(SLOWEST)
        .publish_timeout(SLOWEST)
        .watch(Duration::ZERO)
        .clock(clock::Clock::of(move || clock.now()))
        .connect()
        .await
        .map_err(TestError::Connect)
}

/// What the workers of an app are made of.
pub(super) struct Setup {
    states: Vec<Step>,
    tasks: Vec<Step>,
}

impl Setup {
    pub(super) fn has_tasks(&self) -> bool {
        !self.tasks.is_empty()
    }

    /// A worker with all states and tasks.
    pub(super) fn worker(&self, broker: &Broker) -> WorkerBuilder {
        let worker = self.worker_without_tasks(broker);
        self.tasks.iter().fold(worker, |worker, step| step(worker))
    }

    /// A worker with all states.
    pub(super) fn worker_without_tasks(&self, broker: &Broker) -> WorkerBuilder {
        let worker = Worker::builder(broker).name("test").remote_control(false);
        self.states.iter().fold(worker, |worker, step| step(worker))
    }
}

impl fmt::Debug for TestAppBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestAppBuilder")
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}
