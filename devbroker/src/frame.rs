//! Frames to and from bytes (AMQP 0-9-1, 2.3.5).

use std::io;
use std::sync::Arc;

use amq_protocol::frame::WriteContext;
use amq_protocol::protocol::{AMQPClass, basic, gen_class, parse_class};
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::content::Content;
use crate::error::Objection;
use crate::table::is_too_deep;

/// What a client starts with.
pub(crate) const PROTOCOL: &[u8; 8] = b"AMQP\0\0\x09\x01";

const METHOD: u8 = 1;
const HEADER: u8 = 2;
const BODY: u8 = 3;
const HEARTBEAT: u8 = 8;
const END: u8 = 0xCE;

/// The largest frame before the sides have agreed on one, in bytes.
pub(crate) const LARGEST_HANDSHAKE: usize = 131_072;

/// Frame type, channel, size; and the end.
const AROUND: usize = 8;

/// A frame as it arrives.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) channel: u16,
    pub(crate) kind: FrameKind,
}

#[derive(Debug)]
pub(crate) enum FrameKind {
    Method(Box<AMQPClass>),
    /// The class, the size of the body, and the bytes of the properties.
    Header {
        class: u16,
        size: u64,
        properties: Vec<u8>,
    },
    Body(Vec<u8>),
    Heartbeat,
    /// What is wrong with it.
    Bad(Objection),
    /// What is wrong with a method, and which one it is, by class and method.
    BadMethod(Objection, u16, u16),
}

/// Reads the next frame. `limit` is the largest, in bytes.
pub(crate) async fn read(input: &mut (impl AsyncRead + Unpin), limit: usize) -> io::Result<Frame> {
    let mut start = [0; 7];
    input.read_exact(&mut start).await?;
    let channel = u16::from_be_bytes([start[1], start[2]]);
    let size = u32::from_be_bytes([start[3], start[4], start[5], start[6]]) as usize;
    let bad = |text: String| {
        let kind = FrameKind::Bad(Objection::frame(text));
        Ok(Frame { channel, kind })
    };
    if size + AROUND > limit {
        let text = format!(
            "type {}, all octets = <<>>: {{frame_too_large,{size},{}}}",
            start[0],
            limit - AROUND
        );
        return bad(text);
    }
    let mut payload = vec![0; size + 1];
    input.read_exact(&mut payload).await?;
    if let Some(end) = payload.pop().filter(|end| *end != END) {
        let text = format!("{{invalid_frame_end_marker,{end}}}");
        let octets = octets(&payload);
        return bad(format!("type {}, all octets = {octets}: {text}", start[0]));
    }
    let kind = match start[0] {
        METHOD if is_too_deep(&payload) => bad_method(&payload, "tables are nested too deep"),
        // amq-protocol passes over this field
        METHOD if prefetch_size(&payload) != 0 => {
            let text = format!("prefetch_size!=0 ({})", prefetch_size(&payload));
            FrameKind::BadMethod(Objection::not_implemented(text), 60, 10)
        }
        METHOD => match parse_class(&*payload) {
            Ok(([], method)) => FrameKind::Method(Box::new(method)),
            _ => {
                let arguments = octets(payload.get(4..).unwrap_or_default());
                bad_method(&payload, &format!("cannot decode {arguments}"))
            }
        },
        HEADER => header(&payload),
        BODY => FrameKind::Body(payload),
        HEARTBEAT if channel == 0 => FrameKind::Heartbeat,
        HEARTBEAT => FrameKind::Bad(Objection::unexpected_frame(format_args!(
            "type {HEARTBEAT}, all octets = {}",
            octets(&payload)
        ))),
        other => FrameKind::Bad(Objection::frame(format_args!(
            "type {other}, all octets = {}: unknown_frame",
            octets(&payload)
        ))),
    };
    Ok(Frame { channel, kind })
}

fn bad_method(payload: &[u8], text: &str) -> FrameKind {
    let number = |at: usize| match payload.get(at..at + 2) {
        Some(bytes) => u16::from_be_bytes([bytes[0], bytes[1]]),
        None => 0,
    };
    FrameKind::BadMethod(Objection::frame(text), number(0), number(2))
}

/// The limit in bytes of a `basic.qos`; 0 for everything else.
fn prefetch_size(payload: &[u8]) -> u32 {
    match payload {
        [0, 60, 0, 10, size @ ..] => size
            .first_chunk()
            .map_or(0, |size| u32::from_be_bytes(*size)),
        _ => 0,
    }
}

/// Bytes as RabbitMQ shows them; of many, the first, for a text about them has at most 255 bytes.
fn octets(bytes: &[u8]) -> String {
    let shown = &bytes[..bytes.len().min(255)];
    let is_plain = |byte: &u8| byte.is_ascii_graphic() || *byte == b' ';
    if shown.is_empty() {
        "<<>>".to_owned()
    } else if shown.iter().all(is_plain) {
        format!("<<{:?}>>", String::from_utf8_lossy(shown))
    } else {
        let numbers: Vec<_> = shown.iter().map(u8::to_string).collect();
        format!("<<{}>>", numbers.join(","))
    }
}

fn header(payload: &[u8]) -> FrameKind {
    match (payload.get(..2), payload.get(4..12), payload.get(12..)) {
        (Some(class), Some(size), Some(properties)) => FrameKind::Header {
            class: u16::from_be_bytes([class[0], class[1]]),
            size: size
                .iter()
                .fold(0, |size, byte| size << 8 | u64::from(*byte)),
            properties: properties.to_vec(),
        },
        _ => FrameKind::Bad(Objection::frame("a content header cannot be read")),
    }
}

/// Something to be written to a client.
#[derive(Debug)]
pub(crate) enum Out {
    Method(u16, AMQPClass),
    /// A method with its content.
    Content(u16, AMQPClass, Arc<Content>),
    Deliver(Delivery),
    Heartbeat,
}

/// `basic.deliver`; its method is put together by who writes it, outside of the lock.
#[derive(Debug)]
pub(crate) struct Delivery {
    pub(crate) channel: u16,
    pub(crate) consumer_tag: Arc<str>,
    pub(crate) delivery_tag: u64,
    pub(crate) redelivered: bool,
    pub(crate) content: Arc<Content>,
}

impl Delivery {
    fn method(&self) -> AMQPClass {
        AMQPClass::Basic(basic::AMQPMethod::Deliver(basic::Deliver {
            consumer_tag: (&*self.consumer_tag).into(),
            delivery_tag: self.delivery_tag,
            redelivered: self.redelivered,
            exchange: self.content.exchange.as_str().into(),
            routing_key: self.content.routing_key.as_str().into(),
        }))
    }
}

impl Out {
    /// About how much it holds until it is written, in bytes.
    pub(crate) fn size(&self) -> usize {
        match self {
            Self::Content(_, _, content) | Self::Deliver(Delivery { content, .. }) => {
                128 + content.properties.len() + content.size()
            }
            Self::Method(..) | Self::Heartbeat => 64,
        }
    }

    /// Appends the frames, none larger than `limit` bytes.
    pub(crate) fn write(&self, to: &mut Vec<u8>, limit: usize) {
        match self {
            Self::Method(channel, method) => write_method(to, *channel, method),
            Self::Content(channel, method, content) => {
                write_method(to, *channel, method);
                write_content(to, *channel, content, limit);
            }
            Self::Deliver(delivery) => {
                write_method(to, delivery.channel, &delivery.method());
                write_content(to, delivery.channel, &delivery.content, limit);
            }
            Self::Heartbeat => to.extend_from_slice(&[HEARTBEAT, 0, 0, 0, 0, 0, 0, END]),
        }
    }

    /// How many frames it is.
    pub(crate) fn frames(&self, limit: usize) -> u64 {
        match self {
            Self::Content(_, _, content) | Self::Deliver(Delivery { content, .. }) => {
                2 + content.size().div_ceil(limit - AROUND) as u64
            }
            _ => 1,
        }
    }
}

fn write_method(to: &mut Vec<u8>, channel: u16, method: &AMQPClass) {
    let start = to.len();
    to.extend([METHOD, (channel >> 8) as u8, channel as u8, 0, 0, 0, 0]);
    let context = WriteContext::from(std::mem::take(to));
    *to = match gen_class(method)(context) {
        Ok(context) => context.write,
        Err(error) => unreachable!("memory can be written: {error:?}"),
    };
    let size = (to.len() - start - 7) as u32;
    to[start + 3..start + 7].copy_from_slice(&size.to_be_bytes());
    to.push(END);
}

fn write_content(to: &mut Vec<u8>, channel: u16, content: &Content, limit: usize) {
    let mut payload = vec![0, 60, 0, 0];
    payload.extend((content.size() as u64).to_be_bytes());
    payload.extend_from_slice(&content.properties);
    write_frame(to, HEADER, channel, &payload);
    for part in content.body.bytes.chunks(limit - AROUND) {
        write_frame(to, BODY, channel, part);
    }
}

fn write_frame(to: &mut Vec<u8>, kind: u8, channel: u16, payload: &[u8]) {
    to.push(kind);
    to.extend(channel.to_be_bytes());
    to.extend((payload.len() as u32).to_be_bytes());
    to.extend_from_slice(payload);
    to.push(END);
}
