//! For the fuzz target alone: a broker without a listener, whose connections are pipes in memory.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{DuplexStream, duplex, split};

use crate::clock::Clock;
use crate::connection;
use crate::faults::Faults;
use crate::server::{Broker, Limits};
use crate::snapshot::Snapshot;

/// How much a pipe takes that nobody reads, in bytes.
const PIPE: usize = 64 * 1024;

/// A broker that serves pipes.
#[derive(Debug)]
pub struct PipeBroker {
    broker: Arc<Broker>,
    faults: Faults,
}

impl PipeBroker {
    /// Starts one; `memory_limit` and `frame_max` are in bytes.
    #[must_use]
    pub fn new(clock: Clock, memory_limit: usize, frame_max: u32) -> Self {
        let limits = Limits {
            frame_max,
            heartbeat: Duration::from_secs(60),
        };
        let broker = Broker::new(clock, memory_limit, limits);
        Self {
            faults: Faults::new(broker.clone()),
            broker,
        }
    }

    /// Opens a connection; the client has said nothing yet.
    #[must_use]
    pub fn connect(&self, name: &str) -> DuplexStream {
        let (client, server) = duplex(PIPE);
        let (input, output) = split(server);
        let serving = connection::serve(self.broker.clone(), name.to_owned(), input, output);
        self.broker.tasks.spawn(serving);
        client
    }

    /// What can be broken on purpose.
    #[must_use]
    pub fn faults(&self) -> &Faults {
        &self.faults
    }

    /// What is there now.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        self.broker.snapshot()
    }

    /// Panics if what it knows contradicts itself, or if something waits that need not.
    pub fn check(&self) {
        if let Some(host) = self.broker.host("/") {
            host.look(crate::vhost::Vhost::check_sound);
        }
    }

    /// Stops it: closes its connections and waits until all its tasks have ended.
    pub async fn stop(self) {
        self.broker.stop.cancel();
        self.broker.tasks.close();
        self.broker.tasks.wait().await;
    }
}
