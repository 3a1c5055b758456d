//! `cargo xtask faults`: the fault suite of the crate `coney-faults`, on a broker of its own.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::cargo::{cargo, step};
use crate::rabbitmq::victim::Victim;
use crate::workspace;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// How long it takes, with the drain at its end.
    #[arg(long, default_value_t = 2.0)]
    minutes: f64,
    /// Repeats the faults of another run; a new one each time unless given.
    #[arg(long)]
    seed: Option<u64>,
    /// How many worker processes run.
    #[arg(long, default_value_t = 3)]
    workers: usize,
    /// How many tasks are sent in a second.
    #[arg(long, default_value_t = 40)]
    rate: u32,
    /// Instead of faults drawn at random, restarts the broker so many times in a row under load, and measures how soon
    /// the full rate is back.
    #[arg(long)]
    restarts: Option<u32>,
    #[command(flatten)]
    other: Other,
}

/// A broker or cluster that runs already, instead of a node started for the run.
#[derive(clap::Args, Default)]
struct Other {
    /// The URLs of its nodes, with commas between them.
    #[arg(long, requires_all = ["management", "hook"])]
    url: Option<String>,
    /// The management APIs of its nodes, with commas between them.
    #[arg(long, requires = "url")]
    management: Option<String>,
    /// The program that breaks it: called as `PROGRAM fault-node kill|stop|start|alarm|no-alarm NODE`, where nodes count
    /// from 0 in the order of the URLs; `start` returns when the node serves clients.
    #[arg(long, requires = "url")]
    hook: Option<PathBuf>,
}

impl Arguments {
    /// The defaults for some minutes, and the same faults every time: a test that fails shall fail again.
    pub(crate) fn for_tests(minutes: f64) -> Self {
        Self {
            minutes,
            seed: Some(850_510),
            workers: 3,
            rate: 40,
            restarts: None,
            other: Other::default(),
        }
    }
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    step(&mut cargo(["build", "--package", "coney-faults"]))?;
    match &arguments.other {
        Other {
            url: Some(url),
            management: Some(management),
            hook: Some(hook),
        } => break_all(arguments, url, management, hook),
        _ => {
            let victim = Victim::start()?;
            break_all(
                arguments,
                victim.url(),
                victim.management(),
                &own_program()?,
            )
        }
    }
}

fn break_all(arguments: &Arguments, url: &str, management: &str, hook: &Path) -> Result<()> {
    let mut command = cargo(["run", "--quiet", "--package", "coney-faults", "--", "run"]);
    command
        .args(["--url", url])
        .args(["--management", management])
        .arg("--hook")
        .arg(hook)
        .arg("--folder")
        .arg(workspace::faults_folder().join("run"))
        .args(["--minutes", &arguments.minutes.to_string()])
        .args(["--workers", &arguments.workers.to_string()])
        .args(["--rate", &arguments.rate.to_string()]);
    if let Some(seed) = arguments.seed {
        command.args(["--seed", &seed.to_string()]);
    }
    if let Some(restarts) = arguments.restarts {
        command.args(["--restarts", &restarts.to_string()]);
    }
    step(&mut command)
}

/// The path of this program. `cargo test` builds it anew while it runs, and Linux says then that the old file is gone.
fn own_program() -> Result<PathBuf> {
    let program = env::current_exe().context("this program has no path")?;
    let path = program.to_string_lossy();
    Ok(PathBuf::from(
        path.strip_suffix(" (deleted)").unwrap_or(&path),
    ))
}
