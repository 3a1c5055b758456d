//! The checked settings of a broker handle.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use coney_protocol::clock::Clock;
use coney_protocol::topology::Preset;

use crate::address::Address;
use crate::tls::Connector;

/// Everything that the tasks behind a broker handle need to know.
pub(crate) struct Settings {
    pub(crate) addresses: Addresses,
    pub(crate) program: String,
    pub(crate) preset: Preset,
    pub(crate) declare: bool,
    pub(crate) tls: Option<Connector>,
    pub(crate) connect_timeout: Duration,
    pub(crate) publish_timeout: Duration,
    /// Seconds, as they go over the wire.
    pub(crate) heartbeat: u16,
    pub(crate) publishers: usize,
    /// How long a consumer may receive nothing before it is looked after; never if zero.
    pub(crate) watch: Duration,
    pub(crate) frame_max: Option<u32>,
    pub(crate) channel_max: Option<u16>,
    /// What times of messages go by.
    pub(crate) clock: Clock,
}

impl Settings {
    /// The name of a connection, as the management UI shows it.
    pub(crate) fn connection_name(&self, role: &str) -> String {
        format!(
            "coney {} {role} {} {}",
            env!("CARGO_PKG_VERSION"),
            self.program,
            std::process::id()
        )
    }
}

/// Where the broker is: one address, or those of the nodes of a cluster.
#[derive(Debug)]
pub(crate) struct Addresses {
    all: Vec<Address>,
    /// The one that answered last.
    current: AtomicUsize,
}

impl Addresses {
    /// At least one address; `None` without any.
    pub(crate) fn new(all: Vec<Address>) -> Option<Self> {
        let current = AtomicUsize::new(0);
        (!all.is_empty()).then_some(Self { all, current })
    }

    /// The address that answered last.
    pub(crate) fn current(&self) -> &Address {
        &self.all[self.current.load(Ordering::Relaxed)]
    }

    /// All of them in turn, the one that answered last first.
    pub(crate) fn in_turn(&self) -> impl Iterator<Item = &Address> {
        let first = self.current.load(Ordering::Relaxed);
        self.all[first..].iter().chain(&self.all[..first])
    }

    /// Remembers the one that answered.
    pub(crate) fn answered(&self, address: &Address) {
        if let Some(at) = self.all.iter().position(|one| std::ptr::eq(one, address)) {
            self.current.store(at, Ordering::Relaxed);
        }
    }
}

/// Without the TLS settings, which hold a private key.
impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("addresses", &self.addresses)
            .field("program", &self.program)
            .field("preset", &self.preset)
            .field("declare", &self.declare)
            .field("connect_timeout", &self.connect_timeout)
            .field("publish_timeout", &self.publish_timeout)
            .field("heartbeat", &self.heartbeat)
            .field("publishers", &self.publishers)
            .field("frame_max", &self.frame_max)
            .finish_non_exhaustive()
    }
}
