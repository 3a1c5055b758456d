//! Arguments, results and errors as the texts that people see in a monitor.

use std::borrow::Cow;

use coney_protocol::codec::body::RawCall;
use coney_protocol::id::TaskId;
use coney_protocol::message::Message;
use coney_protocol::outcome::ErrorReport;
use coney_protocol::repr;
use serde_json::value::RawValue;

/// What a task that nobody knows fails with; Celery tells no traceback of that.
const UNKNOWN_TASK: &str = "NotRegistered";

pub(crate) fn id(id: &TaskId) -> Cow<'static, str> {
    id.to_string().into()
}

/// The arguments by position and by name: as the sender wrote them, or as the body has them.
pub(crate) fn arguments(message: &Message) -> (Cow<'_, str>, Cow<'_, str>) {
    let header = &message.header;
    if let (Some(args), Some(kwargs)) = (&header.args_repr, &header.kwargs_repr) {
        return (args.into(), kwargs.into());
    }
    let body = &message.body;
    let found = match body.compression {
        // not worth unpacking
        Some(_) => None,
        None => RawCall::cut(&body.bytes).ok(),
    };
    let (args, kwargs) = found.map(|call| repr::call(&call)).unwrap_or_default();
    let told = |text: &Option<String>, own: String| text.clone().unwrap_or(own).into();
    (
        told(&header.args_repr, args),
        told(&header.kwargs_repr, kwargs),
    )
}

pub(crate) fn result(result: &RawValue) -> String {
    repr::value(result)
}

/// The error as Python would show it: `ValueError('boom')`.
pub(crate) fn exception(report: &ErrorReport) -> String {
    repr::exception(&report.kind, &[report.message.as_str().into()])
}

/// The longer account that the caller gets, too; of an error without one, its text alone.
pub(crate) fn traceback(report: &ErrorReport) -> Option<String> {
    if report.traceback.is_some() {
        return report.traceback.clone();
    }
    if report.kind == UNKNOWN_TASK {
        return None;
    }
    let mut text = format!("{}: {}\n", report.kind, report.message);
    for cause in &report.chain {
        text.push_str("caused by: ");
        text.push_str(cause);
        text.push('\n');
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use coney_protocol::header::Header;
    use coney_protocol::message::Body;

    use super::*;

    fn message() -> Message {
        let body = Body::json(&br#"[[1, "a"], {"x": null}, {}]"#[..]);
        Message::new(Header::new("t", TaskId::from("1")), body)
    }

    #[test]
    fn arguments_are_told_as_the_sender_wrote_them() {
        let mut message = message();
        message.header.args_repr = Some("(<secret>,)".to_owned());
        let (args, kwargs) = arguments(&message);
        assert_eq!((&*args, &*kwargs), ("(<secret>,)", "{'x': None}"));
        message.header.kwargs_repr = Some("{..}".to_owned());
        let (args, kwargs) = arguments(&message);
        assert_eq!((&*args, &*kwargs), ("(<secret>,)", "{..}"));
    }

    #[test]
    fn arguments_that_the_sender_did_not_write_are_read() {
        let mut message = message();
        let (args, kwargs) = arguments(&message);
        assert_eq!((&*args, &*kwargs), ("(1, 'a')", "{'x': None}"));
        message.body = Body::json(&b"broken"[..]);
        let (args, kwargs) = arguments(&message);
        assert_eq!((&*args, &*kwargs), ("", ""));
    }

    #[test]
    fn an_error_is_told_as_python_would() {
        let mut report = ErrorReport::new("ValueError", "boom");
        assert_eq!(exception(&report), "ValueError('boom')");
        assert_eq!(traceback(&report).as_deref(), Some("ValueError: boom\n"));
        report.chain.push("no disk".to_owned());
        let told = traceback(&report);
        assert_eq!(
            told.as_deref(),
            Some("ValueError: boom\ncaused by: no disk\n")
        );
        let unknown = ErrorReport::new("NotRegistered", "shop.nope");
        assert_eq!(traceback(&unknown), None);
        let report = report.traceback("in full");
        assert_eq!(traceback(&report).as_deref(), Some("in full"));
    }
}
