//! The pool of publishing connections.
//!
//! deadpool-lapin's own manager has neither TLS settings nor a deadline, and its `Debug` prints the password; this one
//! pools [`Link`]s. A link may be used by many tasks at once, so nobody keeps the pool's object: it goes straight back,
//! and the pool's part is to open no more connections than wanted and to hand out none that is lost.

use std::sync::Arc;

use deadpool::managed::{self, PoolError, RecycleError, RecycleResult};
use deadpool_lapin::{Metrics, PoolConfig, Runtime, Timeouts};
use tokio_util::task::TaskTracker;

use crate::error::{ConnectError, ConnectErrorKind};
use crate::link::Link;
use crate::settings::Settings;

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
pub(crate) struct Pool(managed::Pool<Manager>);

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
            .map(Self)
            .map_err(|cause| ConnectError::url("the pool cannot be built").caused_by(cause))
    }

    /// A live connection, shared with whoever else has it.
    pub(crate) async fn link(&self) -> Result<Arc<Link>, ConnectError> {
        match self.0.get().await {
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
        self.0.retain(|link, _| {
            links.push(Arc::clone(link));
            false
        });
        self.0.close();
        for link in links {
            link.close().await;
        }
    }
}
