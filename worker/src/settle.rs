//! Stage five: performs a disposition. Everything is confirmed before the delivery is acknowledged, and nothing else
//! acknowledges.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use coney_amqp::{Acker, Broker, Publication, PublishError, PublishErrorKind};
use coney_protocol::codec;
use coney_protocol::dead::{self, Reason};
use coney_protocol::header::Header;
use coney_protocol::id::TaskId;
use coney_protocol::message::Message;
use coney_protocol::outcome::ErrorReport;
use coney_protocol::property::Properties;
use coney_protocol::reply::{Reply, Status};
use coney_protocol::topology::{Route, Topology};
use coney_protocol::wire;
use tracing::{debug, error, warn};

use crate::decide::{Disposition, Then};
use crate::telemetry;

/// Where a caller waits for a result.
#[derive(Clone, Debug)]
pub(crate) struct ReplyAddress {
    pub(crate) queue: String,
    pub(crate) correlation_id: String,
    pub(crate) id: TaskId,
}

impl ReplyAddress {
    /// The address that a header gives; none if the caller does not want the result.
    pub(crate) fn of(header: &Header) -> Option<Self> {
        if header.ignore_result == Some(true) {
            return None;
        }
        Some(Self {
            queue: header.reply_to.clone()?,
            correlation_id: header.correlation(),
            id: header.id.clone(),
        })
    }

    /// The address that is left of a message without a readable header: id and correlation id stand in for each other.
    pub(crate) fn new(
        reply_to: Option<String>,
        correlation_id: Option<String>,
        id: Option<TaskId>,
    ) -> Option<Self> {
        let id = id.or_else(|| correlation_id.as_deref().map(TaskId::from))?;
        Some(Self {
            queue: reply_to?,
            correlation_id: correlation_id.unwrap_or_else(|| id.to_string()),
            id,
        })
    }

    /// The publication of a reply to this address.
    ///
    /// Not mandatory: a caller that is gone wants no result, and its queue went with it.
    pub(crate) fn publication(self, reply: &Reply) -> Publication {
        let mut properties = Properties::default();
        properties.content_type = Some(codec::JSON.into());
        properties.content_encoding = Some(codec::UTF_8.into());
        properties.correlation_id = Some(self.correlation_id);
        properties.persistent = true;
        let route = Route::to_queue(self.queue);
        Publication::new(route, properties, reply.encode()).optional()
    }
}

/// A message as it is put into the dead letters: as it came, headers and all.
#[derive(Debug)]
pub(crate) struct Letter {
    properties: Properties,
    body: Bytes,
}

impl Letter {
    pub(crate) fn new(properties: Properties, body: Bytes) -> Self {
        Self { properties, body }
    }

    pub(crate) fn of(message: &Message) -> Self {
        let (properties, body) = wire::encode(message);
        Self::new(properties, body)
    }
}

/// How long a slot rests before it returns what it could not settle: the broker delivers it again at once.
const UNSETTLED_PAUSE: Duration = Duration::from_secs(1);

/// Performs dispositions of one queue.
#[derive(Debug)]
pub(crate) struct Settler {
    pub(crate) broker: Broker,
    pub(crate) queue: String,
    /// What the queue needs, its dead letters among it.
    pub(crate) topology: Topology,
    pub(crate) worker: String,
}

impl Settler {
    /// Acknowledges a delivery whose task asked for it before it runs.
    pub(crate) fn accept_early(acker: Acker) {
        acker.ack();
    }

    /// Publishes what the disposition says, waits for the confirms, then settles the delivery.
    ///
    /// # Delivery
    ///
    /// A crash before the ack lets the broker deliver the message again: the task runs twice and both runs have the
    /// same id. If the broker does not confirm in time, the delivery goes back to the queue for the same reason.
    pub(crate) async fn settle(
        &self,
        disposition: Disposition,
        letter: impl FnOnce() -> Letter,
        acker: Option<Acker>,
    ) {
        let reply = async {
            match disposition.reply {
                Some((address, reply)) => self.send_reply(address, &reply).await,
                None => Ok(()),
            }
        };
        let dead = async {
            match disposition.dead {
                Some((reason, report)) => self.bury(letter(), reason, &report).await,
                None => Ok(()),
            }
        };
        // a dead letter is sent whether or not its reply can be
        let (reply, dead) = tokio::join!(reply, dead);
        let Some(acker) = acker else { return };
        match (reply.and(dead), disposition.then) {
            (Ok(()), Then::Ack) => acker.ack(),
            (Ok(()), Then::Requeue) => acker.requeue(),
            (Err(error), _) => {
                telemetry::unsettled();
                tokio::time::sleep(UNSETTLED_PAUSE).await;
                warn!(target: "coney::worker", queue = %self.queue, %error, "what follows from a task was not confirmed: it goes back to its queue");
                acker.requeue();
            }
        }
    }

    /// Sends a result. One that the broker never takes is replaced by a failure, so that the caller learns of it.
    async fn send_reply(&self, address: ReplyAddress, reply: &Reply) -> Result<(), PublishError> {
        let publisher = self.broker.publisher();
        let refused = match publisher.publish(address.clone().publication(reply)).await {
            Ok(()) => return Ok(()),
            Err(error) if error.is_transient() => return Err(error),
            Err(error) => error,
        };
        warn!(target: "coney::worker", queue = %self.queue, id = %address.id, error = %refused, "the broker refuses a result");
        let report = ErrorReport::new(
            "ResultError",
            format!("the worker could not send the result: {refused}"),
        );
        let failure = Reply::failure(address.id.clone(), Status::Failure, &report);
        match publisher.publish(address.publication(&failure)).await {
            Err(error) if error.is_transient() => Err(error),
            Err(error) => {
                // nothing can reach this caller; running the task again would not change that
                error!(target: "coney::worker", queue = %self.queue, %error, "the broker refuses every result for this caller");
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    /// Moves a message to the dead letters.
    async fn bury(
        &self,
        letter: Letter,
        reason: Reason,
        report: &ErrorReport,
    ) -> Result<(), PublishError> {
        let Letter {
            mut properties,
            body,
        } = letter;
        let now = SystemTime::now();
        dead::mark(
            &mut properties,
            reason,
            report,
            &self.queue,
            &self.worker,
            now,
        );
        let route = self.broker.preset().dead_route(&self.queue);
        debug!(target: "coney::worker", queue = %self.queue, reason = reason.as_str(), "dead letter");
        let letter = Publication::new(route, properties, body);
        let publisher = self.broker.publisher();
        let verdict = match publisher.publish(letter.clone()).await {
            Err(error) if is_missing(&error) => {
                warn!(target: "coney::worker", queue = %self.queue, "the dead-letter queue is gone: declaring it again");
                match self.broker.declare(&self.topology).await {
                    Ok(()) => publisher.publish(letter).await,
                    Err(_) => Err(error),
                }
            }
            verdict => verdict,
        };
        if verdict.is_ok() {
            telemetry::dead_letter(&self.queue, reason);
        }
        verdict
    }
}

fn is_missing(error: &PublishError) -> bool {
    matches!(
        error.kind(),
        PublishErrorKind::Unroutable { .. } | PublishErrorKind::NoExchange { .. }
    )
}
