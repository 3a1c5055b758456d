//! What both processes share: the queues and the tasks, and what sends them. In an application this is a crate of its
//! own; its tests are in `tests.rs` beside it.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "in an application this file is a crate"
)]

use coney::prelude::*;
use serde::{Deserialize, Serialize};

/// Where the worker's development broker listens on this machine if no other broker is chosen.
pub const PORT: u16 = 5670;

/// The queue of everything that sends mail.
#[derive(Debug, Queue)]
#[queue(name = "shop.mail", concurrency = 8)]
pub struct Mail;

/// An order, as it travels.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Order {
    /// Its number.
    pub number: u64,
    /// Where the confirmation goes.
    pub email: String,
    /// What it costs, in cents.
    pub cents: u64,
}

/// Why an order is not confirmed.
#[derive(Debug, thiserror::Error, TaskError, Serialize, Deserialize)]
pub enum OrderError {
    /// An order of nothing: no second attempt makes it one.
    #[error("order {0} costs nothing")]
    #[dead]
    Empty(u64),
}

/// Confirms an order by mail; tells how far it is.
#[task(queue = Mail, timeout = "30s")]
pub async fn confirm(order: Order, ctx: TaskContext) -> Result<String, OrderError> {
    if order.cents == 0 {
        return Err(OrderError::Empty(order.number));
    }
    for step in 1..=3 {
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        // a caller that does not hear of it is no reason to fail
        let _ = ctx.progress(&format!("step {step} of 3")).await;
    }
    Ok(format!(
        "confirmed order {} to {}",
        order.number, order.email
    ))
}

/// Asks the customer how it was; a mail server that is away is tried again for a day.
#[task(queue = Mail, retry(max = 24, backoff = fixed("1h")), ignore_result)]
pub async fn survey(email: String, State(post): State<Post>) -> coney::Result<()> {
    post.send(&email).map_err(Failure::retry)
}

/// How long after an order its customer is asked.
pub const SURVEY_AFTER: std::time::Duration = hours(7 * 24);

/// Takes an order: has it confirmed now, and its customer asked a week later.
///
/// # Errors
///
/// When the broker does not confirm that it has both.
pub async fn place(
    order: Order,
    client: &Client,
) -> Result<TaskHandle<String, OrderError>, SendError> {
    let survey = survey::call(order.email.clone()).delay(SURVEY_AFTER);
    let confirmation = confirm::call(order).send(client).await?;
    survey.send(client).await?;
    Ok(confirmation)
}

/// The way to the customers; stands in for a real one.
#[derive(Clone, Debug, Default)]
pub struct Post {
    /// How many more mails come back.
    pub away: std::sync::Arc<std::sync::atomic::AtomicU32>,
}

impl Post {
    fn send(&self, email: &str) -> Result<(), String> {
        use std::sync::atomic::Ordering::Relaxed;
        let one_less = |away: u32| away.checked_sub(1);
        match self.away.fetch_update(Relaxed, Relaxed, one_less) {
            Ok(_) => Err(format!("the mail server does not take a mail to {email}")),
            Err(_) => Ok(()),
        }
    }
}
