//! A client and a worker whose broker is not there, and the messages between them.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, anyhow};
use coney::protocol::call::Prepared;
use coney::protocol::clock::Clock;
use coney::protocol::topology::Preset;
use coney::{Broker, Call, Task, TaskHandle};
use coney_amqp::__bench::{Inbox, Incoming, Outgoing};
use coney_amqp::{Delivery, Publication};
use coney_producer::__bench::Sending;
use coney_worker::__bench::{Answer, Bound, Read, Running};

use crate::tasks::{add, note};

/// The time of all messages: their texts have the same length in every run.
const NOW: Duration = Duration::from_micros(1_760_000_000_123_456);

/// A client and a worker whose broker is not there.
pub(crate) struct Bench {
    sending: Sending,
    running: Running,
    telling: Running,
    inbox: RefCell<Inbox>,
    now: SystemTime,
}

impl Bench {
    /// Sets everything up; call it, and run every stage, within a tokio runtime.
    pub(crate) fn new() -> Result<Rc<Self>> {
        let now = SystemTime::UNIX_EPOCH + NOW;
        let broker: Broker = coney_amqp::__bench::broker(Preset::Native, Clock::of(move || now))?;
        let running = |events| Running::new(&broker, coney::registered(), events);
        Ok(Rc::new(Self {
            sending: Sending::new(&broker),
            running: running(false)?,
            telling: running(true)?,
            inbox: RefCell::default(),
            now,
        }))
    }

    pub(crate) fn sending(&self) -> &Sending {
        &self.sending
    }

    pub(crate) fn running(&self) -> &Running {
        &self.running
    }

    /// A worker that tells monitors of its tasks.
    pub(crate) fn telling(&self) -> &Running {
        &self.telling
    }

    pub(crate) fn inbox(&self) -> &RefCell<Inbox> {
        &self.inbox
    }

    /// An encoded call.
    pub(crate) fn prepared<T: Task>(&self, call: Call<T>) -> Result<Prepared<T::Output, T::Error>> {
        Ok(call.prepare_at(self.now)?)
    }

    /// A call as it is published.
    pub(crate) fn published<O, E>(&self, call: Prepared<O, E>) -> Result<Publication> {
        let publication = self.sending.publication(call);
        publication.map_err(|kind| anyhow!("the client refuses the call: {kind:?}"))
    }

    /// A call as the publishing task takes it.
    pub(crate) fn sent(&self) -> Result<Outgoing> {
        let call = self.prepared(add::call(1, 2))?;
        Ok(Outgoing::new(self.published(call)?)?)
    }

    /// A call as lapin hands it to the worker.
    pub(crate) fn received(&self) -> Result<Incoming> {
        let outgoing = self.sent()?;
        self.bring(outgoing)
    }

    /// The same for a task without a result.
    pub(crate) fn received_note(&self) -> Result<Incoming> {
        let call = self.prepared(note::call("hello".to_owned()))?;
        self.bring(Outgoing::new(self.published(call)?)?)
    }

    /// Delivers a message; forgets what was settled before.
    pub(crate) fn bring(&self, outgoing: Outgoing) -> Result<Incoming> {
        let mut inbox = self.inbox.borrow_mut();
        inbox.settle();
        Ok(inbox.bring(outgoing)?)
    }

    /// A message of lapin's becomes one of coney's.
    pub(crate) fn delivery(&self, incoming: Incoming) -> Delivery {
        self.inbox.borrow().read(incoming)
    }

    /// A message that the worker has read.
    pub(crate) fn read(&self, delivery: Delivery) -> Result<Read> {
        let read = self.running.read(delivery);
        read.map_err(|why| anyhow!("the worker refuses the message: {why}"))
    }

    /// A task that has its arguments.
    pub(crate) fn bound(&self, read: Read) -> Result<Bound> {
        let bound = self.running.bind(read);
        bound.map_err(|why| anyhow!("the worker refuses the arguments: {why}"))
    }

    /// A call that waits for its result, and the message that brings it.
    pub(crate) fn replied(&self) -> Result<(Handle, Incoming)> {
        let call = self.prepared(add::call(1, 2))?;
        let handle = self.sending.expect(&call);
        let sent = Outgoing::new(self.published(call)?)?;
        let bound = self.bound(self.read(self.delivery(self.bring(sent)?))?)?;
        let answer = self.ran(bound)?;
        let reply = self.bring(Outgoing::new(answer.publication())?)?;
        Ok((handle.context("an id comes twice")?, reply))
    }

    /// What a task has come to.
    pub(crate) fn ran(&self, bound: Bound) -> Result<Answer> {
        self.running.run(bound).context("the task has no result")
    }
}

/// A call of `add` that waits for its result.
pub(crate) type Handle = TaskHandle<<add as Task>::Output, <add as Task>::Error>;
