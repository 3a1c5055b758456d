//! Settings of a broker handle, raw and then checked.

use std::time::Duration;

use coney_protocol::clock::Clock;
use coney_protocol::topology::Preset;

use crate::address::Address;
use crate::broker::Broker;
use crate::error::ConnectError;
use crate::settings::{Addresses, Settings};
use crate::tls::Tls;

/// RabbitMQ's own limit (<https://www.rabbitmq.com/docs/configure>, `frame_max`).
///
/// Said by us, because lapin takes the memory for its buffers twice where it learns of the limit from the broker, and
/// then touches all of it.
const DEFAULT_FRAME: u32 = 131_072;

/// The smallest frame that AMQP allows, in bytes.
const SMALLEST_FRAME: u32 = 4096;

/// The longest timeout: longer ones mean "for ever", and overflow when added to a moment.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// Settings of a [`Broker`] handle; see [`Broker::builder`].
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until `connect`"]
pub struct BrokerBuilder {
    url: Url,
    program: Option<String>,
    preset: Preset,
    declare: bool,
    tls: Tls,
    connect_timeout: Duration,
    publish_timeout: Duration,
    heartbeat: Duration,
    publishers: usize,
    watch: Duration,
    frame_max: u32,
    clock: Clock,
}

/// The URL as it was given, or several: it may hold a password.
#[derive(Clone)]
struct Url(String);

impl Url {
    /// One address for each URL. A comma divides only where another URL follows: it may stand in a password.
    fn addresses(&self) -> Result<Addresses, ConnectError> {
        let mut urls: Vec<String> = Vec::new();
        for part in self.0.split(',') {
            let is_url = ["amqp://", "amqps://"]
                .iter()
                .any(|scheme| part.trim_start().starts_with(scheme));
            match urls.last_mut() {
                Some(last) if !is_url => {
                    last.push(',');
                    last.push_str(part);
                }
                _ => urls.push(part.trim().to_owned()),
            }
        }
        let all: Result<Vec<_>, _> = urls.iter().map(|url| Address::parse(url)).collect();
        Addresses::new(all?).ok_or_else(|| ConnectError::url("there is no address"))
    }
}

impl std::fmt::Debug for Url {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.addresses() {
            Ok(addresses) => f.debug_list().entries(addresses.in_turn()).finish(),
            Err(_) => f.write_str("(not a valid URL)"),
        }
    }
}

impl BrokerBuilder {
    pub(crate) fn new(url: &str) -> Self {
        Self {
            url: Url(url.to_owned()),
            program: None,
            preset: Preset::default(),
            declare: true,
            tls: Tls::new(),
            connect_timeout: Duration::from_secs(10),
            publish_timeout: Duration::from_secs(10),
            heartbeat: Duration::from_secs(10),
            publishers: 1,
            watch: Duration::from_secs(15),
            frame_max: DEFAULT_FRAME,
            clock: Clock::system(),
        }
    }

    /// Sets the program's name, as the management UI shows it; the name of the executable by default.
    pub fn program(mut self, name: impl Into<String>) -> Self {
        self.program = Some(name.into());
        self
    }

    /// Sets which exchanges and queues carry tasks; coney's own by default.
    pub fn preset(mut self, preset: Preset) -> Self {
        self.preset = preset;
        self
    }

    /// Sets whether this program may declare exchanges and queues; if not, it checks that they exist. True by default.
    pub fn declare(mut self, may_declare: bool) -> Self {
        self.declare = may_declare;
        self
    }

    /// Sets the certificates for `amqps://`.
    pub fn tls(mut self, tls: Tls) -> Self {
        self.tls = tls;
        self
    }

    /// Sets how long opening a connection may take, with TCP, TLS and the AMQP handshake; 10 s by default.
    pub fn connect_timeout(mut self, limit: Duration) -> Self {
        self.connect_timeout = limit;
        self
    }

    /// Sets how long a publish may take, waiting for a lost or blocked connection included; 10 s by default.
    pub fn publish_timeout(mut self, limit: Duration) -> Self {
        self.publish_timeout = limit;
        self
    }

    /// Sets the heartbeat interval, in whole seconds; 10 s by default. A silent peer is given up after two of them.
    ///
    /// Zero leaves the interval to the broker.
    pub fn heartbeat(mut self, interval: Duration) -> Self {
        self.heartbeat = interval;
        self
    }

    /// Sets the number of publishing tasks, each with a channel of its own; 1 by default.
    ///
    /// One does some ten thousand messages a second and keeps all messages in order. With several, messages keep
    /// their order per routing key.
    pub fn publishers(mut self, tasks: usize) -> Self {
        self.publishers = tasks;
        self
    }

    /// Sets how long a consumer may receive nothing before the broker is asked about its queue; 15 s by default.
    ///
    /// If the broker does not know the consumer any more, or messages wait there two times in a row, it starts over.
    /// Zero turns the watch off.
    pub fn watch(mut self, pause: Duration) -> Self {
        self.watch = pause;
        self
    }

    /// Sets the largest AMQP frame, in bytes; 131,072 unless set, which is RabbitMQ's own limit unless that was changed.
    /// 0 for the broker's limit, whatever it is.
    ///
    /// The headers of a message have to fit in one frame, *in both directions*: a smaller value saves memory (a
    /// connection that has been busy takes 64 of them: 8 MiB at 131,072, 1 MiB at 16,384), but the broker does not keep a
    /// message with larger headers away from a consumer that said so, and the connection ends each time it is delivered.
    /// So choose less only where memory matters and every publisher is known, and set it to the broker's limit where
    /// that was raised. With 0 the memory is taken when the connection opens, as its size is not known before.
    pub fn frame_max(mut self, bytes: u32) -> Self {
        self.frame_max = bytes;
        self
    }

    /// Sets what times of messages go by, for tests with virtual time; the broker has to go by the same.
    #[doc(hidden)]
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Connects: checks the settings, opens one connection and keeps it for publishing.
    ///
    /// # Errors
    ///
    /// [`ConnectError`], whose text says whether address, user, virtual host, TLS or network are at fault.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future ends the attempt and closes the socket.
    pub async fn connect(self) -> Result<Broker, ConnectError> {
        Broker::start(self.settings()?).await
    }

    pub(crate) fn settings(self) -> Result<Settings, ConnectError> {
        let addresses = self.url.addresses()?;
        let query = addresses.current().query();
        let frame_max = query.frame_max.unwrap_or(self.frame_max);
        let frame_max = Some(frame_max).filter(|bytes| *bytes > 0);
        if frame_max.is_some_and(|bytes| bytes < SMALLEST_FRAME) {
            return Err(ConnectError::url(format!(
                "frame_max is below {SMALLEST_FRAME} bytes, the least that AMQP allows"
            )));
        }
        let heartbeat = query.heartbeat.unwrap_or(self.heartbeat).as_secs();
        let heartbeat = u16::try_from(heartbeat).map_err(|_| {
            ConnectError::url(
                "the heartbeat is longer than 65,535 seconds, the most that AMQP allows",
            )
        })?;
        let connect_timeout = query.connection_timeout.unwrap_or(self.connect_timeout);
        if connect_timeout.is_zero() || self.publish_timeout.is_zero() {
            return Err(ConnectError::url(
                "a timeout of zero leaves no time for anything",
            ));
        }
        let with_tls = addresses.in_turn().any(Address::is_tls);
        let tls = with_tls.then(|| self.tls.read()).transpose()?;
        Ok(Settings {
            program: self.program.unwrap_or_else(program),
            preset: self.preset,
            declare: self.declare,
            tls,
            connect_timeout: connect_timeout.min(LONGEST),
            publish_timeout: self.publish_timeout.min(LONGEST),
            heartbeat,
            publishers: self.publishers.max(1),
            watch: self.watch.min(LONGEST),
            frame_max,
            channel_max: query.channel_max,
            clock: self.clock,
            addresses,
        })
    }
}

/// The name of the running executable, without folder and extension.
fn program() -> String {
    let path = std::env::current_exe().ok();
    let stem = path.as_deref().and_then(std::path::Path::file_stem);
    stem.map_or_else(
        || "unknown".to_owned(),
        |stem| stem.to_string_lossy().into_owned(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_urls_are_several_addresses() {
        let hosts = |url: &str| {
            let addresses = Url(url.to_owned()).addresses().expect("valid");
            let hosts: Vec<_> = addresses.in_turn().map(|a| a.host().to_owned()).collect();
            hosts
        };
        assert_eq!(hosts("amqp://a"), ["a"]);
        assert_eq!(
            hosts("amqp://a:1/v, amqp://b,amqp://u:p,w@c"),
            ["a", "b", "c"]
        );
        assert!(Url("amqp://a,amqp://".to_owned()).addresses().is_err());
        assert!(Url(String::new()).addresses().is_err());
    }

    #[test]
    fn the_url_wins_over_the_builder() {
        let settings = BrokerBuilder::new("amqp://h?heartbeat=3&frame_max=8192")
            .heartbeat(Duration::from_secs(30))
            .frame_max(65_536)
            .settings()
            .expect("valid");
        assert_eq!((settings.heartbeat, settings.frame_max), (3, Some(8192)));
    }

    #[test]
    fn settings_that_cannot_work_are_refused() {
        let refused = |builder: BrokerBuilder| builder.settings().expect_err("refused").to_string();
        let url = "amqp://h";
        assert!(refused(BrokerBuilder::new(url).frame_max(100)).contains("frame_max"));
        assert!(
            refused(BrokerBuilder::new(url).heartbeat(Duration::from_secs(70_000)))
                .contains("heartbeat")
        );
        assert!(
            refused(BrokerBuilder::new(url).publish_timeout(Duration::ZERO)).contains("timeout")
        );
    }

    #[test]
    fn timeouts_without_end_are_cut_to_what_a_clock_can_add() {
        let longest = |builder: BrokerBuilder| {
            let settings = builder.settings().expect("valid");
            [settings.connect_timeout, settings.publish_timeout]
                .map(|limit| std::time::Instant::now().checked_add(limit * 2))
                .iter()
                .all(Option::is_some)
        };
        assert!(longest(
            BrokerBuilder::new("amqp://h")
                .connect_timeout(Duration::MAX)
                .publish_timeout(Duration::MAX)
        ));
        let url = format!("amqp://h?connection_timeout={}", u64::MAX);
        assert!(longest(BrokerBuilder::new(&url)));
        let endless = BrokerBuilder::new("amqp://h").heartbeat(Duration::MAX);
        assert!(endless.settings().is_err());
    }

    #[test]
    fn the_builder_does_not_show_the_password() {
        let builder = BrokerBuilder::new("amqp://ann:hunter2@h");
        assert!(!format!("{builder:?}").contains("hunter2"));
        let builder = BrokerBuilder::new("amqp://ann:hunter2@h:0");
        assert!(!format!("{builder:?}").contains("hunter2"));
    }
}
