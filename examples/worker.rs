//! The worker of a small shop: run it in one terminal, and `send` in another.
//!
//! `cargo run --example worker`, with `CONEY_URL` set unless the broker is on this machine. Ctrl-C stops it after what
//! it runs.

#[path = "shop/tasks.rs"]
mod tasks;

use anyhow::Context as _;
use coney::prelude::*;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt()
        .with_env_filter("info,coney=debug,lapin=off")
        .init();
    let url = std::env::var("CONEY_URL").unwrap_or_else(|_| "amqp://localhost".to_owned());
    let broker = Broker::connect(&url)
        .await
        .context("no broker to work with: run `cargo xtask rabbitmq up` and set CONEY_URL to the URL it prints")?;
    Worker::builder(&broker)
        .state(tasks::Post::default())
        .task::<tasks::confirm>()
        .task::<tasks::survey>()
        .build()?
        .run()
        .await?;
    broker.close().await;
    Ok(())
}
