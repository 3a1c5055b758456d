//! Revocations on their way to all workers: short notices in a stream that every worker reads.
//!
//! The bodies are small JSON objects, one variant each: `{"revoke":{"id":"..","at":".."}}` and `{"mark":".."}`. A reader
//! skips what it does not know.

use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::codec;
use crate::id::TaskId;
use crate::property::Properties;
use crate::wire::time;

/// A notice in the stream of revocations.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Notice {
    /// A task shall not run, or shall end.
    Revoke(Revocation),
    /// Says nothing: whoever put it there and reads it again has read everything before it.
    Mark(String),
}

/// A task that shall not run, or shall end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Revocation {
    /// The task.
    pub id: TaskId,
    /// When it was revoked, by its caller's clock; for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
}

impl Notice {
    /// The revocation of a task.
    #[must_use]
    pub fn revoke(id: TaskId, now: SystemTime) -> Self {
        let at = Some(time::format(now));
        Self::Revoke(Revocation { id, at })
    }

    /// Properties and body of the message that travels.
    #[must_use]
    pub fn encode(&self) -> (Properties, Vec<u8>) {
        let properties = Properties {
            content_type: Some(codec::JSON.into()),
            content_encoding: Some(codec::UTF_8.into()),
            persistent: true,
            ..Properties::default()
        };
        let body = serde_json::to_vec(self).expect("texts always have a JSON form");
        (properties, body)
    }

    /// Reads a body.
    ///
    /// # Errors
    ///
    /// When it is none of the notices that this version knows.
    pub fn decode(body: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notice_keeps_its_form() {
        let id = TaskId::from("order-7");
        let notice = Notice::revoke(id.clone(), SystemTime::UNIX_EPOCH);
        let (properties, body) = notice.encode();
        let text = r#"{"revoke":{"id":"order-7","at":"1970-01-01T00:00:00+00:00"}}"#;
        assert_eq!(body, text.as_bytes());
        assert!(properties.persistent);
        assert_eq!(Notice::decode(&body).expect("a notice"), notice);
        let bare = Notice::decode(br#"{"revoke":{"id":"order-7","by":"x"}}"#).expect("a notice");
        assert_eq!(bare, Notice::Revoke(Revocation { id, at: None }));
        assert_eq!(
            Notice::decode(br#"{"mark":"m"}"#).expect("a notice"),
            Notice::Mark("m".to_owned())
        );
        assert!(Notice::decode(br#"{"later":1}"#).is_err());
    }
}
