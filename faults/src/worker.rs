//! One worker process. It knows nothing of the faults: a supervisor would run any worker like this.

use std::io::Read;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use coney::prelude::*;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::journal::Journal;
use crate::tasks;

/// Faults last some seconds: so that half-open connections are noticed while they are.
pub(crate) const HEARTBEAT: Duration = Duration::from_secs(3);

#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[arg(long)]
    url: String,
    #[arg(long)]
    name: String,
    #[arg(long)]
    journal: PathBuf,
}

pub(crate) async fn run(arguments: Arguments) -> Result<()> {
    tracing_subscriber::fmt()
        .with_env_filter("info,coney=info,lapin=off")
        .with_ansi(false)
        .with_writer(std::io::stderr)
        .init();
    // a worker without its conductor has nobody who would stop it
    std::thread::spawn(|| {
        let _ended = std::io::stdin().read(&mut [0]);
        std::process::exit(3);
    });
    let journal = Journal::open(&arguments.journal)?;
    let stop = CancellationToken::new();
    let signal = stop.clone();
    tokio::spawn(async move {
        shutdown_signal().await;
        signal.cancel();
    });
    while let Err(error) = work(&arguments, &journal, &stop).await {
        warn!("no work: {error:#}");
        let pause = tokio::time::sleep(Duration::from_millis(500));
        if stop.run_until_cancelled(pause).await.is_none() {
            break;
        }
    }
    Ok(())
}

async fn work(arguments: &Arguments, journal: &Journal, stop: &CancellationToken) -> Result<()> {
    let builder = Broker::builder(&arguments.url).heartbeat(HEARTBEAT);
    let Some(broker) = stop.run_until_cancelled(builder.connect()).await else {
        return Ok(());
    };
    let broker = broker?;
    let worker = Worker::builder(&broker)
        .name(&arguments.name)
        .state(journal.clone())
        .task::<tasks::fast>()
        .task::<tasks::slow>()
        .task::<tasks::blocking>()
        .task::<tasks::flaky>()
        .task::<tasks::failing>()
        .build()?;
    let ended = worker.run_until(stop.cancelled()).await;
    broker.close().await;
    Ok(ended?)
}
