//! Whether a thing that is declared again is the same.

use std::fmt::Display;

use amq_protocol::types::{AMQPValue, FieldTable, ShortString};

use crate::error::{Objection, Outcome};
use crate::queue::Kind;
use crate::table::{integer, text};

/// The order in which RabbitMQ compares the arguments of a queue; it tells only the first difference.
const ORDER: [&str; 4] = [
    "x-expires",
    "x-message-ttl",
    "x-dead-letter-exchange",
    "x-dead-letter-routing-key",
];

/// Objects unless a property has the value that it has.
pub(crate) fn same_property<T: Display + PartialEq>(
    thing: &str,
    name: &str,
    received: &T,
    current: &T,
) -> Outcome<()> {
    if received == current {
        return Ok(());
    }
    Err(Objection::precondition(format_args!(
        "inequivalent arg '{name}' for {thing}: received '{received}' but current is '{current}'"
    )))
}

/// Objects unless the arguments that begin with `x-`, or `named` ones, are equal.
pub(crate) fn same_arguments(
    thing: &str,
    named: &[&str],
    received: &FieldTable,
    current: &FieldTable,
) -> Outcome<()> {
    let (received, current) = (received.inner(), current.inner());
    let rank = |name: &&str| {
        ORDER
            .iter()
            .position(|first| first == name)
            .unwrap_or(ORDER.len())
    };
    let mut names: Vec<&str> = current
        .keys()
        .chain(received.keys())
        .map(ShortString::as_str)
        .collect();
    names.sort_by_key(rank);
    for name in names {
        if !name.starts_with("x-") && !named.contains(&name) {
            continue;
        }
        let (new, old) = (received.get(name), current.get(name));
        // a queue without a type is classic
        let is_default = |value: Option<&AMQPValue>| {
            value.is_none_or(|value| text(value).as_deref() == Some("classic"))
        };
        let same = match (new, old) {
            (Some(new), Some(old)) => alike(new, old),
            _ => name == "x-queue-type" && is_default(new) && is_default(old),
        };
        if !same {
            return Err(Objection::precondition(format_args!(
                "inequivalent arg '{name}' for {thing}: {}",
                difference(new, old)
            )));
        }
    }
    Ok(())
}

fn alike(one: &AMQPValue, other: &AMQPValue) -> bool {
    match (integer(one), integer(other)) {
        (Some(one), Some(other)) => one == other,
        _ => match (text(one), text(other)) {
            (Some(one), Some(other)) => one == other,
            _ => one == other,
        },
    }
}

/// How two values differ, in RabbitMQ's words.
fn difference(received: Option<&AMQPValue>, current: Option<&AMQPValue>) -> String {
    let described = |value: Option<&AMQPValue>| match value {
        None => "none".to_owned(),
        Some(value) => format!(
            "the value '{}' of type '{}'",
            shown(value),
            kind_name(value)
        ),
    };
    match (received, current) {
        (Some(received), Some(current)) => format!(
            "received '{}' but current is '{}'",
            shown(received),
            shown(current)
        ),
        _ => format!(
            "received {} but current is {}",
            described(received),
            described(current)
        ),
    }
}

fn shown(value: &AMQPValue) -> String {
    match (integer(value), text(value), value) {
        (Some(number), ..) => number.to_string(),
        (_, Some(text), _) => text,
        (.., AMQPValue::Boolean(flag)) => flag.to_string(),
        (.., other) => format!("{other:?}"),
    }
}

/// The type of a value, as RabbitMQ calls it.
pub(crate) fn kind_name(value: &AMQPValue) -> &'static str {
    match value {
        AMQPValue::Boolean(_) => "bool",
        AMQPValue::ShortShortInt(_) => "byte",
        AMQPValue::ShortShortUInt(_) => "unsignedbyte",
        AMQPValue::ShortInt(_) => "short",
        AMQPValue::ShortUInt(_) => "unsignedshort",
        AMQPValue::LongInt(_) => "signedint",
        AMQPValue::LongUInt(_) => "unsignedint",
        AMQPValue::LongLongInt(_) => "long",
        AMQPValue::Float(_) => "float",
        AMQPValue::Double(_) => "double",
        AMQPValue::DecimalValue(_) => "decimal",
        AMQPValue::ShortString(_) | AMQPValue::LongString(_) => "longstr",
        AMQPValue::FieldArray(_) => "array",
        AMQPValue::Timestamp(_) => "timestamp",
        AMQPValue::FieldTable(_) => "table",
        AMQPValue::ByteArray(_) => "binary",
        AMQPValue::Void => "void",
    }
}

/// The objection to an argument that another kind of queue has.
pub(crate) fn wrong_kind(name: &str, queue: &str, kind: Kind) -> Objection {
    Objection::precondition(format_args!(
        "invalid arg '{name}' for {queue} of queue type rabbit_{}_queue",
        kind.name()
    ))
}

/// The objection to an argument that must be a whole number.
pub(crate) fn not_an_integer(name: &str, thing: &str, value: &AMQPValue) -> Objection {
    Objection::precondition(format_args!(
        "invalid arg '{name}' for {thing}: \"expected integer, got {}\"",
        kind_name(value)
    ))
}
