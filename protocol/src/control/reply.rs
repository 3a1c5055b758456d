//! Replies of workers on their way back.

use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use std::collections::BTreeMap;

use crate::control::{clock, properties};
use crate::property::{Properties, Table, Value};

/// Properties and body of the reply of the worker called `node`.
#[must_use]
pub fn encode(
    node: &str,
    value: &RawValue,
    ticket: Option<&str>,
    time: u64,
) -> (Properties, Vec<u8>) {
    let ticket = ticket.map_or(Value::Null, |ticket| ticket.to_owned().into());
    let headers = Table::new()
        .with("ticket", ticket)
        .with("clock", clock(time));
    let body = BTreeMap::from([(node, value)]);
    let body = serde_json::to_vec(&body).expect("a text and JSON always have a JSON form");
    (properties(false, headers), body)
}

/// What one worker replied.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct NodeReply {
    /// The worker's name.
    pub node: String,
    /// What it said.
    pub value: Box<RawValue>,
}

impl NodeReply {
    /// Reads the body of a reply; as a rule there is one worker in it.
    ///
    /// # Errors
    ///
    /// When it is no JSON object.
    pub fn decode(body: &[u8]) -> Result<Vec<Self>, serde_json::Error> {
        let nodes: BTreeMap<String, Box<RawValue>> = serde_json::from_slice(body)?;
        let nodes = nodes.into_iter();
        Ok(nodes.map(|(node, value)| Self { node, value }).collect())
    }

    /// What it said, as the type that a command replies with.
    ///
    /// # Errors
    ///
    /// [`ReplyError`] if it refused, or said something else.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, ReplyError> {
        serde_json::from_str(self.value.get()).map_err(|error| {
            match serde_json::from_str(self.value.get()) {
                Ok(Refused { error }) => ReplyError::Refused(error),
                Err(_) => ReplyError::Unexpected(error),
            }
        })
    }

    /// The word of a worker that did what it was told, such as `pong`.
    ///
    /// # Errors
    ///
    /// [`ReplyError`] if it refused, or said something else.
    pub fn ok(&self) -> Result<String, ReplyError> {
        self.read::<Done>().map(|done| done.ok)
    }
}

#[derive(serde::Deserialize)]
struct Refused {
    error: String,
}

#[derive(serde::Deserialize)]
struct Done {
    ok: String,
}

/// Why a reply is not what was asked for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReplyError {
    /// The worker did not do it, and says why.
    #[error("the worker refused: {0}")]
    Refused(String),
    /// The worker said something else.
    #[error("the worker replied with something else")]
    Unexpected(#[source] serde_json::Error),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_says_who_did_what() {
        let value = RawValue::from_string(r#"{"ok":"pong"}"#.to_owned()).expect("JSON");
        let (properties, body) = encode("w1@host", &value, Some("t"), 3);
        assert_eq!(body, br#"{"w1@host":{"ok":"pong"}}"#);
        assert!(!properties.persistent);
        let replies = NodeReply::decode(&body).expect("a reply");
        assert_eq!(replies[0].node, "w1@host");
        assert_eq!(replies[0].ok().expect("done"), "pong");
    }

    #[test]
    fn what_a_worker_refuses_is_an_error_with_its_words() {
        let body = br#"{"w": {"error": "unknown task"}, "x": [1]}"#;
        let replies = NodeReply::decode(body).expect("replies");
        let refused = replies[0].ok().expect_err("refused").to_string();
        assert_eq!(refused, "the worker refused: unknown task");
        assert!(matches!(replies[1].ok(), Err(ReplyError::Unexpected(_))));
        assert_eq!(replies[1].read::<Vec<u8>>().expect("a list"), [1]);
    }
}
