//! Many calls in flight at once from one client: what they cost in memory, and that dropping their handles gives it back.
//!
//! `cargo run --release --example in_flight -- 100000`, with `CONEY_URL` set unless the broker is on this machine. Reads
//! the process's memory from `/proc`, so it needs Linux.

#![allow(clippy::print_stdout, reason = "it talks to a person at a terminal")]

use std::time::Instant;

use anyhow::Context as _;
use coney::prelude::*;

#[derive(Queue)]
#[queue(name = "in_flight", concurrency = 64)]
struct InFlight;

#[task(queue = InFlight)]
async fn double(n: u64) -> u64 {
    n * 2
}

/// Resident memory of this process, in MiB.
fn resident() -> anyhow::Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib: f64 = line
        .context("no VmRSS")?
        .trim()
        .trim_end_matches(" kB")
        .parse()?;
    Ok(kib / 1024.0)
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let url = std::env::var("CONEY_URL").unwrap_or_else(|_| "amqp://localhost".to_owned());
    let calls: u64 = match std::env::args().nth(1) {
        Some(number) => number.parse().context("the number of calls")?,
        None => 100_000,
    };
    let broker = Broker::connect(&url)
        .await
        .context("no broker: set CONEY_URL")?;
    let client = Client::new(&broker);
    let warm_up = client.send_all((0..1000).map(double::call)).await;
    drop(warm_up);
    println!("connected             {:7.1} MiB", resident()?);

    // no worker yet: every call is in flight at the same time
    let started = Instant::now();
    let sent = client.send_all((0..calls).map(double::call)).await;
    let handles = sent.into_iter().collect::<Result<Vec<_>, _>>()?;
    println!(
        "{} in flight   {:7.1} MiB   sent in {:.1?}",
        client.in_flight(),
        resident()?,
        started.elapsed()
    );

    let worker = Worker::builder(&broker).task::<double>().build()?;
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let running = tokio::spawn(worker.run_until(async {
        let _ = stopped.await;
    }));
    let started = Instant::now();
    for (n, handle) in (0..calls).zip(&handles) {
        let doubled = handle.result().timeout(mins(10)).await?;
        anyhow::ensure!(doubled == n * 2, "{n} doubled is {doubled}");
    }
    println!(
        "all results are here  {:7.1} MiB   in {:.1?}",
        resident()?,
        started.elapsed()
    );

    drop(handles);
    println!(
        "{} in flight        {:7.1} MiB",
        client.in_flight(),
        resident()?
    );
    let again = client.send_all((0..calls).map(double::call)).await;
    for (n, handle) in (0..calls).zip(again) {
        anyhow::ensure!(handle?.result().timeout(mins(10)).await? == n * 2);
    }
    println!("after a second round  {:7.1} MiB", resident()?);
    drop(stop);
    running.await??;
    Ok(())
}
