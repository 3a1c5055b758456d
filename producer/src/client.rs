//! The client: sends calls, and is the way to their results.

use std::borrow::Cow;
use std::fmt;
use std::sync::{Arc, Weak};
use std::time::{Instant, SystemTime};

use coney_amqp::{Broker, ConnectError, ConsumeError, PublishErrorKind, Receipt};
use coney_protocol::answer::AnswerOk;
use coney_protocol::call::{DynamicCall, Prepared, Sender};
use coney_protocol::header::Header;
use coney_protocol::id::TaskId;
use coney_protocol::topology::Preset;
use coney_protocol::trace::TraceContext;
use serde_json::Value as Json;

use crate::control::Control;
use crate::enqueue::{self, Declared};
use crate::error::{SendError, SendErrorKind};
use crate::events::{self, EventStream, Note, Teller};
use crate::handle::TaskHandle;
use crate::replies::{Replies, Ticket};
use crate::revoke::{RevokeError, RevokeErrorKind, Revoker};
use crate::status::ClientStatus;
use crate::telemetry::SendMeter;

/// The largest body that a client sends unless told otherwise, in bytes: 1 MiB.
///
/// RabbitMQ 4 takes 16 MiB at most; large data is better stored elsewhere and sent as a reference.
pub const DEFAULT_MAX_BODY: usize = 1024 * 1024;

/// Sends calls and awaits their results; cheap to clone.
///
/// All clones share the publishing connection, one reply queue and one consumer of it, however many calls are in
/// flight.
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
/// use coney_producer::Client;
/// use serde_json::json;
///
/// let client = Client::connect("amqp://localhost").await?;
/// let handle = client.call_by_name("billing.charge", json!([42])).queue_named("billing").send(&client).await?;
/// println!("{}", handle.result().await?);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Client(Arc<Inner>);

struct Inner {
    broker: Broker,
    max_body: usize,
    shows_arguments: bool,
    origin: String,
    trace: Option<TraceSource>,
    declared: Declared,
    replies: Arc<Replies>,
    revoker: Revoker,
    control: Control,
    /// Set if monitors are told of sent tasks.
    teller: Option<Teller>,
    meter: SendMeter,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.replies.stop();
    }
}

type TraceSource = Box<dyn Fn() -> Option<TraceContext> + Send + Sync>;

/// Settings of a [`Client`].
pub struct ClientBuilder {
    broker: Broker,
    max_body: usize,
    trace: Option<TraceSource>,
    sent_events: bool,
    shows_arguments: Option<bool>,
}

impl Client {
    /// A client on `broker` with the default settings.
    #[must_use]
    pub fn new(broker: &Broker) -> Self {
        Self::builder(broker).build()
    }

    /// Connects to the broker at `url`, for programs that only send.
    ///
    /// # Errors
    ///
    /// [`ConnectError`] names what is wrong with the URL, the login, the vhost or the network.
    pub async fn connect(url: &str) -> Result<Self, ConnectError> {
        Ok(Self::new(&Broker::connect(url).await?))
    }

    /// Starts to set up a client on `broker`.
    #[must_use]
    pub fn builder(broker: &Broker) -> ClientBuilder {
        ClientBuilder {
            broker: broker.clone(),
            max_body: DEFAULT_MAX_BODY,
            trace: None,
            sent_events: false,
            shows_arguments: None,
        }
    }

    /// The broker it sends to.
    #[must_use]
    pub fn broker(&self) -> &Broker {
        &self.0.broker
    }

    /// Whether calls can be sent and results received at this moment, and why not: for health checks.
    #[must_use]
    pub fn status(&self) -> ClientStatus {
        ClientStatus {
            sending: self.0.broker.publisher_status(),
            results: self.0.replies.status(),
        }
    }

    /// The number of calls that wait for a result.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.0.replies.in_flight()
    }

    /// A call of a task by its wire name, for programs that learn names at run time.
    ///
    /// `arguments` is an array (by position) or an object (by name). Without `.queue_named(..)` it goes to the queue
    /// `default`.
    pub fn call_by_name(&self, task: impl Into<String>, arguments: Json) -> DynamicCall {
        DynamicCall::new(task, arguments)
    }

    /// Cancels a task, wherever it is: waiting in its queue, delayed, between two attempts, or running.
    ///
    /// A task that waits never starts. One that runs has its token fired
    /// (see [`TaskContext::cancellation`](coney_protocol::context::TaskContext::cancellation)) and is aborted when it
    /// has not ended after the worker's grace. Whoever waits for the result gets
    /// [`ResultErrorKind::Cancelled`](crate::ResultErrorKind::Cancelled) when a worker comes upon the task: at once
    /// for one that runs, when it is due for one that is delayed. A task that ends with a value all the same has
    /// succeeded. An id that nobody knows harms nobody.
    ///
    /// Workers remember it for the time that they are set to (three hours unless set), those that start later, too. A
    /// task that waits longer than that runs.
    ///
    /// # Errors
    ///
    /// [`RevokeError`] when the stream `coney.revoked` cannot be declared or the broker does not confirm in time.
    ///
    /// # Delivery
    ///
    /// `Ok` means that the broker has stored the revocation. Workers read it within milliseconds; a task that starts
    /// before counts as running.
    ///
    /// # Cancel safety
    ///
    /// When the future is dropped, the task may or may not be revoked. Revoking it again is harmless.
    pub async fn revoke(&self, id: impl Into<TaskId>) -> Result<(), RevokeError> {
        self.0.revoke(id.into()).await
    }

    /// Listens to what clients and workers tell: which tasks are sent, what becomes of them, which workers are there.
    ///
    /// For monitors, and for tests. Each stream has a connection of its own.
    ///
    /// # Errors
    ///
    /// [`ConsumeError`] when the queue of the stream cannot be declared or consumed.
    ///
    /// # Delivery
    ///
    /// Events are told to whoever listens at that moment. They may be lost, and are not told twice.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future ends the attempt.
    pub async fn events(&self) -> Result<EventStream, ConsumeError> {
        EventStream::open(&self.0.broker).await
    }

    /// Remote control: asks workers what they do, and tells them what to do.
    #[must_use]
    pub fn control(&self) -> Control {
        self.0.control.clone()
    }

    /// Stops to receive results; calls that wait for one are told so. Sent tasks go on.
    pub async fn close(&self) {
        self.0.replies.close().await;
        if let Some(teller) = &self.0.teller {
            teller.close().await;
        }
    }

    pub(crate) fn way_back(&self) -> WayBack {
        WayBack(Arc::downgrade(&self.0))
    }

    pub(crate) fn replies(&self) -> &Arc<Replies> {
        &self.0.replies
    }

    /// Makes a place for the result of a task that is sent by another, to the queue called `queue`.
    pub(crate) async fn expect(
        &self,
        id: &TaskId,
        task: &str,
        queue: &str,
    ) -> Result<Ticket, SendError> {
        let fail = |kind| SendError::new(task, queue, kind);
        let limit = self.0.broker.publish_timeout();
        let started = self.0.replies.start(&self.0.broker);
        match tokio::time::timeout(limit, started).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return Err(fail(SendErrorKind::Replies(error))),
            Err(_) => return Err(fail(SendErrorKind::NotReady { after: limit })),
        }
        let ticket = self.0.replies.expect(id);
        ticket.ok_or_else(|| fail(SendErrorKind::DuplicateId(id.clone())))
    }

    /// Hands a call to the publisher without waiting for the confirm.
    pub(crate) async fn submit<O, E>(
        &self,
        mut call: Prepared<O, E>,
    ) -> Result<Submitted<O>, SendError> {
        let task: Arc<str> = call.message.header.task.as_str().into();
        let queue = call.target.to_name();
        let fail = |kind| SendError::new(&task, &queue, kind);
        if let Some(objection) = enqueue::objection(&call, self.0.max_body) {
            return Err(fail(objection));
        }
        if !self.is_ready(&call) {
            // the publish has a deadline of its own; what comes before it shares one
            let limit = self.0.broker.publish_timeout();
            let ready = Box::pin(tokio::time::timeout(limit, self.make_ready(&call))).await;
            let ready = ready.unwrap_or(Err(Box::new(SendErrorKind::NotReady { after: limit })));
            ready.map_err(|kind| fail(*kind))?;
        }
        let header = &mut call.message.header;
        let ticket = match wants_result(header) && call.is_awaited {
            true => Some(
                self.0
                    .replies
                    .expect(&header.id)
                    .ok_or_else(|| fail(SendErrorKind::DuplicateId(header.id.clone())))?,
            ),
            false => None,
        };
        let reply_to = wants_result(header).then(|| self.0.replies.queue());
        let trace = self.0.trace.as_ref().and_then(|source| source());
        enqueue::complete(header, &self.0.origin, reply_to, trace);
        let id = header.id.clone();
        if self.0.shows_arguments {
            call.show_arguments();
        }
        let teller = self.0.teller.as_ref();
        let note = teller.map(|_| events::note(&call.message));
        let publication = enqueue::publication(&self.0.broker, &call.target, call.message);
        let note = note.map(|note| events::sent_to(note, &queue, &publication));
        let started = Instant::now();
        let receipt = self.0.broker.publisher().submit(publication).await;
        Ok(Submitted {
            task,
            id,
            ticket,
            answer: call.answer,
            queue,
            started,
            receipt,
            note,
        })
    }

    /// True if [`make_ready`](Self::make_ready) has nothing to do.
    fn is_ready<O, E>(&self, call: &Prepared<O, E>) -> bool {
        let Inner {
            broker,
            declared,
            replies,
            ..
        } = &*self.0;
        let header = &call.message.header;
        declared.is_sure_of(&call.target)
            && !enqueue::waits(broker, &call.target, header)
            && (!wants_result(header) || replies.is_started())
    }

    /// Declares and consumes what the call needs, unless that was done before.
    async fn make_ready<O, E>(&self, call: &Prepared<O, E>) -> Result<(), Box<SendErrorKind>> {
        let Inner {
            broker,
            declared,
            replies,
            ..
        } = &*self.0;
        let undeclared = |error| Box::new(SendErrorKind::Declare(error));
        let header = &call.message.header;
        declared
            .ensure(broker, &call.target)
            .await
            .map_err(undeclared)?;
        if enqueue::waits(broker, &call.target, header) {
            broker.ensure_ladder().await.map_err(undeclared)?;
        }
        if wants_result(header) {
            let unanswered = |error| Box::new(SendErrorKind::Replies(error));
            replies.start(broker).await.map_err(unanswered)?;
        }
        Ok(())
    }
}

pub(crate) fn wants_result(header: &Header) -> bool {
    header.ignore_result != Some(true)
}

impl Inner {
    async fn revoke(&self, id: TaskId) -> Result<(), RevokeError> {
        let revoked = self.revoker.revoke(&self.broker, &id).await;
        revoked.map_err(|kind| RevokeError::new(id, kind))
    }
}

/// The way from a handle to its client, which it does not keep alive.
pub(crate) struct WayBack(Weak<Inner>);

impl WayBack {
    pub(crate) async fn revoke(&self, id: TaskId) -> Result<(), RevokeError> {
        match self.0.upgrade() {
            Some(client) => client.revoke(id).await,
            None => Err(RevokeError::new(id, RevokeErrorKind::Closed)),
        }
    }
}

/// A call on its way to the broker.
pub(crate) struct Submitted<O> {
    task: Arc<str>,
    id: TaskId,
    ticket: Option<Ticket>,
    answer: AnswerOk<O>,
    queue: Cow<'static, str>,
    started: Instant,
    receipt: Receipt,
    note: Option<Note>,
}

impl<O> Submitted<O> {
    /// Waits for the confirm.
    pub(crate) async fn confirmed<E>(self, client: &Client) -> Result<TaskHandle<O, E>, SendError> {
        let verdict = self.receipt.await;
        client
            .0
            .meter
            .sent(&self.queue, verdict.is_ok(), self.started.elapsed());
        match verdict {
            Ok(()) => {
                if let (Some(teller), Some(note)) = (&client.0.teller, self.note) {
                    teller.sent(note);
                }
                Ok(TaskHandle::new(
                    self.task,
                    self.id,
                    self.ticket,
                    self.answer,
                    client.way_back(),
                ))
            }
            Err(error) => {
                if let PublishErrorKind::Unroutable { .. } | PublishErrorKind::NoExchange { .. } =
                    error.kind()
                {
                    client.0.declared.forget(&self.queue);
                }
                let kind = SendErrorKind::Publish(error);
                Err(SendError::new(&self.task, &self.queue, kind))
            }
        }
    }
}

impl Sender for Client {
    type Handle<O, E> = TaskHandle<O, E>;
    type Error = SendError;

    fn now(&self) -> SystemTime {
        self.0.broker.clock().now()
    }

    async fn deliver<O: Send + 'static, E: 'static>(
        &self,
        call: Prepared<O, E>,
    ) -> Result<TaskHandle<O, E>, SendError> {
        self.submit(call).await?.confirmed(self).await
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("broker", &self.0.broker)
            .field("reply_queue", &self.0.replies.queue())
            .field("in_flight", &self.in_flight())
            .finish_non_exhaustive()
    }
}

impl ClientBuilder {
    /// The largest body that is sent, in bytes before compression; [`DEFAULT_MAX_BODY`] unless set.
    #[must_use]
    pub fn max_body(mut self, bytes: usize) -> Self {
        self.max_body = bytes;
        self
    }

    /// Where the current span comes from: its trace goes on in the tasks that are sent.
    ///
    /// Called for every call that is no child of a running task and has no `traceparent` header of its own.
    #[must_use]
    pub fn trace_source(
        mut self,
        source: impl Fn() -> Option<TraceContext> + Send + Sync + 'static,
    ) -> Self {
        self.trace = Some(Box::new(source));
        self
    }

    /// True to tell monitors of every task that is sent (Celery: `task_send_sent_event`); otherwise they hear of it from
    /// the worker that receives it.
    #[must_use]
    pub fn sent_events(mut self, told: bool) -> Self {
        self.sent_events = told;
        self
    }

    /// Whether each message says its arguments in headers, as text for people (Celery: `argsrepr`, `kwargsrepr`).
    ///
    /// Unless set, it does with Celery's preset, whose workers and monitors show nothing else. Workers of coney read the
    /// arguments from the body when somebody wants to see them, so that without it messages are smaller and nothing is
    /// missing.
    #[must_use]
    pub fn argument_texts(mut self, written: bool) -> Self {
        self.shows_arguments = Some(written);
        self
    }

    /// Makes the client. Nothing is sent or declared yet.
    #[must_use]
    pub fn build(self) -> Client {
        Client(Arc::new(Inner {
            origin: match self.broker.preset() {
                Preset::Celery => events::pseudo_node(),
                _ => format!("{}@{}", std::process::id(), self.broker.program()),
            },
            shows_arguments: self
                .shows_arguments
                .unwrap_or_else(|| self.broker.preset() == Preset::Celery),
            max_body: self.max_body,
            trace: self.trace,
            declared: Declared::default(),
            replies: Replies::new(),
            revoker: Revoker::default(),
            control: Control::new(&self.broker),
            teller: self.sent_events.then(|| Teller::new(&self.broker)),
            meter: SendMeter::default(),
            broker: self.broker,
        }))
    }
}

impl fmt::Debug for ClientBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientBuilder")
            .field("broker", &self.broker)
            .field("max_body", &self.max_body)
            .finish_non_exhaustive()
    }
}
