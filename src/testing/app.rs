//! Broker, client and worker of one test.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use coney_devbroker::DevBroker;
use coney_producer::{Client, DeadLetter, DeadLetterErrorKind};
use coney_protocol::call::{Call, Sender};
use coney_protocol::spec::Queue;
use coney_protocol::task::Run;
use tokio::sync::Mutex;

use super::builder::{Limits, Setup, TestAppBuilder};
use super::course::Course;
use super::crew::Crew;
use super::current;
use super::enqueued::Enqueued;
use super::error::TestError;
use super::perform::Perform;
use super::view::{self, MAIN};

/// Broker, client and worker of one test, in its process; cheap to clone.
///
/// Every app is alone: it has a broker of its own, on a port of its own, and a clock that stands still until the test
/// moves it. What is sent waits until the test says that it shall run. All of it ends when the last clone is dropped.
///
/// See the [module](super) for an example.
#[derive(Clone)]
pub struct TestApp(Arc<Inner>);

pub(super) struct Inner {
    // first: a worker that is dropped before its broker does not miss it
    crew: Mutex<Option<Crew>>,
    client: Client,
    setup: Setup,
    limits: Limits,
    /// Numbers the virtual hosts that single calls are performed in.
    performed: AtomicU64,
    broker: DevBroker,
}

/// What [`TestApp::drain`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Drained {
    /// How many attempts have run.
    pub attempts: u64,
    /// How much time has passed on the clock of the app.
    pub passed: Duration,
    /// How many calls wait in queues that the app has no task for: they are left alone.
    pub left: usize,
}

/// What is in a queue.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct QueueContent {
    /// How many messages wait for a worker.
    pub ready: usize,
    /// How many messages workers have.
    pub unacked: usize,
    /// The calls among both, in the order of the queue; what is no call is only counted.
    pub calls: Vec<Enqueued>,
}

impl TestApp {
    /// Starts to say what the app consists of.
    pub fn builder() -> TestAppBuilder {
        TestAppBuilder::default()
    }

    /// An app without tasks, to test what is sent.
    ///
    /// # Errors
    ///
    /// As [`TestAppBuilder::start`].
    pub async fn start() -> Result<Self, TestError> {
        Self::builder().start().await
    }

    pub(super) fn new(broker: DevBroker, client: Client, setup: Setup, limits: Limits) -> Self {
        let app = Self(Arc::new(Inner {
            crew: Mutex::default(),
            client,
            setup,
            limits,
            performed: AtomicU64::new(0),
            broker,
        }));
        current::add(&app.0);
        app
    }

    pub(super) fn of(inner: Arc<Inner>) -> Self {
        Self(inner)
    }

    /// The client that the code under test sends with.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.0.client
    }

    /// The URL of the broker, for code that connects by itself. Such a connection goes by real time.
    #[must_use]
    pub fn url(&self) -> String {
        self.0.broker.url()
    }

    /// The broker, for tests that look deeper or break something on purpose.
    #[must_use]
    pub fn broker(&self) -> &DevBroker {
        &self.0.broker
    }

    pub(super) fn setup(&self) -> &Setup {
        &self.0.setup
    }

    pub(super) fn limits(&self) -> Limits {
        self.0.limits
    }

    pub(super) fn next_number(&self) -> u64 {
        self.0.performed.fetch_add(1, Ordering::Relaxed)
    }

    /// What the clock of the app shows: it stands still but for [`drain`](Self::drain) and [`advance`](Self::advance).
    #[must_use]
    pub fn now(&self) -> SystemTime {
        self.0.broker.clock().now()
    }

    /// Runs all that is sent, what that sends, and what becomes due, retries among it, until nothing is left.
    ///
    /// Time does not pass by itself: when nothing runs any more, the clock is set to when the next call is due. The
    /// worker is stopped afterwards, unless [`start_worker`](Self::start_worker) has started it: what is sent then waits
    /// for the next time.
    ///
    /// # Errors
    ///
    /// [`TestError::Endless`] if tasks make more tasks without end, [`TestError::Stuck`] if one does not end,
    /// [`TestError::NoTasks`] if there is nothing to run them.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves what has not run in its queue, and a worker that was started for it ends.
    pub async fn drain(&self) -> Result<Drained, TestError> {
        let mut running = self.0.crew.lock().await;
        if let Some(crew) = &mut *running {
            let from = crew.activity().borrow().taken;
            return self.drain_with(crew, from).await;
        }
        let crew = self.crew().await?;
        let drained = self.drain_with(&crew, 0).await?;
        crew.stop().await?;
        Ok(drained)
    }

    /// Runs all with this worker; `from` is where attempts are counted from.
    async fn drain_with(&self, crew: &Crew, from: u64) -> Result<Drained, TestError> {
        let (mut activity, start) = (crew.activity(), self.now());
        self.course().run_out(&mut activity, from).await?;
        let passed = self.now().duration_since(start);
        let attempts = activity.borrow().taken - from;
        Ok(Drained {
            attempts,
            passed: passed.unwrap_or_default(),
            left: self.enqueued().len(),
        })
    }

    fn course(&self) -> Course<'_> {
        Course::new(&self.0.broker, MAIN, self.0.limits)
    }

    /// Lets time pass: what becomes due reaches its queue, and runs if a worker does.
    ///
    /// # Errors
    ///
    /// As [`drain`](Self::drain).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves the clock at some time in between.
    pub async fn advance(&self, by: Duration) -> Result<(), TestError> {
        let running = self.0.crew.lock().await;
        let mut activity = running.as_ref().map(Crew::activity);
        let from = activity
            .as_ref()
            .map_or(0, |activity| activity.borrow().taken);
        let (target, course) = (self.now() + by, self.course());
        loop {
            if let Some(activity) = &mut activity {
                course.rest(activity, from).await?;
            }
            match course.next_due().filter(|due| *due <= target) {
                Some(due) => course.pass_to(due).await?,
                None => return course.pass_to(target).await,
            }
        }
    }

    /// Starts the worker: from now on what is sent runs at once, as in production.
    ///
    /// Does nothing if it runs already.
    ///
    /// # Errors
    ///
    /// [`TestError::NoTasks`] if there is nothing to run.
    pub async fn start_worker(&self) -> Result<(), TestError> {
        let mut running = self.0.crew.lock().await;
        if running.is_none() {
            *running = Some(self.crew().await?);
        }
        Ok(())
    }

    /// Stops the worker, and waits for what it runs: from now on what is sent waits again.
    ///
    /// # Errors
    ///
    /// [`TestError::Worker`] if it has ended with an error.
    pub async fn stop_worker(&self) -> Result<(), TestError> {
        match self.0.crew.lock().await.take() {
            Some(crew) => crew.stop().await,
            None => Ok(()),
        }
    }

    async fn crew(&self) -> Result<Crew, TestError> {
        let Inner { setup, client, .. } = &*self.0;
        if !setup.has_tasks() {
            return Err(TestError::NoTasks);
        }
        let worker = setup.worker(client.broker()).build();
        Crew::start(worker.map_err(TestError::Build)?).await
    }

    /// Runs one attempt of a call now, with the state of this app, and says what came of it.
    ///
    /// It goes the whole way (encoded, sent, decoded, run, settled), but beside the queues of the app: what waits there
    /// is not run, and a retry or a dead letter of this call is told and nothing else. Calls that the task itself sends
    /// with the app's client are enqueued in the app. The task need not be one of the app's.
    ///
    /// ```
    /// # use coney::prelude::*;
    /// # use coney::testing::{Performed, TestApp, TestError};
    /// #[task(retry(max = 3, backoff = fixed("10h")))]
    /// async fn fetch(page: u32) -> coney::Result<u32> {
    ///     Err(Failure::retry(format!("page {page} is not there")))
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), TestError> {
    /// let app = TestApp::start().await?;
    /// let first = app.perform(fetch::call(7)).await?;
    /// assert!(matches!(first, Performed::Retried { .. }), "{first}");
    /// let last = app.perform(fetch::call(7)).attempt(4).await?;
    /// assert!(matches!(last, Performed::Dead { .. }), "{last}");
    /// # Ok(())
    /// # }
    /// ```
    pub fn perform<T: Run>(&self, call: Call<T>) -> Perform<'_, T> {
        Perform::new(self, call.prepare_at(self.0.client.now()))
    }

    /// All calls that are sent and not finished: what waits for a worker, in the order of its queue, what a worker has,
    /// and then what is delayed, the next first.
    #[must_use]
    pub fn enqueued(&self) -> Vec<Enqueued> {
        view::enqueued(&self.0.broker, MAIN)
    }

    /// What is in the queue `Q`.
    #[must_use]
    pub fn queue<Q: Queue>(&self) -> QueueContent {
        self.queue_named(&Q::SPEC.name)
    }

    /// What is in the queue of this name; nothing if there is no such queue.
    #[must_use]
    pub fn queue_named(&self, name: &str) -> QueueContent {
        let queues = self.0.broker.depths(MAIN);
        let depth = queues.iter().find(|depth| *depth.queue == *name);
        QueueContent {
            ready: depth.map_or(0, |depth| depth.ready),
            unacked: depth.map_or(0, |depth| depth.unacked),
            calls: view::in_queue(&self.0.broker, MAIN, name),
        }
    }

    /// The dead letters of the queue `Q`; to put them back, ask the client's
    /// [`dead_letters`](Client::dead_letters).
    ///
    /// # Errors
    ///
    /// [`TestError::DeadLetters`] when they cannot be read.
    pub async fn dead_letters<Q: Queue>(&self) -> Result<Vec<DeadLetter>, TestError> {
        match self.0.client.dead_letters::<Q>().list(usize::MAX).await {
            Ok(letters) => Ok(letters),
            // nobody has sent anything to that queue, nor consumed it
            Err(error) if matches!(error.kind(), DeadLetterErrorKind::Missing) => Ok(Vec::new()),
            Err(error) => Err(TestError::DeadLetters(error)),
        }
    }
}

impl fmt::Debug for TestApp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestApp")
            .field("url", &self.url())
            .field("now", &self.now())
            .finish_non_exhaustive()
    }
}
