//! A task that is sent because another one has ended.

use std::sync::Arc;

use serde_json::value::RawValue;

use crate::canvas::told::{self, Told};
use crate::header::Header;
use crate::message::{Body, Message};

/// Where a task is sent to.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Destination {
    /// To whichever queue the sender sends such tasks to.
    Default,
    /// To the queue of this name.
    Queue(String),
    /// To an exchange; without a key, to that of the default queue.
    Exchange {
        /// The exchange.
        name: String,
        /// The routing key.
        key: Option<String>,
    },
}

/// A task that is sent because another one has ended.
///
/// The body is made when it is asked for: members of a group share the result that they are given.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Outgoing {
    /// All that travels beside the body; its `eta` says whether it has to wait.
    pub header: Header,
    /// Where it goes.
    pub destination: Destination,
    pub(crate) first: Option<Arc<RawValue>>,
    pub(crate) args: String,
    pub(crate) kwargs: String,
    pub(crate) callbacks: Links,
    pub(crate) errbacks: Links,
    /// The inside of a list.
    pub(crate) chain: Option<Arc<str>>,
}

/// Signatures that are linked to a task: its own, and those that it has from a group that it is in and shares with its
/// other members. Each is the inside of a list.
#[derive(Clone, Debug, Default)]
pub(crate) struct Links {
    pub(crate) own: String,
    pub(crate) shared: Option<Arc<str>>,
}

impl Links {
    fn list(&self) -> String {
        match (&*self.own, self.shared.as_deref()) {
            ("", None) => "null".to_owned(),
            ("", Some(shared)) => format!("[{shared}]"),
            (own, None) => format!("[{own}]"),
            (own, Some(shared)) => format!("[{own}, {shared}]"),
        }
    }
}

impl Outgoing {
    /// The message.
    #[must_use]
    pub fn message(&self) -> Message {
        Message::new(self.header.clone(), Body::json(self.body()))
    }

    /// Whoever waits for this task and for what follows it, should it not reach a queue.
    #[must_use]
    pub fn abandoned(&self) -> Vec<Told> {
        let chain = self.chain.as_deref().map(|steps| format!("[{steps}]"));
        let chain = chain.and_then(|text| RawValue::from_string(text).ok());
        let own = Told::of(&self.header);
        own.into_iter()
            .chain(chain.iter().flat_map(|chain| told::of_chain(chain)))
            .collect()
    }

    fn body(&self) -> String {
        let first = self.first.as_deref().map_or("", RawValue::get);
        let comma = match (first, &*self.args) {
            ("", _) | (_, "") => "",
            _ => ", ",
        };
        format!(
            r#"[[{first}{comma}{}], {}, {{"callbacks": {}, "errbacks": {}, "chain": {}, "chord": null}}]"#,
            self.args,
            self.kwargs,
            self.callbacks.list(),
            self.errbacks.list(),
            self.chain
                .as_deref()
                .map_or_else(|| "null".to_owned(), |steps| format!("[{steps}]")),
        )
    }
}
