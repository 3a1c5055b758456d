//! How throughput and memory of coney grow with what is asked of it.

mod measure;
mod plot;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;
use serde::Serialize;
use serde_json::json;

use self::measure::Shape;
use super::cast::Cast;
use super::machine::Setting;
use super::report;
use super::stage::{Place, Stage};
use super::stats::Summary;
use crate::participant::{Kind, Participant};

/// How long one process may take: a million tasks are sent first for some points.
const LIMIT: Duration = Duration::from_secs(600);

/// What grows, and how far.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    place: Place,
    /// Where `growth.json` and the plots go.
    #[arg(long, default_value = "target/growth")]
    folder: PathBuf,
    /// A tenth of the tasks and small steps: takes a minute.
    #[arg(long)]
    short: bool,
    /// What grows, instead of everything in turn.
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Dimension>,
    /// The steps, instead of the usual ones, of the one thing that `--only` names.
    #[arg(long, value_delimiter = ',')]
    steps: Vec<u64>,
    /// The kind of the task queues.
    #[arg(long, value_enum, default_value = "quorum")]
    queue: Kind,
    /// Tasks of a measurement.
    #[arg(long)]
    tasks: Option<u64>,
    /// Measurements of each step, of which the median counts.
    #[arg(long)]
    repeat: Option<usize>,
}

/// What grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
enum Dimension {
    /// Tasks that wait in the queue already.
    Waiting,
    /// Queues that a worker consumes.
    Queues,
    /// Bytes of a task.
    Size,
    /// Tasks that a worker runs at once.
    Concurrency,
    /// Worker processes.
    Workers,
}

impl Dimension {
    /// In the order of measuring: deleting very many messages or queues keeps the broker busy for a while.
    const ALL: [Self; 5] = [
        Self::Size,
        Self::Concurrency,
        Self::Workers,
        Self::Queues,
        Self::Waiting,
    ];

    /// The name of its files.
    const fn name(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Queues => "queues",
            Self::Size => "size",
            Self::Concurrency => "concurrency",
            Self::Workers => "workers",
        }
    }

    /// What its steps count.
    const fn label(self) -> &'static str {
        match self {
            Self::Waiting => "tasks waiting in the queue before",
            Self::Queues => "queues that one worker consumes",
            Self::Size => "bytes of a task's argument",
            Self::Concurrency => "tasks that one worker runs at once",
            Self::Workers => "worker processes",
        }
    }

    const fn steps(self, short: bool) -> &'static [u64] {
        match (self, short) {
            (Self::Waiting, false) => &[0, 10_000, 100_000, 1_000_000],
            (Self::Waiting, true) => &[0, 1_000, 10_000],
            (Self::Queues, false) => &[1, 10, 100, 1_000],
            (Self::Queues, true) => &[1, 10],
            (Self::Size, false) => &[100, 1_000, 10_000, 100_000, 1_000_000],
            (Self::Size, true) => &[100, 10_000, 1_000_000],
            (Self::Concurrency, false) => &[1, 10, 100, 1_000, 10_000],
            (Self::Concurrency, true) => &[1, 10, 100],
            (Self::Workers, false) => &[1, 2, 4, 8],
            (Self::Workers, true) => &[1, 2],
        }
    }

    /// The measurement at a step.
    fn shape(self, step: u64, tasks: u64) -> Shape {
        let mut shape = Shape::of(tasks);
        match self {
            Self::Waiting => shape.waiting = step,
            Self::Queues => shape.queues = step,
            Self::Size => shape.carry(step),
            Self::Concurrency => {
                shape.concurrency = step;
                shape.naps = true;
            }
            Self::Workers => shape.workers = step,
        }
        shape
    }
}

/// One thing that grew.
#[derive(Debug, Serialize)]
struct Growth {
    dimension: Dimension,
    label: &'static str,
    points: Vec<Point>,
}

/// What was measured at one step.
#[derive(Debug, Default, Serialize)]
struct Point {
    step: u64,
    /// By their names.
    figures: BTreeMap<&'static str, Summary>,
    /// Why there are none.
    problem: Option<String>,
}

/// Measures, writes and plots.
pub(crate) async fn run(arguments: Arguments) -> Result<()> {
    ensure!(
        arguments.steps.is_empty() || arguments.only.len() == 1,
        "--steps are of one thing: name it with --only"
    );
    let stage = Stage::build(&arguments.place).await?;
    let setting = Setting::look(&stage.broker);
    let cast = Cast {
        stage: &stage,
        participant: Participant::Coney,
        kind: arguments.queue,
        threads: None,
        limit: LIMIT,
    };
    let mut grown = Vec::new();
    for dimension in arguments.dimensions() {
        grown.push(arguments.grow(&cast, dimension).await);
    }
    let cleared = stage.clear().await;
    let struck = stage.strike().await;
    let folder = &arguments.folder;
    fs::create_dir_all(folder).with_context(|| format!("no folder {}", folder.display()))?;
    let json = json!({ "setting": setting, "queue": arguments.queue, "growth": grown });
    fs::write(folder.join("growth.json"), format!("{json:#}\n"))?;
    println!("{}", setting.markdown());
    for growth in &grown {
        println!("{}", table(growth));
        plot::draw(
            growth,
            &folder.join(growth.dimension.name()).with_extension("svg"),
        )?;
    }
    cleared.and(struck)
}

impl Arguments {
    fn dimensions(&self) -> Vec<Dimension> {
        if self.only.is_empty() {
            return Dimension::ALL.to_vec();
        }
        self.only.clone()
    }

    /// A step that cannot be measured is noted, and the next one has its turn.
    async fn grow(&self, cast: &Cast<'_>, dimension: Dimension) -> Growth {
        let mut points = Vec::new();
        let steps = match &*self.steps {
            [] => dimension.steps(self.short),
            given => given,
        };
        for &step in steps {
            let mut point = Point {
                step,
                ..Point::default()
            };
            match self.measure(cast, dimension, step).await {
                Ok(figures) => point.figures = figures,
                Err(error) => {
                    eprintln!("{} {step}: {error:#}", dimension.name());
                    point.problem = Some(format!("{error:#}"));
                }
            }
            points.push(point);
            eprint!(".");
        }
        eprintln!(" {}", dimension.name());
        Growth {
            dimension,
            label: dimension.label(),
            points,
        }
    }

    async fn measure(
        &self,
        cast: &Cast<'_>,
        dimension: Dimension,
        step: u64,
    ) -> Result<BTreeMap<&'static str, Summary>> {
        let tasks = self
            .tasks
            .unwrap_or(if self.short { 2_000 } else { 20_000 });
        let repeat = self.repeat.unwrap_or(if self.short { 1 } else { 3 });
        let mut series = BTreeMap::<_, Vec<f64>>::new();
        for _ in 0..repeat.max(1) {
            for (name, figure) in dimension.shape(step, tasks).measure(cast).await? {
                series.entry(name).or_default().push(figure);
            }
        }
        let summaries = series
            .iter()
            .filter_map(|(name, s)| Some((*name, Summary::of(s)?)));
        Ok(summaries.collect())
    }
}

/// The medians in Markdown.
fn table(growth: &Growth) -> String {
    let figures = growth.points.iter().flat_map(|point| point.figures.keys());
    let names: BTreeSet<_> = figures.copied().collect();
    let mut rows = vec![vec![growth.label.to_owned()]];
    rows[0].extend(names.iter().map(|&name| name.to_owned()));
    for point in &growth.points {
        let mut row = vec![point.step.to_string()];
        row.extend(names.iter().map(|name| match point.figures.get(name) {
            Some(summary) => format!("{:.0}", summary.median),
            None => "-".to_owned(),
        }));
        rows.push(row);
    }
    report::aligned(&rows)
}
