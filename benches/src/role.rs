//! One process of a participant: a publisher, a worker or a caller that does as its standard input says.
//!
//! It prints `ready` when it is connected and all that it needs is open, which takes one task: a publisher sends its first
//! before, a caller one beyond those that count. Either then waits for the line `go` and prints `done` after its work. A
//! worker prints `start`, `first` and `last` as its first task starts, its first and its last task end. All
//! end with the line `stop`, or with their standard input.

use std::io::BufRead;
use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use tokio::sync::mpsc;

use crate::participant::{Kind, Part, Participant, coney, limit, rich};

/// What one process does.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLE)]
pub(crate) struct Arguments {
    /// Who.
    #[arg(value_enum)]
    pub(crate) participant: Participant,
    /// Does what.
    #[arg(value_enum)]
    pub(crate) part: Part,
    /// The broker, with the virtual host.
    #[arg(long)]
    pub(crate) url: String,
    /// The task queue.
    #[arg(long, default_value = QUEUE)]
    pub(crate) queue: String,
    /// Its kind.
    #[arg(long, value_enum, default_value = "quorum")]
    pub(crate) kind: Kind,
    /// How many tasks are published, called, or expected.
    #[arg(long, default_value_t = 20_000)]
    pub(crate) tasks: u64,
    /// Tasks return a value, and their results are sent back.
    #[arg(long)]
    pub(crate) results: bool,
    /// A caller awaits each result before the next call.
    #[arg(long)]
    pub(crate) one_by_one: bool,
    /// How long a task sleeps, in milliseconds.
    #[arg(long)]
    pub(crate) sleep: Option<u64>,
    /// The tasks are spread over so many queues, called `<queue>.<number>`; coney only.
    #[arg(long, default_value = "1")]
    pub(crate) queues: NonZeroUsize,
    /// A task carries a text of so many bytes; coney only.
    #[arg(long)]
    pub(crate) body: Option<usize>,
    /// A worker says `some` whenever so many more tasks have ended.
    #[arg(long)]
    pub(crate) tell_every: Option<u64>,
    /// How many tasks a worker of coney runs at once.
    #[arg(long, default_value_t = 500)]
    pub(crate) concurrency: u32,
    /// How many messages a worker on raw lapin holds.
    #[arg(long, default_value_t = 1000)]
    pub(crate) prefetch: u16,
    /// How many publications wait for their confirms at once, on raw lapin.
    #[arg(long, default_value_t = 256)]
    pub(crate) window: usize,
    /// Threads of the runtime, instead of what is best for the participant.
    #[arg(long)]
    threads: Option<usize>,
}

/// The queue unless another is named.
pub(crate) const QUEUE: &str = "bench";

const EXAMPLE: &str = "\
To profile a part by hand; a publisher sends one task before `go`, a worker ends with its input:
  coney-benches role coney declare --url amqp://localhost
  perf record -g coney-benches role coney publish --url amqp://localhost --tasks 200000 < <(echo go)
  perf record -g coney-benches role coney work --url amqp://localhost --tasks 200000 < <(sleep 30)";

impl Arguments {
    pub(crate) fn threads(&self) -> usize {
        let best = match self.participant {
            Participant::Limit => limit::THREADS,
            Participant::Rich => rich::THREADS,
            Participant::Coney => coney::THREADS,
        };
        self.threads.unwrap_or(best)
    }

    /// The names of the task queues.
    pub(crate) fn queue_names(&self) -> Vec<String> {
        match self.queues.get() {
            1 => vec![self.queue.clone()],
            many => (0..many).map(|n| format!("{}.{n}", self.queue)).collect(),
        }
    }

    /// How long a task sleeps.
    pub(crate) fn nap(&self) -> Option<Duration> {
        self.sleep.map(Duration::from_millis)
    }
}

/// Plays the part to its end.
pub(crate) async fn play(arguments: Arguments) -> Result<()> {
    let plain =
        arguments.queues.get() == 1 && arguments.body.is_none() && arguments.tell_every.is_none();
    ensure!(
        plain || arguments.participant == Participant::Coney,
        "only coney has --queues, --body and --tell-every"
    );
    tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::WARN)
        .with_ansi(false)
        .with_writer(std::io::stderr)
        .init();
    let cues = Cues::listen();
    match arguments.participant {
        Participant::Limit => limit::play(&arguments, cues).await,
        Participant::Rich => rich::play(&arguments, cues).await,
        Participant::Coney => coney::play(&arguments, cues).await,
    }
}

/// What the conductor says.
#[derive(Debug)]
pub(crate) struct Cues(mpsc::UnboundedReceiver<String>);

impl Cues {
    fn listen() -> Self {
        let (tell, told) = mpsc::unbounded_channel();
        std::thread::spawn(move || {
            for line in std::io::stdin().lock().lines().map_while(Result::ok) {
                if tell.send(line).is_err() {
                    return;
                }
            }
        });
        Self(told)
    }

    /// Waits for the cue to begin.
    pub(crate) async fn go(&mut self) -> Result<()> {
        match self
            .0
            .recv()
            .await
            .context("the input ended before `go`")?
            .trim()
        {
            "go" => Ok(()),
            other => bail!("`{other}` instead of `go`"),
        }
    }

    /// Waits for the cue to stop.
    pub(crate) async fn stop(&mut self) {
        while let Some(line) = self.0.recv().await {
            if line.trim() == "stop" {
                return;
            }
        }
    }
}

/// Takes the time of each call of a caller.
#[derive(Debug)]
pub(crate) struct Timer {
    started: Instant,
    micros: Vec<f64>,
}

impl Timer {
    /// For so many calls.
    pub(crate) fn new(calls: u64) -> Self {
        Self {
            started: Instant::now(),
            micros: Vec::with_capacity(usize::try_from(calls).unwrap_or_default()),
        }
    }

    /// A call begins.
    pub(crate) fn start(&mut self) {
        self.started = Instant::now();
    }

    /// Its result is there.
    pub(crate) fn end(&mut self) {
        self.micros.push(self.started.elapsed().as_secs_f64() * 1e6);
    }

    /// What a caller says at its end: `done`, half of the calls are faster than .., 99 of 100 are.
    pub(crate) fn done(mut self) -> String {
        self.micros.sort_by(f64::total_cmp);
        let at = |share: usize| {
            let place = self.micros.len() * share / 100;
            self.micros.get(place).copied().unwrap_or(f64::NAN)
        };
        format!("done {:.1} {:.1}", at(50), at(99))
    }
}
