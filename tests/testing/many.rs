//! Any number of such tests run beside each other.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use coney::prelude::*;
use coney::testing::{TestError, assert_enqueued};
use tokio::sync::Barrier;

use crate::tasks::{Count, builder, stubborn, welcome};

/// As many as run at once.
const APPS: usize = 1_000;

/// A test like any other: sends, looks, runs with ten hours of back-off.
async fn one_test(number: usize, all_started: &Barrier) -> Result<(), TestError> {
    let count = Count::default();
    // a thousand share the processors
    let app = builder(&count).patience(mins(2)).start().await?;
    all_started.wait().await;
    let user = number as u64 + 10;
    let welcomed = welcome::call(user)
        .send(app.client())
        .await
        .map_err(TestError::Send)?;
    stubborn::call()
        .send(app.client())
        .await
        .map_err(TestError::Send)?;
    // the app of this thread, and what was sent here alone
    assert_enqueued!(welcome, user = user; count = 1);
    assert_enqueued!(welcome; count = 1);
    let drained = app.drain().await?;
    assert_eq!((drained.attempts, drained.left), (4, 0));
    assert_eq!(count.get(), 4);
    let text = welcomed.result().await.expect("a result");
    assert_eq!(text, format!("welcome, user {user}"));
    Ok(())
}

/// Each with a thread and a runtime of its own, as the test harness runs them.
#[test]
fn a_thousand_apps_run_at_once() {
    let start = Instant::now();
    let all_started = Arc::new(Barrier::new(APPS));
    let tests: Vec<_> = (0..APPS)
        .map(|number| {
            let all_started = Arc::clone(&all_started);
            thread::spawn(move || {
                let start = Instant::now();
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()
                    .expect("a runtime");
                let test = one_test(number, &all_started);
                runtime.block_on(test).expect("a good end");
                start.elapsed()
            })
        })
        .collect();
    let mut took: Vec<Duration> = tests
        .into_iter()
        .map(|test| test.join().expect("no test fails"))
        .collect();
    took.sort();
    let median = took[took.len() / 2];
    eprintln!(
        "{APPS} apps at once in {:?}, median {median:?}",
        start.elapsed()
    );
}
