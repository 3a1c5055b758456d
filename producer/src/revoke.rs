//! Cancelling a task: a notice to all workers, those that start later among them.

use std::fmt;

use coney_amqp::{Broker, DeclareError, Publication, PublishError, PublishErrorKind};
use coney_protocol::context::BoxFuture;
use coney_protocol::id::TaskId;
use coney_protocol::revoke::Notice;
use coney_protocol::topology;
use tokio::sync::OnceCell;

/// Why a task was not cancelled, or may not have been.
#[derive(Debug)]
pub struct RevokeError {
    id: TaskId,
    kind: RevokeErrorKind,
}

/// What kept a task from being cancelled.
#[derive(Debug)]
#[non_exhaustive]
pub enum RevokeErrorKind {
    /// The stream of revocations could not be declared, or is not there: the user may not, or the broker is older than
    /// RabbitMQ 3.9.
    Declare(DeclareError),
    /// The broker did not confirm the revocation.
    Publish(PublishError),
    /// The client that sent the task is gone.
    Closed,
}

impl RevokeError {
    pub(crate) fn new(id: TaskId, kind: RevokeErrorKind) -> Self {
        Self { id, kind }
    }

    /// What kept the task from being cancelled.
    #[must_use]
    pub fn kind(&self) -> &RevokeErrorKind {
        &self.kind
    }

    /// The task.
    #[must_use]
    pub fn task_id(&self) -> &TaskId {
        &self.id
    }

    /// True if trying again later may work. Revoking a task twice harms nobody.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match &self.kind {
            RevokeErrorKind::Declare(error) => error.is_transient(),
            RevokeErrorKind::Publish(error) => error.is_transient(),
            RevokeErrorKind::Closed => false,
        }
    }
}

impl fmt::Display for RevokeErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Declare(_) => f.write_str("the stream of revocations is not ready"),
            Self::Publish(_) => f.write_str("the broker did not confirm the revocation"),
            Self::Closed => f.write_str("the client that sent it is gone: use `revoke` of another"),
        }
    }
}

impl fmt::Display for RevokeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "task {} was not cancelled: {}", self.id, self.kind)
    }
}

impl std::error::Error for RevokeError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.kind {
            RevokeErrorKind::Declare(error) => Some(error),
            RevokeErrorKind::Publish(error) => Some(error),
            RevokeErrorKind::Closed => None,
        }
    }
}

/// What sends revocations; declares their stream once.
#[derive(Debug, Default)]
pub(crate) struct Revoker {
    declared: OnceCell<()>,
}

impl Revoker {
    /// Boxed: rustc gives up on finding out whether what declares is `Send` from the depth of a caller's own future.
    pub(crate) fn revoke<'a>(
        &'a self,
        broker: &'a Broker,
        id: &'a TaskId,
    ) -> BoxFuture<'a, Result<(), RevokeErrorKind>> {
        Box::pin(self.announce(broker, id))
    }

    async fn announce(&self, broker: &Broker, id: &TaskId) -> Result<(), RevokeErrorKind> {
        let declare = || async { broker.declare(&topology::revocations()).await };
        self.declared
            .get_or_try_init(declare)
            .await
            .map_err(RevokeErrorKind::Declare)?;
        let (properties, body) = Notice::revoke(id.clone(), broker.clock().now()).encode();
        let publication = Publication::new(topology::revoke_route(), properties, body);
        let publisher = broker.publisher();
        match publisher.publish(publication.clone()).await {
            Err(error) if is_missing(&error) => {
                // somebody deleted it since
                declare().await.map_err(RevokeErrorKind::Declare)?;
                publisher.publish(publication).await
            }
            verdict => verdict,
        }
        .map_err(RevokeErrorKind::Publish)
    }
}

fn is_missing(error: &PublishError) -> bool {
    matches!(
        error.kind(),
        PublishErrorKind::Unroutable { .. } | PublishErrorKind::NoExchange { .. }
    )
}
