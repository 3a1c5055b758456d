//! One measurement: tasks are published and drained, and the memory is looked at.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use futures_util::future::try_join_all;
use tokio::sync::mpsc;

use crate::conductor::actor::Actor;
use crate::conductor::cast::Cast;
use crate::participant::Part;

/// Published tasks in a second, by one process.
pub(super) const PUBLISH: &str = "publish, tasks/s";
/// Drained tasks in a second, by all workers together.
pub(super) const DRAIN: &str = "drain, tasks/s";
/// The same for tasks that sleep.
pub(super) const NAPS: &str = "drain of tasks that sleep 100 ms, tasks/s";
/// From the start of a worker until it consumes all its queues.
pub(super) const READY: &str = "start until all queues are consumed, ms";
/// From the start of a worker that has tasks waiting until a hundredth of them has ended.
pub(super) const START: &str = "start until 1 % of the tasks has ended, ms";
/// Of all workers together.
pub(super) const WORKERS: &str = "workers, MiB";
/// Of the broker, whatever else it holds.
pub(super) const BROKER: &str = "broker, MiB";

/// Workers tell of so many parts of all tasks.
const PARTS: u64 = 100;
/// Tasks that sleep, for each that sleeps at once.
const NAPS_EACH: u64 = 10;
/// How much large tasks are together at most, in bytes.
const BYTES: u64 = 200_000_000;

/// What is asked of coney.
#[derive(Clone, Debug)]
pub(super) struct Shape {
    /// Tasks that are measured.
    tasks: u64,
    /// Tasks that wait before them.
    pub(super) waiting: u64,
    pub(super) queues: u64,
    /// Bytes of a task, instead of two numbers.
    body: Option<u64>,
    pub(super) concurrency: u64,
    pub(super) workers: u64,
    /// Sleeping tasks are drained, too.
    pub(super) naps: bool,
}

impl Shape {
    /// One worker, one queue, small tasks.
    pub(super) const fn of(tasks: u64) -> Self {
        Self {
            tasks,
            waiting: 0,
            queues: 1,
            body: None,
            concurrency: 500,
            workers: 1,
            naps: false,
        }
    }

    /// Tasks of this size, not too many of them.
    pub(super) fn carry(&mut self, bytes: u64) {
        self.body = Some(bytes);
        self.tasks = self.tasks.min((BYTES / bytes.max(1)).max(PARTS));
    }

    /// Measures it once.
    pub(super) async fn measure(&self, cast: &Cast<'_>) -> Result<Vec<(&'static str, f64)>> {
        let words = self.words();
        let words: Vec<_> = words.iter().map(String::as_str).collect();
        cast.prepare(&words).await?;
        let mut figures = vec![(READY, ready(cast, &words).await?)];
        if self.waiting > 0 {
            cast.fill(self.waiting, &words).await.context("waiting")?;
        }
        figures.push((PUBLISH, self.publish(cast, &words).await?));
        let drained = self.drain(cast, self.tasks, &words).await?;
        figures.push((DRAIN, drained.rate));
        figures.push((START, millis(drained.start)));
        figures.extend(drained.workers.map(|memory| (WORKERS, memory)));
        figures.extend(drained.broker.map(|memory| (BROKER, memory)));
        if self.naps {
            let tasks = (self.concurrency * NAPS_EACH).clamp(NAPS_EACH, self.tasks.max(NAPS_EACH));
            let words = [&words[..], &["--sleep", "100"]].concat();
            cast.prepare(&words).await?;
            cast.fill(tasks, &words).await?;
            figures.push((NAPS, self.drain(cast, tasks, &words).await?.rate));
        }
        Ok(figures)
    }

    /// What every process is told.
    fn words(&self) -> Vec<String> {
        let mut words = vec!["--queues".to_owned(), self.queues.to_string()];
        words.extend(["--concurrency".to_owned(), self.concurrency.to_string()]);
        if let Some(bytes) = self.body {
            words.extend(["--body".to_owned(), bytes.to_string()]);
        }
        words
    }

    async fn publish(&self, cast: &Cast<'_>, words: &[&str]) -> Result<f64> {
        let mut publisher = cast.actor(Part::Publish, self.tasks, words)?;
        publisher.until("ready").await?;
        let start = publisher.go().await?;
        let end = publisher.until("done").await?.at;
        publisher.stop().await?;
        Ok((self.tasks - 1) as f64 / (end - start).as_secs_f64())
    }

    async fn drain(&self, cast: &Cast<'_>, tasks: u64, words: &[&str]) -> Result<Drained> {
        let part = (tasks / PARTS).max(1);
        let every = part.to_string();
        let words = [words, &["--tell-every", &every]].concat();
        let workers = (0..self.workers).map(|_| cast.actor(Part::Work, tasks, &words));
        let mut workers = workers.collect::<Result<Vec<_>>>()?;
        let start = workers.first().map(|worker| worker.started);
        let start = start.context("no workers")?;
        // each worker may keep an unfinished part to itself
        let parts = (tasks / part).saturating_sub(self.workers).max(1);
        let times = parts_of(&mut workers, parts).await?;
        let memory = workers.iter().map(Actor::memory).sum::<Option<f64>>();
        let broker = cast.stage.memory();
        for worker in workers {
            worker.stop().await?;
        }
        let (first, last) = (times[0], times[times.len() - 1]);
        let time = if times.len() > 1 {
            last - first
        } else {
            last - start
        };
        let counted = part * (times.len() as u64 - 1).max(1);
        Ok(Drained {
            rate: counted as f64 / time.as_secs_f64(),
            start: first - start,
            workers: memory,
            broker,
        })
    }
}

/// How long a worker with nothing to do takes to be ready, in milliseconds.
async fn ready(cast: &Cast<'_>, words: &[&str]) -> Result<f64> {
    let mut worker = cast.actor(Part::Work, 0, words)?;
    let ready = worker.until("ready").await?.at;
    let time = ready - worker.started;
    worker.stop().await?;
    Ok(millis(time))
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// What draining showed.
struct Drained {
    rate: f64,
    start: Duration,
    workers: Option<f64>,
    broker: Option<f64>,
}

/// Waits until the workers have told of so many parts together; returns when each was told.
async fn parts_of(workers: &mut [Actor], parts: u64) -> Result<Vec<Instant>> {
    let (tell, mut told) = mpsc::unbounded_channel();
    let listening = workers.iter_mut().map(|worker| {
        let tell = tell.clone();
        async move {
            loop {
                let line = worker.until("some").await?;
                if tell.send(line.at).is_err() {
                    return anyhow::Ok(());
                }
            }
        }
    });
    let collecting = async {
        let mut times = Vec::new();
        while (times.len() as u64) < parts {
            match told.recv().await {
                Some(at) => times.push(at),
                None => bail!("the workers have ended"),
            }
        }
        Ok(times)
    };
    tokio::select! {
        times = collecting => times,
        ended = try_join_all(listening) => ended.and_then(|_| bail!("the workers have ended")),
    }
}
