//! The tests of the shop: nothing needs to run beside them, and a week takes no time.

mod tasks;

use std::sync::Arc;

use coney::prelude::*;
use coney::testing::{Performed, TestApp, TestError, assert_enqueued, perform, refute_enqueued};
use tasks::{Mail, Order, OrderError, Post, SURVEY_AFTER, confirm, place, survey};

fn order(number: u64, cents: u64) -> Order {
    Order {
        number,
        email: format!("customer{number}@example.org"),
        cents,
    }
}

/// The shop, with a post that returns the first mails.
async fn shop(away: u32) -> Result<TestApp, TestError> {
    let away = Arc::new(away.into());
    TestApp::builder()
        .state(Post { away })
        .task::<confirm>()
        .task::<survey>()
        .start()
        .await
}

#[tokio::test]
async fn an_order_is_confirmed() {
    let performed = perform!(confirm(order(7, 1999))).await;
    let text = performed.ok();
    assert_eq!(
        text.as_deref(),
        Some("confirmed order 7 to customer7@example.org")
    );
}

#[tokio::test]
async fn an_order_of_nothing_is_a_dead_letter() {
    let performed = perform!(confirm(order(7, 0))).await;
    let Performed::Dead { error, .. } = &performed else {
        panic!("the order {performed}");
    };
    assert!(matches!(error.task_error(), Some(OrderError::Empty(7))));
}

#[tokio::test]
async fn placing_an_order_has_it_confirmed_now_and_asks_the_customer_in_a_week() {
    let shop = shop(0).await.unwrap();
    place(order(7, 1999), shop.client()).await.unwrap();

    let confirmations = assert_enqueued!(confirm; queue = Mail, within = secs(0), count = 1);
    assert_eq!(confirmations[0].named["order"]["number"], 7);
    assert_enqueued!(survey, email = "customer7@example.org"; after = SURVEY_AFTER);
    refute_enqueued!(survey, email = "customer8@example.org");

    let drained = shop.drain().await.unwrap();
    assert_eq!(drained.attempts, 2);
    assert!(drained.passed >= SURVEY_AFTER);
}

#[tokio::test]
async fn a_mail_server_that_is_away_for_ten_hours_loses_no_survey() {
    let shop = shop(10).await.unwrap();
    let call = survey::call("customer7@example.org".to_owned());
    call.send(shop.client()).await.unwrap();
    assert_eq!(shop.drain().await.unwrap().attempts, 11);
    assert!(shop.dead_letters::<Mail>().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_survey_is_given_up_after_a_day() {
    let shop = shop(u32::MAX).await.unwrap();
    let call = survey::call("customer7@example.org".to_owned());
    call.send(shop.client()).await.unwrap();
    assert_eq!(shop.drain().await.unwrap().attempts, 25);

    let letters = shop.dead_letters::<Mail>().await.unwrap();
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0].reason.as_str(), "exhausted");
    assert!(
        letters[0]
            .last_error()
            .unwrap_or_default()
            .contains("mail server")
    );
}
