//! Exchanges, queues and bindings, computed as data: the only place where broker names are spelt.
//!
//! A client and a worker compute the same value for a queue, so that either may start first; the `amqp` crate applies
//! it. Two [`Preset`]s exist: coney's own, and Celery's, to share queues with Python.

mod events;

use std::borrow::Cow;
use std::time::Duration;

use crate::delay;
use crate::property::{Table, Value};
use crate::spec::QueueSpec;

pub use self::events::{
    EVENT_EXCHANGE, EVENT_QUEUE_EXPIRES, EVENT_QUEUE_PREFIX, EVENT_TTL, event_exchange,
    event_queue, event_route,
};

/// The exchange that native tasks are published to: direct, its routing keys are the names of queues.
pub const TASK_EXCHANGE: &str = "coney.tasks";

/// The exchange that leads to native queues by topic: those that bind further routing keys.
///
/// Apart from [`TASK_EXCHANGE`], because a topic costs RabbitMQ as much as a quarter of what storing a message does.
pub const TOPIC_EXCHANGE: &str = "coney.topics";

/// The exchange that dead letters go through.
pub const DEAD_EXCHANGE: &str = "coney.dead";

/// What the name of a dead-letter queue ends in.
pub const DEAD_SUFFIX: &str = ".dead";

/// How long a reply queue outlives its last consumer.
pub const REPLY_QUEUE_EXPIRES: Duration = Duration::from_secs(30 * 60);

/// What the names of the clients' reply queues start with.
pub const REPLY_PREFIX: &str = "coney.reply.";

/// The exchange that revocations are published to.
pub const REVOKE_EXCHANGE: &str = "coney.revoke";

/// The stream that keeps revocations, for every worker to read.
pub const REVOKED_STREAM: &str = "coney.revoked";

/// How long the broker keeps a revocation at least, unless there are more than [`REVOCATION_BYTES`] of them.
pub const REVOCATIONS_KEPT: Duration = Duration::from_secs(24 * 60 * 60);

/// How many bytes of revocations the broker keeps at most: about 100,000 of them.
pub const REVOCATION_BYTES: i64 = 20_000_000;

/// Size of a segment of the stream. A stream is trimmed by whole segments, and only when a new one begins: in the usual
/// size of 500 MB nothing would ever go.
const REVOCATION_SEGMENT: i64 = 1_000_000;

/// Which exchanges and queues carry tasks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Preset {
    /// Quorum queues behind a direct exchange; whatever fails ends in a dead-letter queue.
    #[default]
    Native,
    /// Celery's: classic durable queues without arguments, published to through the default exchange.
    Celery,
}

/// Kind of an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ExchangeKind {
    /// Routing key equals binding key.
    Direct,
    /// Binding keys are patterns.
    Topic,
    /// Every binding matches.
    Fanout,
}

/// An exchange to declare.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Exchange {
    /// Its name.
    pub name: Cow<'static, str>,
    /// How it routes.
    pub kind: ExchangeKind,
    /// True if it survives a restart of the broker.
    pub durable: bool,
    /// Optional arguments.
    pub arguments: Table,
}

/// A queue to declare.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Queue {
    /// Its name.
    pub name: Cow<'static, str>,
    /// True if it survives a restart of the broker.
    pub durable: bool,
    /// True if only the declaring connection may use it.
    pub exclusive: bool,
    /// True if it goes with its last consumer.
    pub auto_delete: bool,
    /// Optional arguments.
    pub arguments: Table,
}

/// A binding to make: from an exchange to a queue or to another exchange.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Binding {
    /// The exchange it starts from.
    pub exchange: Cow<'static, str>,
    /// Where it leads.
    pub destination: Destination,
    /// The binding key.
    pub key: Cow<'static, str>,
}

/// Where a binding leads.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Destination {
    /// To a queue.
    Queue(Cow<'static, str>),
    /// To another exchange.
    Exchange(Cow<'static, str>),
}

impl Destination {
    /// The name of the queue or exchange.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Queue(name) | Self::Exchange(name) => name,
        }
    }
}

/// What has to exist before messages can flow; declared in this order.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Topology {
    /// Exchanges.
    pub exchanges: Vec<Exchange>,
    /// Queues.
    pub queues: Vec<Queue>,
    /// Bindings.
    pub bindings: Vec<Binding>,
}

impl Topology {
    /// Adds all of another topology behind this one.
    pub fn append(&mut self, mut other: Self) {
        self.exchanges.append(&mut other.exchanges);
        self.queues.append(&mut other.queues);
        self.bindings.append(&mut other.bindings);
    }

    /// Adds all of another topology behind this one, but not the exchanges and queues that this one names already.
    pub fn append_missing(&mut self, mut other: Self) {
        let (exchanges, queues) = (&self.exchanges, &self.queues);
        let is_new = |name: &str| exchanges.iter().all(|known| known.name != name);
        other.exchanges.retain(|exchange| is_new(&exchange.name));
        let is_new = |name: &str| queues.iter().all(|known| known.name != name);
        other.queues.retain(|queue| is_new(&queue.name));
        self.append(other);
    }
}

/// Where a message is published to.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Route {
    /// The exchange; empty for the default exchange.
    pub exchange: Cow<'static, str>,
    /// The routing key.
    pub key: Cow<'static, str>,
}

impl Route {
    /// To an exchange, with a routing key.
    #[must_use]
    pub fn new(exchange: impl Into<Cow<'static, str>>, key: impl Into<Cow<'static, str>>) -> Self {
        Self {
            exchange: exchange.into(),
            key: key.into(),
        }
    }

    /// Through the default exchange straight to a queue.
    #[must_use]
    pub fn to_queue(queue: impl Into<Cow<'static, str>>) -> Self {
        Self {
            exchange: Cow::Borrowed(""),
            key: queue.into(),
        }
    }

    /// Through an exchange with a routing key.
    #[must_use]
    pub fn through(
        exchange: impl Into<Cow<'static, str>>,
        key: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self {
            exchange: exchange.into(),
            key: key.into(),
        }
    }
}

impl Preset {
    /// Everything that `queue` needs: its exchange, itself, its bindings and its dead letters.
    #[must_use]
    pub fn topology(self, queue: &QueueSpec) -> Topology {
        match self {
            Self::Native => native(queue),
            Self::Celery => celery(queue),
        }
    }

    /// After how many redeliveries a worker gives up a message of `queue`: none where the broker does that itself.
    ///
    /// Quorum queues count deliveries (`x-delivery-limit`,
    /// <https://www.rabbitmq.com/docs/quorum-queues#poison-message-handling>); classic queues only tell the first from
    /// later ones.
    #[must_use]
    pub fn worker_delivery_limit(self, queue: &QueueSpec) -> Option<u32> {
        match self {
            Self::Native => None,
            Self::Celery => Some(queue.delivery_limit),
        }
    }

    /// Where to publish a task for the queue called `queue`.
    #[must_use]
    pub fn route(self, queue: impl Into<Cow<'static, str>>) -> Route {
        match self {
            Self::Native => Route::new(TASK_EXCHANGE, queue),
            Self::Celery => Route::to_queue(queue),
        }
    }

    /// Where to publish a dead letter of the queue called `queue`.
    #[must_use]
    pub fn dead_route(self, queue: &str) -> Route {
        Route {
            exchange: Cow::Borrowed(DEAD_EXCHANGE),
            key: Cow::Owned(queue.to_owned()),
        }
    }
}

/// The name of the dead-letter queue of the queue called `queue`.
#[must_use]
pub fn dead_queue(queue: &str) -> String {
    format!("{queue}{DEAD_SUFFIX}")
}

/// The reply queue of one client: durable and with an expiry instead of exclusive, so that results in flight outlive
/// a lost connection.
#[must_use]
pub fn reply_queue(name: impl Into<Cow<'static, str>>) -> Topology {
    let expires = i64::try_from(REPLY_QUEUE_EXPIRES.as_millis()).unwrap_or(i64::MAX);
    Topology {
        queues: vec![Queue {
            arguments: Table::new().with("x-expires", expires),
            ..durable(name)
        }],
        ..Topology::default()
    }
}

/// What revocations need: an exchange that leads to one stream, which every worker reads and nobody empties.
///
/// The exchange is there so that whoever may only cancel can be granted just that.
#[must_use]
pub fn revocations() -> Topology {
    let arguments = Table::new()
        .with("x-queue-type", "stream")
        .with("x-max-age", format!("{}s", REVOCATIONS_KEPT.as_secs()))
        .with("x-max-length-bytes", REVOCATION_BYTES)
        .with("x-stream-max-segment-size-bytes", REVOCATION_SEGMENT);
    Topology {
        exchanges: vec![Exchange {
            name: REVOKE_EXCHANGE.into(),
            kind: ExchangeKind::Fanout,
            durable: true,
            arguments: Table::new(),
        }],
        queues: vec![Queue {
            arguments,
            ..durable(REVOKED_STREAM)
        }],
        bindings: vec![Binding {
            exchange: REVOKE_EXCHANGE.into(),
            destination: Destination::Queue(REVOKED_STREAM.into()),
            key: "".into(),
        }],
    }
}

/// Where revocations are published to.
#[must_use]
pub fn revoke_route() -> Route {
    Route {
        exchange: REVOKE_EXCHANGE.into(),
        key: "".into(),
    }
}

fn native(queue: &QueueSpec) -> Topology {
    let arguments = Table::new()
        .with("x-queue-type", "quorum")
        .with("x-dead-letter-exchange", DEAD_EXCHANGE)
        .with("x-dead-letter-routing-key", queue.name.to_string())
        .with("x-dead-letter-strategy", "at-least-once")
        .with("x-overflow", "reject-publish")
        .with("x-delivery-limit", queue.delivery_limit);
    let mut topology = Topology {
        queues: vec![Queue {
            arguments,
            ..durable(queue.name.clone())
        }],
        ..Topology::default()
    };
    let mut lead = |exchange: &'static str, kind, keys: Vec<Cow<'static, str>>| {
        topology.exchanges.push(Exchange {
            name: exchange.into(),
            kind,
            durable: true,
            arguments: Table::new(),
        });
        topology
            .bindings
            .extend(keys.into_iter().map(|key| Binding {
                exchange: exchange.into(),
                destination: Destination::Queue(queue.name.clone()),
                key,
            }));
    };
    lead(
        TASK_EXCHANGE,
        ExchangeKind::Direct,
        vec![queue.name.clone()],
    );
    if !queue.bind.is_empty() {
        let patterns = queue.bind.iter().copied().map(Cow::from).collect();
        lead(TOPIC_EXCHANGE, ExchangeKind::Topic, patterns);
    }
    add_dead_letters(&mut topology, &queue.name);
    add_delay_exit(&mut topology, &queue.name);
    topology
}

fn celery(queue: &QueueSpec) -> Topology {
    let mut topology = Topology {
        exchanges: vec![Exchange {
            name: queue.name.clone(),
            kind: ExchangeKind::Direct,
            durable: true,
            arguments: Table::new(),
        }],
        queues: vec![durable(queue.name.clone())],
        bindings: vec![Binding {
            exchange: queue.name.clone(),
            destination: Destination::Queue(queue.name.clone()),
            key: queue.name.clone(),
        }],
    };
    add_dead_letters(&mut topology, &queue.name);
    add_delay_exit(&mut topology, &queue.name);
    topology
}

/// Deliveries after which even a dead letter would be given up.
///
/// A dead letter is to be looked at and put back as often as it takes. Leaving the limit out means "no limit" up to
/// RabbitMQ 3.13 and 20 from 4.0 on, and -1 is refused by the older ones: a number that no one reaches means the same
/// on all of them.
const DEAD_DELIVERY_LIMIT: i64 = 1_000_000_000;

/// Dead letters are declared before the queue that needs them, so that none is dropped for want of a route.
fn add_dead_letters(topology: &mut Topology, queue: &str) {
    let dead = dead_queue(queue);
    topology.exchanges.insert(
        0,
        Exchange {
            name: DEAD_EXCHANGE.into(),
            kind: ExchangeKind::Direct,
            durable: true,
            arguments: Table::new(),
        },
    );
    topology.bindings.insert(
        0,
        Binding {
            exchange: DEAD_EXCHANGE.into(),
            destination: Destination::Queue(dead.clone().into()),
            key: Cow::Owned(queue.to_owned()),
        },
    );
    topology.queues.insert(
        0,
        Queue {
            arguments: Table::new()
                .with("x-queue-type", "quorum")
                .with("x-delivery-limit", Value::I64(DEAD_DELIVERY_LIMIT)),
            ..durable(dead)
        },
    );
}

/// Lets what comes out of the delay ladder reach the queue.
fn add_delay_exit(topology: &mut Topology, queue: &str) {
    topology.exchanges.push(delay::out_exchange());
    topology.bindings.push(delay::exit(queue));
}

pub(crate) fn durable(name: impl Into<Cow<'static, str>>) -> Queue {
    Queue {
        name: name.into(),
        durable: true,
        exclusive: false,
        auto_delete: false,
        arguments: Table::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_native_queue_has_a_place_for_what_fails() {
        let topology = Preset::Native.topology(&QueueSpec::new("emails"));
        let [dead, queue] = &topology.queues[..] else {
            panic!("two queues expected: {topology:?}");
        };
        assert_eq!(dead.name, "emails.dead");
        assert_eq!(queue.name, "emails");
        assert_eq!(
            queue.arguments.get("x-dead-letter-exchange"),
            Some(&DEAD_EXCHANGE.into())
        );
        let dead_route = Preset::Native.dead_route("emails");
        assert!(topology.bindings.iter().any(|binding| {
            binding.exchange == dead_route.exchange
                && binding.key == dead_route.key
                && binding.destination.name() == dead.name
        }));
    }

    #[test]
    fn only_its_own_name_and_what_it_asks_for_reaches_a_queue() {
        let spec = QueueSpec::new("audit").bind(&["orders.*.created"]);
        let topology = Preset::Native.topology(&spec);
        let of_exchange = |name: &str| {
            let bindings = topology.bindings.iter();
            let bindings = bindings
                .filter(|binding| binding.destination.name() == "audit")
                .filter(|binding| binding.exchange == name);
            bindings.map(|binding| &*binding.key).collect::<Vec<_>>()
        };
        assert_eq!(of_exchange(TASK_EXCHANGE), ["audit"]);
        assert_eq!(of_exchange(TOPIC_EXCHANGE), ["orders.*.created"]);
    }

    #[test]
    fn the_celery_preset_declares_what_celery_declares() {
        let topology = Preset::Celery.topology(&QueueSpec::new("celery"));
        let queue = topology.queues.iter().find(|q| q.name == "celery");
        assert!(queue.is_some_and(|q| q.durable && q.arguments.is_empty() && !q.auto_delete));
        assert_eq!(Preset::Celery.route("celery"), Route::to_queue("celery"));
    }

    #[test]
    fn no_queue_is_transient_and_shared() {
        for preset in [Preset::Native, Preset::Celery] {
            for queue in preset.topology(&QueueSpec::new("q")).queues {
                assert!(queue.durable || queue.exclusive);
            }
        }
    }
}
