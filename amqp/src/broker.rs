//! The handle that client and worker are built from.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use coney_protocol::clock::Clock;
use coney_protocol::delay;
use coney_protocol::topology::{Preset, Topology};
use tokio::sync::OnceCell;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use crate::address::Address;
use crate::builder::BrokerBuilder;
use crate::declare;
use crate::error::{ConnectError, DeclareError};
use crate::pool::Pool;
use crate::publisher::Publisher;
use crate::server::Server;
use crate::session::Session;
use crate::settings::Settings;
use crate::status::PublisherStatus;

/// A handle to one RabbitMQ broker; cheap to clone, and what clients and workers are built from.
///
/// Behind it, a small pool of connections publishes, and each [`Session`] consumes on a connection of its own: a
/// broker short of memory stops reading from publishing connections, which must not delay acknowledgements.
///
/// When the last clone, [`Publisher`] and [`Session`] is dropped, all tasks behind it end; [`Broker::close`] does so in
/// order and waits for them.
///
/// # Examples
///
/// ```no_run
/// # async fn f() -> Result<(), coney_amqp::ConnectError> {
/// let broker = coney_amqp::Broker::builder("amqp://guest:guest@localhost")
///     .program("shop")
///     .connect()
///     .await?;
/// println!("{}", broker.server());
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Broker {
    core: Arc<Core>,
    publisher: Arc<OnceLock<Publisher>>,
}

/// How long closing may take beyond what is being published.
const CLOSING: Duration = Duration::from_secs(5);

/// What all handles of one broker share, and keep alive.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) settings: Arc<Settings>,
    pub(crate) pool: Pool,
    /// Publishing and consuming tasks.
    pub(crate) tasks: TaskTracker,
    /// Tasks that watch the pool's connections, and end with them.
    watchers: TaskTracker,
    /// Ends every task.
    pub(crate) stop: CancellationToken,
    /// Set once the delay ladder is declared.
    ladder: OnceCell<()>,
    server: Server,
    _stop_on_drop: DropGuard,
}

impl Broker {
    /// Connects to the broker at `url` with the default settings.
    ///
    /// # Errors
    ///
    /// [`ConnectError`], whose text says whether address, user, virtual host, TLS or network are at fault.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future ends the attempt and closes the socket.
    pub async fn connect(url: &str) -> Result<Self, ConnectError> {
        Self::builder(url).connect().await
    }

    /// Starts from the address `url`, to change settings before connecting. The URL is checked by `connect`.
    ///
    /// For a cluster, give the URLs of several nodes with commas between them: they are tried in turn.
    pub fn builder(url: &str) -> BrokerBuilder {
        BrokerBuilder::new(url)
    }

    pub(crate) async fn start(settings: Settings) -> Result<Self, ConnectError> {
        let settings = Arc::new(settings);
        let watchers = TaskTracker::new();
        let pool = Pool::new(&settings, &watchers)?;
        let server = pool.link().await?.server();
        info!(target: "coney::amqp", address = %settings.addresses.current(), %server, "connected");
        Ok(Self::on(settings, pool, watchers, server))
    }

    /// A handle on a pool of connections, which need not be open.
    pub(crate) fn on(
        settings: Arc<Settings>,
        pool: Pool,
        watchers: TaskTracker,
        server: Server,
    ) -> Self {
        let stop = CancellationToken::new();
        let core = Core {
            settings,
            pool,
            tasks: TaskTracker::new(),
            watchers,
            ladder: OnceCell::new(),
            server,
            _stop_on_drop: stop.clone().drop_guard(),
            stop,
        };
        Self {
            core: Arc::new(core),
            publisher: Arc::default(),
        }
    }

    /// Where the broker is; of several addresses, the one that answered last.
    #[must_use]
    pub fn address(&self) -> &Address {
        self.core.settings.addresses.current()
    }

    /// The program's name, as the management UI shows it.
    #[must_use]
    pub fn program(&self) -> &str {
        &self.core.settings.program
    }

    /// Which exchanges and queues carry tasks.
    #[must_use]
    pub fn preset(&self) -> Preset {
        self.core.settings.preset
    }

    /// How long a publish may take.
    #[must_use]
    pub fn publish_timeout(&self) -> Duration {
        self.core.settings.publish_timeout
    }

    /// How long connecting may take.
    #[must_use]
    pub fn connect_timeout(&self) -> Duration {
        self.core.settings.connect_timeout
    }

    /// How often broker and program tell each other that they are there.
    #[must_use]
    pub fn heartbeat(&self) -> Duration {
        Duration::from_secs(self.core.settings.heartbeat.into())
    }

    /// What times of messages go by, for all clients and workers on this handle.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        &self.core.settings.clock
    }

    /// True if this program may declare exchanges and queues.
    #[must_use]
    pub fn may_declare(&self) -> bool {
        self.core.settings.declare
    }

    /// Product and version of the broker, as it said when the handle was connected.
    #[must_use]
    pub fn server(&self) -> &Server {
        &self.core.server
    }

    /// The publisher, shared by all clones of this handle; its tasks start with the first call.
    ///
    /// Call it within a tokio runtime.
    #[must_use]
    pub fn publisher(&self) -> &Publisher {
        self.publisher.get_or_init(|| Publisher::start(&self.core))
    }

    /// Whether messages can be published at this moment, and why not.
    #[must_use]
    pub fn publisher_status(&self) -> PublisherStatus {
        self.core.pool.status()
    }

    /// Waits while it is not certain that something can be published: the broker says that it is short of memory or disk,
    /// has not answered just now, though asked, or the connection is lost and not open again. Returns at once before the
    /// first message, which opens a connection.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn publishes(&self) {
        self.core.pool.usable().await;
    }

    /// Declares exchanges, queues and bindings, in this order; or checks that they exist, if this program may not
    /// declare (bindings cannot be checked and are skipped).
    ///
    /// # Errors
    ///
    /// [`DeclareError`], which names what is missing, forbidden or different.
    ///
    /// # Cancel safety
    ///
    /// Some of the declarations may have been made. Declaring again is harmless.
    pub async fn declare(&self, topology: &Topology) -> Result<(), DeclareError> {
        let link = self.core.pool.link().await;
        let link = link.map_err(DeclareError::from_connect)?;
        let settings = &self.core.settings;
        declare::apply(&link, settings, topology, settings.declare).await
    }

    /// Makes sure that the delay ladder is there, once for all clones of this handle.
    ///
    /// # Errors
    ///
    /// [`DeclareError`], as [`declare`](Self::declare).
    ///
    /// # Cancel safety
    ///
    /// A part of the ladder may have been declared; the next call declares all of it.
    pub async fn ensure_ladder(&self) -> Result<(), DeclareError> {
        let declare = || async { self.declare(&delay::ladder()).await };
        self.core.ladder.get_or_try_init(declare).await.copied()
    }

    /// Deletes a queue and what is in it; one that is not there counts as deleted.
    ///
    /// # Errors
    ///
    /// [`DeclareError`] if the user may not, or the queue is another connection's own.
    ///
    /// # Cancel safety
    ///
    /// The queue may have been deleted.
    pub async fn delete_queue(&self, queue: &str) -> Result<(), DeclareError> {
        let link = self.core.pool.link().await;
        let link = link.map_err(DeclareError::from_connect)?;
        declare::delete_queue(&link, &self.core.settings, queue).await
    }

    /// How many messages of a queue wait to be delivered; those that a consumer holds are not counted.
    ///
    /// # Errors
    ///
    /// [`DeclareError`], with [`Missing`](crate::DeclareErrorKind::Missing) if there is no such queue.
    ///
    /// # Cancel safety
    ///
    /// Asking changes nothing.
    pub async fn queue_depth(&self, queue: &str) -> Result<u32, DeclareError> {
        let link = self.core.pool.link().await;
        let link = link.map_err(DeclareError::from_connect)?;
        let state = declare::queue_state(&link, &self.core.settings, queue).await?;
        Ok(state.ready)
    }

    /// A consuming connection, opened with the first queue; `role` is what the management UI shows, such as `worker`.
    #[must_use]
    pub fn session(&self, role: &str) -> Session {
        Session::new(Arc::clone(&self.core), role)
    }

    /// Closes everything: publishes what is queued, hands back what was received and not taken, and says goodbye.
    ///
    /// Takes as long as what is being published, at most its deadline. Later calls on any clone fail as closed.
    ///
    /// # Cancel safety
    ///
    /// The tasks end by themselves once this was polled; dropping the future only stops waiting for them.
    pub async fn close(&self) {
        let core = &self.core;
        core.stop.cancel();
        core.tasks.close();
        core.watchers.close();
        let finish = async {
            core.tasks.wait().await;
            core.pool.close().await;
            core.watchers.wait().await;
        };
        let limit = core.settings.publish_timeout + CLOSING;
        if tokio::time::timeout(limit, finish).await.is_err() {
            warn!(target: "coney::amqp", "closing took too long: some tasks are left to end by themselves");
        }
    }
}

impl fmt::Debug for Broker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Broker")
            .field("address", self.address())
            .field("server", self.server())
            .finish_non_exhaustive()
    }
}
