//! Conducts a benchmark: rounds in which every participant has its turn, and the comparison at the end.

mod actor;
mod management;
mod metric;
mod results;
mod stage;
mod stats;
mod system;
mod workload;

use anyhow::{Context, Result};

use self::metric::Workload;
use self::results::Results;
use self::stage::Stage;
use self::workload::{Run, Sizes};
use crate::participant::{Kind, Participant};

/// A benchmark.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The broker.
    #[arg(long, env = "CONEY_URL", hide_env_values = true)]
    url: String,
    /// Its management API.
    #[arg(long, env = "CONEY_MANAGEMENT_URL")]
    management: String,
    /// Two rounds on quorum queues with a quarter of the tasks: takes less than three minutes.
    #[arg(long)]
    short: bool,
    /// Workloads, instead of all.
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Workload>,
    /// Rounds that count; one more comes before them.
    #[arg(long)]
    rounds: Option<usize>,
    /// The kind of the task queue.
    #[arg(long, value_enum)]
    queue: Option<Queues>,
    /// Who takes part, instead of all.
    #[arg(long, value_enum, value_delimiter = ',')]
    participants: Vec<Participant>,
    /// Divides the number of tasks of every workload.
    #[arg(long)]
    scale: Option<u64>,
}

/// One kind of queue, or one after the other.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Queues {
    Quorum,
    Classic,
    Both,
}

impl Queues {
    fn kinds(self) -> &'static [Kind] {
        match self {
            Self::Quorum => &[Kind::Quorum],
            Self::Classic => &[Kind::Classic],
            Self::Both => &[Kind::Classic, Kind::Quorum],
        }
    }
}

impl Arguments {
    fn rounds(&self) -> usize {
        self.rounds.unwrap_or(if self.short { 3 } else { 5 })
    }

    fn kinds(&self) -> &'static [Kind] {
        let usual = if self.short {
            Queues::Quorum
        } else {
            Queues::Both
        };
        self.queue.unwrap_or(usual).kinds()
    }

    fn workloads(&self) -> Vec<Workload> {
        if self.only.is_empty() {
            return Workload::ALL.to_vec();
        }
        self.only.clone()
    }

    fn participants(&self) -> Vec<Participant> {
        if self.participants.is_empty() {
            return vec![Participant::Limit, Participant::Rich, Participant::Coney];
        }
        self.participants.clone()
    }

    fn sizes(&self) -> Sizes {
        let scale = self.scale.unwrap_or(1).max(1);
        let size = |full: u64| (full / scale).max(2);
        Sizes {
            publish: size(20_000),
            calls: size(5_000),
            one_by_one: size(1_000),
            naps: size(2_000),
        }
    }
}

/// Runs it and prints the comparison.
pub(crate) async fn run(arguments: Arguments) -> Result<()> {
    let stage = Stage::build(&arguments.url, &arguments.management).await?;
    let performed = perform(&arguments, &stage).await;
    let broker = stage.broker.clone();
    // also after an error: its cause comes first
    let struck = stage.strike().await;
    let results = performed?;
    struck?;
    println!("\n{broker}\n");
    print!("{}", results.table());
    Ok(())
}

async fn perform(arguments: &Arguments, stage: &Stage) -> Result<Results> {
    let participants = arguments.participants();
    let workloads = arguments.workloads();
    let mut results = Results::default();
    // the first round is for warming up
    for round in 0..=arguments.rounds() {
        for &kind in arguments.kinds() {
            let mut order = participants.clone();
            order.rotate_left(round % participants.len());
            for participant in order {
                let mut run = Run {
                    stage,
                    participant,
                    kind,
                    sizes: arguments.sizes(),
                    samples: Vec::new(),
                };
                let performed = run.perform(&workloads).await;
                performed.with_context(|| {
                    format!("{} on a {} queue", participant.name(), kind.name())
                })?;
                if round > 0 {
                    results.add(kind, participant, &run.samples);
                }
            }
        }
        eprint!(".");
    }
    eprintln!();
    stage.clear().await?;
    Ok(results)
}
