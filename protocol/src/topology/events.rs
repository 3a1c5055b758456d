//! Where events go: Celery's exchange, and a queue of its own for whoever listens.

use std::borrow::Cow;
use std::time::Duration;

use super::{Binding, Destination, Exchange, ExchangeKind, Queue, Route, Topology};
use crate::property::Table;

/// The exchange that events are published to.
pub const EVENT_EXCHANGE: &str = "celeryev";

/// What the name of a listener's queue starts with.
pub const EVENT_QUEUE_PREFIX: &str = "celeryev.";

/// How long an event waits for a listener that does not take it.
pub const EVENT_TTL: Duration = Duration::from_secs(5);

/// How long a listener's queue is left alone before it goes.
pub const EVENT_QUEUE_EXPIRES: Duration = Duration::from_secs(60);

/// What events need to be published: their exchange.
#[must_use]
pub fn event_exchange() -> Topology {
    Topology {
        exchanges: vec![Exchange {
            name: EVENT_EXCHANGE.into(),
            kind: ExchangeKind::Topic,
            durable: true,
            arguments: Table::new(),
        }],
        ..Topology::default()
    }
}

/// What a listener needs: the exchange, and the queue `name` of its own that events come to whose routing key matches
/// `pattern`.
#[must_use]
pub fn event_queue(name: impl Into<Cow<'static, str>>, pattern: &str) -> Topology {
    let name = name.into();
    let millis = |time: Duration| i32::try_from(time.as_millis()).unwrap_or(i32::MAX);
    Topology {
        queues: vec![Queue {
            name: name.clone(),
            durable: false,
            exclusive: true,
            auto_delete: true,
            arguments: Table::new()
                .with("x-expires", millis(EVENT_QUEUE_EXPIRES))
                .with("x-message-ttl", millis(EVENT_TTL)),
        }],
        bindings: vec![Binding {
            exchange: EVENT_EXCHANGE.into(),
            destination: Destination::Queue(name),
            key: Cow::Owned(pattern.to_owned()),
        }],
        ..event_exchange()
    }
}

/// Where an event with this routing key is published to.
#[must_use]
pub fn event_route(key: impl Into<Cow<'static, str>>) -> Route {
    Route {
        exchange: EVENT_EXCHANGE.into(),
        key: key.into(),
    }
}
