//! One attempt of one call: every outcome has its word.

use coney::Client;
use coney::prelude::*;
use coney::testing::{Performed, TestApp, assert_enqueued, perform, refute_enqueued};

use crate::tasks::{Count, Mail, MailError, crunch, fresh, hasty, note, sign_up, welcome};

#[tokio::test]
async fn a_value_comes_back_typed() {
    let count = Count::default();
    let performed = perform!(welcome(7), state = count.clone()).await;
    let Performed::Succeeded(text) = performed else {
        panic!("{performed}");
    };
    assert_eq!(text, "welcome, user 7");
    assert_eq!(count.get(), 1);
}

#[tokio::test]
async fn an_error_comes_back_typed() {
    let performed = perform!(welcome(1), state = Count::default()).await;
    let Performed::Failed(error) = &performed else {
        panic!("{performed}");
    };
    assert_eq!(error.task_error(), Some(MailError::NoUser(1)));
}

#[tokio::test]
async fn a_retry_says_when_and_why() {
    let app = TestApp::builder().state(Count::default());
    let app = app.start().await.unwrap();
    let policy = coney::RetryPolicy::max(3).backoff(coney::Backoff::Fixed(hours(10)));
    let call = welcome::call(0).retry(policy.jitter(false));
    let performed = app.perform(call).await.unwrap();
    let Performed::Retried { error, after } = &performed else {
        panic!("{performed}");
    };
    assert!((hours(10)..hours(12)).contains(after), "{after:?}");
    assert_eq!(error, "MailError: the mail server is away");
    assert!(
        performed.to_string().starts_with("is repeated in 1"),
        "{performed}"
    );
}

#[tokio::test]
async fn a_deferred_task_says_when() {
    let performed = perform!(welcome(3), state = Count::default()).await;
    let Performed::Deferred { after } = &performed else {
        panic!("{performed}");
    };
    assert!((hours(2)..hours(2) + secs(2)).contains(after), "{after:?}");
}

#[tokio::test]
async fn a_dead_letter_has_its_reason_and_its_error() {
    let performed = perform!(welcome(2), state = Count::default()).await;
    let Performed::Dead { reason, error } = &performed else {
        panic!("{performed}");
    };
    assert_eq!(reason.as_str(), "dead");
    assert_eq!(error.task_error(), Some(MailError::Bounced));

    let last = perform!(welcome(0), state = Count::default(), attempt = 4).await;
    let Performed::Dead { reason, .. } = &last else {
        panic!("{last}");
    };
    assert_eq!(reason.as_str(), "exhausted");
}

#[tokio::test]
async fn a_panic_of_a_blocking_task_is_a_failed_attempt() {
    assert_eq!(perform!(crunch(21)).await.ok(), Some(42));
    let performed = perform!(crunch(0)).await;
    let Performed::Retried { error, .. } = &performed else {
        panic!("{performed}");
    };
    assert!(error.contains("nothing to crunch"), "{error}");
}

#[tokio::test]
async fn what_the_task_sends_is_enqueued_and_what_waited_before_still_waits() {
    let builder = TestApp::builder().state(Count::default());
    let app = builder.state_with(Client::clone).start().await.unwrap();
    welcome::call(9).send(app.client()).await.unwrap();

    let performed = app.perform(sign_up::call(7)).await.unwrap();
    assert!(performed.ok().is_some());
    assert_enqueued!(welcome, user = 7);
    assert_enqueued!(welcome, user = 9);
    assert_enqueued!(note, text = "user 7"; after = hours(1));
    refute_enqueued!(sign_up);

    // what comes of a performed call is told, and nothing else
    app.perform(welcome::call(2)).await.unwrap();
    app.perform(welcome::call(0)).await.unwrap();
    assert_enqueued!(welcome; count = 2);
    assert!(app.dead_letters::<Mail>().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_call_with_a_delay_is_performed_when_it_is_due() {
    let app = TestApp::start().await.unwrap();
    let start = app.now();
    let call = note::call("later".to_owned(), None).delay(hours(5));
    assert!(app.perform(call).await.unwrap().ok().is_some());
    assert!(crate::tasks::after(start, app.now()) >= hours(5));

    let late = app.perform(fresh::call().delay(hours(2))).await.unwrap();
    assert!(matches!(late, Performed::Dead { .. }), "{late}");
}

#[tokio::test]
async fn a_task_whose_result_nobody_wants_is_performed_all_the_same() {
    let app = TestApp::builder().state_with(Client::clone);
    let app = app.start().await.unwrap();
    let performed = app.perform(hasty::call()).await.unwrap();
    assert!(performed.ok().is_some());
    assert_enqueued!(note, text = "late");
}
