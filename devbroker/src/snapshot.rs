//! What is there at one moment, for people, tests and user interfaces.

use std::time::SystemTime;

use amq_protocol::protocol::basic::{AMQPProperties, parse_properties};
use amq_protocol::types::FieldTable;

use crate::channel::{Channel, ChannelKey};
use crate::content::Content;
use crate::exchange::{Destination, Exchange};
use crate::queue::{Kind, Queue};
use crate::server::Client;
use crate::vhost::Vhost;

/// All that a broker holds at one moment.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Snapshot {
    /// The virtual hosts, by name.
    pub vhosts: Vec<VhostView>,
    /// The open connections, oldest first.
    pub connections: Vec<ConnectionView>,
    /// What messages take, in bytes.
    pub memory: usize,
    /// Publishers are blocked.
    pub blocked: bool,
}

impl Snapshot {
    /// A queue of a virtual host.
    #[must_use]
    pub fn queue(&self, vhost: &str, queue: &str) -> Option<&QueueView> {
        let vhost = self.vhosts.iter().find(|one| one.name == vhost)?;
        vhost.queues.iter().find(|one| one.name == queue)
    }
}

/// A virtual host.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct VhostView {
    /// Its name.
    pub name: String,
    /// Its exchanges, by name; the default exchange has the empty name.
    pub exchanges: Vec<ExchangeView>,
    /// Its queues, by name.
    pub queues: Vec<QueueView>,
    /// Its bindings, without those by which the default exchange reaches every queue.
    pub bindings: Vec<BindingView>,
}

/// An exchange.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ExchangeView {
    /// Its name.
    pub name: String,
    /// `direct`, `fanout`, `headers` or `topic`.
    pub kind: &'static str,
    /// It was declared durable; nothing here outlives the broker.
    pub durable: bool,
    /// It goes with its last binding.
    pub auto_delete: bool,
    /// Clients may not publish to it.
    pub internal: bool,
    /// The arguments of its declaration.
    pub arguments: FieldTable,
}

/// A binding.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct BindingView {
    /// The exchange that it leads from.
    pub source: String,
    /// The name of the queue or exchange that it leads to.
    pub destination: String,
    /// It leads to a queue, not to an exchange.
    pub to_queue: bool,
    /// Its routing key or pattern.
    pub routing_key: String,
    /// Its arguments.
    pub arguments: FieldTable,
}

/// How a queue keeps its messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum QueueKind {
    /// A classic queue.
    Classic,
    /// A quorum queue.
    Quorum,
    /// A stream.
    Stream,
}

impl QueueKind {
    /// Its name, as in `x-queue-type`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Classic => "classic",
            Self::Quorum => "quorum",
            Self::Stream => "stream",
        }
    }
}

/// A queue.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct QueueView {
    /// Its name.
    pub name: String,
    /// How it keeps its messages.
    pub kind: QueueKind,
    /// It was declared durable; nothing here outlives the broker.
    pub durable: bool,
    /// It belongs to one connection.
    pub exclusive: bool,
    /// It goes with its last consumer.
    pub auto_delete: bool,
    /// The arguments of its declaration.
    pub arguments: FieldTable,
    /// How many messages wait; all messages of a stream.
    pub ready: usize,
    /// How many are delivered and not settled.
    pub unacked: usize,
    /// How many wait because they could not be dead-lettered at least once.
    pub held: usize,
    /// Its consumers, higher priorities first.
    pub consumers: Vec<ConsumerView>,
    /// When the first waiting message is given up by its time to live.
    pub next_expiry: Option<SystemTime>,
}

/// A consumer.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ConsumerView {
    /// Its tag.
    pub tag: String,
    /// The number of its connection, see [`ConnectionView::id`].
    pub connection: u64,
    /// The number of its channel.
    pub channel: u16,
    /// How many unsettled messages it may have; any number if 0.
    pub prefetch: u16,
    /// How many it has.
    pub unacked: usize,
    /// It settles its messages.
    pub acks: bool,
    /// It alone may consume.
    pub exclusive: bool,
    /// Higher ones are served first.
    pub priority: i64,
    /// It gets messages; others wait to be the single active consumer.
    pub active: bool,
    /// The arguments of `basic.consume`.
    pub arguments: FieldTable,
}

/// A connection.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ConnectionView {
    /// Its number, never used again.
    pub id: u64,
    /// Both addresses: `127.0.0.1:50000 -> 127.0.0.1:5672`.
    pub name: String,
    /// What the client calls it.
    pub connection_name: Option<String>,
    /// All that the client tells of itself.
    pub client_properties: FieldTable,
    /// Whose connection it is.
    pub user: String,
    /// Its virtual host.
    pub vhost: String,
    /// Its channels, by number.
    pub channels: Vec<ChannelView>,
}

/// A channel.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ChannelView {
    /// Its number in its connection.
    pub number: u16,
    /// The prefetch of consumers to come; any number if 0.
    pub prefetch: u16,
    /// The prefetch of all consumers together; any number if 0.
    pub global_prefetch: u16,
    /// How many messages it has not settled.
    pub unacked: usize,
    /// The tags of its consumers.
    pub consumers: Vec<String>,
    /// Publications are confirmed.
    pub confirms: bool,
}

/// A message in a queue.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct MessageView {
    /// The exchange that it was published to last.
    pub exchange: String,
    /// By which routing key.
    pub routing_key: String,
    /// Its properties; without headers if those are nested deeper than 64 levels.
    pub properties: AMQPProperties,
    /// Its body.
    pub body: Vec<u8>,
    /// It was delivered before.
    pub redelivered: bool,
    /// It is delivered and not settled.
    pub unacked: bool,
}

impl VhostView {
    pub(crate) fn of(vhost: &Vhost) -> Self {
        let exchanges = vhost.exchanges.values();
        let bindings = exchanges
            .clone()
            .flat_map(|exchange| bindings(vhost, exchange));
        Self {
            name: vhost.name.to_string(),
            exchanges: exchanges.map(exchange_view).collect(),
            queues: vhost
                .names
                .values()
                .filter_map(|id| vhost.queues.get(id))
                .map(queue_view)
                .collect(),
            bindings: bindings.collect(),
        }
    }
}

fn exchange_view(exchange: &Exchange) -> ExchangeView {
    ExchangeView {
        name: exchange.name.to_string(),
        kind: exchange.kind.name(),
        durable: exchange.durable,
        auto_delete: exchange.auto_delete,
        internal: exchange.internal,
        arguments: exchange.arguments.clone(),
    }
}

fn bindings(vhost: &Vhost, exchange: &Exchange) -> Vec<BindingView> {
    let view = |binding: crate::exchange::Binding| {
        let (destination, to_queue) = match &binding.destination {
            Destination::Queue(id) => (vhost.queues.get(id)?.name.to_string(), true),
            Destination::Exchange(name) => (name.to_string(), false),
        };
        Some(BindingView {
            source: exchange.name.to_string(),
            destination,
            to_queue,
            routing_key: binding.routing_key,
            arguments: binding.arguments,
        })
    };
    let mut all: Vec<_> = exchange.bindings().filter_map(view).collect();
    all.sort_by(|a, b| (&a.destination, &a.routing_key).cmp(&(&b.destination, &b.routing_key)));
    all
}

fn queue_view(queue: &Queue) -> QueueView {
    let consumer = |one: &crate::queue::Consumer| ConsumerView {
        tag: one.tag.to_string(),
        connection: one.channel.connection,
        channel: one.channel.number,
        prefetch: one.prefetch,
        unacked: one.in_flight,
        acks: !one.no_ack,
        exclusive: one.exclusive,
        priority: one.priority,
        active: queue.consumers.is_active(one),
        arguments: one.arguments.clone(),
    };
    let read = |one: &crate::queue::Consumer| one.in_flight;
    QueueView {
        name: queue.name.to_string(),
        kind: match queue.settings.kind {
            Kind::Classic => QueueKind::Classic,
            Kind::Quorum => QueueKind::Quorum,
            Kind::Stream => QueueKind::Stream,
        },
        durable: queue.durable,
        exclusive: queue.owner.is_some(),
        auto_delete: queue.auto_delete,
        arguments: queue.arguments.clone(),
        ready: queue
            .log
            .as_ref()
            .map_or(queue.ready.len(), crate::queue::Log::len),
        unacked: match &queue.log {
            Some(_) => queue.consumers.iter().map(read).sum(),
            None => queue.unacked.len(),
        },
        held: queue.held.len(),
        consumers: queue.consumers.iter().map(consumer).collect(),
        next_expiry: queue.next_expiry(),
    }
}

impl ConnectionView {
    pub(crate) fn of(client: &Client) -> Self {
        let channels = client.host.look(|vhost| {
            let own = vhost.channels.range(ChannelKey::all_of(client.id));
            own.map(|(_, channel)| channel_view(channel))
                .collect::<Vec<_>>()
        });
        let mut view = Self {
            id: client.id,
            name: client.name.clone(),
            connection_name: client.connection_name.clone(),
            client_properties: client.properties.clone(),
            user: client.user.to_string(),
            vhost: client.host.name.to_string(),
            channels,
        };
        view.channels.sort_by_key(|channel| channel.number);
        view
    }
}

fn channel_view(channel: &Channel) -> ChannelView {
    let mut consumers: Vec<_> = channel.consumers.keys().map(ToString::to_string).collect();
    consumers.sort_unstable();
    ChannelView {
        number: channel.key.number,
        prefetch: channel.prefetch,
        global_prefetch: channel.limit,
        unacked: channel.unacked.len(),
        consumers,
        confirms: channel.published.is_some(),
    }
}

/// The messages of a queue, in their order.
pub(crate) fn messages(queue: &Queue) -> Vec<MessageView> {
    if let Some(log) = &queue.log {
        return log
            .contents()
            .map(|content| message(content, false, false))
            .collect();
    }
    let ready = queue.ready.iter().map(|(at, one)| (at, one, false));
    let unacked = queue.unacked.iter().map(|(at, one)| (at, one, true));
    let mut all: Vec<_> = ready.chain(unacked).collect();
    all.sort_by_key(|(at, ..)| **at);
    let view = |(_, one, unacked): (_, &crate::queue::Message, _)| {
        message(&one.content, one.redelivered, unacked)
    };
    all.into_iter().map(view).collect()
}

fn message(content: &Content, redelivered: bool, unacked: bool) -> MessageView {
    let properties = content.shallow_properties();
    let properties = parse_properties(&*properties).map(|(_, properties)| properties);
    MessageView {
        exchange: content.exchange.clone(),
        routing_key: content.routing_key.clone(),
        properties: properties.unwrap_or_default(),
        body: content.body.bytes.clone(),
        redelivered,
        unacked,
    }
}
