//! What a test sees of queues, and that looking changes nothing.

use coney::prelude::*;
use coney::testing::{TestApp, Waiting};

use crate::tasks::{Audit, Count, Mail, app, note, stuck, welcome};

#[tokio::test]
async fn a_queue_shows_its_calls_in_order() {
    let app = TestApp::start().await.unwrap();
    let empty = app.queue::<Mail>();
    assert_eq!((empty.ready, empty.unacked, empty.calls.len()), (0, 0, 0));

    for user in [4, 5, 6] {
        welcome::call(user)
            .priority(Priority::High)
            .send(app.client())
            .await
            .unwrap();
    }
    let handle = note::call("n".to_owned(), Some(1));
    let handle = handle.id("the-id").send(app.client()).await.unwrap();
    let mail = app.queue::<Mail>();
    assert_eq!((mail.ready, mail.unacked), (3, 0));
    let users: Vec<_> = mail.calls.iter().map(|call| &call.named["user"]).collect();
    assert_eq!(users, [4, 5, 6]);
    assert_eq!(mail.calls[0].task, "coney.welcome");
    assert_eq!(mail.calls[0].attempt, 1);
    assert_eq!(mail.calls[0].priority, Some(7));
    let audit = app.queue::<Audit>();
    assert_eq!(audit.calls[0].id, *handle.id());
    assert_eq!(audit.calls[0].waiting, Waiting::Ready);
    // looking changes nothing
    assert_eq!(app.queue::<Mail>(), mail);
}

#[tokio::test]
async fn what_a_worker_has_is_shown_as_taken() {
    let app = app(&Count::default()).await;
    app.start_worker().await.unwrap();
    stuck::call().send(app.client()).await.unwrap();
    let mail = app.queue::<Mail>();
    assert_eq!(mail.ready + mail.unacked, 1);
    assert_eq!(mail.calls[0].task, "coney.stuck");
}

#[tokio::test]
async fn a_started_worker_answers_as_in_production() {
    let app = app(&Count::default()).await;
    app.start_worker().await.unwrap();
    let handle = welcome::call(7).send(app.client()).await.unwrap();
    let text = handle.result().timeout(secs(10)).await.unwrap();
    assert_eq!(text, "welcome, user 7");

    app.stop_worker().await.unwrap();
    welcome::call(8).send(app.client()).await.unwrap();
    assert_eq!(app.queue::<Mail>().ready, 1);
}

#[tokio::test]
async fn a_dead_letter_can_be_put_back_and_run_again() {
    let count = Count::default();
    let app = app(&count).await;
    welcome::call(2).send(app.client()).await.unwrap();
    app.drain().await.unwrap();
    let letters = app.client().dead_letters::<Mail>();
    let back = letters.redrive(coney::Selection::all()).await.unwrap();
    assert_eq!(back.count, 1);
    assert_eq!(app.queue::<Mail>().ready, 1);
    app.drain().await.unwrap();
    assert_eq!(count.get(), 2);
}
