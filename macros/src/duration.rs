//! Durations as text, checked while the program is compiled.

use std::time::Duration;

use jiff::fmt::friendly::SpanParser;
use proc_macro2::TokenStream;
use quote::quote;
use syn::LitStr;

/// Whether a duration of zero has a meaning.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Zero {
    /// "At once".
    Allowed,
    /// Nothing anyone can want.
    Refused,
}

/// Reads a duration such as `"30s"` or `"1h 30m"`.
pub(crate) fn parse(literal: &LitStr, zero: Zero) -> syn::Result<Duration> {
    read(literal.value().trim(), zero).map_err(|problem| syn::Error::new(literal.span(), problem))
}

fn read(text: &str, zero: Zero) -> Result<Duration, String> {
    if text.is_empty() {
        return Err(format!("a duration cannot be empty: {EXAMPLES}"));
    }
    if text
        .bytes()
        .all(|byte| matches!(byte, b'0'..=b'9' | b'.' | b'_'))
    {
        return Err(format!(
            "`{text}` has no unit: did you mean \"{text}s\"? {EXAMPLES}"
        ));
    }
    let Ok(duration) = SpanParser::new().parse_duration(text) else {
        return Err(why_not(text));
    };
    match Duration::try_from(duration) {
        Err(_) => Err(format!(
            "`{text}` is in the past: a duration counts from now on"
        )),
        Ok(Duration::ZERO) if zero == Zero::Refused => Err(format!(
            "`{text}` is no time at all: a duration above zero is needed here"
        )),
        Ok(duration) => Ok(duration),
    }
}

const EXAMPLES: &str = "write \"250ms\", \"30s\", \"1m 30s\" or \"1.5h\"";

/// Says why a text is no duration: a calendar unit, too long, or nothing of this form.
fn why_not(text: &str) -> String {
    let parser = SpanParser::new();
    // smaller numbers of the same units: if those fit, only the amount was wrong
    let small = text
        .split(|c: char| c.is_ascii_digit())
        .filter(|piece| !piece.is_empty())
        .map(|piece| format!("1{piece}"))
        .collect::<String>();
    if parser.parse_duration(&small).is_ok() {
        format!("`{text}` is too long for a duration")
    } else if parser.parse_span(&small).is_ok() {
        format!("`{text}` has calendar units, whose length varies: write hours, such as \"48h\"")
    } else {
        format!("`{text}` is not a duration: {EXAMPLES}")
    }
}

/// The duration as a constant expression.
pub(crate) fn expand(duration: Duration, private: &TokenStream) -> TokenStream {
    let (seconds, nanos) = (duration.as_secs(), duration.subsec_nanos());
    quote!(#private::core::time::Duration::new(#seconds, #nanos))
}
