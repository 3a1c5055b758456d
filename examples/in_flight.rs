//! Many calls in flight at once from one client: what they cost in memory, and that dropping their handles gives it back.
//! Then as many that are delayed: they wait in the broker, and neither client nor worker grows.
//!
//! `cargo run --release --example in_flight -- 100000`, at the broker of `CONEY_URL`, or at a development
//! broker in a process of its own. Reads the process's memory from `/proc`, so it needs Linux.

#![allow(clippy::print_stdout, reason = "it talks to a person at a terminal")]

use std::process::Stdio;
use std::time::Instant;

use anyhow::Context as _;
use coney::prelude::*;
use coney_devbroker::DevBroker;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

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
    match std::env::args().nth(1).as_deref() {
        // broker and worker are processes of their own, so that only the client's memory is measured
        Some("broker") => serve().await,
        Some("worker") => work(&std::env::var("CONEY_URL")?).await,
        Some(calls) => run(calls.parse().context("the number of calls")?).await,
        None => run(100_000).await,
    }
}

async fn serve() -> anyhow::Result<()> {
    let broker = DevBroker::builder().memory_limit(4 << 30).start().await?;
    println!("{}", broker.url());
    // until it is killed
    std::future::pending().await
}

async fn work(url: &str) -> anyhow::Result<()> {
    let broker = Broker::connect(url).await?;
    let worker = Worker::builder(&broker).task::<double>().build()?;
    Ok(worker.run().await?)
}

/// This program once more, in another role.
fn another(role: &str) -> anyhow::Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg(role).kill_on_drop(true);
    Ok(command)
}

async fn run(calls: u64) -> anyhow::Result<()> {
    match std::env::var("CONEY_URL") {
        Ok(url) => measure(&url, calls).await,
        Err(_) => {
            let mut broker = another("broker")?.stdout(Stdio::piped()).spawn()?;
            let said = broker.stdout.take().context("a pipe")?;
            let url = BufReader::new(said).lines().next_line().await?;
            let url = url.context("the development broker does not start")?;
            println!("on a development broker: set CONEY_URL to use a RabbitMQ");
            measure(&url, calls).await
        }
    }
}

async fn measure(url: &str, calls: u64) -> anyhow::Result<()> {
    let client = Client::connect(url)
        .await
        .context("no broker at CONEY_URL: correct it, or unset it")?;
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
            let process = another("worker")?.env("CONEY_URL", url).spawn()?;
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
    let worker = worker.as_ref().and_then(Child::id).context("no worker")?;
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
