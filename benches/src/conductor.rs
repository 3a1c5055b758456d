//! Conducts a benchmark: rounds in which every participant has its turn, and the comparison at the end.

mod actor;
mod cast;
pub(crate) mod growth;
mod machine;
mod management;
mod metric;
mod report;
mod results;
mod stage;
mod stats;
mod system;
mod workload;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};

use self::cast::Cast;
use self::machine::Setting;
use self::metric::Workload;
use self::results::Results;
use self::stage::{Place, Stage};
use self::workload::{Run, Sizes};
use crate::participant::{Kind, Participant};

/// How long one process may take for one workload.
const LIMIT: Duration = Duration::from_secs(60);

/// What is compared, and how often.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    place: Place,
    /// Three rounds instead of seven: takes less than three minutes.
    #[arg(long)]
    short: bool,
    /// Workloads, instead of all.
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Workload>,
    /// Rounds that count; one more comes before them.
    #[arg(long)]
    rounds: Option<usize>,
    /// The kind of the task queue.
    #[arg(long, value_enum, default_value = "both")]
    queue: Queues,
    /// Who takes part, instead of all.
    #[arg(long, value_enum, value_delimiter = ',')]
    participants: Vec<Participant>,
    /// Divides the number of tasks of every workload.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    scale: u64,
    /// Threads of every participant's runtime, instead of what is best for it.
    #[arg(long)]
    threads: Option<usize>,
    /// Write the comparison to this file, too.
    #[arg(long)]
    markdown: Option<PathBuf>,
    /// Write everything that was measured to this file.
    #[arg(long)]
    json: Option<PathBuf>,
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
        self.rounds.unwrap_or(if self.short { 3 } else { 7 })
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
        let size = |full: u64| (full / self.scale).max(2);
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
    let stage = Stage::build(&arguments.place).await?;
    let setting = Setting::look(&stage.broker);
    let performed = perform(&arguments, &stage).await;
    // also after an error: its cause comes first
    let struck = stage.strike().await;
    let results = performed?;
    struck?;
    let rounds = arguments.rounds();
    let markdown = report::markdown(&setting, rounds, &results);
    println!("{markdown}");
    if let Some(file) = &arguments.markdown {
        write(file, &markdown)?;
    }
    if let Some(file) = &arguments.json {
        let json = report::json(&setting, rounds, &results);
        write(file, &format!("{json:#}\n"))?;
    }
    Ok(())
}

fn write(file: &Path, text: &str) -> Result<()> {
    fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))
}

async fn perform(arguments: &Arguments, stage: &Stage) -> Result<Results> {
    let participants = arguments.participants();
    let workloads = arguments.workloads();
    let mut results = Results::default();
    // the first round is for warming up
    for round in 0..=arguments.rounds() {
        for &kind in arguments.queue.kinds() {
            let mut order = participants.clone();
            order.rotate_left(round % participants.len());
            for participant in order {
                let mut run = Run {
                    cast: Cast {
                        stage,
                        participant,
                        kind,
                        threads: arguments.threads,
                        limit: LIMIT,
                    },
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
