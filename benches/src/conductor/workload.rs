//! The workloads, each run once for one participant on one kind of queue.

use std::time::Duration;

use anyhow::{Context, Result};

use super::actor::Actor;
use super::cast::Cast;
use super::metric::{self, Metric, Workload};
use crate::participant::Part;
use crate::role::QUEUE;

/// How long a sleeping task sleeps, in milliseconds.
const NAP: &str = "100";
/// How many tasks the workloads have.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sizes {
    pub(crate) publish: u64,
    pub(crate) calls: u64,
    pub(crate) one_by_one: u64,
    pub(crate) naps: u64,
}

/// One participant on one kind of queue.
#[derive(Debug)]
pub(crate) struct Run<'a> {
    pub(crate) cast: Cast<'a>,
    pub(crate) sizes: Sizes,
    /// What was measured.
    pub(crate) samples: Vec<(&'static Metric, f64)>,
}

/// Processor time used so far by those who take part.
#[derive(Clone, Copy, Debug)]
struct Used {
    actor: Option<Duration>,
    broker: Option<Duration>,
}

impl Run<'_> {
    /// Runs what is wanted.
    pub(crate) async fn perform(&mut self, wanted: &[Workload]) -> Result<()> {
        let wants = |workload| wanted.contains(&workload);
        if wants(Workload::W1) || wants(Workload::W2) {
            self.cast.prepare(&[]).await?;
            self.publish().await.context("W1")?;
            if wants(Workload::W2) {
                self.drain().await.context("W2")?;
            }
        }
        if wants(Workload::W3) {
            self.cast.prepare(&[]).await?;
            self.call().await.context("W3")?;
        }
        if wants(Workload::W4) {
            self.cast.prepare(&[]).await?;
            self.call_one_by_one().await.context("W4")?;
        }
        if wants(Workload::W5) {
            self.cast.prepare(&[]).await?;
            self.nap().await.context("W5")?;
        }
        if wants(Workload::W6) {
            self.cast.prepare(&[]).await?;
            self.start().await.context("W6")?;
        }
        Ok(())
    }

    async fn publish(&mut self) -> Result<()> {
        let tasks = self.sizes.publish;
        let mut publisher = self.cast.actor(Part::Publish, tasks, &[])?;
        publisher.until("ready").await?;
        let before = self.used(&publisher);
        let start = publisher.go().await?;
        let end = publisher.until("done").await?.at;
        let after = self.used(&publisher);
        publisher.stop().await?;
        self.cast.stage.expect(QUEUE, tasks).await?;
        // the first was sent before
        self.rate(&metric::PUBLISH_RATE, tasks - 1, end - start);
        self.per_task(&metric::PUBLISH_CPU, tasks, before.actor, after.actor);
        self.per_task(&metric::PUBLISH_BROKER, tasks, before.broker, after.broker);
        Ok(())
    }

    /// What was published before.
    async fn drain(&mut self) -> Result<()> {
        let tasks = self.sizes.publish;
        let mut worker = self.cast.actor(Part::Work, tasks, &[])?;
        let start = worker.until("first").await?.at;
        let before = self.used(&worker);
        let end = worker.until("last").await?.at;
        let after = self.used(&worker);
        self.rate(&metric::DRAIN_RATE, tasks - 1, end - start);
        let cpu = after.actor.zip(before.actor);
        let cpu =
            cpu.map(|(after, before)| (after - before).as_secs_f64() / tasks as f64 * 10_000.0);
        self.sample(&metric::DRAIN_CPU, cpu);
        self.per_task(&metric::DRAIN_BROKER, tasks, before.broker, after.broker);
        let memory = worker.idle().await?;
        self.sample(&metric::DRAIN_MEMORY, memory);
        worker.stop().await?;
        self.cast.stage.expect(QUEUE, 0).await
    }

    async fn call(&mut self) -> Result<()> {
        let calls = self.sizes.calls;
        let worker = self.worker().await?;
        let mut caller = self.cast.actor(Part::Call, calls, &[])?;
        caller.until("ready").await?;
        let before = self.used(&caller);
        let worked = worker.cpu();
        let start = caller.go().await?;
        let end = caller.until("done").await?.at;
        let after = self.used(&caller);
        self.rate(&metric::CALL_RATE, calls, end - start);
        self.per_task(&metric::CALL_CLIENT, calls, before.actor, after.actor);
        self.per_task(&metric::CALL_WORKER, calls, worked, worker.cpu());
        self.per_task(&metric::CALL_BROKER, calls, before.broker, after.broker);
        caller.stop().await?;
        worker.stop().await?;
        self.cast.stage.expect(QUEUE, 0).await
    }

    async fn call_one_by_one(&mut self) -> Result<()> {
        let worker = self.worker().await?;
        let mut caller = self
            .cast
            .actor(Part::Call, self.sizes.one_by_one, &["--one-by-one"])?;
        caller.until("ready").await?;
        caller.go().await?;
        let times = caller.until("done").await?.rest;
        let times: Vec<f64> = times
            .split(' ')
            .map(str::parse)
            .collect::<Result<_, _>>()
            .context("two numbers")?;
        self.sample(&metric::LATENCY_HALF, times.first().copied());
        self.sample(&metric::LATENCY_MOST, times.get(1).copied());
        caller.stop().await?;
        worker.stop().await?;
        self.cast.stage.expect(QUEUE, 0).await
    }

    async fn nap(&mut self) -> Result<()> {
        let tasks = self.sizes.naps;
        let naps = ["--sleep", NAP];
        self.cast.fill(tasks, &naps).await?;
        self.cast.stage.expect(QUEUE, tasks).await?;
        let all = tasks.to_string();
        let all_at_once = ["--sleep", NAP, "--concurrency", &all, "--prefetch", &all];
        let mut worker = self.cast.actor(Part::Work, tasks, &all_at_once)?;
        let start = worker.until("start").await?.at;
        let end = worker.until("last").await?.at;
        self.sample(&metric::NAPS, Some(millis(end - start)));
        worker.stop().await?;
        self.cast.stage.expect(QUEUE, 0).await
    }

    async fn start(&mut self) -> Result<()> {
        self.cast.fill(1, &[]).await?;
        self.cast.stage.expect(QUEUE, 1).await?;
        let mut worker = self.cast.actor(Part::Work, 1, &[])?;
        let end = worker.until("last").await?.at;
        self.sample(&metric::START, Some(millis(end - worker.started)));
        let memory = worker.idle().await?;
        self.sample(&metric::MEMORY, memory);
        worker.stop().await?;
        self.cast.stage.expect(QUEUE, 0).await
    }

    /// A worker that waits for calls.
    async fn worker(&self) -> Result<Actor> {
        let mut worker = self.cast.actor(Part::Work, 0, &["--results"])?;
        worker.until("ready").await?;
        Ok(worker)
    }

    fn used(&self, actor: &Actor) -> Used {
        Used {
            actor: actor.cpu(),
            broker: self.cast.stage.cpu(),
        }
    }

    fn rate(&mut self, metric: &'static Metric, tasks: u64, time: Duration) {
        self.sample(metric, Some(tasks as f64 / time.as_secs_f64()));
    }

    fn per_task(
        &mut self,
        metric: &'static Metric,
        tasks: u64,
        before: Option<Duration>,
        after: Option<Duration>,
    ) {
        let each = |(before, after): (Duration, Duration)| {
            after.saturating_sub(before).as_secs_f64() * 1e6 / tasks as f64
        };
        self.sample(metric, before.zip(after).map(each));
    }

    fn sample(&mut self, metric: &'static Metric, value: Option<f64>) {
        // what the operating system does not tell is left out
        self.samples.extend(value.map(|value| (metric, value)));
    }
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}
