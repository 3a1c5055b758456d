//! The hot path without a broker, for the benchmarks: thin wrappers around what is private here.
#![allow(
    missing_debug_implementations,
    clippy::missing_errors_doc,
    clippy::must_use_candidate,
    reason = "not a part of what others use"
)]

use std::sync::Arc;
use std::time::Duration;

use coney_amqp::{Acker, Broker, Delivery, Publication};
use coney_protocol::reply::Reply;
use coney_protocol::topology::Topology;
use futures_util::FutureExt;
use serde_json::value::RawValue;
use tokio_util::sync::CancellationToken;

use crate::activity::Meter;
use crate::decide::{Facts, decide};
use crate::decode::{Arrived, Job, Received};
use crate::error::BuildError;
use crate::execute::{Limits, execute};
use crate::node::Node;
use crate::pipeline::Pipeline;
use crate::pool::{Pool, Range};
use crate::registry::Tasks;
use crate::settle::ReplyAddress;
use crate::worker::Worker;

/// A worker whose broker is not there, and the stages of its first queue.
pub struct Running {
    node: Node,
    pipeline: Arc<Pipeline>,
    pool: Pool,
}

/// A task with its arguments, which has not run.
pub struct Bound {
    received: Received,
    job: Box<Job>,
    acker: Acker,
}

/// A message that was read.
pub struct Read(Received, Acker);

/// A result and who waits for it.
pub struct Answer(ReplyAddress, Reply);

impl Running {
    /// Builds the worker of these tasks.
    ///
    /// Call it within a tokio runtime, and everything else, too.
    pub fn new(broker: &Broker, tasks: Tasks, events: bool) -> Result<Self, BuildError> {
        let worker = Worker::builder(broker)
            .name("bench@bench")
            .tasks(tasks)
            .task_events(events)
            .build()?;
        let (stopping, abort) = (CancellationToken::new(), CancellationToken::new());
        let session = broker.session("worker");
        let node = Node::new(&worker.parts, &session, Meter::default(), &stopping, &abort);
        let plan = &worker.parts.queues[0];
        let pipeline = node.queues.common.pipeline(plan, Topology::default());
        Ok(Self {
            pipeline: Arc::new(pipeline),
            pool: Pool::within(Range::new(plan.concurrency, plan.concurrency)),
            node,
        })
    }

    /// Reads a message as far as it takes to know that it runs; the text says why it does not.
    pub fn read(&self, delivery: Delivery) -> Result<Read, String> {
        let arrived = Arrived {
            properties: delivery.properties,
            payload: delivery.payload,
            exchange: delivery.exchange,
            routing_key: delivery.routing_key,
            redelivered: delivery.redelivered,
            redeliveries: 0,
        };
        let received = self
            .pipeline
            .decoder
            .receive(arrived)
            .map_err(|no_job| format!("{no_job:?}"))?;
        Ok(Read(received, delivery.acker))
    }

    /// Binds the arguments.
    pub fn bind(&self, read: Read) -> Result<Bound, String> {
        let Read(received, acker) = read;
        let time = self.pipeline.time_limit(&received);
        let job = self.pipeline.decoder.start(&received, time);
        Ok(Bound {
            job: job.map_err(|no_job| format!("{no_job:?}"))?,
            received,
            acker,
        })
    }

    /// Runs a task that does not wait for anything, decides what follows, and acknowledges the message.
    pub fn run(&self, bound: Bound) -> Option<Answer> {
        let Bound {
            received,
            job,
            acker,
        } = bound;
        let Received { card, handler, .. } = &received;
        let Job {
            context,
            attempt,
            plan,
            entered,
            ..
        } = *job;
        let limits = Limits {
            time: self.pipeline.time_limit(&received),
            entered: &entered,
            revoke_grace: self.pipeline.revoke_grace,
            abort: &self.pipeline.abort,
        };
        let mut slot = self.pool.acquire().now_or_never();
        let attempt = execute(handler, &context, attempt, &limits, Some(&acker), &mut slot);
        let outcome = attempt.now_or_never()?;
        let header = card.header();
        let facts = Facts {
            header,
            spec: handler.spec(),
            revoked: entered.revoked().has_fired(),
            worker: &self.pipeline.settler.worker,
            now: self.node.broker.clock().now(),
            chance: 0.5,
            flow: self.pipeline.flow(plan.as_deref(), header),
            replacement: context.replacement(),
            children: &context.children().list(),
        };
        let disposition = decide(facts, outcome);
        acker.ack();
        disposition.reply.map(|(to, reply)| Answer(to, reply))
    }

    /// Takes a message through all stages; true if it is done with. Not for tasks with a result: that is never confirmed.
    pub fn work(&self, delivery: Delivery) -> bool {
        let Some(Ok(waiting)) = self.pipeline.receive(delivery) else {
            return false;
        };
        let Some(slot) = self.pool.acquire().now_or_never() else {
            return false;
        };
        // on the heap, as every task of the runtime
        Box::pin(self.pipeline.run(waiting, slot))
            .now_or_never()
            .is_some()
    }

    /// Tells monitors of a task from its arrival to its end.
    pub fn tell(&self, read: &Read, result: &RawValue) {
        let (events, card) = (&self.pipeline.events, &*read.0.card);
        events.received(card);
        events.started(card);
        events.succeeded(card, result, Duration::from_millis(1));
    }
}

impl Answer {
    /// The message that brings it to its caller.
    pub fn publication(self) -> Publication {
        let Self(to, reply) = self;
        to.publication(&reply)
    }
}
