//! The hot path without a broker, for the benchmarks: thin wrappers around what is private here.
#![allow(
    missing_debug_implementations,
    clippy::missing_errors_doc,
    clippy::must_use_candidate,
    reason = "not a part of what others use"
)]

use std::collections::BTreeMap;
use std::sync::Arc;

use coney_protocol::clock::Clock;
use coney_protocol::topology::Preset;
use lapin::BasicProperties;
use lapin::types::ShortString;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use crate::acks::{AckBook, Command, Epoch, Settlement};
use crate::broker::Broker;
use crate::delivery::{Acker, Delivery};
use crate::error::{ConnectError, PublishError, PublishErrorKind};
use crate::job::{Job, Wire};
use crate::ledger::{Answer, Ledger, Resolved};
use crate::pool::Pool;
use crate::properties::Unfit;
use crate::publisher::Publication;
use crate::pulse::Pulse;

/// A handle to a broker that is not there: nothing connects.
pub fn broker(preset: Preset, clock: Clock) -> Result<Broker, ConnectError> {
    let builder = Broker::builder("amqp://127.0.0.1:1");
    let settings = Arc::new(builder.preset(preset).clock(clock).settings()?);
    let watchers = TaskTracker::new();
    let pool = Pool::new(&settings, &watchers)?;
    Ok(Broker::on(settings, pool, watchers, <_>::default()))
}

/// A message as the publishing task takes it, and where its caller learns what became of it.
pub struct Outgoing {
    job: Job,
    receipt: oneshot::Receiver<Result<(), PublishError>>,
}

impl Outgoing {
    /// Checks and converts a message.
    pub fn new(publication: Publication) -> Result<Self, PublishError> {
        let (answer, receipt) = oneshot::channel();
        let job = Job::new(publication, Instant::now(), answer).map_err(invalid)?;
        Ok(Self { job, receipt })
    }

    /// The id that it goes by.
    pub fn id(&self) -> Option<&str> {
        self.job.id()
    }
}

fn invalid(Unfit(detail): Unfit) -> PublishError {
    PublishError::new(PublishErrorKind::InvalidName { detail })
}

/// Messages on their way on one channel: the books of the publishing task without the channel.
#[derive(Default)]
pub struct Confirms {
    ledger: Ledger,
    outgoing: BTreeMap<u64, Outgoing>,
}

impl Confirms {
    /// Enters a message as published.
    pub fn publish(&mut self, mut outgoing: Outgoing) {
        // what lapin keeps
        drop(outgoing.job.take_wire());
        let number = self.ledger.published(outgoing.id());
        self.outgoing.insert(number, outgoing);
    }

    /// Confirms all of them, and returns how many callers learned that theirs is stored.
    pub fn confirm(&mut self) -> usize {
        let resolved = |number: &u64| Resolved {
            number: *number,
            answer: Answer::Ack,
            returned: None,
        };
        let resolved: Vec<_> = self.outgoing.keys().map(resolved).collect();
        let mut stored = 0;
        for (number, verdict) in self.ledger.resolved(&resolved) {
            if let Some(Outgoing { job, mut receipt }) = self.outgoing.remove(&number) {
                job.settle(verdict);
                stored += usize::from(matches!(receipt.try_recv(), Ok(Ok(()))));
            }
        }
        stored
    }
}

/// A message as lapin has it when it was received.
pub struct Incoming(lapin::message::Delivery);

/// What comes in on one channel, and what is settled of it: the books of the consuming task without the channel.
pub struct Inbox {
    epoch: Arc<Epoch>,
    commands: mpsc::UnboundedReceiver<Command>,
    book: AckBook,
    tag: u64,
}

impl Default for Inbox {
    fn default() -> Self {
        let (epoch, commands) = Epoch::open(Pulse::default(), &Arc::default(), false);
        Self {
            epoch,
            commands,
            book: AckBook::default(),
            tag: 0,
        }
    }
}

impl Inbox {
    /// Delivers a message that was sent: what a broker would bring to its queue.
    pub fn bring(&mut self, outgoing: Outgoing) -> Result<Incoming, PublishError> {
        let mut job = outgoing.job;
        let payload = job.payload().to_vec();
        let Wire {
            exchange,
            routing_key,
            properties,
        } = job.take_wire().map_err(invalid)?;
        Ok(self.incoming(exchange, routing_key, properties, payload))
    }

    fn incoming(
        &mut self,
        exchange: ShortString,
        routing_key: ShortString,
        properties: BasicProperties,
        payload: Vec<u8>,
    ) -> Incoming {
        self.tag += 1;
        let mut delivery =
            lapin::message::Delivery::mock(self.tag, exchange, routing_key, false, payload);
        delivery.properties = properties;
        Incoming(delivery)
    }

    /// Reads a message as the consumer does.
    pub fn read(&self, Incoming(delivery): Incoming) -> Delivery {
        Delivery::new(delivery, &self.epoch)
    }

    /// What settles the next delivery, without the message.
    pub fn acker(&mut self) -> Acker {
        self.tag += 1;
        self.epoch.receive();
        Acker::new(self.tag, Arc::clone(&self.epoch))
    }

    /// Reckons the frames that settle what was settled so far, and returns how many those are.
    pub fn settle(&mut self) -> usize {
        let mut settled: Vec<(u64, Settlement)> = Vec::new();
        while let Ok(command) = self.commands.try_recv() {
            if let Command::Settle(tag, settlement) = command {
                settled.push((tag, settlement));
            }
        }
        self.book.settle(&settled).len()
    }
}
