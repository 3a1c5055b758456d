//! What the conductor does to the broker, by another program that knows how.

use std::path::PathBuf;
use std::process::Stdio;

use anyhow::{Context, Result, bail};
use tokio::process::Command;
use tokio::sync::Mutex;

/// `<program> fault-node <deed> <node>`: `kill`, `stop` or `start` a node, or give it an `alarm` or `no-alarm`. Nodes count
/// from 0. Starting returns when the node serves clients. Other status than 0 is a failure.
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

    pub(crate) async fn act(&self, deed: &str, node: usize) -> Result<()> {
        let status = Command::new(&self.program)
            .args(["fault-node", deed, &node.to_string()])
            .stdin(Stdio::null())
            .status()
            .await
            .with_context(|| format!("cannot run {}", self.program.display()))?;
        if !status.success() {
            bail!("cannot {deed} node {node} of the broker");
        }
        Ok(())
    }
}
