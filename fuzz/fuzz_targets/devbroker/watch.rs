//! What the broker writes is AMQP: whole frames in an order that makes sense.

use std::collections::HashMap;

use amq_protocol::protocol::basic::parse_properties;
use amq_protocol::protocol::{AMQPClass, basic, channel, parse_class};

/// What is said to a client of another protocol.
const PROTOCOL: &[u8] = b"AMQP\0\0\x09\x01";

/// How the names of queues for direct replies begin.
const REPLY: &str = "amq.rabbitmq.reply-to.";

const METHOD: u8 = 1;
const HEADER: u8 = 2;
const BODY: u8 = 3;
const HEARTBEAT: u8 = 8;
const END: u8 = 0xCE;

/// Frame type, channel, size; and the end.
const AROUND: usize = 8;

/// Reads what the broker writes to one client, and panics where that is wrong.
pub(crate) struct Watch {
    /// The largest frame but for content headers, which cannot be split, in bytes.
    pub(crate) frame_max: usize,
    bytes: Vec<u8>,
    /// Nothing came yet.
    fresh: bool,
    /// The content that has begun: on which channel, and how much of the body is to come once that is known.
    content: Option<(u16, Option<u64>)>,
    /// The last delivery tag of each channel.
    delivered: HashMap<u16, u64>,
    /// The queue to which the last message that asked for a direct reply wants it.
    pub(crate) reply_to: Option<String>,
    /// The last publication of each channel that was answered.
    confirmed: HashMap<u16, u64>,
}

impl Watch {
    pub(crate) fn new(frame_max: usize) -> Self {
        Self {
            frame_max,
            bytes: Vec::new(),
            fresh: true,
            content: None,
            delivered: HashMap::new(),
            reply_to: None,
            confirmed: HashMap::new(),
        }
    }

    /// Takes what came, and calls `heard` for each method.
    pub(crate) fn take(&mut self, bytes: &[u8], mut heard: impl FnMut(u16, AMQPClass)) {
        self.bytes.extend_from_slice(bytes);
        if self.fresh && self.bytes[0] == PROTOCOL[0] {
            let like = self.bytes.len().min(PROTOCOL.len());
            assert_eq!(self.bytes, PROTOCOL[..like]);
            return;
        }
        self.fresh = false;
        let bytes = std::mem::take(&mut self.bytes);
        let mut rest = &*bytes;
        while let Some((frame, after)) = split(rest) {
            let channel = u16::from_be_bytes([frame[1], frame[2]]);
            let payload = &frame[7..frame.len() - 1];
            assert_eq!(frame.last(), Some(&END));
            assert!(
                frame[0] == HEADER || frame.len() <= self.frame_max,
                "too large"
            );
            if let Some(method) = self.frame(frame[0], channel, payload) {
                heard(channel, method);
            }
            rest = after;
        }
        self.bytes = rest.to_vec();
    }

    fn frame(&mut self, kind: u8, channel: u16, payload: &[u8]) -> Option<AMQPClass> {
        match (kind, self.content) {
            (METHOD, None) => {
                let (rest, method) = parse_class(payload).expect("a method");
                assert!(rest.is_empty());
                self.method(channel, &method);
                return Some(method);
            }
            (HEADER, Some((of, None))) if of == channel => {
                assert_eq!(payload[..4], [0, 60, 0, 0]);
                let size = payload[4..12].try_into().expect("eight bytes");
                self.properties(&payload[12..]);
                self.begin(channel, u64::from_be_bytes(size));
            }
            (BODY, Some((of, Some(left)))) if of == channel => {
                let left = left.checked_sub(payload.len() as u64);
                self.begin(channel, left.expect("no more than was announced"));
            }
            (HEARTBEAT, None) => assert!(channel == 0 && payload.is_empty()),
            (kind, content) => panic!("frame {kind} on channel {channel} within {content:?}"),
        }
        None
    }

    /// They can be read; names that are no UTF-8 pass through here as through RabbitMQ.
    fn properties(&mut self, properties: &[u8]) {
        match parse_properties(properties) {
            Ok(([], read)) => {
                let queue = read.reply_to().as_ref().map(ToString::to_string);
                if let Some(queue) = queue.filter(|queue| queue.starts_with(REPLY)) {
                    self.reply_to = Some(queue);
                }
            }
            other => assert!(!properties[2..].is_ascii(), "{other:?}"),
        }
    }

    fn begin(&mut self, channel: u16, left: u64) {
        self.content = (left > 0).then_some((channel, Some(left)));
    }

    fn method(&mut self, channel: u16, method: &AMQPClass) {
        use basic::AMQPMethod::{Ack, Deliver, GetOk, Nack, Return};
        match method {
            AMQPClass::Channel(channel::AMQPMethod::OpenOk(_)) => {
                self.delivered.remove(&channel);
                self.confirmed.remove(&channel);
            }
            AMQPClass::Basic(Deliver(deliver)) => {
                let is_reply = deliver.routing_key.as_str().starts_with(REPLY);
                self.delivery(channel, deliver.delivery_tag, is_reply);
            }
            AMQPClass::Basic(GetOk(ok)) => self.delivery(channel, ok.delivery_tag, false),
            AMQPClass::Basic(Return(_)) => self.content = Some((channel, None)),
            AMQPClass::Basic(Ack(ack)) => self.confirm(channel, ack.delivery_tag),
            AMQPClass::Basic(Nack(nack)) => self.confirm(channel, nack.delivery_tag),
            _ => {}
        }
    }

    /// The tag of a direct reply, which nobody settles, is used again.
    fn delivery(&mut self, channel: u16, tag: u64, is_reply: bool) {
        let last = self.delivered.entry(channel).or_default();
        assert_eq!(tag, *last + 1, "delivery tags count");
        if !is_reply {
            *last = tag;
        }
        self.content = Some((channel, None));
    }

    fn confirm(&mut self, channel: u16, tag: u64) {
        let last = self.confirmed.entry(channel).or_default();
        assert!(tag > *last, "publication {tag} is answered after {last}");
        *last = tag;
    }
}

/// The first frame, and what follows it.
fn split(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let size = bytes.get(3..7)?.try_into().expect("four bytes");
    bytes.split_at_checked(u32::from_be_bytes(size) as usize + AROUND)
}
