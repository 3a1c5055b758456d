//! Celery's typed JSON values: an object with exactly the keys `__type__` and `__value__`.
//!
//! Python's times, decimals, UUIDs and bytes travel in such objects (`kombu/utils/json.py`). They are read as what a
//! Rust type expects in their place:
//!
//! | `__type__` | read as |
//! |---|---|
//! | `datetime`, `date`, `time`, `decimal` | its text |
//! | `uuid` | its text with hyphens |
//! | `bytes`, `base64` | bytes: also as a sequence of `u8`, or as text where that is asked for and the bytes are UTF-8 |
//!
//! What takes any JSON (`serde_json::Value`, `Box<RawValue>`) gets the object as it is.
//!
//! Python also writes the bare words `NaN`, `Infinity` and `-Infinity`, which are no JSON. In a body that was read they
//! are typed values of the type `coney.float`, which are read as floats, and when it is sent on they are words again.

use std::borrow::Cow;
use std::cell::Cell;
use std::fmt;

use base64::prelude::{BASE64_STANDARD, Engine};
use serde::Deserialize;
use serde::de::value::SeqDeserializer;
use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, Error as _, IntoDeserializer,
    MapAccess, SeqAccess, VariantAccess, Visitor,
};
use serde_json::Error;
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::codec::words;

/// Reads a value from JSON, typed values among it.
///
/// Plain JSON costs nothing extra: only what `T` refuses is read again with an eye on typed values.
///
/// # Errors
///
/// When the JSON is no `T`, when a typed value is not what its type says, or has a type that Celery does not know.
pub fn from_raw<T: DeserializeOwned>(raw: &RawValue) -> Result<T, Error> {
    serde_json::from_str(raw.get()).or_else(|error| {
        if raw.get().contains(TYPE) {
            from_typed(raw, error)
        } else {
            Err(error)
        }
    })
}

const TYPE: &str = "__type__";
const VALUE: &str = "__value__";

/// How deep JSON may be nested, as in `serde_json`.
const DEPTH: u8 = 128;

/// How `serde_json` asks for a raw value; a test keeps watch over it.
const RAW_VALUE: &str = "$serde_json::private::RawValue";

#[cold]
fn from_typed<T: DeserializeOwned>(raw: &RawValue, untyped: Error) -> Result<T, Error> {
    let found = Cell::new(false);
    let json = Typed {
        raw,
        depth: DEPTH,
        found: &found,
    };
    // without a typed value in the way the first error is the better one: it knows the place in the whole text
    T::deserialize(json).map_err(|typed| if found.get() { typed } else { untyped })
}

/// JSON in which typed values look like what they stand for.
#[derive(Clone, Copy)]
struct Typed<'de, 'c> {
    raw: &'de RawValue,
    depth: u8,
    found: &'c Cell<bool>,
}

/// What a typed value stands for.
enum Meaning<'de> {
    /// A JSON string.
    Text(&'de RawValue),
    Uuid(Uuid),
    Bytes(Vec<u8>),
    Float(f64),
}

impl<'de> Typed<'de, '_> {
    /// The same with one level less to go.
    fn inner(self) -> Result<Self, Error> {
        let depth = self
            .depth
            .checked_sub(1)
            .ok_or_else(|| Error::custom("recursion limit exceeded"))?;
        Ok(Self { depth, ..self })
    }

    /// JSON of `serde_json`'s own, for what holds no typed value.
    fn plain(self) -> serde_json::Deserializer<serde_json::de::StrRead<'de>> {
        serde_json::Deserializer::from_str(self.raw.get())
    }

    fn starts_with(self, byte: u8) -> bool {
        self.raw.get().as_bytes().first() == Some(&byte)
    }

    fn meaning(self) -> Result<Option<Meaning<'de>>, Error> {
        if !self.starts_with(b'{') {
            return Ok(None);
        }
        let Ok(Envelope { name, value }) = serde_json::from_str(self.raw.get()) else {
            return Ok(None);
        };
        self.found.set(true);
        let name: Cow<'_, str> = match serde_json::from_str(name.get()) {
            Ok(Text(name)) => name,
            Err(_) => Cow::Borrowed(name.get()),
        };
        let text = || serde_json::from_str::<Text<'_>>(value.get()).map(|text| text.0);
        let meaning = match &*name {
            "datetime" | "date" | "time" | "decimal" => {
                text().map_err(|e| invalid(&name, &e))?;
                Meaning::Text(value)
            }
            "uuid" => {
                let Hex { hex } =
                    serde_json::from_str(value.get()).map_err(|e| invalid(&name, &e))?;
                Meaning::Uuid(Uuid::try_parse(&hex.0).map_err(|e| invalid(&name, &e))?)
            }
            "bytes" => {
                let text = text().map_err(|e| invalid(&name, &e))?;
                Meaning::Bytes(text.into_owned().into_bytes())
            }
            "base64" => {
                let text = text().map_err(|e| invalid(&name, &e))?;
                let bytes = BASE64_STANDARD.decode(&*text);
                Meaning::Bytes(bytes.map_err(|e| invalid(&name, &e))?)
            }
            words::FLOAT => {
                let word = text().map_err(|e| invalid(&name, &e))?;
                let float = words::float(&word);
                Meaning::Float(float.ok_or_else(|| invalid(&name, &word))?)
            }
            unknown => {
                return Err(Error::custom(format_args!(
                    "unknown `__type__` of a typed value: `{unknown}`"
                )));
            }
        };
        Ok(Some(meaning))
    }
}

fn invalid(name: &str, error: &dyn fmt::Display) -> Error {
    Error::custom(format_args!("not a typed value of type `{name}`: {error}"))
}

/// A text, borrowed unless it contains escapes.
struct Text<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor;

        impl<'de> Visitor<'de> for TextVisitor {
            type Value = Text<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }

        deserializer.deserialize_str(TextVisitor)
    }
}

#[derive(Deserialize)]
struct Hex<'a> {
    #[serde(borrow)]
    hex: Text<'a>,
}

/// An object with exactly the two keys, each as often as one likes (in Python the last one counts).
struct Envelope<'a> {
    name: &'a RawValue,
    value: &'a RawValue,
}

impl<'de: 'a, 'a> Deserialize<'de> for Envelope<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct EnvelopeVisitor;

        impl<'de> Visitor<'de> for EnvelopeVisitor {
            type Value = Envelope<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a typed value")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let (mut name, mut value) = (None, None);
                while let Some(Text(key)) = map.next_key()? {
                    match &*key {
                        TYPE => name = Some(map.next_value()?),
                        VALUE => value = Some(map.next_value()?),
                        // ends the reading at the first other key, however long the object is
                        _ => return Err(A::Error::custom("no typed value")),
                    }
                }
                match (name, value) {
                    (Some(name), Some(value)) => Ok(Envelope { name, value }),
                    _ => Err(A::Error::custom("no typed value")),
                }
            }
        }

        deserializer.deserialize_map(EnvelopeVisitor)
    }
}

/// Scalars: what stands for one is handed over, and all else is left to `serde_json`, with every digit of a number.
macro_rules! scalars {
    ($($method:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            match self.meaning()? {
                None => self.plain().$method(visitor),
                Some(Meaning::Text(text)) => {
                    serde_json::Deserializer::from_str(text.get()).$method(visitor)
                }
                Some(Meaning::Uuid(uuid)) => visitor.visit_string(uuid.to_string()),
                Some(Meaning::Float(float)) => visitor.visit_f64(float),
                Some(Meaning::Bytes(bytes)) => match String::from_utf8(bytes) {
                    Ok(text) => visitor.visit_string(text),
                    Err(not_text) => visitor.visit_byte_buf(not_text.into_bytes()),
                },
            }
        }
    )*};
}

impl<'de> Deserializer<'de> for Typed<'de, '_> {
    type Error = Error;

    scalars! {
        deserialize_bool deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_i128
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128
        deserialize_f32 deserialize_f64 deserialize_char deserialize_str deserialize_string
        deserialize_identifier deserialize_unit
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.meaning()? {
            // one form for all bytes, whether they happen to be text or not: every reader of bytes takes a sequence
            Some(Meaning::Bytes(bytes)) => visitor.visit_seq(sequence(bytes)),
            Some(Meaning::Uuid(uuid)) => visitor.visit_string(uuid.to_string()),
            Some(Meaning::Float(float)) => visitor.visit_f64(float),
            Some(Meaning::Text(text)) => {
                serde_json::Deserializer::from_str(text.get()).deserialize_any(visitor)
            }
            None => self.plain().deserialize_any(Inside::of(self, visitor)?),
        }
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.meaning()? {
            Some(Meaning::Bytes(bytes)) => visitor.visit_byte_buf(bytes),
            Some(_) => self.deserialize_str(visitor),
            None => self.plain().deserialize_bytes(Inside::of(self, visitor)?),
        }
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_bytes(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.raw.get() == "null" {
            visitor.visit_none()
        } else {
            visitor.visit_some(self)
        }
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.deserialize_unit(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        if name == RAW_VALUE {
            self.plain().deserialize_newtype_struct(name, visitor)
        } else {
            visitor.visit_newtype_struct(self)
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        match self.meaning()? {
            None => {
                let inside = Inside::of(self, visitor)?;
                self.plain().deserialize_enum(name, variants, inside)
            }
            Some(Meaning::Text(text)) => serde_json::Deserializer::from_str(text.get())
                .deserialize_enum(name, variants, visitor),
            Some(Meaning::Uuid(uuid)) => visitor.visit_enum(
                IntoDeserializer::<Error>::into_deserializer(uuid.to_string()),
            ),
            Some(Meaning::Bytes(_)) => Err(Error::custom("invalid type: bytes, expected an enum")),
            Some(Meaning::Float(_)) => {
                Err(Error::custom("invalid type: a float, expected an enum"))
            }
        }
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_any(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.deserialize_any(visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.deserialize_any(visitor)
    }

    // JSON says itself whether it is a list or an object, and the visitor refuses what it does not expect
    serde::forward_to_deserialize_any! { seq map }
}

fn sequence(bytes: Vec<u8>) -> SeqDeserializer<std::vec::IntoIter<u8>, Error> {
    SeqDeserializer::new(bytes.into_iter())
}

/// A visitor, list, object or variant of which all parts are read as [`Typed`].
struct Inside<'c, T> {
    this: T,
    depth: u8,
    found: &'c Cell<bool>,
}

impl<'c, T> Inside<'c, T> {
    /// One level inside `json`.
    fn of(json: Typed<'_, 'c>, this: T) -> Result<Self, Error> {
        let Typed { depth, found, .. } = json.inner()?;
        Ok(Self { this, depth, found })
    }

    /// The same level, of another kind.
    fn with<U>(&self, this: U) -> Inside<'c, U> {
        Inside {
            this,
            depth: self.depth,
            found: self.found,
        }
    }

    fn typed<'de>(&self, raw: &'de RawValue) -> Typed<'de, 'c> {
        Typed {
            raw,
            depth: self.depth,
            found: self.found,
        }
    }
}

macro_rules! visit_unchanged {
    ($($method:ident($ty:ty))*) => {$(
        fn $method<E: serde::de::Error>(self, value: $ty) -> Result<V::Value, E> {
            self.this.$method(value)
        }
    )*};
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Inside<'_, V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.this.expecting(f)
    }

    visit_unchanged! {
        visit_bool(bool) visit_i64(i64) visit_i128(i128) visit_u64(u64) visit_u128(u128) visit_f64(f64)
        visit_str(&str) visit_borrowed_str(&'de str) visit_string(String)
        visit_bytes(&[u8]) visit_borrowed_bytes(&'de [u8]) visit_byte_buf(Vec<u8>)
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<V::Value, E> {
        self.this.visit_unit()
    }

    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<V::Value, A::Error> {
        let items = self.with(items);
        self.this.visit_seq(items)
    }

    fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<V::Value, A::Error> {
        let members = self.with(members);
        self.this.visit_map(members)
    }

    fn visit_enum<A: EnumAccess<'de>>(self, variant: A) -> Result<V::Value, A::Error> {
        let variant = self.with(variant);
        self.this.visit_enum(variant)
    }
}

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for Inside<'_, A> {
    type Error = A::Error;

    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, A::Error> {
        match self.this.next_element::<&RawValue>()? {
            Some(raw) => seed.deserialize(self.typed(raw)).map(Some),
            None => Ok(None),
        }
        .map_err(A::Error::custom)
    }

    fn size_hint(&self) -> Option<usize> {
        self.this.size_hint()
    }
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Inside<'_, A> {
    type Error = A::Error;

    fn next_key_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, A::Error> {
        self.this.next_key_seed(seed)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, A::Error> {
        let raw = self.this.next_value::<&RawValue>()?;
        seed.deserialize(self.typed(raw)).map_err(A::Error::custom)
    }

    fn size_hint(&self) -> Option<usize> {
        self.this.size_hint()
    }
}

impl<'de, 'c, A: EnumAccess<'de>> EnumAccess<'de> for Inside<'c, A> {
    type Error = A::Error;
    type Variant = Inside<'c, A::Variant>;

    fn variant_seed<S: DeserializeSeed<'de>>(
        self,
        seed: S,
    ) -> Result<(S::Value, Self::Variant), A::Error> {
        let Self { this, depth, found } = self;
        let (name, this) = this.variant_seed(seed)?;
        Ok((name, Inside { this, depth, found }))
    }
}

impl<'de, A: VariantAccess<'de>> VariantAccess<'de> for Inside<'_, A> {
    type Error = A::Error;

    fn unit_variant(self) -> Result<(), A::Error> {
        self.this.unit_variant()
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, A::Error> {
        let Self { this, depth, found } = self;
        let raw = this.newtype_variant::<&RawValue>()?;
        let json = Typed { raw, depth, found };
        seed.deserialize(json).map_err(A::Error::custom)
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, A::Error> {
        let Self { this, depth, found } = self;
        let raw = this.newtype_variant::<&RawValue>()?;
        let json = Typed { raw, depth, found };
        json.deserialize_any(visitor).map_err(A::Error::custom)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, A::Error> {
        self.tuple_variant(fields.len(), visitor)
    }
}
