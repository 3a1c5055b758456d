//! One message: how it was published, its properties as bytes, its body.

use std::sync::Arc;

use amq_protocol::types::AMQPValue;

use crate::meter::{Charge, Meter};
use crate::table::{RawTable, is_too_deep};

/// Where the headers stand among the properties, as a bit of the flags.
const HEADERS: u16 = 1 << 13;
const DELIVERY_MODE: u16 = 1 << 12;
const PRIORITY: u16 = 1 << 11;
const REPLY_TO: u16 = 1 << 9;
const EXPIRATION: u16 = 1 << 8;
const TIMESTAMP: u16 = 1 << 6;
const USER_ID: u16 = 1 << 4;

/// What a message takes beside its bytes, about: entries of queues, allocations.
const OVERHEAD: usize = 256;

/// A message, shared by the queues that have it.
#[derive(Debug)]
pub(crate) struct Content {
    pub(crate) exchange: String,
    pub(crate) routing_key: String,
    /// Flags and properties, as they came.
    pub(crate) properties: Vec<u8>,
    pub(crate) body: Arc<Body>,
    charge: Charge,
}

/// A body, shared by the versions of a message.
#[derive(Debug)]
pub(crate) struct Body {
    pub(crate) bytes: Vec<u8>,
    /// Given back when the last version is gone.
    _charge: Charge,
}

impl Body {
    pub(crate) fn new(bytes: Vec<u8>, charge: Charge) -> Arc<Self> {
        Arc::new(Self {
            bytes,
            _charge: charge,
        })
    }
}

/// The properties that a broker reads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Properties {
    pub(crate) headers: RawTable,
    pub(crate) delivery_mode: Option<u8>,
    pub(crate) priority: Option<u8>,
    pub(crate) reply_to: Option<String>,
    pub(crate) expiration: Option<String>,
    pub(crate) user_id: Option<String>,
}

impl Content {
    pub(crate) fn new(
        exchange: String,
        routing_key: String,
        properties: Vec<u8>,
        body: Arc<Body>,
        meter: &Meter,
    ) -> Self {
        let charge = meter.charge(OVERHEAD + properties.len());
        Self {
            exchange,
            routing_key,
            properties,
            body,
            charge,
        }
    }

    /// The bytes of its body.
    pub(crate) fn size(&self) -> usize {
        self.body.bytes.len()
    }

    /// Reads what a broker reads; `None` if the properties are damaged.
    pub(crate) fn read(&self) -> Option<Properties> {
        let mut read = Properties::default();
        for (bit, bytes) in fields(&self.properties)? {
            let text = || Some(String::from_utf8_lossy(&bytes[1..]).into_owned());
            match bit {
                HEADERS => read.headers = RawTable::new(bytes[4..].to_vec()),
                DELIVERY_MODE => read.delivery_mode = Some(bytes[0]),
                PRIORITY => read.priority = Some(bytes[0]),
                REPLY_TO => read.reply_to = text(),
                EXPIRATION => read.expiration = text(),
                USER_ID => read.user_id = text(),
                _ => {}
            }
        }
        Some(read)
    }

    /// The properties with one header more.
    pub(crate) fn with_header(&self, name: &str, value: &AMQPValue) -> Self {
        let mut headers = self.read().unwrap_or_default().headers;
        headers.set(name, value);
        self.with_headers(&headers)
    }

    /// The same message with other headers.
    pub(crate) fn with_headers(&self, headers: &RawTable) -> Self {
        let mut bytes = (headers.bytes().len() as u32).to_be_bytes().to_vec();
        bytes.extend_from_slice(headers.bytes());
        self.with(HEADERS, Some(&bytes))
    }

    /// The same message without its own time to live.
    pub(crate) fn without_expiration(&self) -> Self {
        self.with(EXPIRATION, None)
    }

    /// The same message with another reply queue, of at most 255 bytes.
    pub(crate) fn with_reply_to(&self, queue: &str) -> Self {
        let mut bytes = vec![queue.len() as u8];
        bytes.extend_from_slice(queue.as_bytes());
        self.with(REPLY_TO, Some(&bytes))
    }

    /// The same message, published elsewhere.
    pub(crate) fn published(&self, exchange: String, routing_key: String) -> Self {
        let mut changed = self.with_properties(self.properties.clone());
        changed.exchange = exchange;
        changed.routing_key = routing_key;
        changed
    }

    /// The properties without headers that are nested too deep to be taken apart.
    pub(crate) fn shallow_properties(&self) -> Vec<u8> {
        if is_too_deep(&self.properties) {
            self.with(HEADERS, None).properties
        } else {
            self.properties.clone()
        }
    }

    fn with(&self, wanted: u16, value: Option<&[u8]>) -> Self {
        let fields = fields(&self.properties).unwrap_or_default();
        let mut all: Vec<(u16, &[u8])> = fields
            .into_iter()
            .filter(|(bit, _)| *bit != wanted)
            .collect();
        all.extend(value.map(|value| (wanted, value)));
        all.sort_by_key(|(bit, _)| std::cmp::Reverse(*bit));
        let flags = all.iter().fold(0, |flags, (bit, _)| flags | bit);
        let mut properties = u16::to_be_bytes(flags).to_vec();
        for (_, bytes) in all {
            properties.extend_from_slice(bytes);
        }
        self.with_properties(properties)
    }

    fn with_properties(&self, properties: Vec<u8>) -> Self {
        Self::new(
            self.exchange.clone(),
            self.routing_key.clone(),
            properties,
            self.body.clone(),
            self.charge.meter(),
        )
    }
}

/// The properties that are there, each with its bytes; `None` if they are damaged.
fn fields(properties: &[u8]) -> Option<Vec<(u16, &[u8])>> {
    let (flags, mut rest) = properties.split_at_checked(2)?;
    let flags = u16::from_be_bytes([flags[0], flags[1]]);
    let mut fields = Vec::new();
    for bit in (2..16)
        .rev()
        .map(|bit| 1 << bit)
        .filter(|bit| flags & bit != 0)
    {
        let length = match bit {
            HEADERS => {
                let length = rest.get(..4)?;
                4 + u32::from_be_bytes([length[0], length[1], length[2], length[3]]) as usize
            }
            DELIVERY_MODE | PRIORITY => 1,
            TIMESTAMP => 8,
            _ => 1 + usize::from(*rest.first()?),
        };
        let (field, after) = rest.split_at_checked(length)?;
        fields.push((bit, field));
        rest = after;
    }
    rest.is_empty().then_some(fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn properties_are_read_and_replaced() {
        let meter = Meter::default();
        let mut headers = RawTable::default();
        headers.set("h", &AMQPValue::LongInt(1));
        let content = Content::new(
            String::new(),
            "k".to_owned(),
            // content type, delivery mode, expiration
            b"\x91\x00\x04text\x02\x0260".to_vec(),
            Body::new(Vec::new(), meter.charge(0)),
            &meter,
        );
        let changed = content.with_headers(&headers).with_reply_to("r");
        let read = changed.read().expect("properties");
        assert_eq!(read.headers, headers);
        assert_eq!(read.reply_to.as_deref(), Some("r"));
        assert_eq!(read.expiration.as_deref(), Some("60"));
        assert_eq!(read.delivery_mode, Some(2));
        let plain = changed.without_expiration().read().expect("properties");
        assert_eq!(plain.expiration, None);
        assert_eq!(plain.delivery_mode, Some(2));
        drop((content, changed));
        assert_eq!(meter.bytes(), 0);
    }
}
