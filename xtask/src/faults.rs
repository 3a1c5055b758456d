//! `cargo xtask faults`: the fault suite of the crate `coney-faults`, on a broker of its own.

use std::env;
use std::path::PathBuf;

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
}

impl Arguments {
    /// The defaults for some minutes, and the same faults every time: a test that fails shall fail again.
    pub(crate) fn for_tests(minutes: f64) -> Self {
        Self {
            minutes,
            seed: Some(850_510),
            workers: 3,
            rate: 40,
        }
    }
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    step(&mut cargo(["build", "--package", "coney-faults"]))?;
    let victim = Victim::start()?;
    let mut command = cargo(["run", "--quiet", "--package", "coney-faults", "--", "run"]);
    command
        .args(["--url", victim.url()])
        .args(["--management", victim.management()])
        .arg("--hook")
        .arg(own_program()?)
        .arg("--folder")
        .arg(workspace::faults_folder().join("run"))
        .args(["--minutes", &arguments.minutes.to_string()])
        .args(["--workers", &arguments.workers.to_string()])
        .args(["--rate", &arguments.rate.to_string()]);
    if let Some(seed) = arguments.seed {
        command.args(["--seed", &seed.to_string()]);
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
