//! The pool of publishing connections.
//!
//! deadpool-lapin's own manager has neither TLS settings nor a deadline, and its `Debug` prints the password; this one
//! pools [`Link`]s. A link may be used by many tasks at once, so nobody keeps the pool's object: it goes straight back,
//! and the pool's part is to open no more connections than wanted and to hand out none that is lost.

use std::sync::Arc;

use deadpool::managed::{self, PoolError, RecycleError, RecycleResult};
use deadpool_lapin::{Metrics, PoolConfig, Runtime, Timeouts};
use futures_util::future::BoxFuture;
use tokio::sync::watch;
use tokio_util::task::TaskTracker;

use crate::error::{ConnectError, ConnectErrorKind};
use crate::link::{Health, Link};
use crate::settings::Settings;
use crate::status::PublisherStatus;

/// Opens publishing connections.
#[derive(Debug)]
pub(crate) struct Manager {
    settings: Arc<Settings>,
    tasks: TaskTracker,
}

impl managed::Manager for Manager {
    type Type = Arc<Link>;
    type Error = ConnectError;

    async fn create(&self) -> Result<Arc<Link>, ConnectError> {
        Box::pin(Link::open(&self.settings, "publisher", &self.tasks)).await
    }

    async fn recycle(&self, link: &mut Arc<Link>, _: &Metrics) -> RecycleResult<ConnectError> {
        match link.is_alive() {
            true => Ok(()),
            false => Err(RecycleError::message(link.reason())),
        }
    }
}

/// The pool of publishing connections.
#[derive(Clone, Debug)]
pub(crate) struct Pool {
    links: managed::Pool<Manager>,
    latest: watch::Sender<Latest>,
}

/// How the last request for a connection ended.
#[derive(Clone, Debug)]
enum Latest {
    /// Nobody has asked for one.
    None,
    Link(Health),
    Failed(String),
}

impl Pool {
    pub(crate) fn new(settings: &Arc<Settings>, tasks: &TaskTracker) -> Result<Self, ConnectError> {
        let manager = Manager {
            settings: Arc::clone(settings),
            tasks: tasks.clone(),
        };
        // opening has its own deadline; waiting for someone else's attempt takes at most as long
        let config = PoolConfig {
            timeouts: Timeouts {
                wait: Some(settings.connect_timeout),
                ..Timeouts::default()
            },
            ..PoolConfig::new(settings.publishers)
        };
        managed::Pool::builder(manager)
            .config(config)
            .runtime(Runtime::Tokio1)
            .build()
            .map(|links| Self {
                links,
                latest: watch::Sender::new(Latest::None),
            })
            .map_err(|cause| ConnectError::url("the pool cannot be built").caused_by(cause))
    }

    /// A live connection, shared with whoever else has it.
    pub(crate) async fn link(&self) -> Result<Arc<Link>, ConnectError> {
        let link = self.get().await;
        let latest = match &link {
            Ok(link) => Latest::Link(link.health()),
            Err(error) => Latest::Failed(error.to_string()),
        };
        self.latest.send_replace(latest);
        link
    }

    /// Whether the connection that was handed out last can be used.
    pub(crate) fn status(&self) -> PublisherStatus {
        if self.links.is_closed() {
            return PublisherStatus::Closed;
        }
        match &*self.latest.borrow() {
            Latest::None => PublisherStatus::Connecting {
                reason: "not connected yet".to_owned(),
            },
            Latest::Link(health) => health.status(),
            Latest::Failed(reason) => PublisherStatus::Connecting {
                reason: reason.clone(),
            },
        }
    }

    fn is_usable(&self) -> bool {
        match &*self.latest.borrow() {
            Latest::None => true,
            Latest::Link(health) => health.is_usable(),
            Latest::Failed(_) => false,
        }
    }

    /// Waits while the connection that was handed out last is blocked, does not answer, or is lost and not replaced.
    ///
    /// Returns at once while nobody has asked for one.
    pub(crate) async fn usable(&self) {
        if self.is_usable() {
            return;
        }
        let mut latest = self.latest.subscribe();
        loop {
            let health = match &*latest.borrow_and_update() {
                Latest::None => return,
                Latest::Link(health) if !health.is_lost() => Some(health.clone()),
                Latest::Link(_) | Latest::Failed(_) => None,
            };
            if let Some(health) = health {
                health.usable().await;
                if !health.is_lost() {
                    return;
                }
            }
            // the publishing task that has lost a connection asks for the next one by itself
            if latest.changed().await.is_err() {
                return;
            }
        }
    }

    async fn get(&self) -> Result<Arc<Link>, ConnectError> {
        // erased: the types of lapin's futures nest so deep that the compiler gives up on callers that add a few levels
        let object: BoxFuture<'_, _> = Box::pin(self.links.get());
        match object.await {
            Ok(object) => Ok(Arc::clone(&object)),
            Err(PoolError::Backend(error)) => Err(error),
            Err(PoolError::Closed) => Err(ConnectError::closed()),
            Err(other) => Err(ConnectError::new(
                ConnectErrorKind::Timeout,
                "no connection of the pool was ready in time",
            )
            .caused_by(other)),
        }
    }

    /// Closes the pool and its connections.
    pub(crate) async fn close(&self) {
        let mut links = Vec::new();
        self.links.retain(|link, _| {
            links.push(Arc::clone(link));
            false
        });
        self.links.close();
        for link in links {
            link.close().await;
        }
    }
}
