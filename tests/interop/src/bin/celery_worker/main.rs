//! A worker with tasks that show every side of Celery's protocol, for tests with Celery's own clients and tools. All but
//! `wire.late` are acknowledged when they start, as Celery's tasks are.
//!
//! `WIRE_BROKER` says where the broker is, `WIRE_QUEUE` which queue it consumes.

#![allow(clippy::print_stderr, reason = "it talks to who reads its log")]

mod misc;
mod numbers;
mod request;
mod states;

use coney::{Client, Worker, shutdown_signal};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt()
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_default_env()
                .unwrap_or_else(|_| "warn,coney=info,lapin=off".into()),
        )
        .with_writer(std::io::stderr)
        .init();
    let broker = coney_interop::broker().await?;
    // a client that counts the seconds shall not wait for it at the first retry
    if let Err(error) = broker.ensure_ladder().await {
        eprintln!("the delay ladder is declared when it is needed: {error}");
    }
    let worker = Worker::builder(&broker)
        .name("rust@wire")
        .tasks(coney::registered())
        .queue_spec(coney_interop::queue().prefetch(16))
        .concurrency(4)
        .state(Client::new(&broker))
        .build()?;
    worker.run_until(shutdown_signal()).await?;
    Ok(())
}
