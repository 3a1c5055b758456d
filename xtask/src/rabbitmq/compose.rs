//! A RabbitMQ container by Docker Compose, see `docker/compose.yml`.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use super::state::{Engine, State};
use crate::workspace;

/// Whether an engine answers and knows Compose.
pub(super) fn is_available() -> bool {
    succeeds(&["info"]) && succeeds(&["compose", "version"])
}

/// Starts the container and waits until it is healthy.
pub(super) fn start(folder: &Path) -> Result<State> {
    let state = State {
        engine: Engine::Compose,
        url: "amqp://guest:guest@127.0.0.1:5672".to_owned(),
        management: "http://127.0.0.1:15672".to_owned(),
    };
    state.save(folder)?;
    if let Err(error) = run(&["up", "--detach", "--wait"]) {
        // the last words of the container, then nothing is left of it
        let _ = run(&["logs", "--no-color", "--tail", "25"]);
        stop(folder)?;
        return Err(error);
    }
    Ok(state)
}

/// Removes the container and what it stored.
pub(super) fn stop(folder: &Path) -> Result<()> {
    run(&["down", "--volumes"])?;
    State::forget(folder)
}

fn run(arguments: &[&str]) -> Result<()> {
    let status = Command::new("docker")
        .args(["compose", "--file"])
        .arg(workspace::root().join("docker").join("compose.yml"))
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(std::io::stderr())
        .status()
        .context("cannot run docker compose")?;
    if !status.success() {
        bail!("`docker compose {}` failed ({status})", arguments.join(" "));
    }
    Ok(())
}

fn succeeds(arguments: &[&str]) -> bool {
    Command::new("docker")
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}
