//! Sends orders to the `worker` example and shows what comes back.
//!
//! `cargo run --example send`: the broker is the one at `CONEY_URL`, or the one in the process of `worker`.

#![allow(clippy::print_stdout, reason = "it talks to a person at a terminal")]

#[path = "shop/tasks.rs"]
mod tasks;

use anyhow::Context as _;
use coney::prelude::*;
use tasks::{Order, place};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let url = std::env::var("CONEY_URL");
    let url = url.unwrap_or_else(|_| format!("amqp://127.0.0.1:{}", tasks::PORT));
    let client = Client::connect(&url).await.context(
        "no broker: start `cargo run --example worker` first, with the same CONEY_URL or none",
    )?;

    let mut handles = Vec::new();
    for number in 1..=5 {
        let order = Order {
            number,
            email: format!("customer{number}@example.org"),
            cents: (number - 1) * 1000,
        };
        let handle = place(order, &client).await?;
        println!("sent order {number} as task {}", handle.id());
        handles.push(handle);
    }

    let last = handles.last().context("five orders were sent")?;
    let mut progress = last.progress();
    while let Some(state) = progress.next().await {
        println!("the last one: {} {}", state.name(), state.json());
    }
    for handle in &handles {
        match handle.result().timeout(secs(30)).await {
            Ok(text) => println!("{text}"),
            Err(error) => match error.task_error() {
                Some(own) => println!("refused, and this is the worker's own error: {own:?}"),
                None => println!("{error}"),
            },
        }
    }
    client.close().await;
    client.broker().close().await;
    Ok(())
}
