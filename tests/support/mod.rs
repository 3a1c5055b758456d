//! What the tests over a broker share: a virtual host of their own, a running worker, waiting with a deadline.

pub mod management;
pub mod place;
#[allow(
    dead_code,
    reason = "shared with the tests of coney-amqp, which use more of it"
)]
pub mod proxy;
pub mod raw;

use std::future::Future;
use std::time::Duration;

use coney::amqp::{Consumer, ConsumerSpec, Delivery, Publication};
use coney::prelude::*;
use coney::protocol::property::{Properties, Value};
use coney::protocol::topology::Route;
use coney::{Client, Readiness, Ready, WorkerBuilder};
use management::Management;
pub use place::place;
use serde_json::json;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use uuid::Uuid;

/// How long a test waits for anything.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// Waits for `future`, and fails with `what` when it takes too long.
pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, future)
        .await
        .unwrap_or_else(|_| panic!("{what}: not within {DEADLINE:?}"))
}

/// An error with its causes, as a program would show it.
pub fn told(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |&error| error.source());
    causes
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ")
}

/// A virtual host of one test, gone when it ends.
pub struct Vhost {
    pub name: String,
    pub management: Management,
}

impl Vhost {
    pub fn new() -> Self {
        let management = Management::new();
        let name = format!("coney-test-{}", Uuid::now_v7());
        management.request("PUT", &format!("vhosts/{name}"), &json!({}));
        let all = json!({"configure": ".*", "write": ".*", "read": ".*"});
        management.request("PUT", &format!("permissions/{name}/guest"), &all);
        Self { name, management }
    }

    /// The URL of the virtual host for the usual user.
    pub fn url(&self) -> String {
        self.url_for("guest:guest")
    }

    /// The URL of the virtual host for `user:password`.
    pub fn url_for(&self, login: &str) -> String {
        format!("amqp://{login}@{}/{}", place().amqp, self.name)
    }

    pub async fn broker(&self) -> Broker {
        connect(&self.url()).await
    }

    /// A user with these permissions on the virtual host, gone with it.
    pub fn user(&self, configure: &str, write: &str, read: &str) -> String {
        let user = format!("{}-{}", self.name, Uuid::new_v4().simple());
        let account = json!({"password": "secret", "tags": ""});
        self.management
            .request("PUT", &format!("users/{user}"), &account);
        let rights = json!({"configure": configure, "write": write, "read": read});
        self.management
            .request("PUT", &format!("permissions/{}/{user}", self.name), &rights);
        user
    }

    /// A worker of this virtual host that is ready, set up by `with`.
    pub async fn worker(&self, with: impl FnOnce(WorkerBuilder) -> WorkerBuilder) -> RunningWorker {
        RunningWorker::start(&self.broker().await, with).await
    }

    pub async fn client(&self) -> Client {
        Client::new(&self.broker().await)
    }

    /// Publishes a raw message straight to a queue.
    pub async fn publish_raw(&self, queue: &str, properties: Properties, body: impl Into<Vec<u8>>) {
        let broker = self.broker().await;
        let body: Vec<u8> = body.into();
        let publication = Publication::new(Route::to_queue(queue.to_owned()), properties, body);
        let verdict = broker.publisher().publish(publication).await;
        verdict.expect("the broker takes the message");
    }

    /// Takes the next message of a queue, which has to exist, and acknowledges it.
    pub async fn take(&self, queue: &str) -> Delivery {
        let mut consumer = self.consumer(queue).await;
        within(queue, consumer.next()).await.expect("a message")
    }

    pub async fn consumer(&self, queue: &str) -> Consumer {
        let session = self.broker().await.session("test");
        let spec = ConsumerSpec::new(queue);
        session.consume(spec).await.expect("the queue is there")
    }

    /// The dead letter of `queue` that is next, with its reason.
    pub async fn dead_letter(&self, queue: &str) -> (String, Delivery) {
        let letter = self.take(&format!("{queue}.dead")).await;
        let reason = text_header(&letter, "coney-reason").expect("a dead letter has a reason");
        (reason, letter)
    }

    /// What the management API shows of this virtual host, such as `queues`.
    pub fn shows(&self, what: &str) -> serde_json::Value {
        self.management.get(&format!("{what}/{}", self.name))
    }
}

impl Drop for Vhost {
    fn drop(&mut self) {
        self.management.delete(&format!("vhosts/{}", self.name));
        let users = self.management.get("users");
        for user in users.as_array().into_iter().flatten() {
            let user = user["name"].as_str().unwrap_or_default();
            if user.starts_with(&self.name) {
                self.management.delete(&format!("users/{user}"));
            }
        }
    }
}

pub async fn connect(url: &str) -> Broker {
    match Broker::connect(url).await {
        Ok(broker) => broker,
        Err(error) => panic!("no broker: run `cargo xtask test`, or unset CONEY_URL ({error})"),
    }
}

pub fn text_header(delivery: &Delivery, name: &str) -> Option<String> {
    let value = delivery.properties.headers.get(name)?;
    value.as_str().map(str::to_owned)
}

/// The properties of a bare message: what a hand-written client sends.
pub fn bare(task: &str, id: &str) -> Properties {
    let mut properties = Properties::default();
    properties.content_type = Some("application/json".into());
    properties
        .headers
        .insert("task", Value::from(task.to_owned()));
    properties.headers.insert("id", Value::from(id.to_owned()));
    properties
}

/// A worker that runs beside the test.
pub struct RunningWorker {
    ready: Readiness,
    stop: oneshot::Sender<()>,
    running: JoinHandle<Result<(), coney::WorkerError>>,
}

impl RunningWorker {
    pub async fn start(broker: &Broker, with: impl FnOnce(WorkerBuilder) -> WorkerBuilder) -> Self {
        let worker = with(Worker::builder(broker))
            .build()
            .expect("a good set-up");
        let mut ready = worker.ready();
        let (stop, stopped) = oneshot::channel::<()>();
        let running = tokio::spawn(worker.run_until(async {
            let _ = stopped.await;
        }));
        if !within("the worker is ready", ready.ready()).await {
            panic!("the worker stopped: {:?}", running.await);
        }
        Self {
            ready,
            stop,
            running,
        }
    }

    /// Waits until it has lost its connection and is ready again.
    pub async fn comes_back(&self) {
        let mut ready = self.ready.clone();
        within("the worker loses its connection", ready.changed()).await;
        within("the worker is ready again", ready.ready()).await;
    }

    /// Stops it and waits for its end.
    pub async fn stop(self) -> Result<(), coney::WorkerError> {
        self.stop_and(|| ()).await
    }

    /// Waits for its end, which nobody here asks for.
    pub async fn ends(self) -> Result<(), coney::WorkerError> {
        self.running.await.expect("the worker does not panic")
    }

    /// Stops it, does something once it takes no more, and waits for its end.
    pub async fn stop_and(mut self, then: impl FnOnce()) -> Result<(), coney::WorkerError> {
        drop(self.stop);
        let takes_no_more =
            async { while !matches!(self.ready.changed().await, Some(Ready::Stopped) | None) {} };
        within("the worker stops", takes_no_more).await;
        then();
        within("the worker stops", self.running)
            .await
            .expect("the worker does not panic")
    }
}
