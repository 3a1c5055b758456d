//! The app that an assertion means which names none: the only one that was started on its thread.
//!
//! The test harness gives each test a thread, so that this is the app of the test.

use std::cell::RefCell;
use std::sync::{Arc, Weak};

use super::app::{Inner, TestApp};

thread_local! {
    static STARTED: RefCell<Vec<Weak<Inner>>> = const { RefCell::new(Vec::new()) };
}

/// Remembers an app for as long as it lives.
pub(super) fn add(app: &Arc<Inner>) {
    STARTED.with_borrow_mut(|started| {
        started.retain(|app| app.strong_count() > 0);
        started.push(Arc::downgrade(app));
    });
}

/// The only app of this thread.
///
/// # Panics
///
/// If there is none, or more than one.
#[doc(hidden)]
#[must_use]
#[track_caller]
pub fn the_app() -> TestApp {
    let mut apps: Vec<_> =
        STARTED.with_borrow(|started| started.iter().filter_map(Weak::upgrade).collect());
    match (apps.pop(), apps.len()) {
        (Some(app), 0) => TestApp::of(app),
        (Some(_), others) => panic!(
            "{} test apps were started on this thread: say which one is meant: `in app, ..`",
            others + 1
        ),
        (None, _) => panic!(
            "no test app was started on this thread: start one with `TestApp::builder()`, or say which one is meant: \
             `in app, ..`"
        ),
    }
}
