//! Any bytes as a delivery: read, cut, bound to types, written and read again, without a panic.
//!
//! An input is lines of header fields, an empty line, and the body. A line is `name=text` for a text, or `name:` and a
//! value in the small notation of [`value`]. Names that start with `@` are properties.

#![no_main]

use std::collections::HashMap;

use bytes::Bytes;
use coney_protocol::codec::body::RawCall;
use coney_protocol::codec::{Limits, typed};
use coney_protocol::message::Message;
use coney_protocol::property::{Properties, Table, Value};
use coney_protocol::reply::Reply;
use coney_protocol::wire;
use libfuzzer_sys::fuzz_target;
use serde_json::value::RawValue;

fuzz_target!(|input: &[u8]| {
    let _ = Reply::decode(input).map(|reply| reply.report());
    let (properties, body) = delivery(input);
    let limits = Limits::default().body(1 << 20);
    match wire::decode(properties.clone(), body.clone(), &limits) {
        Ok(message) => check(&message, &limits),
        Err(undecoded) => {
            assert_eq!(text(&undecoded.properties), text(&properties));
            assert_eq!(undecoded.body, body);
            assert_ne!(undecoded.id.map(|id| id.to_string()).as_deref(), Some(""));
        }
    }
});

fn check(message: &Message, limits: &Limits) {
    let (properties, body) = wire::encode(message);
    let again = wire::decode(properties, body, limits).expect("what was read can be read again");
    assert_eq!(text(&again), text(message));

    let Ok(plain) = message.body.plain(limits) else {
        return;
    };
    assert!(plain.len() <= limits.body);
    let Ok(call) = RawCall::cut(&plain) else {
        return;
    };
    let embed = call.embed;
    let named = call.kwargs.iter().map(|(_, raw)| *raw);
    let embedded = [embed.callbacks, embed.errbacks, embed.chain, embed.chord];
    for raw in call
        .args
        .iter()
        .copied()
        .chain(named)
        .chain(embedded.into_iter().flatten())
    {
        read_as_anything(raw);
    }
}

#[derive(Debug, serde::Deserialize)]
#[allow(dead_code)]
enum Shape {
    Unit,
    Named {
        a: Option<uuid::Uuid>,
        b: Box<Shape>,
    },
    New(Vec<Option<Shape>>),
    #[serde(untagged)]
    Loose(HashMap<String, serde_bytes::ByteBuf>),
}

fn read_as_anything(raw: &RawValue) {
    let direct = serde_json::from_str::<serde_json::Value>(raw.get());
    let read = typed::from_raw::<serde_json::Value>(raw);
    assert!(direct.is_err() || direct.ok() == read.ok());
    let _ = typed::from_raw::<Vec<u8>>(raw);
    let _ = typed::from_raw::<serde_bytes::ByteBuf>(raw);
    let _ = typed::from_raw::<String>(raw);
    let _ = typed::from_raw::<Option<uuid::Uuid>>(raw);
    let _ = typed::from_raw::<jiff::Timestamp>(raw);
    let _ = typed::from_raw::<jiff::civil::Date>(raw);
    let _ = typed::from_raw::<(Option<u128>, f32, char)>(raw);
    let _ = typed::from_raw::<HashMap<String, Vec<jiff::Timestamp>>>(raw);
    let _ = typed::from_raw::<Vec<Shape>>(raw);
    let _ = typed::from_raw::<Shape>(raw);
}

/// Compares also what does not equal itself, such as NaN.
fn text(value: &impl std::fmt::Debug) -> String {
    format!("{value:?}")
}

fn delivery(input: &[u8]) -> (Properties, Bytes) {
    let mut properties = Properties::default();
    let mut headers = Vec::new();
    let mut rest = input;
    while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
        let line = &rest[..end];
        rest = &rest[end + 1..];
        if line.is_empty() {
            break;
        }
        let Some(at) = line.iter().position(|byte| matches!(byte, b'=' | b':')) else {
            continue;
        };
        let name = String::from_utf8_lossy(&line[..at]).into_owned();
        let mut content = &line[at + 1..];
        let plain = || Some(String::from_utf8_lossy(&line[at + 1..]).into_owned());
        match &*name {
            "@type" => properties.content_type = plain().map(Into::into),
            "@encoding" => properties.content_encoding = plain().map(Into::into),
            "@correlation" => properties.correlation_id = plain(),
            "@reply" => properties.reply_to = plain(),
            "@priority" => properties.priority = content.first().copied(),
            _ if line[at] == b'=' => headers.push((name.into(), text_value(content))),
            _ => headers.push((name.into(), value(&mut content, 8))),
        }
    }
    properties.headers = headers.into_iter().collect();
    (properties, Bytes::copy_from_slice(rest))
}

fn text_value(bytes: &[u8]) -> Value {
    match String::from_utf8(bytes.to_vec()) {
        Ok(text) => text.into(),
        Err(not_text) => Value::RawText(not_text.into_bytes()),
    }
}

/// One letter for the type, as in AMQP, and what it needs.
fn value(input: &mut &[u8], depth: usize) -> Value {
    let Some((tag, rest)) = input.split_first() else {
        return Value::Null;
    };
    *input = rest;
    match tag {
        b't' => Value::Bool(byte(input) & 1 == 1),
        b'b' => Value::I8(byte(input).cast_signed()),
        b'B' => Value::U8(byte(input)),
        b's' => Value::I16(i16::from_le_bytes(bytes(input))),
        b'u' => Value::U16(u16::from_le_bytes(bytes(input))),
        b'I' => Value::I32(i32::from_le_bytes(bytes(input))),
        b'i' => Value::U32(u32::from_le_bytes(bytes(input))),
        b'l' => Value::I64(i64::from_le_bytes(bytes(input))),
        b'f' => Value::F32(f32::from_le_bytes(bytes(input))),
        b'd' => Value::F64(f64::from_le_bytes(bytes(input))),
        b'D' => Value::Decimal {
            scale: byte(input),
            value: u32::from_le_bytes(bytes(input)),
        },
        b'T' => Value::Timestamp(u64::from_le_bytes(bytes(input))),
        b'S' => text_value(take(input)),
        b'x' => Value::Bytes(take(input).to_vec()),
        b'A' if depth > 0 => {
            let items = (0..byte(input) % 8).map(|_| value(input, depth - 1));
            Value::List(items.collect())
        }
        b'F' if depth > 0 => {
            let entries = (0..byte(input) % 8).map(|_| {
                let name = String::from_utf8_lossy(take(input)).into_owned();
                (name.into(), value(input, depth - 1))
            });
            Value::Table(entries.collect::<Table>())
        }
        _ => Value::Null,
    }
}

fn byte(input: &mut &[u8]) -> u8 {
    let [byte] = bytes(input);
    byte
}

fn bytes<const N: usize>(input: &mut &[u8]) -> [u8; N] {
    let mut bytes = [0; N];
    let (head, rest) = input.split_at(N.min(input.len()));
    bytes[..head.len()].copy_from_slice(head);
    *input = rest;
    bytes
}

fn take<'a>(input: &mut &'a [u8]) -> &'a [u8] {
    let length = usize::from(byte(input) % 64);
    let (head, rest) = input.split_at(length.min(input.len()));
    *input = rest;
    head
}
