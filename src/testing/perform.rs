//! One attempt of one call, the whole way.

use std::fmt;
use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::time::Duration;

use coney_amqp::Broker;
use coney_producer::{Client, DeadReason, ResultError, TaskHandle};
use coney_protocol::call::{Call, Prepared, Sender};
use coney_protocol::error::EncodeError;
use coney_protocol::header::names;
use coney_protocol::options::Target;
use coney_protocol::property::Value;
use coney_protocol::spec::QueueSpec;
use coney_protocol::task::Run;
use coney_protocol::topology::dead_queue;

use super::app::TestApp;
use super::builder::{TestAppBuilder, connect};
use super::course::Course;
use super::crew::Crew;
use super::enqueued::Wait;
use super::error::TestError;
use super::view;

/// What came of one attempt.
#[derive(Debug)]
#[non_exhaustive]
pub enum Performed<T, E> {
    /// The task returned this.
    Succeeded(T),
    /// The task failed, and is finished: it is neither repeated nor a dead letter.
    Failed(ResultError<E>),
    /// The attempt failed, and the task comes back with one attempt more behind it.
    Retried {
        /// Type and text of the error.
        error: String,
        /// After how long, as the broker keeps it: up to a second longer than the policy says, or a seventh with
        /// jitter.
        after: Duration,
    },
    /// The task comes back as the same attempt.
    Deferred {
        /// After how long, as the broker keeps it: up to a second longer than the task says.
        after: Duration,
    },
    /// The message is a dead letter.
    Dead {
        /// Why.
        reason: DeadReason,
        /// What the caller was told.
        error: ResultError<E>,
    },
}

impl<T, E> Performed<T, E> {
    /// What the task returned, if it succeeded.
    #[must_use]
    pub fn ok(self) -> Option<T> {
        match self {
            Self::Succeeded(value) => Some(value),
            _ => None,
        }
    }

    /// What the caller was told, if the task has failed for good.
    #[must_use]
    pub fn error(&self) -> Option<&ResultError<E>> {
        match self {
            Self::Failed(error) | Self::Dead { error, .. } => Some(error),
            _ => None,
        }
    }
}

/// What came of it in one line, for the message of an assertion.
impl<T, E> fmt::Display for Performed<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Succeeded(_) => f.write_str("succeeded"),
            Self::Failed(error) => write!(f, "failed: {error}"),
            Self::Retried { error, after } => {
                write!(f, "is repeated in {}: {error}", Wait(*after))
            }
            Self::Deferred { after } => write!(f, "comes back in {}", Wait(*after)),
            Self::Dead { reason, error } => write!(f, "is a dead letter ({reason}): {error}"),
        }
    }
}

/// An attempt to be made: await it.
#[must_use = "nothing happens until it is awaited"]
pub struct Perform<'a, T: Run> {
    app: &'a TestApp,
    /// Encoded already, so that the arguments need not be `Send`.
    call: Result<Prepared<T::Output, T::Error>, EncodeError>,
    attempt: u32,
}

impl<'a, T: Run> Perform<'a, T> {
    pub(super) fn new(
        app: &'a TestApp,
        call: Result<Prepared<T::Output, T::Error>, EncodeError>,
    ) -> Self {
        Self {
            app,
            call,
            attempt: 1,
        }
    }

    /// Which attempt it shall be, 1 for the first: the one after the last retry is the one that makes a dead letter.
    pub fn attempt(mut self, attempt: u32) -> Self {
        self.attempt = attempt;
        self
    }

    async fn run(self) -> Result<Performed<T::Output, T::Error>, TestError> {
        let Self { app, call, attempt } = self;
        let mut call = call.map_err(|error| TestError::Send(error.into()))?;
        let header = &mut call.message.header;
        header.retries = attempt.saturating_sub(1);
        // the outcome is what this is about, even of a task whose result nobody wants otherwise
        header.ignore_result = Some(false);
        let vhost = format!("perform-{}", app.next_number());
        app.broker().add_vhost(&vhost);
        let stage = Stage::open(app, vhost).await?;
        let performed = stage.run::<T>(call).await;
        app.broker().remove_vhost(&stage.vhost);
        performed
    }
}

impl<'a, T: Run> IntoFuture for Perform<'a, T> {
    type Output = Result<Performed<T::Output, T::Error>, TestError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send + 'a>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}

impl<T: Run> fmt::Debug for Perform<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Perform")
            .field("task", &T::SPEC.name)
            .field("attempt", &self.attempt)
            .finish_non_exhaustive()
    }
}

/// A virtual host where nothing is but one call.
struct Stage<'a> {
    app: &'a TestApp,
    vhost: String,
    broker: Broker,
}

impl<'a> Stage<'a> {
    async fn open(app: &'a TestApp, vhost: String) -> Result<Self, TestError> {
        let broker = connect(app.broker(), &app.broker().url_of(&vhost)).await?;
        Ok(Self { app, vhost, broker })
    }

    async fn run<T: Run>(
        &self,
        call: Prepared<T::Output, T::Error>,
    ) -> Result<Performed<T::Output, T::Error>, TestError> {
        let queue = match &call.target {
            Target::Queue(spec) => spec.clone(),
            named => QueueSpec::from_name(named.name().to_owned().into()),
        };
        let (name, attempt) = (queue.name.to_string(), call.message.header.attempt());
        let crew = self.start::<T>(queue).await?;
        let client = Client::new(&self.broker);
        let handle = client.deliver(call).await.map_err(TestError::Send)?;
        self.run_first(&crew).await?;
        crew.stop().await?;
        match self.comes_back(&handle, attempt) {
            Some(performed) => Ok(performed),
            None => Ok(self.ended(handle, &name).await),
        }
    }

    /// Starts a worker that knows the one task.
    async fn start<T: Run>(&self, queue: QueueSpec) -> Result<Crew, TestError> {
        let worker = self
            .app
            .setup()
            .worker_without_tasks(&self.broker)
            .task::<T>()
            .queue_spec(queue)
            // nothing of it is revoked here: reading that would only take time
            .revocation_memory(Duration::ZERO)
            .build();
        Crew::start(worker.map_err(TestError::Build)?).await
    }

    /// Lets the worker run the call, and time pass before if it was sent with a delay.
    async fn run_first(&self, crew: &Crew) -> Result<(), TestError> {
        let course = Course::new(self.app.broker(), &self.vhost, self.app.limits());
        let mut activity = crew.activity();
        loop {
            course.rest(&mut activity, 0).await?;
            let has_run = activity.borrow().taken > 0;
            match course.next_due().filter(|_| !has_run) {
                Some(due) => course.pass_to(due).await?,
                None => return Ok(()),
            }
        }
    }

    /// What came of it if it waits for another time now.
    fn comes_back<T, E>(&self, handle: &TaskHandle<T, E>, attempt: u32) -> Option<Performed<T, E>> {
        let waiting = view::enqueued(self.app.broker(), &self.vhost);
        let mut calls = waiting.into_iter().filter(|call| call.id == *handle.id());
        let (due, mut call) = calls.find_map(|call| Some((call.due()?, call)))?;
        let after = due.duration_since(self.app.now()).unwrap_or_default();
        if call.attempt == attempt {
            return Some(Performed::Deferred { after });
        }
        let error = call.failed.pop().map(|failed| failed.error);
        Some(Performed::Retried {
            error: error.unwrap_or_default(),
            after,
        })
    }

    /// What came of it if it has ended.
    async fn ended<T, E>(&self, handle: TaskHandle<T, E>, queue: &str) -> Performed<T, E>
    where
        T: Send + 'static,
        E: 'static,
    {
        let patience = self.app.limits().patience;
        match handle.result().timeout(patience).await {
            Ok(value) => Performed::Succeeded(value),
            Err(error) => match self.dead_reason(queue) {
                Some(reason) => Performed::Dead { reason, error },
                None => Performed::Failed(error),
            },
        }
    }

    fn dead_reason(&self, queue: &str) -> Option<DeadReason> {
        let letters = self
            .app
            .broker()
            .messages(&self.vhost, &dead_queue(queue))?;
        let properties = coney_amqp::read_properties(&letters.first()?.properties);
        let reason = properties.headers.get(names::REASON);
        Some(reason.and_then(Value::as_str).unwrap_or_default().into())
    }
}

/// One attempt of a call with an app of its own: see [`perform!`](crate::testing::perform).
#[doc(hidden)]
#[must_use = "nothing happens until it is awaited"]
pub struct Alone<T: Run> {
    app: TestAppBuilder,
    call: Result<Prepared<T::Output, T::Error>, EncodeError>,
    attempt: u32,
}

impl<T: Run> Alone<T> {
    /// A first attempt without any state.
    pub fn new(call: Call<T>) -> Self {
        Self {
            app: TestAppBuilder::default(),
            call: call.prepare(),
            attempt: 1,
        }
    }

    /// As [`TestAppBuilder::state`].
    pub fn state<S: Clone + Send + Sync + 'static>(mut self, value: S) -> Self {
        self.app = self.app.state(value);
        self
    }

    /// As [`TestAppBuilder::patience`].
    pub fn patience(mut self, limit: Duration) -> Self {
        self.app = self.app.patience(limit);
        self
    }

    /// As [`Perform::attempt`].
    pub fn attempt(mut self, attempt: u32) -> Self {
        self.attempt = attempt;
        self
    }

    /// Makes the attempt.
    ///
    /// # Errors
    ///
    /// As [`TestApp::perform`].
    pub async fn run(self) -> Result<Performed<T::Output, T::Error>, TestError> {
        let app = self.app.start().await?;
        Perform::<T>::new(&app, self.call)
            .attempt(self.attempt)
            .await
    }
}

impl<T: Run> fmt::Debug for Alone<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Alone({} attempt {})", T::SPEC.name, self.attempt)
    }
}
