//! AMQP properties and header values, free of any client library.
//!
//! Header values keep their AMQP type, because a retry has to put back what it did not understand exactly as it
//! came (RabbitMQ: <https://www.rabbitmq.com/amqp-0-9-1-errata>, section 3).

use std::borrow::Cow;
use std::collections::HashMap;
use std::collections::hash_map::Entry;

use serde::{Serialize, Serializer};

/// A value in an AMQP header table, with its type on the wire.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Value {
    /// No value (`V`).
    Null,
    /// Truth value (`t`).
    Bool(bool),
    /// Signed 8-bit integer (`b`).
    I8(i8),
    /// Unsigned 8-bit integer (`B`).
    U8(u8),
    /// Signed 16-bit integer (`s`).
    I16(i16),
    /// Unsigned 16-bit integer (`u`).
    U16(u16),
    /// Signed 32-bit integer (`I`), what Celery writes for counts.
    I32(i32),
    /// Unsigned 32-bit integer (`i`).
    U32(u32),
    /// Signed 64-bit integer (`l`).
    I64(i64),
    /// 32-bit float (`f`).
    F32(f32),
    /// 64-bit float (`d`).
    F64(f64),
    /// Decimal (`D`): `value` divided by ten to the power of `scale`.
    Decimal {
        /// Number of decimal places.
        scale: u8,
        /// The digits.
        value: u32,
    },
    /// UTF-8 text (`S`).
    Text(Cow<'static, str>),
    /// A long string that is not UTF-8 (`S`).
    RawText(Vec<u8>),
    /// Bytes (`x`).
    Bytes(Vec<u8>),
    /// Seconds since 1970 (`T`).
    Timestamp(u64),
    /// A list of values (`A`).
    List(Vec<Self>),
    /// A nested table (`F`).
    Table(Table),
}

impl Value {
    /// The text, if this is UTF-8 text.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The number, if this is an integer of any width.
    #[must_use]
    pub fn as_i64(&self) -> Option<i64> {
        match *self {
            Self::I8(n) => Some(n.into()),
            Self::U8(n) => Some(n.into()),
            Self::I16(n) => Some(n.into()),
            Self::U16(n) => Some(n.into()),
            Self::I32(n) => Some(n.into()),
            Self::U32(n) => Some(n.into()),
            Self::I64(n) => Some(n),
            _ => None,
        }
    }

    /// The number, if this is an integer or a float.
    #[must_use]
    pub fn as_f64(&self) -> Option<f64> {
        match *self {
            Self::F32(n) => Some(n.into()),
            Self::F64(n) => Some(n),
            #[expect(
                clippy::cast_precision_loss,
                reason = "durations in seconds: far below 2^52"
            )]
            _ => self.as_i64().map(|n| n as f64),
        }
    }

    /// True for [`Value::Null`].
    #[must_use]
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }
}

impl From<&'static str> for Value {
    fn from(text: &'static str) -> Self {
        Self::Text(Cow::Borrowed(text))
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(Cow::Owned(text))
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<i32> for Value {
    fn from(value: i32) -> Self {
        Self::I32(value)
    }
}

impl From<u32> for Value {
    fn from(value: u32) -> Self {
        Self::I64(value.into())
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::I64(value)
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Self::F64(value)
    }
}

/// A header table or a table of arguments: names and values in order, each name once.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Table(Vec<(Cow<'static, str>, Value)>);

impl Table {
    /// Makes an empty table.
    #[must_use]
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Makes an empty table with room for `entries`.
    #[must_use]
    pub fn with_capacity(entries: usize) -> Self {
        Self(Vec::with_capacity(entries))
    }

    /// The table of entries whose names are known to be distinct: none is compared with the others.
    #[must_use]
    pub fn of_distinct(entries: Vec<(Cow<'static, str>, Value)>) -> Self {
        Self(entries)
    }

    /// The value of `name`.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, v)| v)
    }

    /// Sets `name` to `value` and returns the value it had.
    pub fn insert(
        &mut self,
        name: impl Into<Cow<'static, str>>,
        value: impl Into<Value>,
    ) -> Option<Value> {
        let (name, value) = (name.into(), value.into());
        match self.0.iter_mut().find(|(key, _)| *key == name) {
            Some((_, old)) => Some(std::mem::replace(old, value)),
            None => {
                self.0.push((name, value));
                None
            }
        }
    }

    /// Sets `name` to `value` and returns the table, to build one in an expression.
    #[must_use]
    pub fn with(mut self, name: impl Into<Cow<'static, str>>, value: impl Into<Value>) -> Self {
        self.insert(name, value);
        self
    }

    /// Takes the value of `name` out.
    pub fn remove(&mut self, name: &str) -> Option<Value> {
        let at = self.0.iter().position(|(key, _)| key == name)?;
        Some(self.0.remove(at).1)
    }

    /// The entries in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0.iter().map(|(key, value)| (&**key, value))
    }

    /// The number of entries.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// True without entries.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<(Cow<'static, str>, Value)> for Table {
    /// The last value counts where a name stands twice.
    fn from_iter<I: IntoIterator<Item = (Cow<'static, str>, Value)>>(entries: I) -> Self {
        let entries: Vec<_> = entries.into_iter().collect();
        if entries.len() > SMALL {
            return Self(without_twins(entries));
        }
        let mut table = Self::with_capacity(entries.len());
        for (name, value) in entries {
            table.insert(name, value);
        }
        table
    }
}

/// Up to so many entries, comparing each name with all is faster than hashing it.
const SMALL: usize = 32;

/// Takes time in proportion to the entries, for a message may bring any number of them.
fn without_twins(entries: Vec<(Cow<'static, str>, Value)>) -> Vec<(Cow<'static, str>, Value)> {
    let mut places = HashMap::with_capacity(entries.len());
    let mut table = Vec::with_capacity(entries.len());
    for (name, value) in entries {
        match places.entry(name.clone()) {
            Entry::Vacant(vacant) => {
                vacant.insert(table.len());
                table.push((name, value));
            }
            Entry::Occupied(place) => table[*place.get()].1 = value,
        }
    }
    table
}

impl IntoIterator for Table {
    type Item = (Cow<'static, str>, Value);
    type IntoIter = std::vec::IntoIter<Self::Item>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

/// The properties of an AMQP message, with its header table.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Properties {
    /// Media type of the body, such as `application/json`.
    pub content_type: Option<Cow<'static, str>>,
    /// Character set of the body, such as `utf-8`.
    pub content_encoding: Option<Cow<'static, str>>,
    /// True if the broker shall keep the message on disk (delivery mode 2).
    pub persistent: bool,
    /// Priority, higher first.
    pub priority: Option<u8>,
    /// What a reply refers to.
    pub correlation_id: Option<String>,
    /// The queue that a reply goes to.
    pub reply_to: Option<String>,
    /// Time to live, as the broker wants it: milliseconds in decimal digits.
    pub expiration: Option<String>,
    /// Id of this message: fresh for every publish.
    pub message_id: Option<String>,
    /// Time of sending, in seconds since 1970.
    pub timestamp: Option<u64>,
    /// The header table.
    pub headers: Table,
}

/// As JSON has it: bytes as text, a time as its seconds.
impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Bool(value) => serializer.serialize_bool(*value),
            Self::I8(n) => serializer.serialize_i8(*n),
            Self::U8(n) => serializer.serialize_u8(*n),
            Self::I16(n) => serializer.serialize_i16(*n),
            Self::U16(n) => serializer.serialize_u16(*n),
            Self::I32(n) => serializer.serialize_i32(*n),
            Self::U32(n) => serializer.serialize_u32(*n),
            Self::I64(n) => serializer.serialize_i64(*n),
            Self::F32(n) => serializer.serialize_f32(*n),
            Self::F64(n) => serializer.serialize_f64(*n),
            Self::Decimal { scale, value } => {
                let number = f64::from(*value) / 10_f64.powi((*scale).into());
                serializer.serialize_f64(number)
            }
            Self::Text(text) => serializer.serialize_str(text),
            Self::RawText(bytes) | Self::Bytes(bytes) => {
                serializer.serialize_str(&String::from_utf8_lossy(bytes))
            }
            Self::Timestamp(seconds) => serializer.serialize_u64(*seconds),
            Self::List(items) => serializer.collect_seq(items),
            Self::Table(table) => table.serialize(serializer),
        }
    }
}

impl Serialize for Table {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_of_two_values_of_a_name_counts_in_tables_of_any_size() {
        for size in [3, 100_000] {
            let entries =
                (0..size).map(|n| (Cow::from((n % (size - 1)).to_string()), Value::I32(n)));
            let table: Table = entries.collect();
            assert_eq!(table.len() as i32, size - 1);
            assert_eq!(table.get("0"), Some(&Value::I32(size - 1)));
        }
    }
}
