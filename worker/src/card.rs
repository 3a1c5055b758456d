//! A message that a worker has received, as everybody sees it who is told of it.

use std::sync::Arc;

use coney_protocol::header::Header;
use coney_protocol::id::TaskId;
use coney_protocol::message::Message;

/// A message that was read, and how it came.
#[derive(Debug)]
pub(crate) struct Card {
    /// Shared with the task that runs.
    pub(crate) message: Arc<Message>,
    /// The exchange that it was published to.
    pub(crate) exchange: String,
    /// The routing key that it was published with.
    pub(crate) routing_key: String,
    /// True if it may have been delivered before.
    pub(crate) redelivered: bool,
}

impl Card {
    pub(crate) fn header(&self) -> &Header {
        &self.message.header
    }

    pub(crate) fn id(&self) -> &TaskId {
        &self.message.header.id
    }

    pub(crate) fn task(&self) -> &str {
        &self.message.header.task
    }
}
