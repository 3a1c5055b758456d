//! What both processes share: the queues and the tasks. In an application this is a crate of its own.

#![allow(unreachable_pub, reason = "in an application this file is a crate")]

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
