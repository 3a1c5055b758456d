//! What the derives make, at run time.

use std::time::Duration;

use coney::{Next, Queue, TaskError};
use serde::{Deserialize, Serialize};

#[derive(Queue)]
struct OrderMails;

#[derive(Queue)]
#[queue(
    name = "audit.log",
    concurrency = 4,
    prefetch = 8,
    delivery_limit = 0,
    bind("orders.*.created", "users.#")
)]
enum Audit {}

#[derive(Queue)]
#[queue(name = "one", bind = "orders.#", crate = coney)]
struct One;

#[test]
fn a_queue_is_what_its_attribute_says() {
    let spec = Audit::SPEC;
    assert_eq!(spec.name, "audit.log");
    assert_eq!(spec.concurrency, Some(4));
    assert_eq!(spec.prefetch, Some(8));
    assert_eq!(spec.delivery_limit, 0);
    assert_eq!(spec.bind, ["orders.*.created", "users.#"]);
    assert_eq!(One::SPEC.bind, ["orders.#"]);
}

#[test]
fn a_queue_without_options_is_called_as_its_type() {
    assert_eq!(OrderMails::SPEC, coney::QueueSpec::new("order_mails"));
}

#[derive(Debug, thiserror::Error, TaskError)]
enum MailError {
    #[error("nothing said")]
    Unmarked,
    #[error("again")]
    #[retry]
    Retry,
    #[error("again later")]
    #[retry(after = "1m 30s")]
    RetryText(u8),
    #[error("again later")]
    #[retry(after = .wait)]
    RetryField { wait: Duration },
    #[error("done")]
    #[discard]
    Discard(String),
    #[error("dead")]
    #[dead]
    Dead { why: String },
    #[error("later")]
    #[defer(after = "30s")]
    DeferText,
    #[error("later")]
    #[defer(after = .0)]
    DeferPosition(Duration, u8),
    #[error("later")]
    #[defer(after = .wait.mul_f32(2.0))]
    DeferMethod { wait: Duration },
    #[error("later")]
    #[defer(after = .0.1)]
    DeferNested((u8, Duration)),
    #[error("later")]
    #[defer(after = .0.unwrap_or(Duration::from_secs(9)) * 2)]
    DeferExpression(Option<Duration>),
}

#[test]
fn each_mark_says_what_happens_next() {
    let second = Duration::from_secs(1);
    for (error, next) in [
        (MailError::Unmarked, Next::Retry),
        (MailError::Retry, Next::Retry),
        (MailError::RetryText(1), Next::RetryAfter(90 * second)),
        (
            MailError::RetryField { wait: second },
            Next::RetryAfter(second),
        ),
        (MailError::Discard(String::new()), Next::Discard),
        (MailError::Dead { why: String::new() }, Next::Dead),
        (MailError::DeferText, Next::Defer(30 * second)),
        (MailError::DeferPosition(second, 1), Next::Defer(second)),
        (
            MailError::DeferMethod { wait: second },
            Next::Defer(2 * second),
        ),
        (MailError::DeferNested((1, second)), Next::Defer(second)),
        (MailError::DeferExpression(None), Next::Defer(18 * second)),
    ] {
        assert_eq!(error.next(), next, "{error:?}");
    }
}

#[derive(Debug, thiserror::Error, Serialize, Deserialize, TaskError)]
#[error("limited for {seconds} s")]
#[dead]
struct Limited {
    seconds: u64,
}

#[derive(Debug, thiserror::Error, TaskError)]
#[error("wrapped")]
struct Wrapped(#[source] Limited);

#[derive(Debug, thiserror::Error, Serialize, TaskError)]
#[error("{0}")]
struct Generic<T: std::fmt::Display + std::fmt::Debug + Send + 'static>(T);

#[test]
fn an_error_that_is_serde_travels_whole() {
    let report = Limited { seconds: 3 }.report();
    assert_eq!(report.kind, "Limited");
    assert_eq!(report.message, "limited for 3 s");
    let payload = report.payload.expect("it is serde");
    assert_eq!(payload.get(), r#"{"seconds":3}"#);
}

#[test]
fn an_error_that_is_not_serde_travels_as_text_and_causes() {
    let report = Wrapped(Limited { seconds: 3 }).report();
    assert_eq!(report.kind, "Wrapped");
    assert_eq!(report.chain, ["limited for 3 s"]);
    assert!(report.payload.is_none());
    // neither does one that could only be written
    let report = Generic(1).report();
    assert_eq!(report.kind, "Generic");
    assert!(report.payload.is_none());
}
