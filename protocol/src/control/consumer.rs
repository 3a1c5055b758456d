//! What `add_consumer` asks for: a queue, the exchange that it is bound to, and its options.

use serde_json::Value as Json;

use crate::control::arguments::{Arguments, CommandError};
use crate::property::{Table, Value};
use crate::topology::{Binding, Destination, Exchange, ExchangeKind, Queue, Topology};

/// The options that are arguments of the queue, and what their number is multiplied with.
const NUMBERS: [(&str, &str, f64); 5] = [
    ("expires", "x-expires", 1000.0),
    ("message_ttl", "x-message-ttl", 1000.0),
    ("max_length", "x-max-length", 1.0),
    ("max_length_bytes", "x-max-length-bytes", 1.0),
    ("max_priority", "x-max-priority", 1.0),
];

/// What has to be declared for the queue called `name`: by default an exchange of its name, and a durable queue.
///
/// # Errors
///
/// When an argument is of the wrong type.
pub fn queue_topology(
    name: &str,
    kind: ExchangeKind,
    arguments: &Arguments,
) -> Result<Topology, CommandError> {
    let exchange = arguments.text("exchange")?.unwrap_or(name).to_owned();
    let key = match arguments.text("routing_key")? {
        Some(key) => key,
        None => arguments.text("binding_key")?.unwrap_or(name),
    };
    let durable = arguments.optional_flag("durable").unwrap_or(true);
    let flag = |name| arguments.optional_flag(name);
    let queue = Queue {
        name: name.to_owned().into(),
        durable: flag("queue_durable").unwrap_or(durable),
        exclusive: false,
        auto_delete: flag("queue_auto_delete").unwrap_or_else(|| arguments.flag("auto_delete")),
        arguments: queue_arguments(arguments)?,
    };
    let mut topology = Topology {
        queues: vec![queue],
        ..Topology::default()
    };
    // every queue is bound to the default exchange anyway
    if !exchange.is_empty() {
        topology.exchanges.push(Exchange {
            name: exchange.clone().into(),
            kind,
            durable: flag("exchange_durable").unwrap_or(durable),
            arguments: Table::new(),
        });
        topology.bindings.push(Binding {
            exchange: exchange.into(),
            destination: Destination::Queue(name.to_owned().into()),
            key: key.to_owned().into(),
        });
    }
    Ok(topology)
}

fn queue_arguments(arguments: &Arguments) -> Result<Table, CommandError> {
    let mut table = match arguments.get("queue_arguments") {
        None => Table::new(),
        Some(Json::Object(members)) => members
            .iter()
            .map(|(name, json)| (name.clone().into(), value(json)))
            .collect(),
        Some(_) => return Err(CommandError::argument("queue_arguments must be a mapping")),
    };
    for (option, argument, factor) in NUMBERS {
        if let Some(number) = arguments.number(option)? {
            #[expect(
                clippy::cast_possible_truncation,
                reason = "saturates, and the broker checks"
            )]
            table.insert(argument, (number * factor) as i64);
        }
    }
    Ok(table)
}

fn value(json: &Json) -> Value {
    match json {
        Json::Null => Value::Null,
        Json::Bool(flag) => Value::Bool(*flag),
        Json::String(text) => text.clone().into(),
        Json::Array(items) => Value::List(items.iter().map(value).collect()),
        Json::Object(members) => Value::Table(
            members
                .iter()
                .map(|(name, json)| (name.clone().into(), value(json)))
                .collect(),
        ),
        Json::Number(number) => match number.as_i64() {
            Some(whole) => Value::I64(whole),
            None => Value::F64(number.as_f64().unwrap_or_default()),
        },
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn topology(arguments: Json) -> Topology {
        let arguments = Arguments::new("add_consumer", arguments, &[]).expect("arguments");
        queue_topology("q", ExchangeKind::Topic, &arguments).expect("a topology")
    }

    #[test]
    fn a_queue_has_an_exchange_of_its_name_unless_another_is_named() {
        let own = topology(json!({"exchange": null, "routing_key": null}));
        assert_eq!((&*own.exchanges[0].name, &*own.bindings[0].key), ("q", "q"));
        assert!(own.queues[0].durable && own.queues[0].arguments.is_empty());
        let other = topology(json!({"exchange": "e", "routing_key": "a.#"}));
        assert_eq!(
            (&*other.exchanges[0].name, &*other.bindings[0].key),
            ("e", "a.#")
        );
        assert!(topology(json!({"exchange": ""})).exchanges.is_empty());
    }

    #[test]
    fn options_become_arguments_of_the_queue() {
        let queue = topology(json!({
            "queue_arguments": {"x-queue-type": "quorum"}, "expires": 1.5, "max_priority": 10, "auto_delete": true,
            "queue_durable": false,
        }));
        let queue = &queue.queues[0];
        let arguments = Table::new()
            .with("x-queue-type", "quorum")
            .with("x-expires", 1500_i64)
            .with("x-max-priority", 10_i64);
        assert_eq!(queue.arguments, arguments);
        assert!(queue.auto_delete && !queue.durable);
    }
}
