//! `drain()` runs everything, and says why when it cannot.

use coney::Client;
use coney::prelude::*;
use coney::testing::{TestApp, TestError, assert_enqueued, refute_enqueued};

use crate::tasks::{
    Audit, Count, Mail, app, daily, fresh, hasty, note, sign_up, stubborn, stuck, welcome,
};

#[tokio::test]
async fn what_is_sent_waits_until_it_is_drained() {
    let count = Count::default();
    let app = app(&count).await;
    let handle = welcome::call(7).send(app.client()).await.unwrap();
    assert_enqueued!(welcome, user = 7);
    assert_eq!(count.get(), 0);

    let drained = app.drain().await.unwrap();
    assert_eq!((drained.attempts, drained.left), (1, 0));
    assert!(drained.passed.is_zero());
    assert_eq!(handle.result().await.unwrap(), "welcome, user 7");
    refute_enqueued!(welcome);

    welcome::call(8).send(app.client()).await.unwrap();
    assert_enqueued!(welcome, user = 8; count = 1);
    app.drain().await.unwrap();
    assert_eq!(count.get(), 2);
}

#[tokio::test]
async fn what_a_task_sends_runs_as_well_and_what_is_delayed() {
    let count = Count::default();
    let app = app(&count).await;
    sign_up::call(7).send(app.client()).await.unwrap();
    let drained = app.drain().await.unwrap();
    assert_eq!(drained.attempts, 3);
    assert!((hours(1)..hours(1) + secs(2)).contains(&drained.passed));
    assert!(app.enqueued().is_empty());
}

#[tokio::test]
async fn a_back_off_of_ten_hours_takes_no_time() {
    let count = Count::default();
    let app = app(&count).await;
    let handle = stubborn::call()
        .retry(no_jitter())
        .send(app.client())
        .await
        .unwrap();
    let drained = app.drain().await.unwrap();
    assert!(drained.passed >= hours(20), "{drained:?}");
    assert_eq!((drained.attempts, count.get()), (3, 3));
    assert_eq!(handle.result().await.unwrap(), 3);
}

fn no_jitter() -> coney::RetryPolicy {
    let backoff = coney::Backoff::Fixed(hours(10));
    coney::RetryPolicy::max(5).backoff(backoff).jitter(false)
}

#[tokio::test]
async fn a_task_whose_attempts_are_gone_is_a_dead_letter_with_its_history() {
    let app = app(&Count::default()).await;
    welcome::call(0)
        .retry(no_jitter())
        .send(app.client())
        .await
        .unwrap();
    let start = app.now();
    assert_eq!(app.drain().await.unwrap().attempts, 6);
    let letters = app.dead_letters::<Mail>().await.unwrap();
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0].reason.as_str(), "exhausted");
    assert_eq!(letters[0].attempts.len(), 6);
    // the times of the attempts are those of the app's clock
    let died = letters[0].died_at.expect("a time").duration_since(start);
    assert!(died.expect("later") >= hours(49));
    assert!(app.dead_letters::<Audit>().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_call_that_expired_meanwhile_is_a_dead_letter() {
    let app = app(&Count::default()).await;
    fresh::call().send(app.client()).await.unwrap();
    app.advance(hours(1)).await.unwrap();
    app.drain().await.unwrap();
    let letters = app.dead_letters::<Mail>().await.unwrap();
    assert_eq!(letters[0].reason.as_str(), "expired");
}

#[tokio::test]
async fn what_is_acknowledged_before_it_runs_is_waited_for() {
    let app = app(&Count::default()).await;
    hasty::call().send(app.client()).await.unwrap();
    assert_eq!(app.drain().await.unwrap().attempts, 2);
}

#[tokio::test]
async fn a_cancelled_task_is_not_run() {
    let count = Count::default();
    let app = app(&count).await;
    let handle = welcome::call(7)
        .delay(hours(1))
        .send(app.client())
        .await
        .unwrap();
    handle.cancel().await.unwrap();
    app.drain().await.unwrap();
    let error = handle.result().await.unwrap_err();
    assert!(
        matches!(error.kind(), coney::ResultErrorKind::Cancelled { .. }),
        "{error}"
    );
    assert_eq!(count.get(), 0);
}

#[tokio::test]
async fn a_task_that_sends_itself_again_for_ever_is_named() {
    let builder = TestApp::builder().state_with(Client::clone).task::<daily>();
    let app = builder.most_attempts(20).start().await.unwrap();
    daily::call().send(app.client()).await.unwrap();
    let error = app.drain().await.unwrap_err();
    assert!(matches!(error, TestError::Endless { .. }), "{error:?}");
    let text = format!("{error:?}");
    assert!(text.contains("coney.daily() in `audit`"), "{text}");

    // and time can be moved by hand instead
    let app = TestApp::builder().state_with(Client::clone).task::<daily>();
    let app = app.start().await.unwrap();
    app.start_worker().await.unwrap();
    daily::call().send(app.client()).await.unwrap();
    app.advance(hours(24 * 7 + 1)).await.unwrap();
    assert_enqueued!(in app, daily; count = 1, within = hours(24));
}

#[tokio::test]
async fn a_task_that_does_not_end_is_named() {
    let builder = TestApp::builder().task::<stuck>();
    let app = builder.patience(coney::secs(1) / 5).start().await.unwrap();
    stuck::call().send(app.client()).await.unwrap();
    let error = app.drain().await.unwrap_err();
    assert!(matches!(error, TestError::Stuck { .. }), "{error:?}");
    assert!(error.to_string().contains("coney.stuck()"), "{error}");
}

#[tokio::test]
async fn what_no_task_of_the_app_consumes_is_left_alone() {
    let builder = TestApp::builder().state(Count::default()).task::<welcome>();
    let app = builder.start().await.unwrap();
    note::call("for another service".to_owned(), None)
        .send(app.client())
        .await
        .unwrap();
    welcome::call(7).send(app.client()).await.unwrap();
    let drained = app.drain().await.unwrap();
    assert_eq!((drained.attempts, drained.left), (1, 1));
    assert_enqueued!(note; count = 1);
}

#[tokio::test]
async fn missing_state_and_missing_tasks_are_told_before_anything_runs() {
    let error = TestApp::builder()
        .task::<welcome>()
        .start()
        .await
        .unwrap_err();
    let text = format!("{error:?}");
    assert!(
        text.contains("coney.welcome") && text.contains("Count"),
        "{text}"
    );

    let app = TestApp::start().await.unwrap();
    let error = app.drain().await.unwrap_err();
    assert!(error.to_string().contains(".task::<my_task>()"), "{error}");
}
