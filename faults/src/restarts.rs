//! The broker restarts again and again under a steady load: how soon is the full rate back, and is all as before?

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use coney::prelude::*;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::conductor::{self, Arguments};
use crate::faults::Stage;
use crate::management::{self, ConsumerState};
use crate::sender::Ledger;
use crate::tasks;
use crate::{drain, sender};

/// How long the broker may be back before tasks end at the full rate again.
const LIMIT: Duration = Duration::from_secs(5);
/// The part of the rate of sending that counts as the full rate of ending, in percent.
const FULL: usize = 90;
/// The rate is looked at in windows of this length.
const WINDOW: Duration = Duration::from_millis(500);
/// How long everything may take to be as before.
const PATIENCE: Duration = Duration::from_secs(60);
/// Quiet time between two restarts.
const PAUSE: Duration = Duration::from_secs(3);

/// True if each time the rate was back in time, all consumers as before, and nothing lost.
pub(crate) async fn run(arguments: &Arguments, restarts: u32) -> Result<bool> {
    conductor::prepare(&arguments.folder)?;
    let stage = conductor::set_up(arguments).await?;
    let ledger: &'static Ledger = Box::leak(Box::default());
    let client = conductor::connect(&stage, arguments).await?;
    let waiting = TaskTracker::new();
    let end = CancellationToken::new();
    let load = end.run_until_cancelled(load(&client, arguments.rate, ledger, &waiting));
    let (_, kept) = tokio::join!(load, async {
        let kept = measure(&stage, arguments, ledger, restarts).await;
        end.cancel();
        kept
    });
    let mut kept = kept?;
    let rested = drain::rest(
        &stage,
        &arguments.management,
        ledger,
        arguments.workers,
        PATIENCE,
    )
    .await;
    for problem in stage.crew.stop().await {
        stage.problem(problem);
    }
    client.close().await;
    client.broker().close().await;
    waiting.close();
    waiting.wait().await;
    let sent = ledger.records().len();
    let open = ledger.open();
    kept &= rested && open == 0 && stage.problems().is_empty();
    println!("{restarts} restarts, {sent} tasks sent, {open} without an answer");
    Ok(kept)
}

/// Sends short tasks at a steady rate until it is dropped.
async fn load(client: &Client, rate: u32, ledger: &'static Ledger, waiting: &TaskTracker) {
    let mut beat = tokio::time::interval(Duration::from_secs(1) / rate);
    for n in 0.. {
        beat.tick().await;
        let job = sender::Job::new(client, ledger, n, sender::Kind::Fast);
        waiting.spawn(job.run(tasks::fast::call(n)));
    }
}

async fn measure(
    stage: &Stage,
    arguments: &Arguments,
    ledger: &Ledger,
    restarts: u32,
) -> Result<bool> {
    let wanted = arguments.rate as usize * WINDOW.as_millis() as usize * FULL / 100_000;
    until_full(ledger, wanted, PATIENCE).await?;
    let before = consumers(arguments).await?;
    stage.say(&format!(
        "{} consumers of workers: {before:?}",
        before.len()
    ));
    let mut kept = true;
    for number in 1..=restarts {
        sleep(PAUSE).await;
        let cleanly = number % 2 == 0;
        stage.restart(0, cleanly, Duration::ZERO).await?;
        let took = until_full(ledger, wanted, PATIENCE).await?;
        let as_before = same_consumers(arguments, &before).await?;
        kept &= took <= LIMIT && as_before;
        stage.say(&format!(
            "restart {number} ({}): full rate {:.1} s after the broker was back, consumers and prefetch {}",
            if cleanly { "clean" } else { "killed" },
            took.as_secs_f64(),
            if as_before { "as before" } else { "NOT as before" },
        ));
    }
    Ok(kept)
}

/// Waits until tasks end at the full rate, and says from when on they did: the start of the first full window.
async fn until_full(ledger: &Ledger, wanted: usize, patience: Duration) -> Result<Duration> {
    let started = Instant::now();
    while started.elapsed() < patience {
        let (from, before) = (started.elapsed(), ledger.answered());
        sleep(WINDOW).await;
        if ledger.answered() - before >= wanted {
            return Ok(from);
        }
    }
    bail!("the full rate does not come back within {patience:?}")
}

/// What workers consume, and with which prefetch.
async fn consumers(arguments: &Arguments) -> Result<Vec<ConsumerState>> {
    let all = management::consumers(&arguments.management).await?;
    let mut of_workers: Vec<_> = all
        .into_iter()
        .filter(|consumer| consumer.tag.starts_with("faults-"))
        .collect();
    of_workers.sort();
    Ok(of_workers)
}

/// True once the consumers are what they were; false if they never are.
async fn same_consumers(arguments: &Arguments, before: &[ConsumerState]) -> Result<bool> {
    let started = Instant::now();
    while started.elapsed() < PATIENCE {
        // the API itself may not be back yet
        if consumers(arguments).await.is_ok_and(|now| now == before) {
            return Ok(true);
        }
        sleep(Duration::from_millis(200)).await;
    }
    Ok(false)
}
