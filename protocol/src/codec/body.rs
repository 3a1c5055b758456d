//! The body of a task message: `[args, kwargs, embed]`, cut into raw pieces without looking inside them.
//!
//! The pieces stay JSON text until the task's own types ask for them, so that routing and retrying cost no decoding
//! (Celery protocol 2: <https://docs.celeryq.dev/en/stable/internals/protocol.html#version-2>).

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::error::DecodeError;

/// The pieces of a body.
#[derive(Clone, Debug, Default)]
pub struct RawCall<'a> {
    /// Arguments by position.
    pub args: Vec<&'a RawValue>,
    /// Arguments by name.
    pub kwargs: Vec<(Cow<'a, str>, &'a RawValue)>,
    /// What shall follow.
    pub embed: Embed<'a>,
}

/// What shall follow when the task has ended, as Celery embeds it in the body.
#[derive(Clone, Copy, Debug, Default)]
pub struct Embed<'a> {
    /// Signatures to send after success.
    pub callbacks: Option<&'a RawValue>,
    /// Signatures to send after failure.
    pub errbacks: Option<&'a RawValue>,
    /// The remaining steps of a chain, the last one first.
    pub chain: Option<&'a RawValue>,
    /// The body of the chord that the task is a part of.
    pub chord: Option<&'a RawValue>,
}

impl Embed<'_> {
    /// True when nothing follows.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        [self.callbacks, self.errbacks, self.chain, self.chord]
            .iter()
            .all(Option::is_none)
    }
}

impl<'a> RawCall<'a> {
    /// Cuts a body into its pieces.
    ///
    /// # Errors
    ///
    /// [`DecodeError::Body`] when it is not a JSON array of a list, an object and an object.
    pub fn cut(body: &'a [u8]) -> Result<Self, DecodeError> {
        serde_json::from_slice::<Layout<'a>>(body)
            .map(|layout| layout.0)
            .map_err(DecodeError::Body)
    }
}

struct Layout<'a>(RawCall<'a>);

impl<'de: 'a, 'a> Deserialize<'de> for Layout<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(LayoutVisitor)
    }
}

struct LayoutVisitor;

impl<'de> Visitor<'de> for LayoutVisitor {
    type Value = Layout<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of arguments, named arguments and embedded options")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        use serde::de::Error;
        let args = seq
            .next_element()?
            .ok_or_else(|| A::Error::invalid_length(0, &self))?;
        let Pairs(kwargs) = seq
            .next_element()?
            .ok_or_else(|| A::Error::invalid_length(1, &self))?;
        let embed = seq
            .next_element()?
            .ok_or_else(|| A::Error::invalid_length(2, &self))?;
        if seq.next_element::<serde::de::IgnoredAny>()?.is_some() {
            return Err(A::Error::invalid_length(4, &self));
        }
        Ok(Layout(RawCall {
            args,
            kwargs,
            embed: Embed::read(embed).map_err(A::Error::custom)?,
        }))
    }
}

/// The embedded options of a call that nothing follows, as coney writes them.
pub(crate) const NOTHING_FOLLOWS: &str =
    r#"{"callbacks":null,"errbacks":null,"chain":null,"chord":null}"#;

/// The same as Python writes it.
const NOTHING_FOLLOWS_IN_PYTHON: &str =
    r#"{"callbacks": null, "errbacks": null, "chain": null, "chord": null}"#;

impl<'a> Embed<'a> {
    fn read(raw: &'a RawValue) -> Result<Self, serde_json::Error> {
        // what most calls have need not be taken apart
        if let NOTHING_FOLLOWS | NOTHING_FOLLOWS_IN_PYTHON = raw.get() {
            return Ok(Self::default());
        }
        let Pairs(members) = serde_json::from_str(raw.get())?;
        Ok(Self::from_pairs(&members))
    }

    /// Reads the four known members; null and an empty list mean the same as none. Unknown members are ignored.
    fn from_pairs(pairs: &[(Cow<'a, str>, &'a RawValue)]) -> Self {
        let member = |name: &str| {
            let (_, raw) = pairs.iter().find(|(key, _)| key == name)?;
            let text = raw.get();
            let is_empty_list = text
                .strip_prefix('[')
                .and_then(|rest| rest.strip_suffix(']'))
                .is_some_and(|inner| inner.trim().is_empty());
            (text != "null" && !is_empty_list).then_some(*raw)
        };
        Self {
            callbacks: member("callbacks"),
            errbacks: member("errbacks"),
            chain: member("chain"),
            chord: member("chord"),
        }
    }
}

/// The members of a JSON object in order, values uncut; the last one counts where a name stands twice.
#[derive(Default)]
pub(crate) struct Pairs<'a>(pub(crate) Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Pairs<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(PairsVisitor)
    }
}

/// Up to so many members are compared one by one; more would take time by the square of their number.
const FEW: usize = 16;

struct PairsVisitor;

impl<'de> Visitor<'de> for PairsVisitor {
    type Value = Pairs<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut pairs: Vec<(Cow<'de, str>, &'de RawValue)> = Vec::new();
        let mut index = HashMap::new();
        while let Some((Key(key), value)) = map.next_entry::<Key<'de>, &'de RawValue>()? {
            let known = if pairs.len() < FEW {
                pairs.iter().position(|(known, _)| *known == key)
            } else {
                if index.is_empty() {
                    let places = pairs.iter().enumerate();
                    index.extend(places.map(|(at, (known, _))| (known.clone(), at)));
                }
                index.get(&key).copied()
            };
            if let Some(at) = known {
                pairs[at].1 = value;
                continue;
            }
            if !index.is_empty() {
                index.insert(key.clone(), pairs.len());
            }
            pairs.push((key, value));
        }
        Ok(Pairs(pairs))
    }
}

/// An object key, borrowed unless it contains escapes.
struct Key<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Key<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(KeyVisitor).map(Key)
    }
}

struct KeyVisitor;

impl<'de> Visitor<'de> for KeyVisitor {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(text))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_cut_into_raw_pieces() {
        let body = br#" [[1, "a"], {"x": {"y": [1]}, "\u007a": 2}, {"chain": [{"task": "t"}], "callbacks": [ ]}] "#;
        let call = RawCall::cut(body).expect("a good body");
        let args: Vec<_> = call.args.iter().map(|raw| raw.get()).collect();
        assert_eq!(args, ["1", "\"a\""]);
        let names: Vec<_> = call.kwargs.iter().map(|(name, _)| &**name).collect();
        assert_eq!(names, ["x", "z"]);
        assert!(call.embed.callbacks.is_none());
        assert_eq!(
            call.embed.chain.map(RawValue::get),
            Some(r#"[{"task": "t"}]"#)
        );
    }

    #[test]
    fn what_kills_a_python_worker_is_an_error_here() {
        for body in [
            "",
            "{}",
            "[[1,2]]",
            "[[],{}]",
            "[{},[],{}]",
            "[[],{},{},1]",
            "[1,2,3]",
            "null",
        ] {
            assert!(RawCall::cut(body.as_bytes()).is_err(), "{body}");
        }
    }

    #[test]
    fn a_million_names_are_read_in_time_and_the_last_of_two_counts() {
        let mut body = String::from("[[],{");
        for n in 0..1_000_000 {
            body.push_str(&format!("\"n{n}\":{n},"));
        }
        body.push_str("\"n3\":\"again\",\"n999999\":\"again\"},{}]");
        let call = RawCall::cut(body.as_bytes()).expect("a good body");
        assert_eq!(call.kwargs.len(), 1_000_000);
        let again: Vec<_> = [3, 999_999]
            .map(|at: usize| call.kwargs[at].1.get())
            .to_vec();
        assert_eq!(again, ["\"again\"", "\"again\""]);
    }

    #[test]
    fn a_deeply_nested_body_is_cut_without_recursion() {
        let deep = format!(
            "[[{}1{}], {{}}, {{}}]",
            "[".repeat(100_000),
            "]".repeat(100_000)
        );
        // the cut itself skips values iteratively; the typed decode has a limit of its own
        let _ = RawCall::cut(deep.as_bytes());
    }
}
