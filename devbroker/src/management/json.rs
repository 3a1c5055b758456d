//! What RabbitMQ's management API shows of each thing, as JSON.

use amq_protocol::types::{AMQPValue, FieldTable, ShortString};
use serde_json::{Map, Value, json};

use super::Refusal;
use crate::access::Permissions;
use crate::snapshot::{
    BindingView, ChannelView, ConnectionView, ConsumerView, ExchangeView, QueueView, Snapshot,
    UserView, VhostView,
};

pub(super) fn overview(all: &Snapshot) -> Value {
    let version = env!("CARGO_PKG_VERSION");
    let queues = || all.vhosts.iter().flat_map(|vhost| &vhost.queues);
    let ready: usize = queues().map(|queue| queue.ready).sum();
    let unacked: usize = queues().map(|queue| queue.unacked).sum();
    let channels = all.connections.iter().map(|one| one.channels.len());
    let exchanges = all.vhosts.iter().map(|vhost| vhost.exchanges.len());
    json!({
        "product_name": "coney-devbroker",
        "product_version": version,
        "rabbitmq_version": version,
        "management_version": version,
        "rates_mode": "none",
        "disable_stats": true,
        "queue_totals": {
            "messages": ready + unacked,
            "messages_ready": ready,
            "messages_unacknowledged": unacked,
        },
        "object_totals": {
            "channels": channels.sum::<usize>(),
            "connections": all.connections.len(),
            "consumers": queues().map(|queue| queue.consumers.len()).sum::<usize>(),
            "exchanges": exchanges.sum::<usize>(),
            "queues": queues().count(),
        },
    })
}

pub(super) fn vhost(vhost: &VhostView) -> Value {
    let ready: usize = vhost.queues.iter().map(|queue| queue.ready).sum();
    let unacked: usize = vhost.queues.iter().map(|queue| queue.unacked).sum();
    json!({
        "name": vhost.name,
        "description": "",
        "tags": [],
        "tracing": false,
        "messages": ready + unacked,
        "messages_ready": ready,
        "messages_unacknowledged": unacked,
    })
}

pub(super) fn user(user: &UserView) -> Value {
    json!({"name": user.name, "tags": user.tags, "limits": {}})
}

pub(super) fn permission(vhost: &str, user: &str, permissions: &Permissions) -> Value {
    json!({
        "vhost": vhost,
        "user": user,
        "configure": permissions.configure,
        "write": permissions.write,
        "read": permissions.read,
    })
}

pub(super) fn exchange(vhost: &str, exchange: &ExchangeView) -> Value {
    json!({
        "vhost": vhost,
        "name": exchange.name,
        "type": exchange.kind,
        "durable": exchange.durable,
        "auto_delete": exchange.auto_delete,
        "internal": exchange.internal,
        "arguments": table(&exchange.arguments),
    })
}

pub(super) fn queue(vhost: &str, queue: &QueueView) -> Value {
    json!({
        "vhost": vhost,
        "name": queue.name,
        "type": queue.kind.name(),
        "durable": queue.durable,
        "auto_delete": queue.auto_delete,
        "exclusive": queue.exclusive,
        "arguments": table(&queue.arguments),
        "state": "running",
        "policy": null,
        "consumers": queue.consumers.len(),
        "messages": queue.ready + queue.unacked,
        "messages_ready": queue.ready,
        "messages_unacknowledged": queue.unacked,
    })
}

/// The bindings of a virtual host, those of the default exchange first.
pub(super) fn bindings(vhost: &VhostView) -> Vec<Value> {
    let default = vhost.queues.iter().map(|queue| {
        json!({
            "vhost": vhost.name,
            "source": "",
            "destination": queue.name,
            "destination_type": "queue",
            "routing_key": queue.name,
            "arguments": {},
            "properties_key": properties_key(&queue.name, false),
        })
    });
    let declared = vhost.bindings.iter();
    let declared = declared.map(|one| binding(&vhost.name, one));
    default.chain(declared).collect()
}

fn binding(vhost: &str, binding: &BindingView) -> Value {
    let has_arguments = !binding.arguments.inner().is_empty();
    json!({
        "vhost": vhost,
        "source": binding.source,
        "destination": binding.destination,
        "destination_type": if binding.to_queue { "queue" } else { "exchange" },
        "routing_key": binding.routing_key,
        "arguments": table(&binding.arguments),
        "properties_key": properties_key(&binding.routing_key, has_arguments),
    })
}

/// How a binding is named in a path; with arguments RabbitMQ adds a hash of its own terms, which nobody here knows.
fn properties_key(routing_key: &str, has_arguments: bool) -> Option<String> {
    match routing_key {
        _ if has_arguments => None,
        "" => Some("~".to_owned()),
        key => Some(crate::server::percent_encoded(key)),
    }
}

pub(super) fn connection(connection: &ConnectionView) -> Value {
    let (peer, own) = connection.name.split_once(" -> ").unwrap_or_default();
    let mut shown = json!({
        "name": connection.name,
        "user": connection.user,
        "vhost": connection.vhost,
        "protocol": "AMQP 0-9-1",
        "type": "network",
        "state": "running",
        "ssl": false,
        "host": host(own),
        "port": port(own),
        "peer_host": host(peer),
        "peer_port": port(peer),
        "channels": connection.channels.len(),
        "client_properties": table(&connection.client_properties),
    });
    if let Some(name) = &connection.connection_name {
        shown["user_provided_name"] = name.as_str().into();
    }
    shown
}

pub(super) fn channel(connection: &ConnectionView, channel: &ChannelView) -> Value {
    let (peer, _) = connection.name.split_once(" -> ").unwrap_or_default();
    json!({
        "name": channel_name(connection, channel.number),
        "number": channel.number,
        "user": connection.user,
        "vhost": connection.vhost,
        "state": "running",
        "confirm": channel.confirms,
        "transactional": false,
        "prefetch_count": channel.prefetch,
        "global_prefetch_count": channel.global_prefetch,
        "consumer_count": channel.consumers.len(),
        "messages_unacknowledged": channel.unacked,
        "connection_details": {
            "name": connection.name,
            "peer_host": host(peer),
            "peer_port": port(peer),
        },
    })
}

/// A consumer of a queue; `connection` is the one that its channel belongs to.
pub(super) fn consumer(
    vhost: &str,
    queue: &QueueView,
    connection: &ConnectionView,
    consumer: &ConsumerView,
) -> Value {
    let (peer, _) = connection.name.split_once(" -> ").unwrap_or_default();
    json!({
        "consumer_tag": consumer.tag,
        "queue": {"name": queue.name, "vhost": vhost},
        "ack_required": consumer.acks,
        "exclusive": consumer.exclusive,
        "prefetch_count": consumer.prefetch,
        "active": consumer.active,
        "activity_status": activity(queue, consumer),
        "arguments": table(&consumer.arguments),
        "channel_details": {
            "name": channel_name(connection, consumer.channel),
            "number": consumer.channel,
            "connection_name": connection.name,
            "user": connection.user,
            "peer_host": host(peer),
            "peer_port": port(peer),
        },
    })
}

fn activity(queue: &QueueView, consumer: &ConsumerView) -> &'static str {
    let single = queue.arguments.inner().get("x-single-active-consumer");
    match (consumer.active, single) {
        (false, _) => "waiting",
        (true, Some(AMQPValue::Boolean(true))) => "single_active",
        (true, _) => "up",
    }
}

fn channel_name(connection: &ConnectionView, number: u16) -> String {
    format!("{} ({number})", connection.name)
}

fn host(place: &str) -> &str {
    place.rsplit_once(':').map_or(place, |(host, _)| host)
}

fn port(place: &str) -> Option<u16> {
    place.rsplit_once(':')?.1.parse().ok()
}

fn table(table: &FieldTable) -> Value {
    let entries = table.inner().iter();
    let entries = entries.map(|(name, one)| (name.to_string(), value(one)));
    Value::Object(entries.collect::<Map<_, _>>())
}

fn value(from: &AMQPValue) -> Value {
    if let Some(text) = crate::table::text(from) {
        return text.into();
    }
    if let Some(number) = crate::table::integer(from) {
        return number.into();
    }
    match from {
        AMQPValue::Boolean(flag) => (*flag).into(),
        AMQPValue::Float(number) => (*number).into(),
        AMQPValue::Double(number) => (*number).into(),
        AMQPValue::DecimalValue(number) => {
            (f64::from(number.value) / 10_f64.powi(number.scale.into())).into()
        }
        AMQPValue::Timestamp(seconds) => (*seconds).into(),
        AMQPValue::FieldTable(inner) => table(inner),
        AMQPValue::FieldArray(all) => all.as_slice().iter().map(value).collect(),
        AMQPValue::ByteArray(bytes) => String::from_utf8_lossy(bytes.as_slice()).into(),
        _ => Value::Null,
    }
}

/// Arguments that came as JSON.
pub(super) fn field_table(object: Map<String, Value>) -> Result<FieldTable, Refusal> {
    let mut table = FieldTable::default();
    for (name, value) in object {
        table.insert(short(&name)?, field(value)?);
    }
    Ok(table)
}

fn field(value: Value) -> Result<AMQPValue, Refusal> {
    Ok(match value {
        Value::Null => AMQPValue::Void,
        Value::Bool(flag) => AMQPValue::Boolean(flag),
        Value::Number(number) => match number.as_i64() {
            Some(integer) => AMQPValue::LongLongInt(integer),
            None => AMQPValue::Double(number.as_f64().unwrap_or_default()),
        },
        Value::String(text) => AMQPValue::LongString(text.into()),
        Value::Array(all) => {
            let all: Result<Vec<_>, _> = all.into_iter().map(field).collect();
            AMQPValue::FieldArray(all?.into())
        }
        Value::Object(object) => AMQPValue::FieldTable(field_table(object)?),
    })
}

/// A name for AMQP, which has at most 255 bytes.
pub(super) fn short(name: &str) -> Result<ShortString, Refusal> {
    let short = ShortString::try_new(name);
    short
        .ok()
        .ok_or_else(|| Refusal::Bad(format!("longer than 255 bytes: {name}")))
}
