//! A broker to test with, names of one's own, a proxy that can be cut, and deadlines.

use std::future::Future;
use std::sync::Mutex;
use std::time::Duration;

use coney_amqp::{Broker, Consumer, ConsumerSpec, Delivery, Publication, Session, SessionStatus};
use coney_protocol::property::Properties;
use coney_protocol::spec::QueueSpec;
use coney_protocol::topology::{Exchange, Preset, Route, Topology, reply_queue};
use serde_json::{Value, json};
use uuid::Uuid;

use super::management::Management;

/// Longer than anything here takes, shorter than a person's patience.
pub(crate) const SOON: Duration = Duration::from_secs(20);

/// The broker to test with, its default virtual host and usual user.
pub(crate) fn url() -> String {
    url_with("guest:guest", None, "%2f")
}

/// The URL with another user, place or virtual host.
pub(crate) fn url_with(user: &str, place: Option<&str>, vhost: &str) -> String {
    let place = place.unwrap_or(&super::place::place().amqp);
    format!("amqp://{user}@{place}/{vhost}")
}

/// The URL of a new user who may configure, write and read what these patterns match; of one without any permission
/// if there are none.
pub(crate) fn user(scratch: &Scratch, permissions: Option<[&str; 3]>) -> String {
    let user = scratch.name("user");
    let management = Management::new();
    let account = json!({"password": "hunter2", "tags": ""});
    management.request("PUT", &format!("users/{user}"), &account);
    scratch.delete_later(format!("users/{user}"));
    if let Some([configure, write, read]) = permissions {
        let rights = json!({"configure": configure, "write": write, "read": read});
        management.request("PUT", &format!("permissions/%2f/{user}"), &rights);
    }
    url_with(&format!("{user}:hunter2"), None, "%2f")
}

/// A connected handle.
pub(crate) async fn broker() -> Broker {
    let builder = Broker::builder(&url()).program("amqp tests");
    builder.connect().await.unwrap_or_else(|error| {
        panic!("no broker: run `cargo xtask test`, or unset CONEY_URL ({error})")
    })
}

/// Waits, but not for ever.
pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(SOON, future).await {
        Ok(value) => value,
        Err(_) => panic!("{what}: not within {SOON:?}"),
    }
}

/// Names that nobody else uses, and what has to be deleted in the end.
pub(crate) struct Scratch {
    prefix: String,
    paths: Mutex<Vec<String>>,
}

impl Scratch {
    pub(crate) fn new() -> Self {
        Self {
            prefix: format!(
                "coney-test-{}",
                Uuid::new_v7(uuid::Timestamp::now(uuid::NoContext)).simple()
            ),
            paths: Mutex::default(),
        }
    }

    /// A name that is deleted as a queue in the end.
    pub(crate) fn queue(&self, name: &str) -> String {
        self.named(name, "queues")
    }

    /// A name that is deleted as an exchange in the end.
    pub(crate) fn exchange(&self, name: &str) -> String {
        self.named(name, "exchanges")
    }

    /// Something else to delete in the end, as a path of the management API.
    pub(crate) fn delete_later(&self, path: String) {
        self.paths.lock().expect("no panic in here").push(path);
    }

    pub(crate) fn name(&self, name: &str) -> String {
        format!("{}.{name}", self.prefix)
    }

    fn named(&self, name: &str, kind: &str) -> String {
        let name = self.name(name);
        self.delete_later(format!("{kind}/%2f/{name}"));
        name
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let paths = self.paths.get_mut().map(std::mem::take).unwrap_or_default();
        let management = Management::new();
        for path in paths.iter().rev() {
            // it may not be there; and a test that failed has more to say
            let _ = management.send("DELETE", path, &Value::Null);
        }
    }
}

/// A classic durable queue.
pub(crate) fn classic(name: &str) -> Topology {
    let mut topology = reply_queue(name.to_owned());
    topology.queues[0].arguments = Default::default();
    topology
}

/// A direct exchange.
pub(crate) fn exchange(name: &str) -> Topology {
    let mut topology = Preset::Native.topology(&QueueSpec::new("unused"));
    let mut exchange: Exchange = topology.exchanges.remove(0);
    exchange.name = name.to_owned().into();
    let mut only = Topology::default();
    only.exchanges.push(exchange);
    only
}

/// A message straight to a queue.
pub(crate) fn to_queue(queue: &str, body: impl Into<Vec<u8>>) -> Publication {
    Publication::new(Route::to_queue(queue.to_owned()), persistent(), body.into())
}

/// A message through an exchange.
pub(crate) fn through(exchange: &str, key: &str, body: impl Into<Vec<u8>>) -> Publication {
    let mut route = Route::to_queue(key.to_owned());
    route.exchange = exchange.to_owned().into();
    Publication::new(route, persistent(), body.into())
}

pub(crate) fn persistent() -> Properties {
    let mut properties = Properties::default();
    properties.persistent = true;
    properties
}

/// Starts to consume a queue that exists or that `topology` declares.
pub(crate) async fn consume(session: &Session, topology: Topology, prefetch: u16) -> Consumer {
    let queue = topology.queues[0].name.to_string();
    let spec = ConsumerSpec::new(queue)
        .topology(topology)
        .prefetch(prefetch);
    soon("consume", session.consume(spec))
        .await
        .expect("consume")
}

/// The next delivery.
pub(crate) async fn next(consumer: &mut Consumer) -> Delivery {
    soon("a delivery", consumer.next())
        .await
        .expect("not cancelled")
}

/// The next delivery's body, acknowledged.
pub(crate) async fn take(consumer: &mut Consumer) -> String {
    let (_, payload, acker) = next(consumer).await.into_parts();
    acker.ack();
    String::from_utf8_lossy(&payload).into_owned()
}

/// How many messages wait in a queue: by passive declaration, which counts exactly.
pub(crate) async fn until_ready(broker: &Broker, queue: &str, count: usize) {
    let session = broker.session("count");
    let mut consumer = consume(&session, classic(queue), 1000).await;
    let mut held = Vec::new();
    for _ in 0..count {
        held.push(next(&mut consumer).await);
    }
    drop(held);
    consumer.cancel().await;
    session.close().await;
}

/// Waits for a session's status.
pub(crate) async fn until(
    session: &Session,
    is_it: impl FnMut(&SessionStatus) -> bool,
) -> SessionStatus {
    let mut status = session.status();
    let found = soon("session status", status.wait_for(is_it)).await;
    found.expect("session lives").clone()
}
