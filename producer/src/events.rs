//! Events: telling monitors of sent tasks, and listening to what clients and workers tell.

use std::collections::VecDeque;
use std::fmt;
use std::sync::OnceLock;
use std::time::Duration;

use coney_amqp::{
    Broker, ConsumeError, Consumer, ConsumerSpec, Delivery, Outbox, Publication, Session,
};
use coney_protocol::event::{self, Call, Event, LamportClock, SentTo, What};
use coney_protocol::message::Message;
use coney_protocol::topology;
use tokio::time::timeout;
use tokio_util::task::TaskTracker;
use tracing::debug;
use uuid::Uuid;

use crate::telemetry;

/// Messages with events that the broker may send ahead of their acks.
const PREFETCH: u16 = 1000;

/// How long the last events may take to be sent when the client is closed: it may be the broker that takes none.
const FAREWELL: Duration = Duration::from_secs(2);

/// What is told of a call once it is sent.
pub(crate) type Note = Box<Call<'static>>;

/// Notes what is to be told of a call.
pub(crate) fn note(message: &Message) -> Note {
    let mut call = Call::of(message).into_owned();
    call.name = message.header.task.clone().into();
    Box::new(call)
}

/// Adds where it goes.
pub(crate) fn sent_to(mut call: Note, queue: &str, publication: &Publication) -> Note {
    call.sent_to = Some(SentTo::new(
        queue.to_owned(),
        publication.exchange.clone(),
        publication.routing_key.clone(),
    ));
    call
}

/// What a client is called where workers have the names of their nodes, as Celery's are.
pub(crate) fn pseudo_node() -> String {
    let host = gethostname::gethostname();
    format!("gen{}@{}", std::process::id(), host.to_string_lossy())
}

/// Tells monitors of sent tasks. No call waits for it.
pub(crate) struct Teller {
    broker: Broker,
    hostname: String,
    clock: LamportClock,
    outbox: OnceLock<Outbox>,
    tasks: TaskTracker,
}

impl Teller {
    pub(crate) fn new(broker: &Broker) -> Self {
        Self {
            broker: broker.clone(),
            hostname: pseudo_node(),
            clock: LamportClock::new(),
            outbox: OnceLock::new(),
            tasks: TaskTracker::new(),
        }
    }

    /// Tells of a call that was sent.
    pub(crate) fn sent(&self, note: Note) {
        let now = event::timestamp(self.broker.clock().now());
        let event = Event::new(
            &*self.hostname,
            self.clock.tick(),
            now,
            What::TaskSent(*note),
        );
        let properties = event::properties(&self.hostname);
        let publication = Publication::new(event.route(), properties, event.encode());
        self.outbox().push(publication.optional(), 1);
    }

    /// Starts with the first event, within the runtime that sends the call.
    fn outbox(&self) -> &Outbox {
        self.outbox.get_or_init(|| {
            let needs = topology::event_exchange();
            let outbox = Outbox::new(&self.broker, needs, telemetry::events_lost);
            let sending = outbox.clone();
            self.tasks.spawn(async move { sending.run().await });
            outbox
        })
    }

    /// Takes no more, and gives what waits a moment to be sent.
    pub(crate) async fn close(&self) {
        self.stop();
        self.tasks.close();
        if timeout(FAREWELL, self.tasks.wait()).await.is_err() {
            debug!(target: "coney::client", "not all events were sent before the client was closed");
        }
    }

    fn stop(&self) {
        if let Some(outbox) = self.outbox.get() {
            outbox.close();
        }
    }
}

impl Drop for Teller {
    fn drop(&mut self) {
        self.stop();
    }
}

/// What clients and workers tell, as it comes: Celery's too.
///
/// The events of one worker come in their order. Those of tasks come only while its workers are told to tell of them
/// (`celery control enable_events`, `WorkerBuilder::task_events`). While nobody takes them, events are kept for five
/// seconds; what was told while the connection was lost is lost.
pub struct EventStream {
    consumer: Consumer,
    session: Session,
    ready: VecDeque<Event<'static>>,
}

impl EventStream {
    /// Listens on a connection and a queue of its own.
    pub(crate) async fn open(broker: &Broker) -> Result<Self, ConsumeError> {
        let queue = format!("{}{}", topology::EVENT_QUEUE_PREFIX, Uuid::new_v4());
        let spec = ConsumerSpec::new(queue.clone())
            .own_topology(topology::event_queue(queue, "#"))
            .prefetch(PREFETCH)
            .tag("events");
        let session = broker.session("events");
        Ok(Self {
            consumer: session.consume(spec).await?,
            session,
            ready: VecDeque::new(),
        })
    }

    /// The next event; waits through lost connections. `None` once the broker handle is closed.
    ///
    /// What is no event is skipped, and counted.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: no event is lost.
    pub async fn next(&mut self) -> Option<Event<'static>> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(event);
            }
            let delivery = self.consumer.next().await?;
            self.take(delivery);
        }
    }

    /// Stops to listen, and deletes the queue.
    ///
    /// # Cancel safety
    ///
    /// The stream ends by itself once this was polled; dropping the future only stops waiting.
    pub async fn close(self) {
        self.session.close().await;
    }

    fn take(&mut self, delivery: Delivery) {
        for event in event::decode(&delivery.payload) {
            match event {
                Ok(event) => self.ready.push_back(event),
                Err(error) => {
                    debug!(target: "coney::client", %error, "skipped what is no event");
                    telemetry::unreadable_event();
                }
            }
        }
        delivery.acker.ack();
    }
}

impl fmt::Debug for EventStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventStream")
            .field("consumer", &self.consumer)
            .field("ready", &self.ready.len())
            .finish_non_exhaustive()
    }
}
