//! One connection to the broker, opened within a deadline and watched.

use std::fmt;
use std::future::Future;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_rs::Runtime;
use futures_util::{Stream, StreamExt};
use lapin::tcp::AsyncTcpStream;
use lapin::uri::{AMQPAuthority, AMQPQueryString, AMQPScheme, AMQPUri, AMQPUserInfo};
use lapin::{Connection, ConnectionProperties, ConnectionStatus, ErrorKind, Event};
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

use crate::address::Address;
use crate::error::ConnectError;
use crate::pulse::Pulse;
use crate::server::Server;
use crate::settings::Settings;
use crate::socket::{Kit, Socket, Switch, Transport};
use crate::status::PublisherStatus;

/// How often a connection is asked whether it still lives, should its events have missed the end.
const CHECK: Duration = Duration::from_secs(1);

/// How long a goodbye to the broker may take.
const GOODBYE: Duration = Duration::from_secs(2);

/// One connection to the broker.
pub(crate) struct Link {
    connection: Connection,
    switch: Arc<Switch>,
    health: Health,
}

/// What is known about a connection; shared with the task that watches it.
#[derive(Clone, Debug)]
pub(crate) struct Health {
    lost: CancellationToken,
    reason: Arc<Mutex<Option<String>>>,
    blocked: watch::Sender<Option<String>>,
    pulse: Pulse,
}

impl Link {
    /// Opens a connection to the first address that answers, and starts to watch it.
    pub(crate) async fn open(
        settings: &Settings,
        role: &str,
        tasks: &TaskTracker,
    ) -> Result<Arc<Self>, ConnectError> {
        let mut failed = None;
        for address in settings.addresses.in_turn() {
            match Self::open_at(address, settings, role, tasks).await {
                Ok(link) => {
                    settings.addresses.answered(address);
                    return Ok(link);
                }
                Err(error) => {
                    debug!(target: "coney::amqp", %address, %error, "no connection");
                    failed = Some(error);
                }
            }
        }
        Err(failed.unwrap_or_else(|| ConnectError::url("there is no address")))
    }

    async fn open_at(
        address: &Address,
        settings: &Settings,
        role: &str,
        tasks: &TaskTracker,
    ) -> Result<Arc<Self>, ConnectError> {
        let deadline = Instant::now() + settings.connect_timeout;
        let switch = Arc::new(Switch::default());
        // the socket is cut unless the handshake succeeds, so that no thread of lapin's outlives a failed attempt
        let guard = CutOnDrop(Some(Arc::clone(&switch)));
        let transport = transport(address, settings, deadline).await?;
        let socket = Socket::new(transport, Arc::clone(&switch));
        let connection = handshake(address, settings, role, socket, deadline).await?;
        guard.disarm();
        Ok(Self::watched(connection, switch, tasks))
    }

    fn watched(connection: Connection, switch: Arc<Switch>, tasks: &TaskTracker) -> Arc<Self> {
        let health = Health {
            lost: CancellationToken::new(),
            reason: Arc::default(),
            blocked: watch::Sender::new(None),
            pulse: Pulse::default(),
        };
        // lapin's listeners compete for events instead of sharing them: this is the only one
        let events = Box::pin(connection.events_listener());
        let status = connection.status().clone();
        tasks.spawn(health.clone().watch(events, status));
        let link = Arc::new(Self {
            connection,
            switch,
            health,
        });
        let pulse = link.pulse().clone();
        tasks.spawn(pulse.feel(Arc::downgrade(&link), link.lost()));
        link
    }

    /// A new channel.
    ///
    /// lapin never uses the number of a channel that the broker closed again: once it comes round to it, opening fails
    /// with the *old* error, and will for ever. So a connection that opens no channel is given up, unless it merely has
    /// as many as it may have.
    pub(crate) async fn channel(&self) -> Result<lapin::Channel, lapin::Error> {
        let channel = self.connection.create_channel().await;
        if let Err(error) = &channel
            && !matches!(error.kind(), ErrorKind::ChannelsLimitReached)
        {
            self.cut(&format!("no channel can be opened: {error}"));
        }
        channel
    }

    /// The largest frame that both sides take, in bytes.
    pub(crate) fn frame_max(&self) -> usize {
        usize::try_from(self.connection.configuration().frame_max()).unwrap_or(usize::MAX)
    }

    /// True while the connection can be used.
    pub(crate) fn is_alive(&self) -> bool {
        !self.health.lost.is_cancelled() && self.connection.status().connected()
    }

    /// Resolves when the connection is lost.
    pub(crate) fn lost(&self) -> impl Future<Output = ()> + Send + use<> {
        self.health.lost.clone().cancelled_owned()
    }

    /// Why the connection was lost.
    pub(crate) fn reason(&self) -> String {
        self.health.reason()
    }

    /// What the broker says while it takes no messages from this connection.
    pub(crate) fn blocked(&self) -> Option<String> {
        self.health.blocked()
    }

    /// Whether it answers.
    pub(crate) fn pulse(&self) -> &Pulse {
        &self.health.pulse
    }

    /// What is known of the connection, to be asked without keeping it.
    pub(crate) fn health(&self) -> Health {
        self.health.clone()
    }

    /// What the broker said it is.
    pub(crate) fn server(&self) -> Server {
        self.switch.server()
    }

    /// Ends the connection at once.
    pub(crate) fn cut(&self, reason: &str) {
        self.health.fail(reason.to_owned());
        self.switch.cut();
    }

    /// Says goodbye to the broker, but not for long.
    pub(crate) async fn close(&self) {
        if self.is_alive() && self.blocked().is_none() {
            let goodbye = self.connection.close(200, "goodbye".into());
            let _ = tokio::time::timeout(GOODBYE, goodbye).await;
        }
        self.cut("the connection was closed");
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        // lapin says goodbye by itself, unless it may not write
        let hopeless = !self.is_alive() || self.blocked().is_some();
        self.health.fail("the connection was closed".to_owned());
        if hopeless {
            self.switch.cut();
        }
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link")
            .field("alive", &self.is_alive())
            .finish_non_exhaustive()
    }
}

impl Health {
    fn reason(&self) -> String {
        let reason = self.reason.lock();
        let reason = reason.unwrap_or_else(PoisonError::into_inner).clone();
        reason.unwrap_or_else(|| "the connection was closed".to_owned())
    }

    pub(crate) fn blocked(&self) -> Option<String> {
        self.blocked.borrow().clone()
    }

    /// True if the connection takes messages and has answered just now.
    pub(crate) fn is_usable(&self) -> bool {
        !self.is_lost() && self.blocked.borrow().is_none() && self.pulse.is_fresh()
    }

    /// Waits until the connection takes messages and has answered just now, or is lost.
    pub(crate) async fn usable(&self) {
        let mut blocked = self.blocked.subscribe();
        let usable = async {
            // what is returned is a lock, not to be kept
            drop(blocked.wait_for(Option::is_none).await);
            while !self.pulse.is_fresh() {
                self.pulse.next_answer().await;
            }
        };
        self.lost.run_until_cancelled(usable).await;
    }

    pub(crate) fn is_lost(&self) -> bool {
        self.lost.is_cancelled()
    }

    /// Whether messages can be published.
    pub(crate) fn status(&self) -> PublisherStatus {
        match self.blocked() {
            _ if self.lost.is_cancelled() => PublisherStatus::Connecting {
                reason: self.reason(),
            },
            Some(reason) => PublisherStatus::Blocked { reason },
            None if self.pulse.is_overdue() => PublisherStatus::Silent,
            None => PublisherStatus::Ready,
        }
    }

    async fn watch(
        self,
        mut events: impl Stream<Item = Event> + Send + Unpin,
        status: ConnectionStatus,
    ) {
        let mut check = tokio::time::interval(CHECK);
        loop {
            let event = tokio::select! {
                () = self.lost.cancelled() => return,
                event = events.next() => event,
                _ = check.tick() => Some(Event::Connected),
            };
            match event {
                Some(Event::ConnectionBlocked(reason)) => {
                    warn!(target: "coney::amqp", %reason, "the broker accepts no messages for now");
                    self.blocked.send_replace(Some(reason));
                }
                Some(Event::ConnectionUnblocked) => {
                    warn!(target: "coney::amqp", "the broker accepts messages again");
                    self.blocked.send_replace(None);
                }
                // errors of single channels are reported here too: only the status tells whether the connection lives
                Some(Event::Error(error)) if !status.connected() => {
                    return self.fail(error.to_string());
                }
                None => return self.fail("the connection ended".to_owned()),
                Some(_) if !status.connected() => {
                    return self.fail("the connection ended".to_owned());
                }
                Some(_) => {}
            }
        }
    }

    fn fail(&self, reason: String) {
        let mut first = self.reason.lock().unwrap_or_else(PoisonError::into_inner);
        if first.is_none() {
            debug!(target: "coney::amqp", %reason, "connection over");
            *first = Some(reason);
        }
        drop(first);
        self.lost.cancel();
    }
}

/// Opens the TCP connection, and TLS on it.
async fn transport(
    address: &Address,
    settings: &Settings,
    deadline: Instant,
) -> Result<Transport, ConnectError> {
    let limit = settings.connect_timeout;
    let runtime = Runtime::tokio_current();
    let place = runtime.to_socket_addrs((address.host().to_owned(), address.port()));
    let tcp = timeout_at(deadline, AsyncTcpStream::connect(&runtime, place))
        .await
        .map_err(|_| ConnectError::timeout(address, limit, "the TCP connection"))?
        .map_err(|cause| ConnectError::unreachable(address, cause))?;
    match settings.tls.as_ref().filter(|_| address.is_tls()) {
        #[cfg(feature = "tls")]
        Some(tls) => timeout_at(deadline, tcp.into_rustls(tls, address.host()))
            .await
            .map_err(|_| ConnectError::tls_timeout(address, limit))?
            .map_err(|cause| ConnectError::tls(address, cause)),
        _ => Ok(tcp),
    }
}

/// Runs the AMQP handshake on a connected socket.
async fn handshake(
    address: &Address,
    settings: &Settings,
    role: &str,
    socket: Socket,
    deadline: Instant,
) -> Result<Connection, ConnectError> {
    let socket = Mutex::new(Some(socket));
    let connect = async move |_: AMQPUri, _: Runtime<Kit>| {
        let socket = socket.lock().unwrap_or_else(PoisonError::into_inner).take();
        let socket = socket.ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected))?;
        Ok(AsyncTcpStream::Plain(socket))
    };
    let runtime = Runtime::new(Kit::current());
    let connection = Connection::connector(
        uri(address, settings),
        runtime,
        connect,
        properties(settings, role),
    );
    // some 16 KiB of state
    let connection = Box::pin(connection);
    timeout_at(deadline, connection)
        .await
        .map_err(|_| {
            ConnectError::timeout(address, settings.connect_timeout, "the AMQP handshake")
        })?
        .map_err(|cause| ConnectError::handshake(address, cause))
}

/// What lapin is told; never printed, as its `Debug` shows the password.
fn uri(address: &Address, settings: &Settings) -> AMQPUri {
    AMQPUri {
        // TLS is a matter of the transport, which is connected already
        scheme: AMQPScheme::AMQP,
        authority: AMQPAuthority {
            userinfo: AMQPUserInfo {
                username: address.user().to_owned(),
                password: address.password().to_owned(),
            },
            host: address.host().to_owned(),
            port: address.port(),
        },
        vhost: address.vhost().to_owned(),
        query: AMQPQueryString {
            frame_max: settings.frame_max,
            channel_max: settings.channel_max,
            heartbeat: Some(settings.heartbeat),
            ..AMQPQueryString::default()
        },
    }
}

/// What the broker's management UI shows about this connection.
fn properties(settings: &Settings, role: &str) -> ConnectionProperties {
    let version = env!("CARGO_PKG_VERSION");
    ConnectionProperties::default()
        .with_connection_name(settings.connection_name(role).into())
        .with_client_property("product".into(), "coney".into())
        .with_client_property("version".into(), version.into())
        .with_client_property("information".into(), env!("CARGO_PKG_REPOSITORY").into())
}

/// Cuts a socket unless told otherwise.
struct CutOnDrop(Option<Arc<Switch>>);

impl CutOnDrop {
    fn disarm(mut self) {
        self.0 = None;
    }
}

impl Drop for CutOnDrop {
    fn drop(&mut self) {
        if let Some(switch) = &self.0 {
            switch.cut();
        }
    }
}
