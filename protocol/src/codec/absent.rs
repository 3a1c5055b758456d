//! An argument that is not there: only an `Option` can be made of it.
//!
//! That is how a task grows a parameter while calls of its earlier form are still queued.

use serde::de::value::Error;
use serde::de::{DeserializeOwned, Deserializer, Error as _, Visitor};

/// The value that stands for "not there", if the type has one.
#[must_use]
pub fn value<T: DeserializeOwned>() -> Option<T> {
    T::deserialize(Absent).ok()
}

struct Absent;

impl<'de> Deserializer<'de> for Absent {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Error> {
        Err(Error::custom("missing"))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_none()
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq
        tuple tuple_struct map struct enum identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use super::value;

    #[test]
    fn only_an_option_may_be_absent() {
        assert_eq!(value::<Option<u8>>(), Some(None));
        assert_eq!(value::<u8>(), None);
        assert_eq!(value::<String>(), None);
        assert_eq!(value::<()>(), None);
        assert_eq!(value::<Vec<u8>>(), None);
        assert_eq!(value::<serde_json::Value>(), None);
    }
}
