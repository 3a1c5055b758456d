//! A task, as events tell of it.

use std::borrow::Cow;

use crate::codec::body::RawCall;
use crate::message::Message;
use crate::repr;
use crate::wire::time;

/// A task as it was sent or received.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Call<'a> {
    /// The task's id.
    pub uuid: Cow<'a, str>,
    /// Its name, or the name to show instead.
    pub name: Cow<'a, str>,
    /// Arguments by position, as a text for people.
    pub args: Cow<'a, str>,
    /// Arguments by name, as a text for people.
    pub kwargs: Cow<'a, str>,
    /// The first task of the workflow.
    pub root_id: Option<Cow<'a, str>>,
    /// The task that sent it.
    pub parent_id: Option<Cow<'a, str>>,
    /// Attempts made before this one.
    pub retries: u32,
    /// When it shall start, ISO 8601.
    pub eta: Option<Cow<'a, str>>,
    /// When it is no longer worth starting, ISO 8601.
    pub expires: Option<Cow<'a, str>>,
    /// Where it was sent to: told by `task-sent` only.
    pub sent_to: Option<SentTo<'a>>,
}

/// Where a task was sent to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SentTo<'a> {
    /// The queue.
    pub queue: Cow<'a, str>,
    /// The exchange; empty for the default exchange.
    pub exchange: Cow<'a, str>,
    /// The routing key.
    pub routing_key: Cow<'a, str>,
}

impl<'a> Call<'a> {
    /// The task of a message, under the name to show for it.
    #[must_use]
    pub fn of(message: &'a Message) -> Self {
        let header = &message.header;
        let id = |id: &crate::id::TaskId| Cow::Owned(id.to_string());
        let (args, kwargs) = arguments(message);
        Self {
            uuid: id(&header.id),
            name: header.shadow.as_ref().unwrap_or(&header.task).into(),
            args,
            kwargs,
            root_id: Some(id(header.root())),
            parent_id: header.parent_id.as_ref().map(id),
            retries: header.retries,
            eta: header.eta.map(|at| time::format(at).into()),
            expires: header.expires.map(|at| time::format(at).into()),
            sent_to: None,
        }
    }

    /// The same, independent of the message.
    #[must_use]
    pub fn into_owned(self) -> Call<'static> {
        let owned = |text: Cow<'_, str>| Cow::Owned(text.into_owned());
        Call {
            uuid: owned(self.uuid),
            name: owned(self.name),
            args: owned(self.args),
            kwargs: owned(self.kwargs),
            root_id: self.root_id.map(owned),
            parent_id: self.parent_id.map(owned),
            retries: self.retries,
            eta: self.eta.map(owned),
            expires: self.expires.map(owned),
            sent_to: self.sent_to.map(|to| SentTo {
                queue: owned(to.queue),
                exchange: owned(to.exchange),
                routing_key: owned(to.routing_key),
            }),
        }
    }
}

/// The arguments by position and by name: as the sender wrote them, or as the body has them.
fn arguments(message: &Message) -> (Cow<'_, str>, Cow<'_, str>) {
    let header = &message.header;
    if let (Some(args), Some(kwargs)) = (&header.args_repr, &header.kwargs_repr) {
        return (args.into(), kwargs.into());
    }
    let body = &message.body;
    let call = match body.compression {
        // not worth unpacking
        Some(_) => None,
        None => RawCall::cut(&body.bytes).ok(),
    };
    let (args, kwargs) = call.map(|call| repr::call(&call)).unwrap_or_default();
    let told = |text: &'_ Option<String>, own| Cow::Owned(text.clone().unwrap_or(own));
    (
        told(&header.args_repr, args),
        told(&header.kwargs_repr, kwargs),
    )
}

impl<'a> SentTo<'a> {
    /// Makes it of its parts.
    #[must_use]
    pub fn new(
        queue: impl Into<Cow<'a, str>>,
        exchange: impl Into<Cow<'a, str>>,
        routing_key: impl Into<Cow<'a, str>>,
    ) -> Self {
        Self {
            queue: queue.into(),
            exchange: exchange.into(),
            routing_key: routing_key.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::header::Header;
    use crate::id::TaskId;
    use crate::message::Body;

    fn message() -> Message {
        let body = Body::json(&br#"[[1, "a"], {"x": null}, {}]"#[..]);
        Message::new(Header::new("t", TaskId::from("1")), body)
    }

    fn told(message: &Message) -> (String, String) {
        let call = Call::of(message);
        (call.args.into_owned(), call.kwargs.into_owned())
    }

    fn texts(args: &str, kwargs: &str) -> (String, String) {
        (args.to_owned(), kwargs.to_owned())
    }

    #[test]
    fn arguments_are_told_as_the_sender_wrote_them() {
        let mut message = message();
        message.header.args_repr = Some("(<secret>,)".to_owned());
        assert_eq!(told(&message), texts("(<secret>,)", "{'x': None}"));
        message.header.kwargs_repr = Some("{..}".to_owned());
        assert_eq!(told(&message), texts("(<secret>,)", "{..}"));
    }

    #[test]
    fn arguments_that_the_sender_did_not_write_are_read() {
        let mut message = message();
        assert_eq!(told(&message), texts("(1, 'a')", "{'x': None}"));
        message.body = Body::json(&b"broken"[..]);
        assert_eq!(told(&message), texts("", ""));
    }

    #[test]
    fn a_task_is_told_under_the_name_to_show_and_with_its_place_in_the_workflow() {
        let mut message = message();
        message.header.shadow = Some("shown".to_owned());
        message.header.parent_id = Some(TaskId::from("0"));
        let call = Call::of(&message).into_owned();
        assert_eq!((&*call.uuid, &*call.name), ("1", "shown"));
        assert_eq!(call.root_id.as_deref(), Some("1"));
        assert_eq!(call.parent_id.as_deref(), Some("0"));
    }
}
