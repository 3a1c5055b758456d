//! JSON as Python's `repr` shows it: what Celery writes into `argsrepr`, `kwargsrepr` and events, for people to read.
//!
//! As in Celery (`celery/utils/saferepr.py`) it stops after about [`LIMIT`] characters, with `...` for the rest and all
//! brackets closed, and shows nothing that is nested deeper than three levels.

use std::borrow::Cow;

use serde_json::Value as Json;
use serde_json::value::RawValue;

use crate::codec::body::RawCall;
use crate::codec::words;

/// After so many characters the rest is left out.
pub const LIMIT: usize = 1024;

/// What is nested deeper is left out.
const LEVELS: u8 = 3;

/// Any JSON: `{'a': None}`, `[1, 'two']`.
#[must_use]
pub fn value(json: &RawValue) -> String {
    text(json.get())
}

/// Any JSON text.
#[must_use]
pub fn text(json: &str) -> String {
    let mut writer = Writer::new();
    writer.value(&mut Cursor::new(json), 0);
    writer.out
}

/// The arguments of a call by position and by name: `(2, 3)` and `{'x': 1}`.
#[must_use]
pub fn call(call: &RawCall<'_>) -> (String, String) {
    let mut args = Writer::new();
    args.tuple(call.args.iter().map(|raw| raw.get()));
    let mut kwargs = Writer::new();
    kwargs.members(call.kwargs.iter().map(|(name, raw)| (&**name, raw.get())));
    (args.out, kwargs.out)
}

/// The items of a JSON list, given without its brackets, as a tuple: `(2, 3)`.
#[must_use]
pub fn args(items: &str) -> String {
    let mut writer = Writer::new();
    let mut cursor = Cursor::new(items);
    writer.tuple(std::iter::from_fn(|| {
        cursor.skip_separators();
        let item = cursor.take_value();
        (!item.is_empty()).then_some(item)
    }));
    writer.out
}

/// The members of a JSON object, given without its braces, as a dict: `{'x': 1}`.
#[must_use]
pub fn kwargs(members: &str) -> String {
    let mut writer = Writer::new();
    writer.object(&mut Cursor::new(members), 0);
    writer.out
}

/// An exception with its arguments: `ValueError('boom')`.
#[must_use]
pub fn exception(class: &str, arguments: &[Json]) -> String {
    let mut writer = Writer::new();
    writer.put(class);
    writer.put("(");
    for (at, argument) in arguments.iter().enumerate() {
        if !writer.separate(at == 0) {
            break;
        }
        writer.value(&mut Cursor::new(&argument.to_string()), 1);
    }
    writer.put(")");
    writer.out
}

/// Text that is written, and how much more may come.
struct Writer {
    out: String,
    left: usize,
}

impl Writer {
    fn new() -> Self {
        Self {
            out: String::new(),
            left: LIMIT,
        }
    }

    fn put(&mut self, token: &str) {
        self.out.push_str(token);
        self.left = self.left.saturating_sub(token.chars().count());
    }

    /// Makes ready for an item; false if there is no room, which is shown.
    fn separate(&mut self, is_first: bool) -> bool {
        let has_room = self.left > 0;
        match (has_room, is_first) {
            (true, true) => {}
            (true, false) => self.put(", "),
            (false, true) => self.out.push_str("..."),
            (false, false) => self.out.push_str(", ..."),
        }
        has_room
    }

    fn tuple<'j>(&mut self, items: impl Iterator<Item = &'j str>) {
        self.put("(");
        let mut count = 0;
        for item in items {
            if !self.separate(count == 0) {
                return self.put(")");
            }
            self.value(&mut Cursor::new(item), 1);
            count += 1;
        }
        self.put(if count == 1 { ",)" } else { ")" });
    }

    fn members<'j>(&mut self, members: impl Iterator<Item = (&'j str, &'j str)>) {
        self.put("{");
        for (at, (name, value)) in members.enumerate() {
            if !self.separate(at == 0) {
                break;
            }
            self.quoted(name);
            self.put(": ");
            self.value(&mut Cursor::new(value), 1);
        }
        self.put("}");
    }

    fn value(&mut self, json: &mut Cursor<'_>, level: u8) {
        if let Some((word, length)) = words::at_start(json.rest()) {
            json.at += length;
            return self.word(word);
        }
        match json.peek() {
            b'{' | b'[' if level >= LEVELS => {
                let shown = if json.peek() == b'{' {
                    "{...}"
                } else {
                    "[...]"
                };
                json.take_value();
                self.put(shown);
            }
            b'{' => {
                json.at += 1;
                self.object(json, level);
                json.at += 1;
            }
            b'[' => {
                json.at += 1;
                self.list(json, level);
                json.at += 1;
            }
            b'"' => {
                let text = unescaped(json.take_value());
                self.quoted(&text);
            }
            _ => self.word(json.take_value()),
        }
    }

    fn word(&mut self, word: &str) {
        match word {
            "null" => self.put("None"),
            "true" => self.put("True"),
            "false" => self.put("False"),
            "NaN" => self.put("nan"),
            "Infinity" => self.put("inf"),
            "-Infinity" => self.put("-inf"),
            number => self.put(number),
        }
    }

    fn list(&mut self, json: &mut Cursor<'_>, level: u8) {
        self.put("[");
        let mut is_first = true;
        while json.skip_separators() && self.separate(is_first) {
            is_first = false;
            self.value(json, level + 1);
        }
        self.put("]");
    }

    fn object(&mut self, json: &mut Cursor<'_>, level: u8) {
        self.put("{");
        let mut is_first = true;
        while json.skip_separators() && self.separate(is_first) {
            is_first = false;
            self.value(json, level + 1);
            json.skip_separators();
            self.put(": ");
            self.value(json, level + 1);
        }
        self.put("}");
    }

    /// A text in single quotes, and what is too long of it cut off.
    fn quoted(&mut self, text: &str) {
        let quote = match text.contains('\'') && !text.contains('"') {
            true => '"',
            false => '\'',
        };
        self.out.push(quote);
        let mut chars = text.chars();
        for c in chars.by_ref().take(self.left) {
            match c {
                '\\' => self.out.push_str("\\\\"),
                '\n' => self.out.push_str("\\n"),
                '\r' => self.out.push_str("\\r"),
                '\t' => self.out.push_str("\\t"),
                c if c == quote => self.out.extend(['\\', c]),
                c if c.is_control() => self.out.push_str(&format!("\\x{:02x}", u32::from(c))),
                c => self.out.push(c),
            }
        }
        if chars.next().is_some() {
            self.out.push_str("...");
        }
        self.out.push(quote);
        self.left = self
            .left
            .saturating_sub(text.chars().take(LIMIT).count() + 2);
    }
}

/// The text of a JSON string; one that Python writes and Rust cannot have (half a surrogate pair) as it is written.
fn unescaped(json: &str) -> Cow<'_, str> {
    match serde_json::from_str::<String>(json) {
        Ok(text) => Cow::Owned(text),
        Err(_) => Cow::Borrowed(json.trim_matches('"')),
    }
}

/// A place in JSON that is known to be whole, or ends anywhere.
struct Cursor<'j> {
    json: &'j str,
    at: usize,
}

impl<'j> Cursor<'j> {
    fn new(json: &'j str) -> Self {
        let mut cursor = Self { json, at: 0 };
        cursor.skip_separators();
        cursor
    }

    fn rest(&self) -> &'j str {
        self.json.get(self.at..).unwrap_or_default()
    }

    /// The next byte, 0 at the end.
    fn peek(&self) -> u8 {
        self.json.as_bytes().get(self.at).copied().unwrap_or(0)
    }

    /// Goes on to the next value; false if there is none in this list or object.
    fn skip_separators(&mut self) -> bool {
        while matches!(self.peek(), b' ' | b'\t' | b'\n' | b'\r' | b',' | b':') {
            self.at += 1;
        }
        !matches!(self.peek(), 0 | b']' | b'}')
    }

    /// Takes a whole value, however deeply nested.
    fn take_value(&mut self) -> &'j str {
        let start = self.at;
        let mut depth = 0_usize;
        loop {
            match self.peek() {
                0 => break,
                b'"' => self.skip_text(),
                b'[' | b'{' => {
                    depth += 1;
                    self.at += 1;
                }
                b']' | b'}' if depth > 0 => {
                    depth -= 1;
                    self.at += 1;
                }
                b']' | b'}' => break,
                b',' | b':' | b' ' | b'\t' | b'\n' | b'\r' if depth == 0 => break,
                _ => self.at += 1,
            }
            if depth == 0 && matches!(self.json.as_bytes()[self.at - 1], b'"' | b']' | b'}') {
                break;
            }
        }
        self.json.get(start..self.at).unwrap_or_default()
    }

    fn skip_text(&mut self) {
        self.at += 1;
        loop {
            match self.peek() {
                0 => return,
                b'"' => {
                    self.at += 1;
                    return;
                }
                b'\\' => self.at = (self.at + 2).min(self.json.len()),
                _ => self.at += 1,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_look_as_in_python() {
        for (json, python) in [
            ("null", "None"),
            (" true ", "True"),
            (
                r#"{"a":null,"b":[false,1.5e3,{}]}"#,
                "{'a': None, 'b': [False, 1.5e3, {}]}",
            ),
            (r#""it's""#, r#""it's""#),
            (r#""'\"""#, r#"'\'"'"#),
            (r#""a\nb\\\u00e9\ud83d\ude00""#, r"'a\nb\\é😀'"),
            ("[[[[1],2]],[]]", "[[[[...], 2]], []]"),
            ("[NaN,-Infinity]", "[nan, -inf]"),
            (
                r#"[{"__type__":"coney.float","__value__":"NaN"},1]"#,
                "[nan, 1]",
            ),
            ("[]", "[]"),
            (r#""\ud800""#, r"'\\ud800'"),
        ] {
            assert_eq!(text(json), python, "{json}");
        }
    }

    #[test]
    fn arguments_look_as_in_python() {
        assert_eq!(args(""), "()");
        assert_eq!(args(" 2"), "(2,)");
        assert_eq!(args(r#"2, "x" ,[3]"#), "(2, 'x', [3])");
        assert_eq!(kwargs(""), "{}");
        assert_eq!(kwargs(r#""a" : {"b":null}"#), "{'a': {'b': None}}");
        let body = br#"[[1, "x"], {"k": null}, {}]"#;
        let cut = RawCall::cut(body).expect("a good body");
        assert_eq!(call(&cut), ("(1, 'x')".into(), "{'k': None}".into()));
    }

    #[test]
    fn an_exception_shows_its_arguments() {
        assert_eq!(
            exception("ValueError", &["boom".into()]),
            "ValueError('boom')"
        );
        assert_eq!(exception("E", &[]), "E()");
        assert_eq!(exception("E", &[1.into(), Json::Null]), "E(1, None)");
    }

    #[test]
    fn what_is_too_long_is_left_out_and_every_bracket_closed() {
        let long = format!(r#""{}",[1,2]"#, "x".repeat(5000));
        let shown = args(&long);
        assert!(shown.ends_with("xxx...', ...)"), "{shown}");
        assert!(shown.len() < 1040, "{}", shown.len());
        let many = vec!["[1,2,3]"; 10_000].join(",");
        let shown = args(&many);
        assert!(shown.ends_with(", ...)"), "{shown}");
        assert!(shown.len() < 1100, "{}", shown.len());
    }

    #[test]
    fn no_text_makes_it_fail() {
        for json in [
            "", "[", "{\"", "\"\\", "]", "[1,", "{\"a\":", "[\"\\ud8", "tru", "}{",
        ] {
            let _ = (text(json), args(json), kwargs(json));
        }
        let deep = "[".repeat(200_000);
        let _ = text(&deep);
    }
}
