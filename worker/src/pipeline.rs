//! One delivery, the stages in order.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use coney_amqp::Delivery;
use coney_protocol::message::Message;
use coney_protocol::spec::AckMode;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

use crate::decide::{decide, poisoned};
use crate::decode::{Decoder, Job, Poison};
use crate::execute::execute;
use crate::settle::{Letter, Settler};
use crate::telemetry;

/// The stages of one queue.
#[derive(Debug)]
pub(crate) struct Pipeline {
    pub(crate) decoder: Decoder,
    pub(crate) settler: Settler,
    /// Fires when running attempts shall be stopped and returned.
    pub(crate) abort: CancellationToken,
}

impl Pipeline {
    /// Takes one delivery through all stages.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future returns the delivery to its queue.
    pub(crate) async fn run(self: Arc<Self>, delivery: Delivery) {
        let Delivery {
            properties,
            payload,
            acker,
            ..
        } = delivery;
        let cancellation = self.abort.child_token();
        let decoded = self
            .decoder
            .decode(properties, payload, cancellation, SystemTime::now());
        match decoded {
            Ok(job) => self.perform(job, acker).await,
            Err(poison) => self.refuse(*poison, acker).await,
        }
    }

    async fn perform(&self, job: Job, acker: coney_amqp::Acker) {
        let Job {
            message,
            handler,
            context,
            attempt,
        } = job;
        let spec = handler.spec();
        let acker = match spec.ack {
            AckMode::Late => Some(acker),
            AckMode::Early => {
                Settler::accept_early(acker);
                None
            }
        };
        let queue = &self.settler.queue;
        let started = Instant::now();
        let outcome = {
            let _running = telemetry::Running::on(queue);
            execute(&handler, &context, attempt, &self.abort).await
        };
        let disposition = decide(&message.header, spec, outcome, SystemTime::now());
        telemetry::ended(queue, spec.name, disposition.outcome(), started.elapsed());
        tell(&message, queue, disposition.outcome(), started);
        self.settler
            .settle(disposition, || Letter::of(&message), acker)
            .await;
    }

    async fn refuse(&self, poison: Poison, acker: coney_amqp::Acker) {
        let queue = &self.settler.queue;
        info!(target: "coney::worker", %queue, reason = poison.reason.as_str(), error = %poison.report.message, "message refused");
        let disposition = poisoned(&poison, SystemTime::now());
        self.settler
            .settle(disposition, || poison.letter, Some(acker))
            .await;
    }
}

fn tell(message: &Message, queue: &str, outcome: &'static str, started: Instant) {
    debug!(target: "coney::worker",
        %queue,
        task = %message.header.task,
        id = %message.header.id,
        outcome,
        took = ?started.elapsed(),
        "attempt ended"
    );
}
