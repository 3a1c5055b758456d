//! Many calls in flight at once from one client: what they cost in memory, and that dropping their handles gives it back.
//! Then as many that are delayed: they wait in the broker, and neither client nor worker grows.
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

/// Resident memory of a process, in MiB.
fn resident(process: &str) -> anyhow::Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
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
    let broker = Broker::connect(&url)
        .await
        .context("no broker: set CONEY_URL")?;
    match std::env::args().nth(1).as_deref() {
        // the worker is a process of its own, so that only the client's memory is measured
        Some("worker") => {
            let worker = Worker::builder(&broker).task::<double>().build()?;
            Ok(worker.run().await?)
        }
        Some(calls) => measure(&broker, calls.parse().context("the number of calls")?).await,
        None => measure(&broker, 100_000).await,
    }
}

async fn measure(broker: &Broker, calls: u64) -> anyhow::Result<()> {
    let client = Client::new(broker);
    drop(client.send_all((0..1000).map(double::call)).await);
    show("connected", &client)?;
    let mut worker = None;
    for round in 1..=4 {
        let started = Instant::now();
        let sent = client.send_all((0..calls).map(double::call)).await;
        let handles = sent.into_iter().collect::<Result<Vec<_>, _>>()?;
        println!("round {round}: sent in {:.1?}", started.elapsed());
        // in the first round there is no worker yet: every call is in flight at the same time
        show("all sent", &client)?;
        if worker.is_none() {
            let myself = std::env::current_exe()?;
            let process = tokio::process::Command::new(myself)
                .arg("worker")
                .kill_on_drop(true)
                .spawn()?;
            worker = Some(process);
        }
        for (n, handle) in (0..calls).zip(&handles) {
            let doubled = handle.result().timeout(mins(10)).await?;
            anyhow::ensure!(doubled == n * 2, "{n} doubled is {doubled}");
        }
        show("all answered", &client)?;
        drop(handles);
        show("handles dropped", &client)?;
    }
    let worker = worker
        .as_ref()
        .and_then(tokio::process::Child::id)
        .context("no worker")?;
    let both = || anyhow::Ok((resident("self")?, resident(&worker.to_string())?));
    let before = both()?;
    let delayed = (0..calls).map(|n| double::call(n).delay(mins(10)));
    let sent = client.send_all(delayed).await;
    sent.into_iter().collect::<Result<Vec<_>, _>>()?;
    let after = both()?;
    println!("{calls} delayed by ten minutes: client and worker {before:.1?} -> {after:.1?} MiB");
    client.close().await;
    Ok(())
}

fn show(when: &str, client: &Client) -> anyhow::Result<()> {
    let in_flight = client.in_flight();
    println!(
        "  {when:<16} {in_flight:>7} in flight {:>8.1} MiB",
        resident("self")?
    );
    Ok(())
}
