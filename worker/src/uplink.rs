//! How a running task tells its caller how far it is.

use std::fmt;
use std::sync::Arc;

use coney_amqp::Broker;
use coney_protocol::context::{BoxFuture, Uplink};
use coney_protocol::message::Message;
use coney_protocol::outcome::BoxError;
use coney_protocol::reply::Reply;
use tokio::runtime::Handle;

use crate::settle::ReplyAddress;

/// What all uplinks of a worker share.
pub(crate) struct ReplyLine {
    broker: Broker,
    runtime: Handle,
}

impl ReplyLine {
    pub(crate) fn new(broker: Broker, runtime: Handle) -> Arc<Self> {
        Arc::new(Self { broker, runtime })
    }

    /// The uplink of one task.
    pub(crate) fn to(self: Arc<Self>, message: Arc<Message>) -> Arc<CallerLine> {
        Arc::new(CallerLine {
            line: self,
            message,
        })
    }
}

impl fmt::Debug for ReplyLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ReplyLine")
    }
}

/// The way to the caller of one task, whose message says where that waits.
pub(crate) struct CallerLine {
    line: Arc<ReplyLine>,
    message: Arc<Message>,
}

impl Uplink for CallerLine {
    fn report(&self, reply: Reply) -> BoxFuture<'_, Result<(), BoxError>> {
        let address = ReplyAddress::of(&self.message.header);
        let publisher = self.line.broker.publisher();
        Box::pin(async move {
            if let Some(address) = address {
                publisher.publish(address.publication(&reply)).await?;
            }
            Ok(())
        })
    }

    fn report_blocking(&self, reply: Reply) -> Result<(), BoxError> {
        self.line.runtime.block_on(self.report(reply))
    }
}
