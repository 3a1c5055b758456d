//! The workloads, each run once for one participant on one kind of queue.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tokio::time::sleep;

use super::actor::Actor;
use super::metric::{self, Metric, Workload};
use super::stage::Stage;
use crate::participant::{Kind, Part, Participant};
use crate::role::QUEUE;

/// How long one process may take for one workload.
const LIMIT: Duration = Duration::from_secs(60);
/// How long a sleeping task sleeps, in milliseconds.
const NAP: &str = "100";
/// A process that used less than a hundredth of this time is idle.
const IDLE: Duration = Duration::from_millis(100);
/// How long becoming idle may take.
const CALMING: Duration = Duration::from_secs(10);

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
    pub(crate) stage: &'a Stage,
    pub(crate) participant: Participant,
    pub(crate) kind: Kind,
    pub(crate) sizes: Sizes,
    /// Threads of the runtimes, if they are to be other than the participant's best.
    pub(crate) threads: Option<usize>,
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
            self.prepare().await?;
            self.publish().await.context("W1")?;
            if wants(Workload::W2) {
                self.drain().await.context("W2")?;
            }
        }
        if wants(Workload::W3) {
            self.prepare().await?;
            self.call().await.context("W3")?;
        }
        if wants(Workload::W4) {
            self.prepare().await?;
            self.call_one_by_one().await.context("W4")?;
        }
        if wants(Workload::W5) {
            self.prepare().await?;
            self.nap().await.context("W5")?;
        }
        if wants(Workload::W6) {
            self.prepare().await?;
            self.start().await.context("W6")?;
        }
        Ok(())
    }

    /// Nothing from before, and a queue.
    async fn prepare(&self) -> Result<()> {
        self.stage.clear().await?;
        self.actor(Part::Declare, 0, &[])?.stop().await
    }

    async fn publish(&mut self) -> Result<()> {
        let tasks = self.sizes.publish;
        let mut publisher = self.actor(Part::Publish, tasks, &[])?;
        publisher.until("ready").await?;
        let before = self.used(&publisher);
        let start = publisher.go().await?;
        let end = publisher.until("done").await?.at;
        let after = self.used(&publisher);
        publisher.stop().await?;
        self.stage.expect(QUEUE, tasks).await?;
        // the first was sent before
        self.rate(&metric::PUBLISH_RATE, tasks - 1, end - start);
        self.per_task(&metric::PUBLISH_CPU, tasks, before.actor, after.actor);
        self.per_task(&metric::PUBLISH_BROKER, tasks, before.broker, after.broker);
        Ok(())
    }

    /// What was published before.
    async fn drain(&mut self) -> Result<()> {
        let tasks = self.sizes.publish;
        let mut worker = self.actor(Part::Work, tasks, &[])?;
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
        let memory = idle(&worker).await?;
        self.sample(&metric::DRAIN_MEMORY, memory);
        worker.stop().await?;
        self.stage.expect(QUEUE, 0).await
    }

    async fn call(&mut self) -> Result<()> {
        let calls = self.sizes.calls;
        let worker = self.worker().await?;
        let mut caller = self.actor(Part::Call, calls, &[])?;
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
        self.stage.expect(QUEUE, 0).await
    }

    async fn call_one_by_one(&mut self) -> Result<()> {
        let worker = self.worker().await?;
        let mut caller = self.actor(Part::Call, self.sizes.one_by_one, &["--one-by-one"])?;
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
        self.stage.expect(QUEUE, 0).await
    }

    async fn nap(&mut self) -> Result<()> {
        let tasks = self.sizes.naps;
        let naps = ["--sleep", NAP];
        self.fill(tasks, &naps).await?;
        let all = tasks.to_string();
        let all_at_once = ["--sleep", NAP, "--concurrency", &all, "--prefetch", &all];
        let mut worker = self.actor(Part::Work, tasks, &all_at_once)?;
        let start = worker.until("start").await?.at;
        let end = worker.until("last").await?.at;
        self.sample(&metric::NAPS, Some(millis(end - start)));
        worker.stop().await?;
        self.stage.expect(QUEUE, 0).await
    }

    async fn start(&mut self) -> Result<()> {
        self.fill(1, &[]).await?;
        let mut worker = self.actor(Part::Work, 1, &[])?;
        let end = worker.until("last").await?.at;
        self.sample(&metric::START, Some(millis(end - worker.started)));
        let memory = idle(&worker).await?;
        self.sample(&metric::MEMORY, memory);
        worker.stop().await?;
        self.stage.expect(QUEUE, 0).await
    }

    /// Puts tasks into the queue.
    async fn fill(&self, tasks: u64, more: &[&str]) -> Result<()> {
        let mut publisher = self.actor(Part::Publish, tasks, more)?;
        publisher.until("ready").await?;
        publisher.go().await?;
        publisher.until("done").await?;
        publisher.stop().await?;
        self.stage.expect(QUEUE, tasks).await
    }

    /// A worker that waits for calls.
    async fn worker(&self) -> Result<Actor> {
        let mut worker = self.actor(Part::Work, 0, &["--results"])?;
        worker.until("ready").await?;
        Ok(worker)
    }

    fn actor(&self, part: Part, tasks: u64, more: &[&str]) -> Result<Actor> {
        let tasks = tasks.to_string();
        let fixed = [
            self.participant.name(),
            part.name(),
            "--url",
            &self.stage.url,
            "--kind",
            self.kind.name(),
            "--tasks",
            &tasks,
        ];
        let words = fixed.iter().chain(more).map(|&word| word.to_owned());
        let mut words: Vec<_> = words.collect();
        if let Some(threads) = self.threads {
            words.extend(["--threads".to_owned(), threads.to_string()]);
        }
        Actor::start(&words, LIMIT)
    }

    fn used(&self, actor: &Actor) -> Used {
        Used {
            actor: actor.cpu(),
            broker: self.stage.cpu(),
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

/// Waits until a process does nothing more; returns its memory.
async fn idle(actor: &Actor) -> Result<Option<f64>> {
    let deadline = Instant::now() + CALMING;
    let Some(mut before) = actor.cpu() else {
        return Ok(None);
    };
    while Instant::now() < deadline {
        sleep(IDLE).await;
        let now = actor.cpu().context("it has ended")?;
        if now.saturating_sub(before) < IDLE / 100 {
            break;
        }
        before = now;
    }
    Ok(actor.memory())
}
