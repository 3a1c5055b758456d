//! The hot path without a broker, for the benchmarks: thin wrappers around what is private here.
#![allow(
    missing_debug_implementations,
    clippy::missing_errors_doc,
    clippy::must_use_candidate,
    reason = "not a part of what others use"
)]

use std::time::Duration;

use coney_amqp::{Broker, Delivery, Publication};
use coney_protocol::call::Prepared;
use futures_util::FutureExt;

use crate::client::{Client, DEFAULT_MAX_BODY, wants_result};
use crate::enqueue;
use crate::error::{ResultError, SendErrorKind};
use crate::handle::TaskHandle;
use crate::telemetry::SendMeter;

/// A client whose broker is not there.
pub struct Sending {
    client: Client,
    origin: String,
    meter: SendMeter,
}

impl Sending {
    /// A client on a handle that never connects.
    pub fn new(broker: &Broker) -> Self {
        Self {
            client: Client::new(broker),
            origin: "1@bench".to_owned(),
            meter: SendMeter::default(),
        }
    }

    /// Makes a place for the result of a call.
    pub fn expect<O, E>(&self, call: &Prepared<O, E>) -> Option<TaskHandle<O, E>> {
        let header = &call.message.header;
        let ticket = self.client.replies().expect(&header.id)?;
        Some(TaskHandle::new(
            header.task.as_str().into(),
            header.id.clone(),
            Some(ticket),
            call.answer,
            self.client.way_back(),
        ))
    }

    /// Completes an encoded call, and decides where it goes.
    pub fn publication<O, E>(
        &self,
        mut call: Prepared<O, E>,
    ) -> Result<Publication, SendErrorKind> {
        let broker = self.client.broker();
        if let Some(objection) = enqueue::objection(&call, DEFAULT_MAX_BODY) {
            return Err(objection);
        }
        let header = &mut call.message.header;
        let reply_to = wants_result(header).then(|| self.client.replies().queue());
        enqueue::complete(header, &self.origin, reply_to, None);
        Ok(enqueue::publication(broker, &call.target, call.message))
    }

    /// Counts a call as sent and confirmed.
    pub fn count(&self, queue: &str) {
        self.meter.sent(queue, true, Duration::from_millis(1));
    }

    /// Hands a reply to whoever waits for it.
    pub fn deliver(&self, reply: Delivery) {
        self.client.replies().deliver(reply);
    }

    /// The result of a call whose reply was delivered.
    pub fn result<O: Send + 'static, E: 'static>(
        &self,
        handle: &TaskHandle<O, E>,
    ) -> Option<Result<O, ResultError<E>>> {
        handle.result().into_future().now_or_never()
    }
}
