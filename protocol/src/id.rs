//! Task ids.

use std::fmt;
use std::sync::Arc;

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

/// The id of a task: the same for every attempt, for its result and in every log line.
///
/// coney makes UUIDs of version 7, which sort by time. Celery allows any text, so an id that came from elsewhere may
/// be any text. Cloning is cheap.
///
/// ```
/// use coney_protocol::id::TaskId;
///
/// let id = TaskId::generate();
/// assert_eq!(TaskId::from(id.to_string()), id);
/// ```
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TaskId(Repr);

#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Repr {
    /// An id whose text is the usual form of a UUID: no allocation.
    Uuid(Uuid),
    Text(Arc<str>),
}

impl TaskId {
    /// Makes a new id.
    #[must_use]
    pub fn generate() -> Self {
        Self(Repr::Uuid(Uuid::now_v7()))
    }

    /// The id of what follows from the task `parent` at `place`: always the same, so that it is one task however often
    /// it is sent.
    #[must_use]
    pub fn derived(parent: &Self, place: &str) -> Self {
        /// The UUID of version 5 of `coney` in the namespace of domain names.
        const FOLLOWERS: Uuid = Uuid::from_u128(0xf7d5_cdaa_3b87_505f_aeb4_8dab_01af_28f3);
        let name = format!("{parent} {place}");
        Self(Repr::Uuid(Uuid::new_v5(&FOLLOWERS, name.as_bytes())))
    }
}

/// True for the form that [`Uuid`] prints: 36 characters, hyphens, lower case.
fn is_usual_form(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
        })
}

impl From<&str> for TaskId {
    fn from(text: &str) -> Self {
        if is_usual_form(text)
            && let Ok(uuid) = Uuid::try_parse(text)
        {
            return Self(Repr::Uuid(uuid));
        }
        Self(Repr::Text(text.into()))
    }
}

impl From<String> for TaskId {
    fn from(text: String) -> Self {
        Self::from(text.as_str())
    }
}

impl From<Uuid> for TaskId {
    fn from(uuid: Uuid) -> Self {
        Self(Repr::Uuid(uuid))
    }
}

/// Its text, as [`ToString`] has it but without the detour of formatting: each message needs a few.
impl From<&TaskId> for String {
    fn from(id: &TaskId) -> Self {
        match &id.0 {
            Repr::Uuid(uuid) => {
                let text = uuid.hyphenated();
                text.encode_lower(&mut Uuid::encode_buffer()).to_owned()
            }
            Repr::Text(text) => (**text).to_owned(),
        }
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Repr::Uuid(uuid) => {
                f.write_str(uuid.hyphenated().encode_lower(&mut Uuid::encode_buffer()))
            }
            Repr::Text(text) => f.write_str(text),
        }
    }
}

impl fmt::Debug for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for TaskId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.0 {
            Repr::Uuid(uuid) => uuid.serialize(serializer),
            Repr::Text(text) => serializer.serialize_str(text),
        }
    }
}

impl<'de> Deserialize<'de> for TaskId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(TextVisitor)
    }
}

struct TextVisitor;

impl Visitor<'_> for TextVisitor {
    type Value = TaskId;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an id")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(text.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_text_is_an_id_and_keeps_its_form() {
        for text in [
            "6688db5b-06de-42eb-a520-bba6b4496028",
            "6688DB5B-06DE-42EB-A520-BBA6B4496028",
            "6688db5b06de42eba520bba6b4496028",
            "order-7",
            "",
        ] {
            let id = TaskId::from(text);
            assert_eq!(
                (id.to_string(), String::from(&id)),
                (text.to_owned(), text.to_owned())
            );
        }
    }

    #[test]
    fn ids_sort_by_time() {
        assert!(TaskId::generate() < TaskId::generate());
    }
}
