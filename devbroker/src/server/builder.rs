//! The settings of a broker.

use std::net::Ipv4Addr;
use std::time::Duration;

use tokio::net::TcpListener;

use super::DevBroker;
use super::broker::{Broker, Limits};
use crate::clock::Clock;

/// A broker that could not be started.
#[derive(Debug, thiserror::Error)]
#[error(
    "the development broker cannot listen on 127.0.0.1:{port}: choose another port, or 0 for a free one"
)]
pub struct StartError {
    port: u16,
    source: std::io::Error,
}

/// The settings of a broker.
#[derive(Debug)]
pub struct Builder {
    port: u16,
    clock: Clock,
    memory_limit: usize,
    limits: Limits,
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            port: 0,
            clock: Clock::system(),
            memory_limit: 512 * 1024 * 1024,
            limits: Limits {
                frame_max: 131_072,
                heartbeat: Duration::from_secs(60),
            },
        }
    }
}

impl Builder {
    /// The port on 127.0.0.1; a free one if it is 0, as it is by default.
    #[must_use]
    pub fn port(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    /// The time by which messages and queues expire; real time by default.
    #[must_use]
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// How much messages may take before publishers are blocked, in bytes; 512 MiB by default.
    #[must_use]
    pub fn memory_limit(mut self, bytes: usize) -> Self {
        self.memory_limit = bytes;
        self
    }

    /// The largest frame, in bytes; 131,072 by default, and never less than the 4,096 of the protocol.
    #[must_use]
    pub fn frame_max(mut self, bytes: u32) -> Self {
        self.limits.frame_max = bytes.max(4096);
        self
    }

    /// The heartbeat that is proposed to clients, in whole seconds; 60 seconds by default, none if it is zero.
    #[must_use]
    pub fn heartbeat(mut self, heartbeat: Duration) -> Self {
        self.limits.heartbeat = heartbeat;
        self
    }

    /// Starts the broker.
    ///
    /// # Errors
    ///
    /// If the port cannot be listened on.
    pub async fn start(self) -> Result<DevBroker, StartError> {
        let failed = |source| StartError {
            port: self.port,
            source,
        };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, self.port)).await;
        let listener = listener.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let broker = Broker::new(self.clock, self.memory_limit, self.limits);
        Ok(DevBroker::new(broker, listener, address))
    }
}
