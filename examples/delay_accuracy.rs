//! How late delayed tasks start: prints a table of lateness for delays from 1 ms to ten minutes.
//!
//! `cargo run --release --example delay_accuracy -- [SAMPLES]`, at the broker of `CONEY_URL`, or at a
//! development broker in the same process. Takes a little over ten minutes; samples of all delays are spread over the first minute.

#![allow(clippy::print_stdout, reason = "it talks to a person at a terminal")]

#[path = "shared/broker.rs"]
mod broker;

use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use broker::Place;
use coney::prelude::*;
use tokio::task::JoinSet;

#[derive(Queue)]
#[queue(name = "delay_accuracy", concurrency = 64)]
struct DelayAccuracy;

/// Microseconds since 1970 at which it started.
#[task(queue = DelayAccuracy)]
async fn started_at() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| {
        u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
    })
}

const DELAYS_MS: [u64; 10] = [1, 5, 20, 100, 777, 1_500, 10_000, 60_000, 300_000, 600_000];

/// Over this time the samples of a delay are spread, so that they do not queue behind each other.
const SPREAD: Duration = Duration::from_secs(60);

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let samples: u32 = match std::env::args().nth(1) {
        Some(number) => number.parse().context("the number of samples")?,
        None => 1000,
    };
    let place = Place::find(0).await?;
    let broker = &place.broker;
    let worker = Worker::builder(broker).task::<started_at>().build()?;
    let running = tokio::spawn(worker.run_until(std::future::pending()));
    let client = Client::new(broker);
    // declares the ladder before the clock runs
    started_at::call()
        .delay(Duration::from_millis(1))
        .send(&client)
        .await?
        .result()
        .await?;

    println!(
        "broker: {}, {samples} samples of each delay",
        broker.server()
    );
    println!("| delay | early | p50 late | p99 late | longest |\n|---|---|---|---|---|");
    let mut measuring = JoinSet::new();
    for delay in DELAYS_MS.map(Duration::from_millis) {
        measuring.spawn(measure(client.clone(), delay, samples));
    }
    let mut rows = Vec::new();
    while let Some(row) = measuring.join_next().await {
        rows.push(row??);
    }
    rows.sort_by_key(|(delay, _)| *delay);
    for (delay, lateness) in rows {
        println!("{}", describe(delay, lateness));
    }
    running.abort();
    client.close().await;
    place.close().await;
    Ok(())
}

/// Sends samples of one delay, spread over time, and returns how late each started, in milliseconds.
async fn measure(
    client: Client,
    delay: Duration,
    samples: u32,
) -> anyhow::Result<(Duration, Vec<f64>)> {
    let mut ticks = tokio::time::interval(SPREAD / samples);
    let mut waiting = JoinSet::new();
    for _ in 0..samples {
        ticks.tick().await;
        let due = SystemTime::now() + delay;
        let handle = started_at::call().delay(delay).send(&client).await?;
        waiting.spawn(async move {
            let started = handle.result().timeout(delay + secs(60)).await?;
            let due = due.duration_since(SystemTime::UNIX_EPOCH)?;
            // two large numbers whose difference is small: floats of microseconds since 1970 are exact
            anyhow::Ok((started as f64 - due.as_micros() as f64) / 1000.0)
        });
    }
    let mut lateness = Vec::new();
    while let Some(late) = waiting.join_next().await {
        lateness.push(late??);
    }
    Ok((delay, lateness))
}

fn describe(delay: Duration, mut lateness: Vec<f64>) -> String {
    lateness.sort_by(f64::total_cmp);
    let early = lateness.iter().filter(|late| **late < 0.0).count();
    let at = |percent: usize| lateness[(lateness.len() - 1) * percent / 100];
    format!(
        "| {delay:?} | {early} | {:.0} ms | {:.0} ms | {:.0} ms |",
        at(50),
        at(99),
        at(100)
    )
}
