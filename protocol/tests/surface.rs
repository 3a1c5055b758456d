//! What a task sees of its message, and what it may answer.

use std::sync::Mutex;
use std::time::Duration;

use coney_protocol::call::{DynamicCall, Prepared, Sender};
use coney_protocol::context::{BoxFuture, Inner, ProgressError, TaskContext, Uplink};
use coney_protocol::error::EncodeError;
use coney_protocol::outcome::{BoxError, ErrorReport, Exception, Failure, Next, TaskError};
use coney_protocol::reply::{Reply, Status};
use serde_json::{Value as Json, json};

#[test]
fn an_exception_travels_with_its_class_and_its_arguments() {
    let error = Exception::new("shop.errors", "OutOfStock")
        .arg("apples")
        .arg(3);
    let report = Failure::dead(error).report();
    assert_eq!(report.repr(), "OutOfStock('apples', 3)");
    assert_eq!(report.message, "('apples', 3)");
    let reply = Reply::failure("1".into(), Status::Failure, &report);
    let told: Json = serde_json::from_slice(&reply.encode()).expect("JSON");
    assert_eq!(
        told["result"],
        json!({"exc_type": "OutOfStock", "exc_message": ["apples", 3], "exc_module": "shop.errors"})
    );
    assert_eq!(told["traceback"], "OutOfStock: ('apples', 3)\n");
    let back = reply.report().expect("an exception");
    assert_eq!(back.args, Some(vec![json!("apples"), json!(3)]));
    assert_eq!(back.repr(), report.repr());
}

#[test]
fn the_text_of_an_exception_is_pythons() {
    for (error, text) in [
        (Exception::builtin("E"), ""),
        (Exception::builtin("E").arg("it's"), "it's"),
        (Exception::builtin("E").arg(json!(null)), "None"),
        (
            Exception::builtin("E").args([json!("a"), json!([1])]),
            "('a', [1])",
        ),
    ] {
        assert_eq!(error.to_string(), text);
    }
    let plain = ErrorReport::new("MailError", "421");
    assert_eq!(plain.repr(), "MailError('421')");
}

#[test]
fn a_failure_says_how_often_and_when_it_comes_again() {
    let wait = Duration::from_secs(3);
    let next = |failure: Failure| failure.next();
    assert_eq!(
        next(Failure::retry("x").after(wait)),
        Next::RetryAfter(wait)
    );
    let both = Next::RetryUpTo {
        wait: Some(wait),
        max: 7,
    };
    assert_eq!(next(Failure::retry("x").after(wait).at_most(7)), both);
    assert_eq!(next(Failure::retry("x").at_most(7).after(wait)), both);
    let unlimited = Next::RetryUpTo {
        wait: None,
        max: u32::MAX,
    };
    assert_eq!(next(Failure::retry("x").unlimited()), unlimited);
    assert_eq!(next(Failure::ignore("x")), Next::Ignore);
    assert_eq!(
        next(Failure::reject("x", true)),
        Next::Reject { requeue: true }
    );
}

/// Takes the states that a task tells.
#[derive(Default)]
struct Caller(Mutex<Vec<(String, String)>>);

impl Uplink for Caller {
    fn report(&self, reply: Reply) -> BoxFuture<'_, Result<(), BoxError>> {
        let told = self.report_blocking(reply);
        Box::pin(std::future::ready(told))
    }

    fn report_blocking(&self, reply: Reply) -> Result<(), BoxError> {
        let state = (reply.status.as_str().to_owned(), reply.result.to_string());
        self.0.lock().expect("no panic").push(state);
        Ok(())
    }
}

#[test]
fn a_task_tells_states_of_its_own_but_none_that_ends_it() {
    let caller = std::sync::Arc::new(Caller::default());
    let mut parts = Inner::new("t", "1".into());
    parts.uplink = Some(caller.clone());
    let ctx = TaskContext::new(parts);
    ctx.progress_blocking(&1).expect("told");
    ctx.update_state_blocking("STARTED", &json!({"pid": 1}))
        .expect("told");
    ctx.update_state_blocking("HALFWAY", &()).expect("told");
    for end in ["SUCCESS", "FAILURE", "REVOKED"] {
        let refused = ctx.update_state_blocking(end, &1);
        assert!(matches!(refused, Err(ProgressError::Final(state)) if state == end));
    }
    let told = caller.0.lock().expect("no panic").clone();
    let told: Vec<_> = told.iter().map(|(a, b)| (&**a, &**b)).collect();
    assert_eq!(
        told,
        [
            ("PROGRESS", "1"),
            ("STARTED", r#"{"pid":1}"#),
            ("HALFWAY", "null")
        ]
    );
}

/// Sends nothing, and says so if it shall.
struct Post {
    is_closed: bool,
}

impl Sender for Post {
    type Handle<O, E> = ();
    type Error = EncodeError;

    async fn deliver<O: Send + 'static, E: 'static>(
        &self,
        call: Prepared<O, E>,
    ) -> Result<(), EncodeError> {
        drop(call);
        match self.is_closed {
            true => Err(EncodeError::Shape { found: "closed" }),
            false => Ok(()),
        }
    }
}

#[test]
fn the_children_of_a_task_are_those_that_were_sent() {
    let ctx = TaskContext::test();
    for (id, is_closed) in [("a", false), ("b", true), ("c", false)] {
        let call = DynamicCall::new("t", json!([])).id(id).child_of(&ctx);
        let post = Post { is_closed };
        let sent = call.send(&post);
        let mut sent = std::pin::pin!(sent);
        let mut waker = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(sent.as_mut().poll(&mut waker).is_ready());
    }
    assert_eq!(ctx.children().list(), ["a".into(), "c".into()]);
}

#[test]
fn a_call_by_name_takes_arguments_by_position_and_by_name_as_they_are() {
    let raw = serde_json::value::RawValue::from_string("[ 1e400, 123456789012345678901 ]".into());
    let call = DynamicCall::new("t", Json::Null)
        .args(&raw.expect("JSON"))
        .kwargs(&json!({"a": null}));
    let mut prepared = call.prepare().expect("arguments");
    prepared.show_arguments();
    let message = prepared.message;
    let body = String::from_utf8(message.body.bytes.to_vec()).expect("text");
    assert!(
        body.starts_with(r#"[[1e400, 123456789012345678901],{"a":null},"#),
        "{body}"
    );
    assert_eq!(
        message.header.args_repr.as_deref(),
        Some("(1e400, 123456789012345678901)")
    );
    for (wrong, found) in [
        (json!("x"), "a text"),
        (json!(1), "a number"),
        (json!(true), "a truth value"),
    ] {
        let refused = DynamicCall::new("t", wrong).prepare();
        assert!(matches!(refused, Err(EncodeError::Shape { found: f }) if f == found));
    }
    let refused = DynamicCall::new("t", json!([])).kwargs(&[1]).prepare();
    assert!(matches!(
        refused,
        Err(EncodeError::Shape { found: "an array" })
    ));
}
