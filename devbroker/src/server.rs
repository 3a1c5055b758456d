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

use crate::access::{PatternError, Permissions};
use crate::clock::Clock;
use crate::connection;
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
        }
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
        let mut path = String::new();
        for byte in vhost.bytes() {
            match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                    path.push(byte.into());
                }
                _ => path.push_str(&format!("%{byte:02X}")),
            }
        }
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
        self.broker.add_user(name, password);
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

    /// Waits until `found` finds what it looks for; it looks again after every change.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future changes nothing.
    pub async fn until<T>(&self, mut found: impl FnMut(&Snapshot) -> Option<T>) -> T {
        let mut changes = self.broker.signals.changes();
        loop {
            changes.mark_unchanged();
            if let Some(found) = found(&self.snapshot()) {
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
