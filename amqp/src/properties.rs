//! Header tables to and from lapin's, without loss.
//!
//! Every value keeps its AMQP type. (RabbitMQ has no short strings in tables; lapin's one is read as text.) The order of
//! a table is not kept: lapin's is sorted by name, and AMQP gives it no meaning.

use std::borrow::Cow;
use std::fmt;

use coney_protocol::codec;
use coney_protocol::header::names;
use coney_protocol::property::{Properties, Table, Value};
use lapin::BasicProperties;
use lapin::types::{AMQPValue, DecimalValue, FieldTable, LongString, ShortString};

use crate::screen::{DEEPEST, SUBSTITUTE};

/// The bytes of a header frame that are not properties: frame header and end, class, weight, body size, flags.
const HEADER_FRAME: usize = 8 + 2 + 2 + 8 + 2;

/// A name, property or table that does not fit on the wire, and why.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Unfit(pub(crate) String);

/// A text of at most 255 bytes; lapin's own conversion panics on a longer one.
pub(crate) fn short(text: &str, what: &str) -> Result<ShortString, Unfit> {
    ShortString::try_new(text).map_err(|_| {
        let shown: String = text.chars().take(40).collect();
        Unfit(format!(
            "the {what} `{shown}..` has {} bytes, at most 255 are possible",
            text.len()
        ))
    })
}

/// Properties as lapin wants them.
pub(crate) fn to_lapin(properties: &Properties) -> Result<BasicProperties, Unfit> {
    let delivery_mode = if properties.persistent { 2 } else { 1 };
    let mut to = BasicProperties::default().with_delivery_mode(delivery_mode);
    if let Some(text) = &properties.content_type {
        to = to.with_content_type(short(text, "content type")?);
    }
    if let Some(text) = &properties.content_encoding {
        to = to.with_content_encoding(short(text, "content encoding")?);
    }
    if let Some(priority) = properties.priority {
        to = to.with_priority(priority);
    }
    if let Some(text) = &properties.correlation_id {
        to = to.with_correlation_id(short(text, "correlation id")?);
    }
    if let Some(text) = &properties.reply_to {
        to = to.with_reply_to(short(text, "reply queue")?);
    }
    if let Some(text) = &properties.expiration {
        to = to.with_expiration(short(text, "expiration")?);
    }
    if let Some(text) = &properties.message_id {
        to = to.with_message_id(short(text, "message id")?);
    }
    if let Some(seconds) = properties.timestamp {
        to = to.with_timestamp(seconds);
    }
    if !properties.headers.is_empty() {
        to = to.with_headers(table_to_lapin(&properties.headers)?);
    }
    Ok(to)
}

/// A table as lapin wants it.
pub(crate) fn table_to_lapin(table: &Table) -> Result<FieldTable, Unfit> {
    nested_table(table, 0)
}

fn nested_table(table: &Table, depth: usize) -> Result<FieldTable, Unfit> {
    let mut to = FieldTable::default();
    for (name, value) in table.iter() {
        to.insert(short(name, "header name")?, value_to_lapin(value, depth)?);
    }
    Ok(to)
}

fn value_to_lapin(value: &Value, depth: usize) -> Result<AMQPValue, Unfit> {
    // what is deeper nobody reads: see screen.rs
    if depth >= DEEPEST && matches!(value, Value::List(_) | Value::Table(_)) {
        return Err(Unfit(format!(
            "a header is nested more than {DEEPEST} levels deep"
        )));
    }
    Ok(match value {
        Value::Null => AMQPValue::Void,
        Value::Bool(value) => AMQPValue::Boolean(*value),
        Value::I8(value) => AMQPValue::ShortShortInt(*value),
        Value::U8(value) => AMQPValue::ShortShortUInt(*value),
        Value::I16(value) => AMQPValue::ShortInt(*value),
        Value::U16(value) => AMQPValue::ShortUInt(*value),
        Value::I32(value) => AMQPValue::LongInt(*value),
        Value::U32(value) => AMQPValue::LongUInt(*value),
        Value::I64(value) => AMQPValue::LongLongInt(*value),
        Value::F32(value) => AMQPValue::Float(*value),
        Value::F64(value) => AMQPValue::Double(*value),
        Value::Decimal { scale, value } => AMQPValue::DecimalValue(DecimalValue {
            scale: *scale,
            value: *value,
        }),
        Value::Text(text) => AMQPValue::LongString(LongString::from(text.as_bytes())),
        Value::RawText(bytes) => AMQPValue::LongString(LongString::from(bytes.as_slice())),
        Value::Bytes(bytes) => AMQPValue::ByteArray(bytes.as_slice().into()),
        Value::Timestamp(seconds) => AMQPValue::Timestamp(*seconds),
        Value::List(values) => {
            let values = values.iter().map(|value| value_to_lapin(value, depth + 1));
            AMQPValue::FieldArray(values.collect::<Result<Vec<_>, _>>()?.into())
        }
        Value::Table(table) => AMQPValue::FieldTable(nested_table(table, depth + 1)?),
        other => {
            return Err(Unfit(format!(
                "a header holds {other:?}, which this version cannot write"
            )));
        }
    })
}

/// Properties as coney wants them, and why they are not what was sent, if they are not.
pub(crate) fn from_lapin(from: &BasicProperties) -> (Properties, Option<Unreadable>) {
    let mut reader = Reader::default();
    let mut properties = Properties::default();
    let mut word = |text: &Option<ShortString>| text.as_ref().map(|text| reader.word(text));
    properties.content_type = word(from.content_type());
    properties.content_encoding = word(from.content_encoding());
    let mut text = |text: &Option<ShortString>| text.as_ref().map(|text| reader.text(text));
    properties.correlation_id = text(from.correlation_id());
    properties.reply_to = text(from.reply_to());
    properties.expiration = text(from.expiration());
    properties.message_id = text(from.message_id());
    properties.persistent = *from.delivery_mode() == Some(2);
    properties.priority = *from.priority();
    properties.timestamp = *from.timestamp();
    if let Some(headers) = from.headers() {
        properties.headers = reader.table(headers, 0);
    }
    (properties, reader.unreadable)
}

/// Properties as a broker shows them that keeps them in lapin's own form: the one in a test's process.
#[doc(hidden)]
#[must_use]
pub fn read(from: &BasicProperties) -> Properties {
    from_lapin(from).0
}

/// Why properties are not what was sent: the screen in front of lapin changed them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unreadable {
    /// A property or the name of a header is not UTF-8; each offending byte is read as U+001A.
    Text,
    /// A header nests more than 32 tables or lists; what lies deeper is read as bytes.
    Depth,
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text => f.write_str("a property or the name of a header is not UTF-8"),
            Self::Depth => write!(f, "a header is nested more than {DEEPEST} levels deep"),
        }
    }
}

/// Reads what the screen has let through.
#[derive(Default)]
struct Reader {
    unreadable: Option<Unreadable>,
}

impl Reader {
    fn text(&mut self, text: &ShortString) -> String {
        let text = text.as_str().to_owned();
        if text.as_bytes().contains(&SUBSTITUTE) {
            self.unreadable = Some(Unreadable::Text);
        }
        text
    }

    /// The same of a property that is the same in most messages.
    fn word(&mut self, text: &ShortString) -> Cow<'static, str> {
        match text.as_str() {
            codec::JSON => codec::JSON.into(),
            codec::UTF_8 => codec::UTF_8.into(),
            _ => self.text(text).into(),
        }
    }

    fn table(&mut self, table: &FieldTable, depth: usize) -> Table {
        let entries = table.inner().iter();
        let entries = entries.map(|(name, value)| (self.name(name), self.value(value, depth)));
        Table::of_distinct(entries.collect())
    }

    fn name(&mut self, name: &ShortString) -> Cow<'static, str> {
        match names::known(name.as_str()) {
            Some(known) => known.into(),
            None => self.text(name).into(),
        }
    }

    fn value(&mut self, value: &AMQPValue, depth: usize) -> Value {
        match value {
            AMQPValue::Void => Value::Null,
            AMQPValue::Boolean(value) => Value::Bool(*value),
            AMQPValue::ShortShortInt(value) => Value::I8(*value),
            AMQPValue::ShortShortUInt(value) => Value::U8(*value),
            AMQPValue::ShortInt(value) => Value::I16(*value),
            AMQPValue::ShortUInt(value) => Value::U16(*value),
            AMQPValue::LongInt(value) => Value::I32(*value),
            AMQPValue::LongUInt(value) => Value::U32(*value),
            AMQPValue::LongLongInt(value) => Value::I64(*value),
            AMQPValue::Float(value) => Value::F32(*value),
            AMQPValue::Double(value) => Value::F64(*value),
            AMQPValue::DecimalValue(DecimalValue { scale, value }) => Value::Decimal {
                scale: *scale,
                value: *value,
            },
            AMQPValue::ShortString(text) => Value::Text(text.as_str().to_owned().into()),
            AMQPValue::LongString(text) => match std::str::from_utf8(text.as_bytes()) {
                Ok(text) => Value::Text(text.to_owned().into()),
                Err(_) => Value::RawText(text.as_bytes().to_vec()),
            },
            AMQPValue::ByteArray(bytes) => {
                if depth >= DEEPEST {
                    self.unreadable = Some(Unreadable::Depth);
                }
                Value::Bytes(bytes.as_slice().to_vec())
            }
            AMQPValue::Timestamp(seconds) => Value::Timestamp(*seconds),
            AMQPValue::FieldArray(values) => {
                let values = values.as_slice().iter();
                Value::List(values.map(|value| self.value(value, depth + 1)).collect())
            }
            AMQPValue::FieldTable(table) => Value::Table(self.table(table, depth + 1)),
        }
    }
}

/// An upper bound of the size of the header frame that these properties make.
pub(crate) fn header_frame(properties: &Properties) -> usize {
    let text = |text: Option<&str>| text.map_or(0, |text| 1 + text.len());
    HEADER_FRAME
        + text(properties.content_type.as_deref())
        + text(properties.content_encoding.as_deref())
        + text(properties.correlation_id.as_deref())
        + text(properties.reply_to.as_deref())
        + text(properties.expiration.as_deref())
        + text(properties.message_id.as_deref())
        + 1 // delivery mode
        + properties.priority.map_or(0, |_| 1)
        + properties.timestamp.map_or(0, |_| 8)
        + table_size(&properties.headers)
}

fn table_size(table: &Table) -> usize {
    let entries = table.iter();
    4 + entries
        .map(|(name, value)| 1 + name.len() + value_size(value))
        .sum::<usize>()
}

fn value_size(value: &Value) -> usize {
    1 + match value {
        Value::Null => 0,
        Value::Bool(_) | Value::I8(_) | Value::U8(_) => 1,
        Value::I16(_) | Value::U16(_) => 2,
        Value::I32(_) | Value::U32(_) | Value::F32(_) => 4,
        Value::Decimal { .. } => 5,
        Value::Text(text) => 4 + text.len(),
        Value::RawText(bytes) | Value::Bytes(bytes) => 4 + bytes.len(),
        Value::List(values) => 4 + values.iter().map(value_size).sum::<usize>(),
        Value::Table(table) => table_size(table),
        _ => 8,
    }
}

#[cfg(test)]
mod tests;
