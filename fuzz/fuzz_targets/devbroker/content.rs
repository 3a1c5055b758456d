//! Publications, whole and damaged, cut into frames in any way.

use amq_protocol::frame::{AMQPContentHeader, AMQPFrame, WriteContext, gen_frame};
use amq_protocol::protocol::AMQPClass;
use amq_protocol::protocol::basic::{self, AMQPProperties};

use crate::names;
use crate::parts::Parts;

const SIZES: [usize; 10] = [0, 1, 5, 2, 300, 4087, 4088, 4089, 20_000, 140_000];

/// Around the payload of a frame, in bytes.
const AROUND: usize = 8;

/// The bytes of one publication with a body of at most `most` bytes.
pub(crate) fn publication(
    parts: &mut Parts<'_>,
    channel: u16,
    frame_max: usize,
    most: usize,
) -> Vec<u8> {
    let flags = parts.number();
    let publish = basic::Publish {
        exchange: names::exchange(parts).into(),
        routing_key: names::key(parts).into(),
        mandatory: flags & 1 > 0,
        immediate: flags & 31 == 31,
    };
    let damaged = flags & 2 > 0;
    with_content(parts, channel, publish, damaged, frame_max, most)
}

/// The bytes of a reply to a queue for direct replies.
pub(crate) fn reply(parts: &mut Parts<'_>, channel: u16, queue: &str, most: usize) -> Vec<u8> {
    let publish = basic::Publish {
        routing_key: queue.into(),
        ..basic::Publish::default()
    };
    with_content(parts, channel, publish, false, 4096, most)
}

fn with_content(
    parts: &mut Parts<'_>,
    channel: u16,
    publish: basic::Publish,
    damaged: bool,
    frame_max: usize,
    most: usize,
) -> Vec<u8> {
    let size = parts.one_of(&SIZES).min(most);
    let part = parts.one_of(&[frame_max - AROUND, 3, 1000, frame_max - AROUND + 1]);
    let publish = AMQPClass::Basic(basic::AMQPMethod::Publish(publish));
    let mut bytes = frame(&AMQPFrame::Method(channel, publish));
    if damaged {
        damaged_header(parts, &mut bytes, channel, size);
    } else {
        let header = AMQPContentHeader {
            class_id: 60,
            body_size: size as u64,
            properties: properties(parts),
        };
        bytes.extend(frame(&AMQPFrame::Header(channel, header)));
    }
    // the smallest parts would be too many
    for part in vec![b'b'; size].chunks(part.max(size / 32)) {
        framed(&mut bytes, 3, channel, part);
    }
    bytes
}

fn properties(parts: &mut Parts<'_>) -> AMQPProperties {
    let mut properties = AMQPProperties::default();
    let wanted = parts.number();
    if wanted & 1 > 0 {
        properties = properties.with_headers(names::table(parts));
    }
    if wanted & 2 > 0 {
        properties = properties.with_expiration(names::time(parts).into());
    }
    if wanted & 4 > 0 {
        properties = properties.with_priority(parts.number());
    }
    if wanted & 8 > 0 {
        properties = properties.with_reply_to(names::queue(parts).into());
    }
    if wanted & 16 > 0 {
        properties = properties.with_user_id(names::user(parts).into());
    }
    if wanted & 32 > 0 {
        properties = properties.with_delivery_mode(2);
    }
    properties
}

/// A header with any class, any size near the true one, and any bytes for properties.
fn damaged_header(parts: &mut Parts<'_>, to: &mut Vec<u8>, channel: u16, size: usize) {
    let class = parts.one_of(&[60_u16, 10, 0]);
    let size = match parts.below(4) {
        0 | 1 => size as u64,
        2 => size as u64 + 1,
        _ => parts.one_of(&[0, u64::MAX, 1 << 27, (1 << 27) + 1]),
    };
    let mut payload = class.to_be_bytes().to_vec();
    payload.extend([0, 0]);
    payload.extend(size.to_be_bytes());
    payload.extend_from_slice(parts.bytes());
    framed(to, 2, channel, &payload);
}

fn frame(frame: &AMQPFrame) -> Vec<u8> {
    let context = WriteContext::from(Vec::new());
    gen_frame(frame)(context)
        .expect("memory can be written")
        .write
}

/// Appends a frame of any kind.
pub(crate) fn framed(to: &mut Vec<u8>, kind: u8, channel: u16, payload: &[u8]) {
    to.push(kind);
    to.extend(channel.to_be_bytes());
    to.extend((payload.len() as u32).to_be_bytes());
    to.extend_from_slice(payload);
    to.push(0xCE);
}
