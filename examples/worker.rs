//! The worker of a small shop: run it in one terminal, and `send` in another.
//!
//! `cargo run --example worker`: the broker is the one at `CONEY_URL`, or a development broker in this process, which
//! `send` finds. Ctrl-C stops the worker after what it runs.

#![allow(clippy::print_stdout, reason = "it talks to a person at a terminal")]

#[path = "shared/broker.rs"]
mod broker;
#[path = "shop/tasks.rs"]
mod tasks;

use broker::Place;
use coney::prelude::*;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt()
        .with_env_filter("info,coney=debug,lapin=off")
        .init();
    let place = Place::find(tasks::PORT).await?;
    Worker::builder(&place.broker)
        .state(tasks::Post::default())
        .task::<tasks::confirm>()
        .task::<tasks::survey>()
        .build()?
        .run()
        .await?;
    place.close().await;
    Ok(())
}
