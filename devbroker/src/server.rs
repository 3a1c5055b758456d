//! The listener, and the handle of a running broker.

mod broker;
mod builder;

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::time::{Duration, sleep};

#[cfg(feature = "__fuzzing")]
pub(crate) use broker::Limits;
pub(crate) use broker::{Broker, Client};
pub use builder::{Builder, StartError};

use crate::access::{PatternError, Permissions, TopicPermissions};
use crate::clock::Clock;
use crate::connection;
use crate::depth::{Depth, depths};
use crate::faults::Faults;
use crate::snapshot::{MessageView, Snapshot, messages};

/// How long to wait before accepting again when that failed, for want of file descriptors for instance.
const AFTER_FAILURE: Duration = Duration::from_millis(50);

/// A running broker. Dropping the handle stops it.
#[derive(Debug)]
pub struct DevBroker {
    broker: Arc<Broker>,
    faults: Faults,
    address: SocketAddr,
    #[cfg(feature = "management")]
    management: Option<SocketAddr>,
}

impl DevBroker {
    /// Starts a broker on a free port of 127.0.0.1, with virtual host `/` and user `guest`, password `guest`.
    ///
    /// # Errors
    ///
    /// If no port can be listened on.
    pub async fn start() -> Result<Self, StartError> {
        Self::builder().start().await
    }

    /// A broker with other settings.
    #[must_use]
    pub fn builder() -> Builder {
        Builder::default()
    }

    fn new(broker: Arc<Broker>, listener: TcpListener, address: SocketAddr) -> Self {
        let accepting = accept(broker.clone(), listener);
        broker.tasks.spawn(accepting);
        tracing::warn!(%address, "coney-devbroker listens: for development and tests only, it keeps nothing on disk");
        Self {
            faults: Faults::new(broker.clone()),
            broker,
            address,
            #[cfg(feature = "management")]
            management: None,
        }
    }

    #[cfg(feature = "management")]
    fn managed(mut self, listener: TcpListener, address: SocketAddr) -> Self {
        let serving = crate::management::serve(self.broker.clone(), listener);
        self.broker.tasks.spawn(serving);
        self.management = Some(address);
        self
    }

    /// Where the management API answers, such as `http://127.0.0.1:15672`; `None` if it was not asked for.
    #[cfg(feature = "management")]
    #[must_use]
    pub fn management_url(&self) -> Option<String> {
        self.management.map(|address| format!("http://{address}"))
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What a client connects to: user `guest`, virtual host `/`.
    #[must_use]
    pub fn url(&self) -> String {
        self.url_of("/")
    }

    /// The same for another virtual host.
    #[must_use]
    pub fn url_of(&self, vhost: &str) -> String {
        let path = percent_encoded(vhost);
        format!("amqp://guest:guest@{}/{path}", self.address)
    }

    /// The time by which messages and queues expire.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        &self.broker.clock
    }

    /// What can be broken on purpose.
    #[must_use]
    pub fn faults(&self) -> &Faults {
        &self.faults
    }

    /// Adds a virtual host in which `guest` may do everything; does nothing if it is there.
    pub fn add_vhost(&self, name: &str) {
        self.broker.add_vhost(name);
    }

    /// Removes a virtual host and closes its connections; false if there is none.
    pub fn remove_vhost(&self, name: &str) -> bool {
        self.broker.remove_vhost(name)
    }

    /// Adds a user, who may do nothing yet, or sets the password of one.
    pub fn add_user(&self, name: &str, password: &str) {
        self.broker.put_user(name, password, Vec::new());
    }

    /// Removes a user; connections that are open stay, but may do nothing more. False if there is none.
    pub fn remove_user(&self, name: &str) -> bool {
        self.broker.remove_user(name)
    }

    /// Sets what a user may do in a virtual host; false if there is no such virtual host.
    ///
    /// # Errors
    ///
    /// If a pattern is no regular expression.
    pub fn set_permissions(
        &self,
        vhost: &str,
        user: &str,
        permissions: &Permissions,
    ) -> Result<bool, PatternError> {
        let Some(host) = self.broker.host(vhost) else {
            return Ok(false);
        };
        host.with(|vhost| vhost.access.set(user, permissions))?;
        Ok(true)
    }

    /// Takes all permissions of a user in a virtual host; false if there are none.
    pub fn remove_permissions(&self, vhost: &str, user: &str) -> bool {
        let host = self.broker.host(vhost);
        host.is_some_and(|host| host.with(|vhost| vhost.access.remove(user)))
    }

    /// Limits by which routing keys a user may use a topic exchange; false if there is no such virtual host.
    ///
    /// # Errors
    ///
    /// If a pattern is no regular expression.
    pub fn set_topic_permissions(
        &self,
        vhost: &str,
        user: &str,
        exchange: &str,
        permissions: &TopicPermissions,
    ) -> Result<bool, PatternError> {
        let Some(host) = self.broker.host(vhost) else {
            return Ok(false);
        };
        host.with(|vhost| vhost.access.set_topics(user, exchange, permissions))?;
        Ok(true)
    }

    /// What is there now.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        self.broker.snapshot()
    }

    /// The messages of a queue, in their order; `None` if there is no such queue.
    #[must_use]
    pub fn messages(&self, vhost: &str, queue: &str) -> Option<Vec<MessageView>> {
        let host = self.broker.host(vhost)?;
        host.look(|vhost| {
            let id = vhost.names.get(queue)?;
            vhost.queues.get(id).map(messages)
        })
    }

    /// How much is in each queue of a virtual host, by name; nothing if there is no such virtual host.
    #[must_use]
    pub fn depths(&self, vhost: &str) -> Vec<Depth> {
        let host = self.broker.host(vhost);
        host.map_or_else(Vec::new, |host| host.look(depths))
    }

    /// Waits until `found` finds what it looks for; it looks again after every change.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future changes nothing.
    pub async fn until<T>(&self, mut found: impl FnMut(&Snapshot) -> Option<T>) -> T {
        self.until_found(|| found(&self.snapshot())).await
    }

    /// The same for what [`depths`](Self::depths) show, which costs much less than a snapshot.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future changes nothing.
    pub async fn until_depths<T>(
        &self,
        vhost: &str,
        mut found: impl FnMut(&[Depth]) -> Option<T>,
    ) -> T {
        self.until_found(|| found(&self.depths(vhost))).await
    }

    async fn until_found<T>(&self, mut found: impl FnMut() -> Option<T>) -> T {
        let mut changes = self.broker.signals.changes();
        loop {
            changes.mark_unchanged();
            if let Some(found) = found() {
                return found;
            }
            if changes.changed().await.is_err() {
                // the sender lives as long as this handle
                std::future::pending::<()>().await;
            }
        }
    }

    /// Stops it: closes its connections and waits until all its tasks have ended.
    pub async fn stop(self) {
        self.broker.stop.cancel();
        self.broker.tasks.close();
        self.broker.tasks.wait().await;
    }
}

impl Drop for DevBroker {
    fn drop(&mut self) {
        self.broker.stop.cancel();
    }
}

/// A name as a part of a path.
pub(crate) fn percent_encoded(name: &str) -> String {
    let mut encoded = String::new();
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                encoded.push(byte.into());
            }
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

async fn accept(broker: Arc<Broker>, listener: TcpListener) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = broker.stop.cancelled() => return,
        };
        match accepted {
            Ok((stream, _)) => {
                let serving = connection::serve_socket(broker.clone(), stream);
                broker.tasks.spawn(serving);
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                sleep(AFTER_FAILURE).await;
            }
        }
    }
}
