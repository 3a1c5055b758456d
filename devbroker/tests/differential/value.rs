//! Values of header tables as text, both ways: what a transcript shows can be pasted into a scenario.

use std::fmt::Write as _;
use std::iter::Peekable;
use std::str::Chars;

use amq_protocol::types::{AMQPValue, ByteArray, DecimalValue, FieldArray, FieldTable, LongString};

/// Timestamps after this are taken for the time of the run, in seconds since 1970.
const RECENT: u64 = 1_500_000_000;

/// Splits a script into its words; blanks within quotes or braces do not part.
pub fn words(script: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let (mut depth, mut quoted, mut escaped) = (0, false, false);
    for c in script.chars() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => quoted = !quoted,
            '{' | '[' if !quoted => depth += 1,
            '}' | ']' if !quoted => depth -= 1,
            ' ' if !quoted && depth == 0 => {
                words.push(String::new());
                continue;
            }
            _ => {}
        }
        if let Some(word) = words.last_mut() {
            word.push(c);
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

/// Reads a value: `5` is a long-int, `5l` a long-long-int, `true`, `null`, `text`, `"text"`, `x:bytes`, `{a=1,b=c}`, `[1,2]`.
pub fn parse(text: &str) -> AMQPValue {
    value(&mut text.chars().peekable())
}

/// Takes the quotes and escapes off a text.
pub fn unquote(text: &str) -> String {
    parse_text(&mut text.chars().peekable(), "").0
}

fn value(input: &mut Peekable<Chars<'_>>) -> AMQPValue {
    match input.peek() {
        Some('{') => AMQPValue::FieldTable(table(input)),
        Some('[') => array(input),
        _ => match parse_text(input, ",}]") {
            (text, true) => AMQPValue::LongString(text.into()),
            (text, false) => bare(&text),
        },
    }
}

fn table(input: &mut Peekable<Chars<'_>>) -> FieldTable {
    let mut table = FieldTable::default();
    input.next();
    while input.peek().is_some_and(|c| *c != '}') {
        let (name, _) = parse_text(input, "=");
        input.next();
        table.insert(name.into(), value(input));
        input.next_if_eq(&',');
    }
    input.next();
    table
}

fn array(input: &mut Peekable<Chars<'_>>) -> AMQPValue {
    let mut array = FieldArray::default();
    input.next();
    while input.peek().is_some_and(|c| *c != ']') {
        array.push(value(input));
        input.next_if_eq(&',');
    }
    input.next();
    AMQPValue::FieldArray(array)
}

/// A text up to one of the `ends`, and whether it stood in quotes.
fn parse_text(input: &mut Peekable<Chars<'_>>, ends: &str) -> (String, bool) {
    let mut text = String::new();
    let quoted = input.next_if_eq(&'"').is_some();
    while let Some(c) = input.next_if(|c| {
        if quoted {
            *c != '"'
        } else {
            !ends.contains(*c)
        }
    }) {
        text.push(match (c, input.peek()) {
            ('\\', Some('0')) => {
                input.next();
                '\0'
            }
            ('\\', Some(_)) => input.next().unwrap_or(c),
            _ => c,
        });
    }
    if quoted {
        input.next();
    }
    (text, quoted)
}

fn bare(text: &str) -> AMQPValue {
    match text {
        "true" => return AMQPValue::Boolean(true),
        "false" => return AMQPValue::Boolean(false),
        "null" => return AMQPValue::Void,
        _ => {}
    }
    if let Some(bytes) = text.strip_prefix("x:") {
        return AMQPValue::ByteArray(ByteArray::from(bytes.as_bytes()));
    }
    number(text).unwrap_or_else(|| AMQPValue::LongString(text.into()))
}

fn number(text: &str) -> Option<AMQPValue> {
    if let Ok(number) = text.parse() {
        return Some(AMQPValue::LongInt(number));
    }
    let (number, kind) = text.split_at_checked(text.len().checked_sub(1)?)?;
    Some(match kind {
        "b" => AMQPValue::ShortShortInt(number.parse().ok()?),
        "B" => AMQPValue::ShortShortUInt(number.parse().ok()?),
        "s" => AMQPValue::ShortInt(number.parse().ok()?),
        "u" => AMQPValue::ShortUInt(number.parse().ok()?),
        "i" => AMQPValue::LongUInt(number.parse().ok()?),
        "l" => AMQPValue::LongLongInt(number.parse().ok()?),
        "T" => AMQPValue::Timestamp(number.parse().ok()?),
        "f" => AMQPValue::Float(number.parse().ok()?),
        "d" => AMQPValue::Double(number.parse().ok()?),
        "D" => {
            let (scale, value) = number.split_once('/')?;
            AMQPValue::DecimalValue(DecimalValue {
                scale: scale.parse().ok()?,
                value: value.parse().ok()?,
            })
        }
        _ => return None,
    })
}

/// Writes a value as [`parse`] reads it. The time of the run is written as `now`.
pub fn write(value: &AMQPValue) -> String {
    match value {
        AMQPValue::Boolean(value) => value.to_string(),
        AMQPValue::ShortShortInt(value) => format!("{value}b"),
        AMQPValue::ShortShortUInt(value) => format!("{value}B"),
        AMQPValue::ShortInt(value) => format!("{value}s"),
        AMQPValue::ShortUInt(value) => format!("{value}u"),
        AMQPValue::LongInt(value) => value.to_string(),
        AMQPValue::LongUInt(value) => format!("{value}i"),
        AMQPValue::LongLongInt(value) => format!("{value}l"),
        AMQPValue::Float(value) => format!("{value}f"),
        AMQPValue::Double(value) => format!("{value}d"),
        AMQPValue::DecimalValue(value) => format!("{}/{}D", value.scale, value.value),
        AMQPValue::ShortString(value) => quote(value.as_str().as_bytes()),
        AMQPValue::LongString(value) => write_string(value),
        AMQPValue::FieldArray(values) => {
            let values: Vec<_> = values.as_slice().iter().map(write).collect();
            format!("[{}]", values.join(","))
        }
        AMQPValue::Timestamp(value) if *value > RECENT => "now".to_owned(),
        AMQPValue::Timestamp(value) => format!("{value}T"),
        AMQPValue::FieldTable(table) => format!("{{{}}}", write_table(table, "", ",")),
        AMQPValue::ByteArray(bytes) => format!("x:{}", String::from_utf8_lossy(bytes.as_slice())),
        AMQPValue::Void => "null".to_owned(),
    }
}

/// The entries of a table with something in front of each name and something between them.
pub fn write_table(table: &FieldTable, front: &str, between: &str) -> String {
    let mut text = String::new();
    for (name, value) in table.inner() {
        if !text.is_empty() {
            text.push_str(between);
        }
        let _ = write!(
            text,
            "{front}{}={}",
            write_text(name.as_str().as_bytes()),
            write(value)
        );
    }
    text
}

/// A string that would be read as something else stands in quotes.
fn write_string(value: &LongString) -> String {
    let text = write_text(value.as_bytes());
    match bare(&text) {
        AMQPValue::LongString(_) => text,
        _ => format!("\"{text}\""),
    }
}

/// A text, in quotes where it needs them.
pub fn write_text(bytes: &[u8]) -> String {
    let plain = |byte: &u8| byte.is_ascii_graphic() && !b"\"\\{}[],=".contains(byte);
    if !bytes.is_empty() && bytes.iter().all(plain) {
        String::from_utf8_lossy(bytes).into_owned()
    } else {
        quote(bytes)
    }
}

/// A text in quotes.
pub fn quote(bytes: &[u8]) -> String {
    let mut text = String::from("\"");
    for c in String::from_utf8_lossy(bytes).chars() {
        match c {
            '"' | '\\' => text.extend(['\\', c]),
            '\0' => text.push_str("\\0"),
            '\n' => text.push_str("\\n"),
            _ => text.push(c),
        }
    }
    text.push('"');
    text
}
