//! `cargo xtask interop`: Celery's own clients, workers and tools with the fixture worker and producer of `tests/interop`.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::cargo::{cargo, heading, step};
use crate::{clients, rabbitmq, workspace};

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Try a worker and a producer in Python instead: shows that the tests expect what Celery does.
    #[arg(long)]
    reference: bool,
    /// Leave a broker that this command started running.
    #[arg(long)]
    keep: bool,
    /// What else pytest is told, such as `-k flower`.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pytest: Vec<String>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let python = clients::python()?;
    heading("broker");
    let ready = rabbitmq::up()?;
    println!("{}", ready.broker.name());
    let mut command = if arguments.reference {
        pytest(&python)
    } else {
        tests(&python)?
    };
    ready.broker.tell(&mut command);
    let result = step(command.args(&arguments.pytest));
    let stopped = if ready.started && !arguments.keep {
        rabbitmq::down()
    } else {
        Ok(())
    };
    result.and(stopped)
}

/// Builds what is tried, and says how.
pub(crate) fn tests(python: &Path) -> Result<Command> {
    step(&mut cargo([
        "build",
        "--package",
        "coney-interop",
        "--bins",
    ]))?;
    let mut command = pytest(python);
    command
        .env("CONEY_CELERY_WORKER", built("celery_worker")?)
        .env("CONEY_CELERY_PRODUCER", built("celery_producer")?);
    Ok(command)
}

fn pytest(python: &Path) -> Command {
    let mut command = Command::new(python);
    command
        .current_dir(workspace::interop_folder())
        .args(["-m", "pytest", "--quiet", "--tb=short"])
        // its caches and compiled files would lie among the sources
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env_remove("CONEY_CELERY_WORKER")
        .env_remove("CONEY_CELERY_PRODUCER");
    command
}

/// A binary of the workspace: cargo puts it beside this one.
fn built(name: &str) -> Result<PathBuf> {
    let program = env::current_exe().context("this program has no path")?;
    Ok(program.with_file_name(format!("{name}{}", env::consts::EXE_SUFFIX)))
}
