//! A message that a worker has received, as everybody sees it who is told of it.

use std::sync::Arc;

use coney_protocol::context::DeliveryInfo;
use coney_protocol::header::Header;
use coney_protocol::id::TaskId;
use coney_protocol::message::Message;

/// A message that was read, and how it came.
#[derive(Debug)]
pub(crate) struct Card {
    /// Shared with the task that runs.
    pub(crate) message: Arc<Message>,
    /// Shared with it as well.
    pub(crate) delivery: Arc<DeliveryInfo>,
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
