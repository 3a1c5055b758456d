//! The checked settings of a broker handle.

use std::fmt;
use std::time::Duration;

use coney_protocol::topology::Preset;

use crate::address::Address;
use crate::tls::Connector;

/// Everything that the tasks behind a broker handle need to know.
pub(crate) struct Settings {
    pub(crate) address: Address,
    pub(crate) program: String,
    pub(crate) preset: Preset,
    pub(crate) declare: bool,
    pub(crate) tls: Option<Connector>,
    pub(crate) connect_timeout: Duration,
    pub(crate) publish_timeout: Duration,
    /// Seconds, as they go over the wire.
    pub(crate) heartbeat: u16,
    pub(crate) publishers: usize,
    pub(crate) frame_max: Option<u32>,
    pub(crate) channel_max: Option<u16>,
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

/// Without the TLS settings, which hold a private key.
impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("address", &self.address)
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
