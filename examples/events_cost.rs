//! What events cost: how many tasks a worker runs in a second with events off and on, at a load of so many tasks a
//! second and as fast as it can; and how much of a processor it needs for that.
//!
//! `cargo run --release --example events_cost -- 1000 10` for a load of 1,000 tasks a second over 10 seconds, at the
//! broker of `CONEY_URL`, or at a development broker in a process of its own. Worker and monitor are processes of their
//! own, too. Reads the worker's processor time from `/proc`, so it needs Linux.

#![allow(clippy::print_stdout, reason = "it talks to a person at a terminal")]

use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use coney::prelude::*;
use coney_devbroker::DevBroker;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

#[derive(Queue)]
#[queue(name = "events_cost", concurrency = 64)]
struct EventsCost;

#[task(queue = EventsCost)]
async fn double(n: u64) -> u64 {
    n * 2
}

/// How often it is measured with and without, in turn.
const ROUNDS: usize = 3;

/// How many calls are sent in one go.
const AT_ONCE: u64 = 20;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let texts: Vec<_> = arguments.iter().map(String::as_str).collect();
    match texts[..] {
        ["broker"] => serve().await,
        ["worker", tells] => work(&std::env::var("CONEY_URL")?, tells == "on").await,
        ["monitor"] => listen(&std::env::var("CONEY_URL")?).await,
        [load, seconds] => run(load.parse()?, seconds.parse()?).await,
        _ => run(1000, 10).await,
    }
}

async fn serve() -> anyhow::Result<()> {
    let broker = DevBroker::builder().memory_limit(4 << 30).start().await?;
    println!("{}", broker.url());
    // until it is killed
    std::future::pending().await
}

async fn work(url: &str, tells: bool) -> anyhow::Result<()> {
    let broker = Broker::connect(url).await?;
    let worker = Worker::builder(&broker)
        .task_events(tells)
        .task::<double>()
        .build()?;
    Ok(worker.run().await?)
}

/// Reads all events, as a monitor would.
async fn listen(url: &str) -> anyhow::Result<()> {
    let client = Client::connect(url).await?;
    let mut events = client.events().await?;
    while events.next().await.is_some() {}
    Ok(())
}

/// This program once more, in other roles.
fn another(roles: &[&str]) -> anyhow::Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(roles).kill_on_drop(true);
    Ok(command)
}

async fn run(load: u64, seconds: u64) -> anyhow::Result<()> {
    match std::env::var("CONEY_URL") {
        Ok(url) => measure(&url, load, seconds).await,
        Err(_) => {
            let mut broker = another(&["broker"])?.stdout(Stdio::piped()).spawn()?;
            let said = broker.stdout.take().context("a pipe")?;
            let url = BufReader::new(said).lines().next_line().await?;
            let url = url.context("the development broker does not start")?;
            println!("on a development broker: set CONEY_URL to use a RabbitMQ");
            measure(&url, load, seconds).await
        }
    }
}

async fn measure(url: &str, load: u64, seconds: u64) -> anyhow::Result<()> {
    let client = Client::connect(url)
        .await
        .context("no broker at CONEY_URL: correct it, or unset it")?;
    let _monitor = another(&["monitor"])?.env("CONEY_URL", url).spawn()?;
    let calls = load * seconds;
    println!("a load of {load} tasks/s for {seconds} s; then as fast as it can");
    for _ in 0..ROUNDS {
        for tells in ["off", "on"] {
            let mut worker = another(&["worker", tells])?.env("CONEY_URL", url).spawn()?;
            // the worker is there when it answers
            call_all(&client, AT_ONCE, None).await?;
            let before = used(&worker)?;
            let paced = call_all(&client, calls, Some(load)).await?;
            let used = used(&worker)? - before;
            let each = used.as_secs_f64() * 1e6 / as_float(calls);
            let fast = call_all(&client, calls, None).await?;
            println!(
                "events {tells:<3}  {paced:7.1} tasks/s, {each:5.1} us of processor each;  {fast:7.1} tasks/s at most"
            );
            worker.kill().await?;
        }
    }
    client.close().await;
    Ok(())
}

/// Calls the task so often, at most so many times a second, and waits for all results: the tasks per second.
async fn call_all(client: &Client, calls: u64, load: Option<u64>) -> anyhow::Result<f64> {
    let started = Instant::now();
    let mut handles = Vec::new();
    for first in (0..calls).step_by(usize::try_from(AT_ONCE)?) {
        if let Some(load) = load {
            let due = started + Duration::from_secs_f64(as_float(first) / as_float(load));
            tokio::time::sleep_until(due.into()).await;
        }
        let sent = client.send_all((first..calls.min(first + AT_ONCE)).map(double::call));
        handles.extend(sent.await.into_iter().collect::<Result<Vec<_>, _>>()?);
    }
    for (n, handle) in (0..calls).zip(&handles) {
        let doubled = handle.result().timeout(mins(2)).await?;
        anyhow::ensure!(doubled == n * 2, "{n} doubled is {doubled}");
    }
    Ok(as_float(calls) / started.elapsed().as_secs_f64())
}

/// The processor time that a process has used.
fn used(process: &Child) -> anyhow::Result<Duration> {
    let id = process.id().context("it runs")?;
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat"))?;
    // behind the name, which may have spaces in it: user and system time are the 12th and 13th, in hundredths
    let behind = stat.rsplit_once(')').context("a name")?.1;
    let ticks: Vec<u64> = behind
        .split_whitespace()
        .skip(11)
        .take(2)
        .map(str::parse)
        .collect::<Result<_, _>>()?;
    Ok(Duration::from_millis(ticks.iter().sum::<u64>() * 10))
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
fn as_float(number: u64) -> f64 {
    number as f64
}
