//! A task that is sent because another one has ended.

use std::sync::Arc;

use serde_json::value::RawValue;

use crate::canvas::told::{self, Told};
use crate::header::Header;
use crate::message::{Body, Message};
use crate::repr;

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
    /// A task with these arguments, as the insides of a list and of an object with its braces.
    pub(crate) fn new(
        header: Header,
        destination: Destination,
        args: String,
        kwargs: String,
    ) -> Self {
        Self {
            header,
            destination,
            first: None,
            args,
            kwargs,
            callbacks: Links::default(),
            errbacks: Links::default(),
            chain: None,
        }
    }

    /// Says what follows, as the insides of lists.
    pub(crate) fn embedding(mut self, callbacks: &str, errbacks: &str, chain: &str) -> Self {
        callbacks.clone_into(&mut self.callbacks.own);
        errbacks.clone_into(&mut self.errbacks.own);
        self.chain = (!chain.is_empty()).then(|| chain.into());
        self
    }

    /// The message.
    #[must_use]
    pub fn message(&self) -> Message {
        let args = self.args();
        let kwargs = self.kwargs.trim();
        let kwargs = kwargs
            .strip_prefix('{')
            .and_then(|rest| rest.strip_suffix('}'));
        let mut header = self.header.clone();
        header.args_repr = Some(repr::args(&args));
        header.kwargs_repr = Some(repr::kwargs(kwargs.unwrap_or_default()));
        Message::new(header, Body::json(self.body(&args)))
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

    /// The inside of the list of arguments.
    fn args(&self) -> String {
        match (self.first.as_deref().map(RawValue::get), &*self.args) {
            (None, args) => args.to_owned(),
            (Some(first), "") => first.to_owned(),
            (Some(first), args) => format!("{first}, {args}"),
        }
    }

    fn body(&self, args: &str) -> String {
        format!(
            r#"[[{args}], {}, {{"callbacks": {}, "errbacks": {}, "chain": {}, "chord": null}}]"#,
            self.kwargs,
            self.callbacks.list(),
            self.errbacks.list(),
            self.chain
                .as_deref()
                .map_or_else(|| "null".to_owned(), |steps| format!("[{steps}]")),
        )
    }
}
