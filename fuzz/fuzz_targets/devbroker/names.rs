//! Few names, so that what is declared, bound and published to meets.

use amq_protocol::types::{AMQPValue, FieldArray, FieldTable};

use crate::parts::Parts;

pub(crate) const QUEUES: [&str; 8] = [
    "q",
    "r",
    "s",
    "t",
    "",
    "amq.rabbitmq.reply-to",
    "amq.gen-x",
    "é\0\n",
];
pub(crate) const EXCHANGES: [&str; 10] = [
    "",
    "x",
    "y",
    "z",
    "amq.topic",
    "amq.fanout",
    "amq.headers",
    "amq.direct",
    "amq.rabbitmq.trace",
    "none",
];
const KEYS: [&str; 12] = [
    "q", "r", "s", "t", "", "a.b", "a.*", "#", "*.#.b", "#.#", "..", "a",
];
const KINDS: [&str; 5] = ["direct", "topic", "fanout", "headers", "x-none"];
pub(crate) const TAGS: [&str; 4] = ["", "c", "d", "e"];
const ARGUMENTS: [&str; 26] = [
    "x-queue-type",
    "x-message-ttl",
    "x-dead-letter-exchange",
    "x-dead-letter-routing-key",
    "x-expires",
    "x-max-length",
    "x-max-length-bytes",
    "x-overflow",
    "x-max-priority",
    "x-single-active-consumer",
    "x-delivery-limit",
    "x-dead-letter-strategy",
    "x-max-age",
    "x-stream-max-segment-size-bytes",
    "x-priority",
    "x-stream-offset",
    "alternate-exchange",
    "x-match",
    "CC",
    "BCC",
    "x-death",
    "x-delivery-count",
    "count",
    "queue",
    "reason",
    "a",
];
const TEXTS: [&str; 24] = [
    "q",
    "r",
    "x",
    "",
    "quorum",
    "stream",
    "classic",
    "reject-publish",
    "reject-publish-dlx",
    "drop-head",
    "at-least-once",
    "all",
    "any",
    "any-with-x",
    "first",
    "last",
    "next",
    "1s",
    "1D",
    "rejected",
    "expired",
    "maxlen",
    "a.b",
    "18446744073709551615s",
];
const NUMBERS: [i64; 12] = [
    0,
    1,
    2,
    3,
    10,
    100,
    1000,
    60_000,
    -1,
    i64::MAX,
    i64::MIN,
    256,
];
const TIMES: [&str; 8] = [
    "0",
    "1",
    "50",
    "60000",
    "-1",
    "9223372036854775807",
    "",
    "-é",
];
const USERS: [&str; 3] = ["guest", "other", ""];

pub(crate) fn queue(parts: &mut Parts<'_>) -> &'static str {
    parts.one_of(&QUEUES)
}

pub(crate) fn exchange(parts: &mut Parts<'_>) -> &'static str {
    parts.one_of(&EXCHANGES)
}

pub(crate) fn key(parts: &mut Parts<'_>) -> &'static str {
    parts.one_of(&KEYS)
}

pub(crate) fn kind(parts: &mut Parts<'_>) -> &'static str {
    parts.one_of(&KINDS)
}

pub(crate) fn tag(parts: &mut Parts<'_>) -> &'static str {
    parts.one_of(&TAGS)
}

pub(crate) fn time(parts: &mut Parts<'_>) -> &'static str {
    parts.one_of(&TIMES)
}

pub(crate) fn user(parts: &mut Parts<'_>) -> &'static str {
    parts.one_of(&USERS)
}

/// A table of some entries: how many, and for each a name and a value.
pub(crate) fn table(parts: &mut Parts<'_>) -> FieldTable {
    entries(parts, 3)
}

/// A byte of flags, of which the sixth says that a table follows.
pub(crate) fn flagged_table(parts: &mut Parts<'_>) -> FieldTable {
    if parts.number() & 32 > 0 {
        table(parts)
    } else {
        FieldTable::default()
    }
}

fn entries(parts: &mut Parts<'_>, depth: usize) -> FieldTable {
    let mut table = FieldTable::default();
    for _ in 0..parts.below(6) {
        let name = parts.one_of(&ARGUMENTS);
        table.insert(name.into(), value(parts, depth));
    }
    table
}

fn value(parts: &mut Parts<'_>, depth: usize) -> AMQPValue {
    match parts.below(8) {
        0 | 1 => AMQPValue::LongString(parts.one_of(&TEXTS).into()),
        2 | 3 => AMQPValue::LongLongInt(parts.one_of(&NUMBERS)),
        4 => AMQPValue::Boolean(parts.flag()),
        5 if depth > 0 => AMQPValue::FieldTable(entries(parts, depth - 1)),
        6 if depth > 0 => {
            let items = (0..parts.below(4)).map(|_| value(parts, depth - 1));
            AMQPValue::FieldArray(FieldArray::from(items.collect::<Vec<_>>()))
        }
        7 => AMQPValue::Timestamp(parts.one_of(&NUMBERS).cast_unsigned()),
        _ => AMQPValue::Void,
    }
}
