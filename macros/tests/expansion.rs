//! What `#[task]` makes, at run time: the options it writes down, the calls it encodes, the runs it binds.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use coney::prelude::*;
use coney::{AckMode, Args, Backoff, Failure, Kwargs, Queue, Rate, RetryPolicy, Run, Task};
use coney_protocol::argument::Params;
use coney_protocol::codec::body::RawCall;
use coney_protocol::context::Inner;
use coney_protocol::header::Header;
use coney_protocol::inject::{Injects, Requirements, States};
use coney_protocol::message::{Body, Message};
use coney_protocol::options::Target;
use serde::{Deserialize, Serialize};

#[derive(Queue)]
#[queue(name = "emails", concurrency = 32)]
struct Emails;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct User {
    id: u64,
}

#[derive(Clone)]
struct Db(u64);

#[derive(Debug, thiserror::Error, TaskError)]
#[error("no user {0}")]
#[discard]
struct NoUser(u64);

#[task(
    queue = Emails,
    name = "shop.welcome",
    retry(max = 8, backoff = exponential("1s", "10m"), jitter = false),
    timeout = "1m 30s",
    soft_timeout = "250ms",
    expires = "1.5h",
    priority = high,
    ack = "early",
    ignore_result
)]
async fn welcome(
    user: User,
    greeting: Option<String>,
    State(db): State<Db>,
    ctx: TaskContext,
    mut times: u64,
) -> Result<String, NoUser> {
    if user.id != db.0 {
        return Err(NoUser(user.id));
    }
    times += 1;
    let greeting = greeting.unwrap_or_else(|| "hello".to_owned());
    Ok(format!("{greeting} {times} {}", ctx.attempt()))
}

#[task]
async fn plain() {}

#[task(blocking, retry(max = 0, backoff = linear("5s", "1m")), priority = 200)]
fn sum(numbers: Vec<i64>) -> i64 {
    numbers.iter().sum()
}

#[task(retry(backoff = fixed("0s")), priority = low, ack = "late")]
async fn r#match(r#type: u8) -> u8 {
    r#type
}

#[task(priority = normal, name = "tasks.mul")]
async fn mul(x: i64, y: i64) -> i64;

#[task(track_started, rate_limit = "10/m")]
async fn collect(first: u8, rest: Args<u8>, last: Option<u8>, named: Kwargs<u8>) -> String {
    format!("{first} {:?} {last:?} {:?}", rest.0, named.0)
}

/// Polls once: nothing here waits for anything.
fn now<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("the future waits"),
    }
}

/// What a worker does with a body.
fn run<T: Run>(body: &str, ctx: &TaskContext) -> Result<T::Output, T::Error> {
    let call = RawCall::cut(body.as_bytes()).expect("the body is one");
    let arguments = T::PARAMS
        .bind(T::SPEC.name, &call)
        .expect("the arguments fit");
    let injected = T::INJECTS
        .take(ctx)
        .unwrap_or_else(|failure| panic!("{failure}"));
    now(T::run(arguments, injected))
}

fn refusal<T: Run>(body: &str) -> String {
    let call = RawCall::cut(body.as_bytes()).expect("the body is one");
    match T::PARAMS.bind(T::SPEC.name, &call) {
        Ok(_) => panic!("the arguments fit"),
        Err(error) => error.to_string(),
    }
}

fn context(user: u64) -> TaskContext {
    let mut states = States::default();
    states.insert(Db(user));
    let mut header = Header::new("shop.welcome", "1".to_owned().into());
    header.retries = 2;
    let message = Message::new(header, Body::json("[]"));
    let mut parts = Inner::of(Arc::new(message), Arc::default(), Arc::default());
    parts.states = Arc::new(states);
    TaskContext::new(parts)
}

fn body<T: Task>(call: coney::Call<T>) -> String {
    let prepared = call.prepare().expect("the arguments have a JSON form");
    String::from_utf8(prepared.message.body.bytes.to_vec()).expect("JSON is UTF-8")
}

const EMBED: &str = r#"{"callbacks":null,"errbacks":null,"chain":null,"chord":null}"#;

#[test]
fn each_option_is_in_the_specification() {
    let spec = welcome::SPEC;
    assert_eq!(spec.name, "shop.welcome");
    assert_eq!(spec.module, module_path!());
    assert_eq!(spec.timeout, Some(Duration::from_secs(90)));
    assert_eq!(spec.soft_timeout, Some(Duration::from_millis(250)));
    assert_eq!(spec.expires, Some(Duration::from_secs(5400)));
    assert_eq!(spec.priority, Some(Priority::High));
    assert_eq!(spec.ack, AckMode::Early);
    assert!(spec.ignore_result);
    assert!(!spec.blocking);
    let policy = RetryPolicy::max(8)
        .backoff(Backoff::Exponential {
            first: secs(1),
            cap: mins(10),
        })
        .jitter(false);
    assert_eq!(spec.retry, policy);
    assert_eq!(welcome::QUEUE, Emails::SPEC);
}

#[test]
fn absent_options_are_the_defaults_of_the_protocol() {
    let spec = plain::SPEC;
    let default = coney::TaskSpec::new("coney-macros.plain", module_path!());
    assert_eq!(spec, default);
    assert_eq!(plain::QUEUE.name, "default");
}

#[test]
fn every_backoff_and_priority_is_written_down() {
    let linear = Backoff::Linear {
        step: secs(5),
        cap: mins(1),
    };
    let spec = sum::SPEC;
    assert_eq!(spec.retry, RetryPolicy::max(0).backoff(linear));
    assert_eq!(spec.priority, Some(Priority::Level(200)));
    assert!(spec.blocking);
    let fixed = Backoff::Fixed(Duration::ZERO);
    assert_eq!(r#match::SPEC.retry, RetryPolicy::DEFAULT.backoff(fixed));
    assert_eq!(r#match::SPEC.priority, Some(Priority::Low));
    assert_eq!(r#match::SPEC.ack, AckMode::Late);
    assert_eq!(mul::SPEC.priority, Some(Priority::Normal));
}

#[test]
fn names_on_the_wire_are_free_of_rust() {
    assert_eq!(r#match::SPEC.name, "coney-macros.match");
    assert_eq!(
        body(r#match::call(1)),
        format!(r#"[[],{{"type":1}},{EMBED}]"#)
    );
}

#[test]
fn a_call_is_encoded_by_name_without_what_the_worker_injects() {
    let call = welcome::call(User { id: 7 }, None, 2);
    assert_eq!(
        body(call),
        format!(r#"[[],{{"user":{{"id":7}},"greeting":null,"times":2}},{EMBED}]"#)
    );
    assert_eq!(body(plain::call()), format!("[[],{{}},{EMBED}]"));
    assert_eq!(
        body(mul::call(2, 3)),
        format!(r#"[[],{{"x":2,"y":3}},{EMBED}]"#)
    );
}

#[test]
fn a_call_goes_to_the_queue_of_its_task() {
    let prepared = welcome::call(User { id: 7 }, None, 2).prepare().unwrap();
    assert_eq!(prepared.target, Target::Queue(Emails::SPEC));
    assert_eq!(prepared.message.header.task, "shop.welcome");
    assert_eq!(
        prepared.message.header.priority,
        Some(Priority::High.level())
    );
}

#[test]
fn arguments_are_bound_by_name_and_by_position() {
    let by_name = r#"[[],{"times":1,"greeting":"hi","user":{"id":7}},{}]"#;
    assert_eq!(run::<welcome>(by_name, &context(7)).unwrap(), "hi 2 3");
    let by_position = r#"[[{"id":7},"hi",1],{},{}]"#;
    assert_eq!(run::<welcome>(by_position, &context(7)).unwrap(), "hi 2 3");
    let mixed = r#"[[{"id":7}],{"times":1},{}]"#;
    assert_eq!(run::<welcome>(mixed, &context(7)).unwrap(), "hello 2 3");
}

#[test]
fn what_does_not_fit_is_said_with_parameter_and_type() {
    for (body, message) in [
        (
            r#"[[],{"user":{"id":7}},{}]"#,
            "task `shop.welcome`, argument `times`: missing (expected `u64`)",
        ),
        (
            r#"[[1],{"times":1},{}]"#,
            "task `shop.welcome`, argument `user`: not a `User`",
        ),
        (
            r#"[[{"id":7},4],{"times":1},{}]"#,
            "task `shop.welcome`, argument `greeting`: not a `Option<String>`",
        ),
        (
            r#"[[1,2,3,4],{},{}]"#,
            "task `shop.welcome`: takes at most 3 positional arguments, got 4",
        ),
        (
            r#"[[],{"ctx":1},{}]"#,
            "task `shop.welcome`: no parameter is called `ctx`",
        ),
    ] {
        assert_eq!(refusal::<welcome>(body), message, "{body}");
    }
}

#[test]
fn an_error_and_a_plain_value_are_both_results() {
    let error = run::<welcome>(r#"[[{"id":8},null,1],{},{}]"#, &context(7)).unwrap_err();
    assert_eq!(error.0, 8);
    let Ok(number) = run::<r#match>("[[4],{},{}]", &context(7));
    assert_eq!(number, 4);
}

#[test]
fn a_blocking_task_is_ready_when_it_is_polled_once() {
    let Ok(number) = run::<sum>("[[[1,2,3]],{},{}]", &context(7));
    assert_eq!(number, 6);
}

#[test]
fn the_function_stays_a_function() {
    assert_eq!(sum(vec![1, 2]), 3);
    let user = User { id: 1 };
    let answer = now(welcome(user, None, State(Db(1)), TaskContext::test(), 0));
    assert_eq!(answer.unwrap(), "hello 1 1");
}

#[test]
fn a_task_says_which_state_it_needs() {
    let mut requirements = Requirements::default();
    welcome::INJECTS.requires(&mut requirements);
    let missing: Vec<_> = requirements.missing_in(&States::default()).collect();
    assert_eq!(missing, [std::any::type_name::<Db>()]);
    let failure = welcome::INJECTS.take(&TaskContext::test()).err();
    assert!(failure.is_some_and(|failure: Failure| failure.to_string().contains("Db")));
}

/// A facade under another path, told from the real one by its default queue.
mod elsewhere {
    pub(crate) mod __private {
        pub(crate) use coney::__private::*;

        pub(crate) struct DefaultQueue;

        impl Queue for DefaultQueue {
            const SPEC: QueueSpec = QueueSpec::new("elsewhere");
        }
    }
}

#[task(crate = crate::elsewhere)]
async fn by_another_path() {}

#[test]
fn the_expansion_names_the_facade_it_is_told() {
    assert_eq!(by_another_path::QUEUE.name, "elsewhere");
}

#[test]
fn further_arguments_go_to_the_parameters_that_take_all() {
    let ctx = TaskContext::test();
    for (body, told) in [
        ("[[1],{},{}]", "1 [] None {}"),
        ("[[1,2,3],{},{}]", "1 [2, 3] None {}"),
        (
            r#"[[1,2],{"last":9,"x":4,"y":5},{}]"#,
            r#"1 [2] Some(9) {"x": 4, "y": 5}"#,
        ),
        (
            r#"[[],{"first":1,"rest":2},{}]"#,
            r#"1 [] None {"rest": 2}"#,
        ),
    ] {
        assert_eq!(run::<collect>(body, &ctx).unwrap(), told, "{body}");
    }
    assert_eq!(
        refusal::<collect>(r#"[[1,2],{"first":1},{}]"#),
        format!(
            "task `{}`, argument `first`: given by position and by name",
            collect::SPEC.name
        )
    );
    assert!(refusal::<collect>(r#"[[],{},{}]"#).ends_with("`first`: missing (expected `u8`)"));
    assert!(refusal::<collect>(r#"[[1,"x"],{},{}]"#).contains("argument `rest`: not a `Args<u8>`"));
}

#[test]
fn a_call_gives_by_position_what_comes_before_further_arguments() {
    let named = Kwargs([("x".to_owned(), 4)].into());
    let call = collect::call(1, Args(vec![2, 3]), Some(9), named);
    assert_eq!(
        body(call),
        format!(r#"[[1,2,3],{{"last":9,"x":4}},{EMBED}]"#)
    );
    let call = collect::call(1, Args(vec![]), None, Kwargs::default());
    let mut prepared = call.prepare().unwrap();
    prepared.show_arguments();
    let header = &prepared.message.header;
    assert_eq!(header.args_repr.as_deref(), Some("(1,)"));
    assert_eq!(header.kwargs_repr.as_deref(), Some("{'last': None}"));
    assert_eq!(
        prepared.message.body.bytes,
        format!(r#"[[1],{{"last":null}},{EMBED}]"#)
    );
    const { assert!(collect::SPEC.track_started) };
    assert_eq!(collect::SPEC.rate_limit, Some(Rate::per_minute(10.0)));
}
