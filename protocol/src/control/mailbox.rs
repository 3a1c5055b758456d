//! The exchanges and queues of remote control, as Celery 5.7 declares them.

use std::borrow::Cow;

use crate::property::Table;
use crate::topology::{Binding, Destination, Exchange, ExchangeKind, Queue, Route, Topology};

/// The exchange that requests are published to, for every worker to receive.
pub const EXCHANGE: &str = "celery.pidbox";

/// The exchange that replies are published to.
pub const REPLY_EXCHANGE: &str = "reply.celery.pidbox";

/// How long a queue of remote control outlives its consumer, in milliseconds.
const EXPIRES: i32 = 10_000;

/// How long a request or reply waits to be read, in milliseconds.
const MESSAGE_TTL: i32 = 300_000;

/// Where requests are published to.
#[must_use]
pub fn route() -> Route {
    Route {
        exchange: EXCHANGE.into(),
        key: "".into(),
    }
}

/// What has to exist before requests can be published.
#[must_use]
pub fn outbox() -> Topology {
    Topology {
        exchanges: vec![requests()],
        ..Topology::default()
    }
}

/// The queue that the worker called `node` reads requests from.
#[must_use]
pub fn inbox_name(node: &str) -> String {
    format!("{node}.{EXCHANGE}")
}

/// What the worker called `node` needs: its queue, and where it replies.
#[must_use]
pub fn inbox(node: &str) -> Topology {
    let queue = own_queue(inbox_name(node));
    Topology {
        bindings: vec![binding(EXCHANGE, &queue, "")],
        exchanges: vec![requests(), replies(REPLY_EXCHANGE)],
        queues: vec![queue],
    }
}

/// The queue that replies for `key` are read from.
#[must_use]
pub fn reply_queue_name(key: &str) -> String {
    format!("{key}.{REPLY_EXCHANGE}")
}

/// What is needed to read the replies for `key`.
#[must_use]
pub fn reply_queue(key: &str) -> Topology {
    let queue = own_queue(reply_queue_name(key));
    Topology {
        bindings: vec![binding(REPLY_EXCHANGE, &queue, key)],
        exchanges: vec![replies(REPLY_EXCHANGE)],
        queues: vec![queue],
    }
}

/// What has to exist before replies can be published to the exchange called `name`.
#[must_use]
pub fn reply_exchange(name: impl Into<Cow<'static, str>>) -> Topology {
    Topology {
        exchanges: vec![replies(name)],
        ..Topology::default()
    }
}

fn replies(name: impl Into<Cow<'static, str>>) -> Exchange {
    transient(name, ExchangeKind::Direct)
}

fn requests() -> Exchange {
    transient(EXCHANGE, ExchangeKind::Fanout)
}

fn transient(name: impl Into<Cow<'static, str>>, kind: ExchangeKind) -> Exchange {
    Exchange {
        name: name.into(),
        kind,
        durable: false,
        arguments: Table::new(),
    }
}

fn own_queue(name: String) -> Queue {
    Queue {
        name: name.into(),
        durable: false,
        exclusive: true,
        auto_delete: true,
        arguments: Table::new()
            .with("x-expires", EXPIRES)
            .with("x-message-ttl", MESSAGE_TTL),
    }
}

fn binding(exchange: &'static str, queue: &Queue, key: &str) -> Binding {
    Binding {
        exchange: exchange.into(),
        destination: Destination::Queue(queue.name.clone()),
        key: key.to_owned().into(),
    }
}
