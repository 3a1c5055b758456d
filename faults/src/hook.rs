//! What the conductor does to the broker, by the program that started it.

use std::path::PathBuf;
use std::process::Stdio;

use anyhow::{Context, Result, bail};
use tokio::process::Command;
use tokio::sync::Mutex;

/// `<program> fault-node <deed>`.
#[derive(Debug)]
pub(crate) struct Hook {
    program: PathBuf,
    /// A broker that is down has no memory to fill.
    pub(crate) broker: Mutex<()>,
}

impl Hook {
    pub(crate) fn new(program: PathBuf) -> Self {
        Self {
            program,
            broker: Mutex::default(),
        }
    }

    pub(crate) async fn act(&self, deed: &str) -> Result<()> {
        let status = Command::new(&self.program)
            .args(["fault-node", deed])
            .stdin(Stdio::null())
            .status()
            .await
            .with_context(|| format!("cannot run {}", self.program.display()))?;
        if !status.success() {
            bail!("cannot {deed} the broker");
        }
        Ok(())
    }
}
