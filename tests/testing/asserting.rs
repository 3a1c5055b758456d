//! What `assert_enqueued!` and `refute_enqueued!` accept, and what they say.

use std::panic::{AssertUnwindSafe, catch_unwind};

use coney::prelude::*;
use coney::testing::{TestApp, assert_enqueued, refute_enqueued};

use crate::tasks::{Audit, Mail, note, welcome};

/// What a failed assertion says.
fn said(assertion: impl FnOnce()) -> String {
    let panic = catch_unwind(AssertUnwindSafe(assertion)).expect_err("the assertion fails");
    match panic.downcast::<String>() {
        Ok(text) => *text,
        Err(panic) => (*panic.downcast::<&str>().expect("a text")).to_owned(),
    }
}

#[tokio::test]
async fn a_call_is_found_by_its_arguments() {
    let app = TestApp::start().await.unwrap();
    welcome::call(7).send(app.client()).await.unwrap();
    note::call("a".to_owned(), None)
        .send(app.client())
        .await
        .unwrap();

    assert_enqueued!(welcome);
    assert_enqueued!(welcome, user = 7);
    let calls = assert_enqueued!(in app, welcome, user = 7; count = 1, queue = Mail);
    assert_eq!(calls[0].named["user"], 7);
    assert_enqueued!(note, text = "a", level = None::<u8>; within = secs(0));
    assert_enqueued!(crate::tasks::note; queue = Audit);
    refute_enqueued!(welcome, user = 8);
    refute_enqueued!(in app, welcome; queue = Audit);
}

#[tokio::test]
async fn a_call_is_found_by_when_it_is_due() {
    let app = TestApp::start().await.unwrap();
    let time = app.now() + hours(3);
    note::call("later".to_owned(), None)
        .eta(time)
        .send(app.client())
        .await
        .unwrap();

    assert_enqueued!(note; after = hours(3));
    assert_enqueued!(note; at = time, within = hours(4));
    refute_enqueued!(note; within = hours(2));
    app.advance(hours(2)).await.unwrap();
    assert_enqueued!(note; after = hours(1));
    app.advance(hours(1) + secs(2)).await.unwrap();
    assert_enqueued!(note; within = secs(0));
}

#[tokio::test]
async fn a_call_of_a_celery_client_is_found_by_the_names_of_its_positions() {
    let app = TestApp::start().await.unwrap();
    let client = app.client();
    // declares the queue
    note::call("coney".to_owned(), None)
        .send(client)
        .await
        .unwrap();
    client
        .call_by_name(
            <note as coney::Task>::SPEC.name,
            serde_json::json!(["python", 3]),
        )
        .queue_named("audit")
        .send(client)
        .await
        .unwrap();

    assert_enqueued!(note, text = "python", level = 3.0; count = 1);
    assert_enqueued!(note; count = 2);
}

#[tokio::test]
async fn a_failure_lists_what_is_enqueued_instead() {
    let app = TestApp::start().await.unwrap();
    let empty = said(|| drop(assert_enqueued!(welcome, user = 7)));
    assert!(empty.contains("is `coney.welcome(user = 7)`"), "{empty}");
    assert!(empty.contains("nothing is enqueued"), "{empty}");

    welcome::call(8).send(app.client()).await.unwrap();
    let delayed = note::call("later".to_owned(), None).delay(hours(30));
    delayed.send(app.client()).await.unwrap();
    let others = said(|| drop(assert_enqueued!(welcome, user = 7; count = 2)));
    for part in [
        "2 calls are expected",
        "and there are 0",
        "coney.welcome(user = 8) in `mail`, ready",
        "in `audit`, due in 1d 6h 0m",
    ] {
        assert!(others.contains(part), "{part}: {others}");
    }
    let refuted = said(|| refute_enqueued!(welcome));
    assert!(refuted.contains("coney.welcome(user = 8)"), "{refuted}");
}

#[tokio::test]
async fn a_misspelt_parameter_is_named() {
    let _app = TestApp::start().await.unwrap();
    let text = said(|| drop(assert_enqueued!(welcome, usr = 7)));
    assert!(text.contains("no parameter `usr`"), "{text}");
    assert!(text.contains(r#"["user"]"#), "{text}");
}

#[tokio::test]
async fn without_a_name_the_app_has_to_be_the_only_one_of_the_thread() {
    let none = said(|| drop(assert_enqueued!(welcome)));
    assert!(none.contains("no test app was started"), "{none}");

    let first = TestApp::start().await.unwrap();
    let second = TestApp::start().await.unwrap();
    let two = said(|| drop(assert_enqueued!(welcome)));
    assert!(two.contains("2 test apps"), "{two}");

    welcome::call(7).send(first.client()).await.unwrap();
    assert_enqueued!(in first, welcome);
    refute_enqueued!(in second, welcome);
    drop(first);
    refute_enqueued!(welcome);
}
