//! Values as Python's `repr` writes them, whole: for words of a worker that programs compare. What is only for people is
//! shortened, see [`repr`](crate::repr).

use std::fmt::Write;

use serde_json::Value as Json;

/// A text in quotes.
#[must_use]
pub fn text(text: &str) -> String {
    let quote = match text.contains('\'') && !text.contains('"') {
        true => '"',
        false => '\'',
    };
    let mut out = String::with_capacity(text.len() + 2);
    out.push(quote);
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c == quote => {
                out.push('\\');
                out.push(c);
            }
            // writing to a string cannot fail
            c if c.is_control() => drop(write!(out, "\\x{:02x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push(quote);
    out
}

/// A JSON value.
#[must_use]
pub fn value(json: &Json) -> String {
    match json {
        Json::Null => "None".to_owned(),
        Json::Bool(true) => "True".to_owned(),
        Json::Bool(false) => "False".to_owned(),
        Json::Number(number) => number.to_string(),
        Json::String(string) => text(string),
        Json::Array(items) => format!("[{}]", joined(items.iter().map(value))),
        Json::Object(members) => {
            let pairs = members
                .iter()
                .map(|(key, member)| format!("{}: {}", text(key), value(member)));
            format!("{{{}}}", joined(pairs))
        }
    }
}

/// A set of texts.
#[must_use]
pub fn set<S: AsRef<str>>(items: impl IntoIterator<Item = S>) -> String {
    match joined(items.into_iter().map(|item| text(item.as_ref()))) {
        empty if empty.is_empty() => "set()".to_owned(),
        items => format!("{{{items}}}"),
    }
}

fn joined(items: impl Iterator<Item = String>) -> String {
    items.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn texts_are_quoted_as_in_python() {
        assert_eq!(text("x"), "'x'");
        assert_eq!(text("it's"), "\"it's\"");
        assert_eq!(text("it's \"x\""), r#"'it\'s "x"'"#);
        assert_eq!(text("a\n\\\u{1}ü"), r"'a\n\\\x01ü'");
    }

    #[test]
    fn values_look_as_in_python() {
        let json = json!({"a": [null, true, 1.0, "x"], "b": {}});
        assert_eq!(value(&json), "{'a': [None, True, 1.0, 'x'], 'b': {}}");
        assert_eq!(set(["a", "b"]), "{'a', 'b'}");
        assert_eq!(set::<&str>([]), "set()");
    }
}
