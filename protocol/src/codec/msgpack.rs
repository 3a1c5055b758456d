//! MessagePack, as an alternative to JSON on the wire: it becomes JSON when it is read, and is made of JSON when it is
//! written, so that nothing else has to know of it.
//!
//! Bytes become a typed value, as Python's JSON has them; keys that are no text become text. What MessagePack calls an
//! extension is refused. Integers that need more than 64 bits have no form in MessagePack and become floats.

use std::fmt;

use base64::prelude::{BASE64_STANDARD, Engine};
use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::Value as Json;

use crate::codec::words;
use crate::error::DecodeError;

/// How deep a body may be nested, as in `serde_json`.
const DEPTH: usize = 128;

/// The JSON text of a MessagePack body.
pub(crate) fn to_json(bytes: &[u8], limit: usize) -> Result<Vec<u8>, DecodeError> {
    let mut json = Writer {
        out: Vec::with_capacity(bytes.len().saturating_mul(2).min(limit)),
        limit,
        is_full: false,
    };
    let mut rest = bytes;
    let mut source = rmp_serde::Deserializer::new(&mut rest);
    source.set_max_depth(DEPTH);
    let read = AnyValue(&mut json).deserialize(&mut source);
    drop(source);
    if json.is_full {
        return Err(DecodeError::TooLarge { limit });
    }
    let whole = match read {
        Ok(()) if rest.is_empty() => Ok(json.out),
        Ok(()) => Err("there is more behind its end".to_owned()),
        Err(error) => Err(error.to_string()),
    };
    whole.map_err(|why| DecodeError::Body(serde_json::Error::custom(why)))
}

/// The MessagePack form of a JSON text.
pub(crate) fn of_json(json: &[u8]) -> Option<Vec<u8>> {
    let value: Json = serde_json::from_slice(json).ok()?;
    rmp_serde::to_vec(&value).ok()
}

/// JSON that is written, and how long it may become.
struct Writer {
    out: Vec<u8>,
    limit: usize,
    is_full: bool,
}

impl Writer {
    fn put<E: serde::de::Error>(&mut self, json: &[u8]) -> Result<(), E> {
        if self.out.len() + json.len() > self.limit {
            self.is_full = true;
            return Err(E::custom("too large"));
        }
        self.out.extend_from_slice(json);
        Ok(())
    }

    fn text<E: serde::de::Error>(&mut self, text: &str) -> Result<(), E> {
        let json = serde_json::to_vec(text).map_err(E::custom)?;
        self.put(&json)
    }
}

/// Any value, written as JSON.
struct AnyValue<'w>(&'w mut Writer);

impl<'de> DeserializeSeed<'de> for AnyValue<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for AnyValue<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value that JSON has as well")
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<(), E> {
        self.0.put(b"null")
    }

    fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<(), E> {
        self.0.put(if value { b"true" } else { b"false" })
    }

    fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<(), E> {
        self.0.put(number.to_string().as_bytes())
    }

    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<(), E> {
        self.0.put(number.to_string().as_bytes())
    }

    fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<(), E> {
        match words::of(number) {
            Some(word) => self.0.put(word.as_bytes()),
            None => {
                let json = serde_json::to_vec(&number).map_err(E::custom)?;
                self.0.put(&json)
            }
        }
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<(), E> {
        self.0.text(text)
    }

    fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<(), E> {
        let text = BASE64_STANDARD.encode(bytes);
        let json = format!(r#"{{"__type__":"base64","__value__":"{text}"}}"#);
        self.0.put(json.as_bytes())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        self.0.put(b"[")?;
        let start = self.0.out.len();
        loop {
            let before = self.0.out.len();
            if before > start {
                self.0.put(b",")?;
            }
            if items.next_element_seed(AnyValue(self.0))?.is_none() {
                self.0.out.truncate(before);
                return self.0.put(b"]");
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        self.0.put(b"{")?;
        let start = self.0.out.len();
        loop {
            let before = self.0.out.len();
            if before > start {
                self.0.put(b",")?;
            }
            if members.next_key_seed(Key(self.0))?.is_none() {
                self.0.out.truncate(before);
                return self.0.put(b"}");
            }
            self.0.put(b":")?;
            members.next_value_seed(AnyValue(self.0))?;
        }
    }
}

/// A key, written as a JSON string.
struct Key<'w>(&'w mut Writer);

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Visitor<'_> for Key<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<(), E> {
        self.0.text(&number.to_string())
    }

    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<(), E> {
        self.0.text(&number.to_string())
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<(), E> {
        self.0.text(text)
    }

    fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<(), E> {
        self.0.text(&String::from_utf8_lossy(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(bytes: &[u8]) -> Result<String, DecodeError> {
        to_json(bytes, 1000).map(|json| String::from_utf8(json).expect("text"))
    }

    #[test]
    fn json_there_and_back_is_the_same() {
        for text in [
            r#"[[2,3],{},{"callbacks":null,"chain":[]}]"#,
            r#"{"a":[true,false,null,-5,18446744073709551615,1.5,"é\n\"",{}]}"#,
        ] {
            let packed = of_json(text.as_bytes()).expect("packed");
            assert_eq!(json(&packed).expect("JSON"), text);
        }
    }

    #[test]
    fn what_only_messagepack_has_becomes_what_python_writes_into_json() {
        assert_eq!(
            json(b"\xc4\x02\xff\x00").expect("bytes"),
            r#"{"__type__":"base64","__value__":"/wA="}"#
        );
        assert_eq!(
            json(b"\x81\x05\xc0").expect("a number as key"),
            r#"{"5":null}"#
        );
        assert_eq!(json(b"\xcb\x7f\xf8\0\0\0\0\0\0").expect("no number"), "NaN");
    }

    #[test]
    fn what_is_no_messagepack_is_refused() {
        let deep = [0x91; 1000];
        for bytes in [
            &b""[..],
            b"\x92\x01",
            b"\x01\x02",
            b"\xd4\x01\x00",
            b"\xc1",
            b"\x81\xc0\xc0",
            &deep,
        ] {
            assert!(
                matches!(json(bytes), Err(DecodeError::Body(_))),
                "{bytes:?}"
            );
        }
    }

    #[test]
    fn a_body_does_not_grow_beyond_the_limit() {
        let many = [&b"\xdc\x03\xe8"[..], &[0xc2; 1000]].concat();
        assert!(matches!(
            json(&many),
            Err(DecodeError::TooLarge { limit: 1000 })
        ));
    }
}
