//! The methods of AMQP 0-9-1 as a table, to write them from a line of text and to show them as one.
//!
//! Not the broker's own encoder: two that agree by sharing a mistake would prove nothing.

use std::fmt::Write as _;
use std::sync::LazyLock;

use amq_protocol::frame::WriteContext;
use amq_protocol::types::FieldTable;
use amq_protocol::types::generation::gen_field_table;
use amq_protocol::types::parsing::parse_field_table;

use crate::value;

/// Class, method, name, fields with their types. A field without a name is reserved.
const METHODS: &str = "
10 10 connection.start version-major:octet version-minor:octet server-properties:table mechanisms:longstr locales:longstr
10 11 connection.start-ok client-properties:table mechanism:shortstr response:longstr locale:shortstr
10 20 connection.secure challenge:longstr
10 21 connection.secure-ok response:longstr
10 30 connection.tune channel-max:short frame-max:long heartbeat:short
10 31 connection.tune-ok channel-max:short frame-max:long heartbeat:short
10 40 connection.open virtual-host:shortstr :shortstr :bit
10 41 connection.open-ok :shortstr
10 50 connection.close reply-code:short reply-text:shortstr class-id:short method-id:short
10 51 connection.close-ok
10 60 connection.blocked reason:shortstr
10 61 connection.unblocked
10 70 connection.update-secret new-secret:longstr reason:shortstr
10 71 connection.update-secret-ok
20 10 channel.open :shortstr
20 11 channel.open-ok :longstr
20 20 channel.flow active:bit
20 21 channel.flow-ok active:bit
20 40 channel.close reply-code:short reply-text:shortstr class-id:short method-id:short
20 41 channel.close-ok
30 10 access.request realm:shortstr exclusive:bit passive:bit active:bit write:bit read:bit
30 11 access.request-ok :short
40 10 exchange.declare :short exchange:shortstr type:shortstr passive:bit durable:bit auto-delete:bit internal:bit no-wait:bit arguments:table
40 11 exchange.declare-ok
40 20 exchange.delete :short exchange:shortstr if-unused:bit no-wait:bit
40 21 exchange.delete-ok
40 30 exchange.bind :short destination:shortstr source:shortstr routing-key:shortstr no-wait:bit arguments:table
40 31 exchange.bind-ok
40 40 exchange.unbind :short destination:shortstr source:shortstr routing-key:shortstr no-wait:bit arguments:table
40 51 exchange.unbind-ok
50 10 queue.declare :short queue:shortstr passive:bit durable:bit exclusive:bit auto-delete:bit no-wait:bit arguments:table
50 11 queue.declare-ok queue:shortstr message-count:long consumer-count:long
50 20 queue.bind :short queue:shortstr exchange:shortstr routing-key:shortstr no-wait:bit arguments:table
50 21 queue.bind-ok
50 30 queue.purge :short queue:shortstr no-wait:bit
50 31 queue.purge-ok message-count:long
50 40 queue.delete :short queue:shortstr if-unused:bit if-empty:bit no-wait:bit
50 41 queue.delete-ok message-count:long
50 50 queue.unbind :short queue:shortstr exchange:shortstr routing-key:shortstr arguments:table
50 51 queue.unbind-ok
60 10 basic.qos prefetch-size:long prefetch-count:short global:bit
60 11 basic.qos-ok
60 20 basic.consume :short queue:shortstr consumer-tag:shortstr no-local:bit no-ack:bit exclusive:bit no-wait:bit arguments:table
60 21 basic.consume-ok consumer-tag:shortstr
60 30 basic.cancel consumer-tag:shortstr no-wait:bit
60 31 basic.cancel-ok consumer-tag:shortstr
60 40 basic.publish :short exchange:shortstr routing-key:shortstr mandatory:bit immediate:bit
60 50 basic.return reply-code:short reply-text:shortstr exchange:shortstr routing-key:shortstr
60 60 basic.deliver consumer-tag:shortstr delivery-tag:longlong redelivered:bit exchange:shortstr routing-key:shortstr
60 70 basic.get :short queue:shortstr no-ack:bit
60 71 basic.get-ok delivery-tag:longlong redelivered:bit exchange:shortstr routing-key:shortstr message-count:long
60 72 basic.get-empty :shortstr
60 80 basic.ack delivery-tag:longlong multiple:bit
60 90 basic.reject delivery-tag:longlong requeue:bit
60 100 basic.recover-async requeue:bit
60 110 basic.recover requeue:bit
60 111 basic.recover-ok
60 120 basic.nack delivery-tag:longlong multiple:bit requeue:bit
85 10 confirm.select no-wait:bit
85 11 confirm.select-ok
90 10 tx.select
90 11 tx.select-ok
90 20 tx.commit
90 21 tx.commit-ok
90 30 tx.rollback
90 31 tx.rollback-ok
";

/// One row of the table.
#[derive(Debug)]
pub struct Spec {
    class: u16,
    method: u16,
    pub name: &'static str,
    /// Name and type.
    fields: Vec<(&'static str, &'static str)>,
}

static SPECS: LazyLock<Vec<Spec>> = LazyLock::new(|| METHODS.lines().filter_map(row).collect());

fn row(line: &'static str) -> Option<Spec> {
    let mut words = line.split(' ');
    Some(Spec {
        class: words.next()?.parse().ok()?,
        method: words.next()?.parse().ok()?,
        name: words.next()?,
        fields: words.filter_map(|field| field.split_once(':')).collect(),
    })
}

/// The method of this name.
pub fn named(name: &str) -> &'static Spec {
    let found = SPECS.iter().find(|spec| spec.name == name);
    found.unwrap_or_else(|| panic!("AMQP has no method {name}"))
}

/// A field of a method that arrived.
#[derive(Clone, Debug, PartialEq)]
pub enum Field {
    Bit(bool),
    Number(u64),
    Text(Vec<u8>),
    Table(FieldTable),
}

/// A method that arrived.
#[derive(Clone, Debug)]
pub struct Method {
    pub name: &'static str,
    pub fields: Vec<(&'static str, Field)>,
}

impl Method {
    /// A number among the fields; 0 if there is none of this name.
    pub fn number(&self, name: &str) -> u64 {
        match self.field(name) {
            Some(Field::Number(number)) => *number,
            _ => 0,
        }
    }

    /// A text among the fields; empty if there is none of this name.
    pub fn text(&self, name: &str) -> String {
        match self.field(name) {
            Some(Field::Text(text)) => String::from_utf8_lossy(text).into_owned(),
            _ => String::new(),
        }
    }

    /// Whether this bit is set.
    pub fn bit(&self, name: &str) -> bool {
        matches!(self.field(name), Some(Field::Bit(true)))
    }

    fn field(&self, name: &str) -> Option<&Field> {
        self.fields
            .iter()
            .find(|(field, _)| *field == name)
            .map(|(_, field)| field)
    }

    /// Name and fields on one line; bits that are not set are left out.
    pub fn show(&self) -> String {
        let mut line = self.name.to_owned();
        for (name, field) in &self.fields {
            let _ = match field {
                Field::Bit(false) => Ok(()),
                Field::Bit(true) => write!(line, " {name}"),
                Field::Number(number) => write!(line, " {name}={number}"),
                Field::Table(table) if *name == "server-properties" => {
                    let capabilities = table.inner().get("capabilities").map(value::write);
                    write!(line, " capabilities={}", capabilities.unwrap_or_default())
                }
                Field::Text(text) if *name == "mechanisms" => {
                    let mut mechanisms: Vec<_> = text
                        .split(|byte| *byte == b' ')
                        .map(value::write_text)
                        .collect();
                    mechanisms.sort();
                    write!(line, " mechanisms={}", mechanisms.join("+"))
                }
                Field::Text(text) => write!(line, " {name}={}", value::write_text(text)),
                Field::Table(table) => {
                    write!(line, " {name}={{{}}}", value::write_table(table, "", ","))
                }
            };
        }
        line
    }
}

/// A name and a value, as written.
pub type Word = (String, String);

/// The bytes of a method from a line like `queue.declare queue=q durable x-max-length=1`, and what of the line is no field.
///
/// Words that are no fields go into the method's table if it has one.
pub fn encode(line: &str) -> (Vec<u8>, Vec<Word>) {
    let words = value::words(line);
    let spec = named(&words[0]);
    let mut given: Vec<Word> = words[1..].iter().map(|word| pair(word)).collect();
    let mut payload = [spec.class.to_be_bytes(), spec.method.to_be_bytes()].concat();
    let mut bits = 0;
    for (index, (name, kind)) in spec.fields.iter().enumerate() {
        let at = given.iter().position(|(given, _)| given == name);
        let text = at.map(|at| given.remove(at).1).unwrap_or_default();
        if *kind == "bit" {
            if bits == 0 {
                payload.push(0);
            }
            if text == "true"
                && let Some(octet) = payload.last_mut()
            {
                *octet |= 1 << bits;
            }
            let more = spec
                .fields
                .get(index + 1)
                .is_some_and(|(_, kind)| *kind == "bit");
            bits = if more { bits + 1 } else { 0 };
        } else if *kind == "table" {
            let field = |name: &str| spec.fields.iter().any(|(field, _)| *field == name);
            let (fields, entries) = given.into_iter().partition(|(name, _)| field(name));
            given = fields;
            payload.extend(encode_table(&entries));
        } else {
            payload.extend(encode_field(kind, &text));
        }
    }
    (payload, given)
}

/// `a=1` is a and 1, `a` alone is a and true.
fn pair(word: &str) -> Word {
    let (name, text) = word.split_once('=').unwrap_or((word, "true"));
    (name.to_owned(), text.to_owned())
}

/// The bytes of one field that is neither a bit nor a table.
pub fn encode_field(kind: &str, text: &str) -> Vec<u8> {
    let number = || text.parse::<u64>().unwrap_or_default();
    match kind {
        "octet" => vec![number() as u8],
        "short" => (number() as u16).to_be_bytes().to_vec(),
        "long" => (number() as u32).to_be_bytes().to_vec(),
        "longlong" => number().to_be_bytes().to_vec(),
        "shortstr" => short(value::unquote(text).as_bytes()),
        _ => long(value::unquote(text).as_bytes()),
    }
}

/// The bytes of a table with these names and values.
pub fn encode_table(entries: &[Word]) -> Vec<u8> {
    let mut table = FieldTable::default();
    for (name, text) in entries {
        table.insert(value::unquote(name).into(), value::parse(text));
    }
    let context = WriteContext {
        write: Vec::new(),
        position: 0,
    };
    gen_field_table(&table)(context)
        .expect("memory can be written")
        .write
}

/// A text of at most 255 bytes, with its length.
pub fn short(text: &[u8]) -> Vec<u8> {
    let length = u8::try_from(text.len()).expect("at most 255 bytes");
    [&[length], text].concat()
}

/// A text with its length.
pub fn long(text: &[u8]) -> Vec<u8> {
    let length = u32::try_from(text.len()).expect("at most 4 GiB");
    [&length.to_be_bytes(), text].concat()
}

/// Reads a method; `None` if it is none, or has bytes too few or too many.
pub fn decode(payload: &[u8]) -> Option<Method> {
    let mut rest = payload;
    let (class, method) = (number(&mut rest, 2)?, number(&mut rest, 2)?);
    let same = |spec: &&Spec| u64::from(spec.class) == class && u64::from(spec.method) == method;
    let spec = SPECS.iter().find(same)?;
    let mut fields = Vec::new();
    let (mut octet, mut bits) = (0, 0);
    for (name, kind) in &spec.fields {
        let field = if *kind == "bit" {
            if bits == 0 {
                octet = number(&mut rest, 1)?;
            }
            bits += 1;
            Field::Bit(octet & (1 << (bits - 1)) != 0)
        } else {
            bits = 0;
            decode_field(kind, &mut rest)?
        };
        if !name.is_empty() {
            fields.push((*name, field));
        }
    }
    rest.is_empty().then_some(Method {
        name: spec.name,
        fields,
    })
}

fn decode_field(kind: &str, rest: &mut &[u8]) -> Option<Field> {
    Some(match kind {
        "octet" => Field::Number(number(rest, 1)?),
        "short" => Field::Number(number(rest, 2)?),
        "long" => Field::Number(number(rest, 4)?),
        "longlong" => Field::Number(number(rest, 8)?),
        "shortstr" => Field::Text(text(rest, 1)?),
        "table" => Field::Table(decode_table(rest)?),
        _ => Field::Text(text(rest, 4)?),
    })
}

/// Takes a table off the front.
pub fn decode_table(rest: &mut &[u8]) -> Option<FieldTable> {
    let (after, table) = parse_field_table(*rest).ok()?;
    *rest = after;
    Some(table)
}

/// Takes a text off the front, whose length has this many bytes.
pub fn text(rest: &mut &[u8], width: usize) -> Option<Vec<u8>> {
    let length = number(rest, width)? as usize;
    let (text, after) = rest.split_at_checked(length)?;
    *rest = after;
    Some(text.to_vec())
}

/// Takes a number of this many bytes off the front.
pub fn number(rest: &mut &[u8], width: usize) -> Option<u64> {
    let (bytes, after) = rest.split_at_checked(width)?;
    *rest = after;
    Some(
        bytes
            .iter()
            .fold(0, |number, byte| number << 8 | u64::from(*byte)),
    )
}
