//! The clock of an app moves when it is told to, and everything goes by it.

use coney::prelude::*;
use coney::testing::{Enqueued, TestApp, Waiting};

use crate::tasks::{Audit, Count, after, app, note};

#[tokio::test]
async fn time_stands_still_until_it_is_moved() {
    let app = TestApp::start().await.unwrap();
    let start = app.now();
    assert_eq!(app.now(), start);
    app.advance(hours(1)).await.unwrap();
    assert_eq!(after(start, app.now()), hours(1));
}

#[tokio::test]
async fn a_delayed_call_reaches_its_queue_when_it_is_due_and_not_before() {
    let app = TestApp::start().await.unwrap();
    let call = note::call("later".to_owned(), None).delay(hours(10));
    call.send(app.client()).await.unwrap();
    assert_eq!(app.queue::<Audit>().ready, 0);
    let due = app.enqueued()[0].due().expect("it is delayed");
    assert_eq!(after(app.now(), due), hours(10));
    app.advance(hours(10) - secs(1)).await.unwrap();
    assert_eq!(app.queue::<Audit>().ready, 0);
    app.advance(secs(3)).await.unwrap();
    assert_eq!(app.queue::<Audit>().ready, 1);
    assert_eq!(app.enqueued()[0].waiting, Waiting::Ready);
}

#[tokio::test]
async fn a_delay_of_a_year_takes_no_year() {
    let app = app(&Count::default()).await;
    let call = note::call("next year".to_owned(), None).delay(hours(24 * 365));
    let handle = call.send(app.client()).await.unwrap();
    let before = app.now();
    app.drain().await.unwrap();
    handle.result().await.unwrap();
    assert!(after(before, app.now()) >= hours(24 * 365));
}

#[tokio::test]
async fn calls_come_in_the_order_in_which_they_are_due() {
    let app = TestApp::start().await.unwrap();
    for hour in [3, 1, 2] {
        let call = note::call(format!("{hour}"), None).delay(hours(hour));
        call.send(app.client()).await.unwrap();
    }
    let texts = |app: &TestApp| -> Vec<String> {
        let calls = app.enqueued().into_iter();
        calls
            .map(|call| call.named["text"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(texts(&app), ["1", "2", "3"]);
    app.advance(hours(4)).await.unwrap();
    assert_eq!(app.queue::<Audit>().ready, 3);
    assert_eq!(texts(&app), ["1", "2", "3"]);
}

#[tokio::test]
async fn each_of_many_delayed_calls_says_when_it_is_due() {
    let app = TestApp::start().await.unwrap();
    let start = app.now();
    // sent an hour apart, so that they stand one behind the other on each level
    for _ in 0..3 {
        let call = note::call("later".to_owned(), None).delay(hours(10));
        call.send(app.client()).await.unwrap();
        app.advance(hours(1)).await.unwrap();
    }
    app.advance(hours(4)).await.unwrap();
    let dues: Vec<_> = app.enqueued().iter().map(Enqueued::due).collect();
    let expected = [10, 11, 12].map(|hour| Some(start + hours(hour)));
    assert_eq!(dues, expected);
}
