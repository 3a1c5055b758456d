//! The words `NaN`, `Infinity` and `-Infinity`, which Python writes into JSON although JSON does not have them.
//!
//! While a body is in this program, a typed value stands for each of them, as one does for Python's times: a float is
//! read from it, and what takes any JSON gets the object and hands it on. When it leaves, the word is back. So nothing is
//! changed that is only passed on.

use std::borrow::Cow;

use bytes::Bytes;

/// The name of the typed value.
pub(crate) const FLOAT: &str = "coney.float";

/// Each word with what stands for it, the longest first.
const WORDS: [(&str, &str); 3] = [
    (
        "-Infinity",
        r#"{"__type__":"coney.float","__value__":"-Infinity"}"#,
    ),
    (
        "Infinity",
        r#"{"__type__":"coney.float","__value__":"Infinity"}"#,
    ),
    ("NaN", r#"{"__type__":"coney.float","__value__":"NaN"}"#),
];

/// The float that a word means.
pub(crate) fn float(word: &str) -> Option<f64> {
    match word {
        "NaN" => Some(f64::NAN),
        "Infinity" => Some(f64::INFINITY),
        "-Infinity" => Some(f64::NEG_INFINITY),
        _ => None,
    }
}

/// The word that Python writes for a float that JSON does not have.
#[cfg(feature = "msgpack")]
pub(crate) fn of(float: f64) -> Option<&'static str> {
    if float.is_finite() {
        return None;
    }
    Some(match (float.is_nan(), float > 0.0) {
        (true, _) => "NaN",
        (false, true) => "Infinity",
        (false, false) => "-Infinity",
    })
}

/// The word that JSON starts with a typed value for, and how long that is.
pub(crate) fn at_start(json: &str) -> Option<(&'static str, usize)> {
    let (word, typed) = WORDS.iter().find(|(_, typed)| json.starts_with(typed))?;
    Some((word, typed.len()))
}

/// Puts typed values for the words of a JSON text; `None` if it has more than `limit` bytes then. What is no text is left
/// to who reads it.
pub(crate) fn escape(json: Bytes, limit: usize) -> Option<Bytes> {
    match text_with_words(&json) {
        Some(text) => escaped(text, limit).map(Bytes::from),
        None => Some(json),
    }
}

/// The same for a text of any length.
pub(crate) fn escape_in(json: &[u8]) -> Cow<'_, [u8]> {
    let escaped = text_with_words(json).and_then(|text| escaped(text, usize::MAX));
    escaped.map_or(json.into(), |text| text.into_bytes().into())
}

/// The text, if one of the words may stand in it.
fn text_with_words(json: &[u8]) -> Option<&str> {
    // one look at each byte settles it for most
    if !json.contains(&b'N') && !json.contains(&b'I') {
        return None;
    }
    let text = std::str::from_utf8(json).ok()?;
    (text.contains("NaN") || text.contains("Infinity")).then_some(text)
}

fn escaped(json: &str, limit: usize) -> Option<String> {
    let words = json.matches("NaN").count() + json.matches("Infinity").count();
    // no more than this is needed, whether the words stand in strings or not
    let most = json
        .len()
        .saturating_add(words.saturating_mul(WORDS[0].1.len()));
    let mut out = String::with_capacity(most.min(limit));
    let mut rest = json;
    // strings and what is between them take turns
    while let Some(quote) = rest.find('"') {
        if out.len() > limit {
            return None;
        }
        let (between, text) = rest.split_at(quote);
        replace_words(between, &mut out);
        let (text, after) = text.split_at(end_of_text(text));
        out.push_str(text);
        rest = after;
    }
    replace_words(rest, &mut out);
    (out.len() <= limit).then_some(out)
}

fn replace_words(mut rest: &str, out: &mut String) {
    while let Some(at) = rest.find(['N', 'I', '-']) {
        let (before, from) = rest.split_at(at);
        out.push_str(before);
        let found = WORDS.iter().find(|(word, _)| from.starts_with(word));
        let (put, skip) = match found {
            Some((word, typed)) => (*typed, word.len()),
            None => (&from[..1], 1),
        };
        out.push_str(put);
        rest = &from[skip..];
    }
    out.push_str(rest);
}

/// Where the string ends that `json` starts with.
fn end_of_text(json: &str) -> usize {
    let mut is_escaped = false;
    for (at, byte) in json.bytes().enumerate().skip(1) {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = true,
            b'"' => return at + 1,
            _ => {}
        }
    }
    json.len()
}

/// Puts the words back for the typed values of a JSON text.
///
/// The quotes of the typed value cannot stand in a string unescaped, so it is found without reading the JSON.
pub(crate) fn restore(json: Bytes) -> Bytes {
    match std::str::from_utf8(&json) {
        Ok(text) if text.contains(FLOAT) => {
            let mut text = text.to_owned();
            for (word, typed) in WORDS {
                text = text.replace(typed, word);
            }
            text.into()
        }
        _ => json,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn there_and_back(json: &str) -> String {
        let escaped = escape(Bytes::copy_from_slice(json.as_bytes()), 1000).expect("short");
        assert!(
            serde_json::from_slice::<serde_json::Value>(&escaped).is_ok(),
            "{json}"
        );
        String::from_utf8(restore(escaped).to_vec()).expect("text")
    }

    #[test]
    fn words_are_json_in_here_and_words_out_there() {
        for json in [
            "NaN",
            "[NaN, Infinity,-Infinity, -1, {\"a\":NaN}]",
            r#"["NaN", "a\"NaN,Infinity", "\\", NaN, "Infinity"]"#,
            "[1,2,\"no word\"]",
        ] {
            assert_eq!(there_and_back(json), json);
        }
    }

    #[test]
    fn a_body_of_words_does_not_grow_beyond_the_limit() {
        for json in ["[NaN,NaN]", "[NaN,\"NaN\"]"] {
            let json = Bytes::copy_from_slice(json.as_bytes());
            assert_eq!(escape(json, 50), None);
        }
    }

    #[test]
    fn other_nonsense_stays_what_it_is() {
        for json in ["NaN\"", "\"", "[-Inf, Na, N]", "\"\\", "é\"NaN", "-"] {
            let escaped = escape(Bytes::copy_from_slice(json.as_bytes()), 1000).expect("short");
            let back = restore(escaped);
            assert_eq!(std::str::from_utf8(&back), Ok(json));
        }
        let bytes = Bytes::from_static(b"\xffNaN");
        assert_eq!(escape(bytes.clone(), 10), Some(bytes));
    }
}
