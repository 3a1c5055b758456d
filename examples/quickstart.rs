//! Three tasks on two queues, worker and client in one process: sends 1,000 calls and shows what came of them.
//!
//! `cargo run --example quickstart` needs nothing but Rust: the broker is a development broker in the same process. With
//! `CONEY_URL` it is the RabbitMQ there; `cargo xtask quickstart` finds or starts one.

#![allow(clippy::print_stdout, reason = "it talks to a person at a terminal")]

#[path = "shared/broker.rs"]
mod broker;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use broker::Place;
use comfy_table::Table;
use coney::prelude::*;
use indicatif::{ProgressBar, ProgressStyle};
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;
use tokio::task::JoinSet;

/// Many short waits: 32 at once.
#[derive(Queue)]
#[queue(name = "quickstart.mail", concurrency = 32)]
struct Mail;

/// Work for the processor: two at once.
#[derive(Queue)]
#[queue(name = "quickstart.images", concurrency = 2)]
struct Images;

/// What all tasks of the worker share.
#[derive(Debug, Default)]
struct Outbox {
    sent: AtomicU64,
}

/// An async task with shared state.
#[task(queue = Mail)]
async fn welcome(user: u64, State(outbox): State<Arc<Outbox>>) -> String {
    tokio::time::sleep(Duration::from_millis(5)).await;
    let number = outbox.sent.fetch_add(1, Ordering::Relaxed) + 1;
    format!("mail {number} welcomes user {user}")
}

/// A plain function that keeps a processor busy: it runs off the async threads.
#[task(queue = Images, blocking)]
fn thumbnail(image: u64, pixels: u32) -> u64 {
    (0..pixels).fold(image, |hash, pixel| {
        (hash ^ u64::from(pixel)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// Why a payment is not made.
#[derive(Debug, thiserror::Error, TaskError, Serialize, Deserialize)]
enum PaymentError {
    /// Nothing to be done about it: the task is finished.
    #[error("card of customer {customer} declined")]
    #[discard]
    Declined {
        /// Whose card.
        customer: u64,
    },
}

/// A task that fails with an error of its own, which its caller gets back whole.
#[task(queue = Mail)]
async fn pay(customer: u64) -> Result<u64, PaymentError> {
    Err(PaymentError::Declined { customer })
}

const WELCOMES: u64 = 600;
const THUMBNAILS: u64 = 300;
const PAYMENTS: u64 = 100;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt()
        .with_env_filter("info,coney_devbroker=error,lapin=off")
        .with_target(false)
        .without_time()
        .init();
    let place = Place::find(0).await?;
    let broker = &place.broker;

    let worker = Worker::builder(broker)
        .state(Arc::new(Outbox::default()))
        .tasks(coney::registered())
        .build()?;
    let mut ready = worker.ready();
    let (stop, stopped) = oneshot::channel::<()>();
    let running = tokio::spawn(worker.run_until(async {
        // dropping the sender stops the worker as well
        let _ = stopped.await;
    }));
    if !ready.ready().await {
        running.await??;
        anyhow::bail!("the worker stopped before it was ready");
    }

    let client = Client::new(broker);
    let report = run(&client).await?;
    println!("\n{}", report.table());
    println!("some answers:");
    for line in &report.samples {
        println!("  {line}");
    }
    if let Ok(ui) = std::env::var("CONEY_MANAGEMENT_URL") {
        println!("\nqueues, consumers and rates: {ui}/#/queues");
    }
    client.close().await;
    drop(stop);
    running.await??;
    place.close().await;
    Ok(())
}

/// Sends all calls and collects their results.
async fn run(client: &Client) -> anyhow::Result<Report> {
    let bar = ProgressBar::new(WELCOMES + THUMBNAILS + PAYMENTS).with_style(
        ProgressStyle::with_template("{bar:40} {pos}/{len} results, {per_sec}")?,
    );
    let mut waiting = JoinSet::new();
    let started = Instant::now();
    let welcomes = client.send_all((0..WELCOMES).map(welcome::call)).await;
    watch(&mut waiting, "quickstart.mail", welcomes, started);
    let thumbnails = client
        .send_all((0..THUMBNAILS).map(|image| thumbnail::call(image, 200_000)))
        .await;
    watch(&mut waiting, "quickstart.images", thumbnails, started);
    let payments = client.send_all((0..PAYMENTS).map(pay::call)).await;
    watch(&mut waiting, "quickstart.mail", payments, started);

    let mut report = Report::default();
    while let Some(ended) = waiting.join_next().await {
        bar.inc(1);
        report.add(ended??);
    }
    bar.finish();
    Ok(report)
}

/// How one call ended.
struct Ended {
    queue: &'static str,
    answer: Result<String, String>,
    at: Duration,
    latency: Duration,
}

/// Waits for each result of a batch.
fn watch<T, E>(
    waiting: &mut JoinSet<anyhow::Result<Ended>>,
    queue: &'static str,
    sent: Vec<Result<TaskHandle<T, E>, SendError>>,
    started: Instant,
) where
    T: std::fmt::Debug + Send + 'static,
    E: 'static,
{
    let confirmed = Instant::now();
    for handle in sent {
        waiting.spawn(async move {
            let answer = match handle?.result().timeout(secs(60)).await {
                Ok(value) => Ok(format!("{value:?}")),
                Err(error) if error.failure().is_some() => Err(error.to_string()),
                Err(error) => return Err(error.into()),
            };
            Ok(Ended {
                queue,
                answer,
                at: started.elapsed(),
                latency: confirmed.elapsed(),
            })
        });
    }
}

/// What came of the calls, by queue.
#[derive(Default)]
struct Report {
    queues: BTreeMap<&'static str, Figures>,
    samples: Vec<String>,
}

#[derive(Default)]
struct Figures {
    succeeded: usize,
    failed: usize,
    latencies: Vec<Duration>,
    last: Duration,
}

impl Report {
    fn add(&mut self, ended: Ended) {
        let figures = self.queues.entry(ended.queue).or_default();
        let is_first_of_its_kind = match ended.answer {
            Ok(_) => figures.succeeded == 0,
            Err(_) => figures.failed == 0,
        };
        match &ended.answer {
            Ok(_) => figures.succeeded += 1,
            Err(_) => figures.failed += 1,
        }
        figures.latencies.push(ended.latency);
        figures.last = figures.last.max(ended.at);
        if is_first_of_its_kind {
            self.samples
                .push(ended.answer.unwrap_or_else(|error| error));
        }
    }

    fn table(&self) -> Table {
        let mut table = Table::new();
        table.load_style(comfy_table::presets::UTF8_FULL_CONDENSED);
        table.set_header([
            "queue",
            "sent",
            "succeeded",
            "failed",
            "p50 ms",
            "p99 ms",
            "tasks/s",
        ]);
        for (queue, figures) in &self.queues {
            let mut latencies = figures.latencies.clone();
            latencies.sort_unstable();
            let percentile = |percent: usize| {
                let at = (latencies.len() * percent / 100).min(latencies.len() - 1);
                format!("{:.1}", latencies[at].as_secs_f64() * 1000.0)
            };
            table.add_row([
                (*queue).to_owned(),
                latencies.len().to_string(),
                figures.succeeded.to_string(),
                figures.failed.to_string(),
                percentile(50),
                percentile(99),
                format!("{:.0}", latencies.len() as f64 / figures.last.as_secs_f64()),
            ]);
        }
        table
    }
}
