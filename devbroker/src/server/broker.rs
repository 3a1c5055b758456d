//! What all connections of a broker share.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use amq_protocol::types::{AMQPValue, FieldTable};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::access::Permissions;
use crate::clock::Clock;
use crate::outbox::Outbox;
use crate::snapshot::{ConnectionView, Snapshot, UserView, VhostView};
use crate::vhost::{Host, Signals};

/// The user that every broker has, with a password of the same name.
const GUEST: &str = "guest";

/// The tag of users who may do everything by the management API.
const ADMINISTRATOR: &str = "administrator";

/// A user.
#[derive(Debug)]
struct Account {
    password: String,
    tags: Vec<String>,
}

/// What is proposed to clients.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// In bytes.
    pub(crate) frame_max: u32,
    pub(crate) heartbeat: Duration,
}

/// A broker.
#[derive(Debug)]
pub(crate) struct Broker {
    pub(crate) clock: Clock,
    pub(crate) signals: Arc<Signals>,
    pub(crate) limits: Limits,
    pub(crate) tasks: TaskTracker,
    pub(crate) stop: CancellationToken,
    hosts: Mutex<BTreeMap<String, Arc<Host>>>,
    accounts: Mutex<BTreeMap<String, Account>>,
    clients: Mutex<BTreeMap<u64, Arc<Client>>>,
    last_connection: AtomicU64,
}

/// An open connection.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) id: u64,
    pub(crate) name: String,
    pub(crate) connection_name: Option<String>,
    pub(crate) properties: FieldTable,
    pub(crate) user: Arc<str>,
    pub(crate) host: Arc<Host>,
    pub(crate) outbox: Arc<Outbox>,
    /// Cancelled to drop the connection without a word.
    pub(crate) cut: CancellationToken,
    /// Cancelled to close it, for the reason.
    pub(crate) closed: CancellationToken,
    reason: Mutex<String>,
    /// How many frames may still be written before the connection is dropped.
    frames_left: Mutex<Option<u64>>,
}

impl Client {
    pub(crate) fn new(
        id: u64,
        name: String,
        properties: FieldTable,
        user: &str,
        host: Arc<Host>,
        outbox: Arc<Outbox>,
    ) -> Self {
        let connection_name = properties.inner().get("connection_name");
        Self {
            id,
            name,
            connection_name: connection_name.and_then(crate::table::text),
            properties,
            user: user.into(),
            host,
            outbox,
            cut: CancellationToken::new(),
            closed: CancellationToken::new(),
            reason: Mutex::default(),
            frames_left: Mutex::new(None),
        }
    }

    /// Whether it wants to hear that publishers are blocked.
    pub(crate) fn hears_blocked(&self) -> bool {
        match self.properties.inner().get("capabilities") {
            Some(AMQPValue::FieldTable(all)) => {
                all.inner().get("connection.blocked") == Some(&AMQPValue::Boolean(true))
            }
            _ => false,
        }
    }

    pub(crate) fn limit_frames(&self, frames: u64) {
        *lock(&self.frames_left) = Some(frames);
    }

    /// Whether so many frames may be written; they count if they may.
    pub(crate) fn may_write(&self, frames: u64) -> bool {
        let mut left = lock(&self.frames_left);
        let Some(left) = &mut *left else {
            return true;
        };
        match left.checked_sub(frames) {
            Some(rest) => {
                *left = rest;
                true
            }
            None => false,
        }
    }

    pub(crate) fn force_close(&self, reason: &str) {
        reason.clone_into(&mut lock(&self.reason));
        self.closed.cancel();
    }

    pub(crate) fn reason(&self) -> String {
        lock(&self.reason).clone()
    }
}

impl Broker {
    pub(crate) fn new(clock: Clock, memory_limit: usize, limits: Limits) -> Arc<Self> {
        let broker = Arc::new(Self {
            clock,
            signals: Arc::new(Signals::new(memory_limit)),
            limits,
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
            hosts: Mutex::default(),
            accounts: Mutex::default(),
            clients: Mutex::default(),
            last_connection: AtomicU64::new(0),
        });
        broker.put_user(GUEST, GUEST, vec![ADMINISTRATOR.to_owned()]);
        broker.add_vhost("/");
        broker
    }

    /// Adds a virtual host; false if it is there.
    pub(crate) fn add_vhost(&self, name: &str) -> bool {
        let mut hosts = lock(&self.hosts);
        if hosts.contains_key(name) {
            return false;
        }
        let clock = self.clock.clone();
        let removed = self.stop.child_token();
        let host = Arc::new(Host::new(name, clock, self.signals.clone(), removed));
        host.with(|vhost| vhost.access.set(GUEST, &Permissions::all()))
            .unwrap_or_else(|error| unreachable!("{error}"));
        self.tasks.spawn(host.clone().keep_time());
        hosts.insert(name.to_owned(), host);
        true
    }

    pub(crate) fn remove_vhost(&self, name: &str) -> bool {
        let Some(host) = lock(&self.hosts).remove(name) else {
            return false;
        };
        host.removed.cancel();
        self.signals.changed();
        true
    }

    pub(crate) fn host(&self, name: &str) -> Option<Arc<Host>> {
        lock(&self.hosts).get(name).cloned()
    }

    fn hosts(&self) -> Vec<Arc<Host>> {
        lock(&self.hosts).values().cloned().collect()
    }

    /// Adds a user, or changes one; true if it is new.
    pub(crate) fn put_user(&self, name: &str, password: &str, tags: Vec<String>) -> bool {
        let account = Account {
            password: password.to_owned(),
            tags,
        };
        let before = lock(&self.accounts).insert(name.to_owned(), account);
        before.is_none()
    }

    pub(crate) fn remove_user(&self, name: &str) -> bool {
        for host in self.hosts() {
            host.with(|vhost| vhost.access.forget(name));
        }
        lock(&self.accounts).remove(name).is_some()
    }

    pub(crate) fn knows(&self, user: &str, password: &str) -> bool {
        let accounts = lock(&self.accounts);
        accounts
            .get(user)
            .is_some_and(|one| one.password == password)
    }

    #[cfg(feature = "management")]
    pub(crate) fn has_user(&self, name: &str) -> bool {
        lock(&self.accounts).contains_key(name)
    }

    /// Whether the user may use the management API.
    #[cfg(feature = "management")]
    pub(crate) fn is_administrator(&self, name: &str) -> bool {
        let accounts = lock(&self.accounts);
        let mut tags = accounts.get(name).into_iter().flat_map(|one| &one.tags);
        tags.any(|tag| tag == ADMINISTRATOR)
    }

    fn users(&self) -> Vec<UserView> {
        let accounts = lock(&self.accounts);
        let view = |(name, account): (&String, &Account)| UserView {
            name: name.clone(),
            tags: account.tags.clone(),
        };
        accounts.iter().map(view).collect()
    }

    pub(crate) fn next_connection(&self) -> u64 {
        self.last_connection.fetch_add(1, Ordering::Relaxed) + 1
    }

    pub(crate) fn enter(&self, client: Arc<Client>) {
        lock(&self.clients).insert(client.id, client);
        self.signals.changed();
    }

    pub(crate) fn leave(&self, id: u64) {
        lock(&self.clients).remove(&id);
        self.signals.changed();
    }

    pub(crate) fn clients(&self) -> Vec<Arc<Client>> {
        lock(&self.clients).values().cloned().collect()
    }

    /// The connection of this name, given by the broker or by the client.
    pub(crate) fn client(&self, name: &str) -> Option<Arc<Client>> {
        self.clients()
            .into_iter()
            .find(|client| client.name == name || client.connection_name.as_deref() == Some(name))
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        let clients = self.clients();
        Snapshot {
            users: self.users(),
            vhosts: self
                .hosts()
                .iter()
                .map(|host| host.look(VhostView::of))
                .collect(),
            connections: clients
                .iter()
                .map(|client| ConnectionView::of(client))
                .collect(),
            memory: self.signals.meter.bytes(),
            blocked: self.signals.is_blocked(),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
