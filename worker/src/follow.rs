//! Publishing what follows from a task: each step confirmed, or its callers told and the step a dead letter.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use coney_amqp::{Broker, Publication};
use coney_protocol::canvas::{Destination, Outgoing};
use coney_protocol::delay::Steps;
use coney_protocol::outcome::ErrorReport;
use coney_protocol::spec::QueueSpec;
use coney_protocol::topology::{Preset, Route, Topology};
use coney_protocol::wire;
use tracing::warn;
use uuid::Uuid;

use crate::registry::Registry;
use crate::settle::{Letter, Unsettled, is_missing};

/// How many of the tasks that follow from one are on their way at once; the bodies of so many are in memory.
pub(crate) const AT_ONCE: usize = 32;

/// Tasks that are not confirmed yet. Each keeps its message id however often it is published.
#[derive(Debug)]
pub(crate) struct Pending(VecDeque<(String, Outgoing)>);

impl Pending {
    pub(crate) fn new(outgoing: Vec<Outgoing>) -> Self {
        let fresh = |outgoing| (Uuid::now_v7().to_string(), outgoing);
        Self(outgoing.into_iter().map(fresh).collect())
    }

    /// The next ones to publish.
    pub(crate) fn next(&mut self) -> Vec<(String, Outgoing)> {
        let next = self.0.len().min(AT_ONCE);
        self.0.drain(..next).collect()
    }

    /// Puts one back that was not confirmed.
    pub(crate) fn put_back(&mut self, unconfirmed: (String, Outgoing)) {
        self.0.push_front(unconfirmed);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// A task that never reaches a queue.
pub(crate) struct Undeliverable {
    pub(crate) letter: Letter,
    /// What its callers are told.
    pub(crate) report: ErrorReport,
}

/// Sends what follows from the tasks of one queue.
#[derive(Debug)]
pub(crate) struct Follower {
    broker: Broker,
    registry: Arc<Registry>,
    /// The queue whose tasks these follow from.
    queue: String,
    /// The queues that the worker was started for.
    homes: Arc<HashSet<String>>,
    /// Stands as reply address where nobody asked for a result.
    pub(crate) oid: String,
}

impl Follower {
    pub(crate) fn new(
        broker: Broker,
        registry: Arc<Registry>,
        homes: Arc<HashSet<String>>,
        queue: String,
        worker: &str,
    ) -> Self {
        Self {
            broker,
            registry,
            queue,
            homes,
            oid: Uuid::new_v5(&Uuid::NAMESPACE_OID, worker.as_bytes()).to_string(),
        }
    }

    /// Publishes a task and waits for the confirm; tells if it can never be delivered.
    ///
    /// With Celery's preset a queue that is missing is declared, as Celery's senders do; otherwise only those that are
    /// the worker's own.
    ///
    /// # Delivery
    ///
    /// After an error the broker may have it; it has the same message id when it is published again.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future may or may not have published it.
    pub(crate) async fn send(
        &self,
        id: &str,
        outgoing: &Outgoing,
    ) -> Result<Option<Box<Undeliverable>>, Unsettled> {
        let preset = self.broker.preset();
        let (mut properties, body) = wire::outgoing(preset, outgoing.message());
        properties.message_id = Some(id.to_owned());
        let address = self.address(outgoing);
        let letter = Letter::new(properties, body);
        let header = &outgoing.header;
        let eta = match &address {
            // the ladder leads to the queues that coney has declared; elsewhere whoever gets it early waits
            Address::Queue(queue) if self.is_ours(queue) => header.eta,
            _ => None,
        };
        let wait = eta.and_then(|eta| Steps::until(eta, self.broker.clock().now()));
        let refused = match self.publish(&address, wait, &letter).await {
            Ok(()) => return Ok(None),
            Err(error) if error.is_transient() => return Err(error),
            Err(error) => error,
        };
        let text = format!("the task `{}` could not be sent: {refused}", header.task);
        warn!(target: "coney::worker", queue = %self.queue, id = %header.id, "{text}");
        let report = ErrorReport::new("Undeliverable", text);
        Ok(Some(Box::new(Undeliverable { letter, report })))
    }

    async fn publish(
        &self,
        address: &Address,
        wait: Option<Steps>,
        letter: &Letter,
    ) -> Result<(), Unsettled> {
        let route = match (address, wait) {
            (Address::Exchange(route), _) => route.clone(),
            (Address::Queue(queue), None) => self.broker.preset().route(queue.to_owned()),
            (Address::Queue(queue), Some(steps)) => {
                let ladder = self.broker.ensure_ladder().await;
                ladder.map_err(Unsettled::Declare)?;
                steps.route(queue)
            }
        };
        let publication = letter.clone().publication(route);
        let published = self.broker.publisher().publish(publication.clone()).await;
        match (published, address) {
            (Err(error), Address::Queue(queue))
                if is_missing(&error) && self.may_declare(queue) =>
            {
                warn!(target: "coney::worker", %queue, %error, "declaring a queue that is missing");
                let declared = self.broker.declare(&self.topology(queue)).await;
                declared.map_err(Unsettled::Declare)?;
                self.again(publication).await
            }
            (published, _) => published.map_err(Unsettled::Publish),
        }
    }

    async fn again(&self, publication: Publication) -> Result<(), Unsettled> {
        let published = self.broker.publisher().publish(publication).await;
        published.map_err(Unsettled::Publish)
    }

    /// Where a task goes: where its options say, else to its own queue, if the worker serves that, else to the queue
    /// that the task before it came from.
    fn address(&self, outgoing: &Outgoing) -> Address {
        match &outgoing.destination {
            Destination::Queue(queue) => Address::Queue(queue.clone()),
            Destination::Exchange { name, key } => {
                let key = key.clone().unwrap_or_else(|| self.queue.clone());
                Address::Exchange(Route::through(name.clone(), key))
            }
            _ => {
                let handler = self.registry.get(&outgoing.header.task);
                let own = handler.map(|handler| &*handler.queue().name);
                let own = own.filter(|queue| self.homes.contains(*queue));
                Address::Queue(own.unwrap_or(&self.queue).to_owned())
            }
        }
    }

    fn is_home(&self, queue: &str) -> bool {
        queue == self.queue || self.homes.contains(queue)
    }

    /// True for a queue that coney has declared.
    fn is_ours(&self, queue: &str) -> bool {
        self.is_home(queue) || self.broker.preset() == Preset::Native
    }

    fn may_declare(&self, queue: &str) -> bool {
        self.is_home(queue) || self.broker.preset() == Preset::Celery
    }

    fn topology(&self, queue: &str) -> Topology {
        let spec = QueueSpec::from_name(queue.to_owned().into());
        self.broker.preset().topology(&spec)
    }
}

enum Address {
    Queue(String),
    Exchange(Route),
}
