//! A participant's process: started, told what to do, listened to, ended.

use std::env;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::watch;
use tokio::time::{sleep, timeout, timeout_at};

use super::system;

/// How long a process may take to end when it is told to, if its time is over otherwise.
const ENDING: Duration = Duration::from_secs(30);
/// A process that uses less than a hundredth of this time is idle.
const IDLE: Duration = Duration::from_millis(100);
/// How long the last words of a process may take to be heard.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// How long becoming idle may take.
const CALMING: Duration = Duration::from_secs(10);

/// A line of an actor.
#[derive(Debug)]
pub(crate) struct Line {
    /// When it was heard.
    pub(crate) at: Instant,
    /// What follows the word that was waited for.
    pub(crate) rest: String,
}

/// A process of a participant; killed when dropped.
#[derive(Debug)]
pub(crate) struct Actor {
    name: String,
    child: Child,
    pid: u32,
    input: Option<ChildStdin>,
    lines: Lines<BufReader<ChildStdout>>,
    stderr: Arc<Mutex<String>>,
    /// Closed once all that it writes there was heard.
    writes: watch::Receiver<()>,
    deadline: tokio::time::Instant,
    /// When it was started.
    pub(crate) started: Instant,
}

impl Actor {
    /// Starts this program again as a role; everything that it does has to be done within `limit`.
    pub(crate) fn start(arguments: &[String], limit: Duration) -> Result<Self> {
        let program = env::current_exe().context("this program has no path")?;
        let name = arguments.iter().take(2).cloned().collect::<Vec<_>>();
        let name = name.join(" ");
        let started = Instant::now();
        let mut child = Command::new(program)
            .arg("role")
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("{name} cannot be started"))?;
        let stdout = child.stdout.take().context("no standard output")?;
        let stderr = Arc::<Mutex<String>>::default();
        let (open, writes) = watch::channel(());
        if let Some(output) = child.stderr.take() {
            tokio::spawn(keep(output, Arc::clone(&stderr), open));
        }
        Ok(Self {
            name,
            pid: child.id().context("it has ended already")?,
            input: child.stdin.take(),
            child,
            lines: BufReader::new(stdout).lines(),
            stderr,
            writes,
            deadline: tokio::time::Instant::now() + limit,
            started,
        })
    }

    /// Waits until it says a word; other lines before are passed over.
    pub(crate) async fn until(&mut self, word: &str) -> Result<Line> {
        loop {
            let line = match timeout_at(self.deadline, self.lines.next_line()).await {
                Ok(line) => line?,
                Err(_) => {
                    return Err(self
                        .complaint(&format!("hangs: it never says `{word}`"))
                        .await);
                }
            };
            let at = Instant::now();
            let Some(line) = line else {
                // its last words may still be on their way
                let ended = timeout_at(self.deadline, self.child.wait()).await;
                let how = ended.map_or_else(
                    |_| "closed its output".to_owned(),
                    |status| {
                        status.map_or_else(
                            |error| error.to_string(),
                            |status| format!("ended ({status})"),
                        )
                    },
                );
                return Err(self
                    .complaint(&format!("{how} before it said `{word}`"))
                    .await);
            };
            if let Some(rest) = line.strip_prefix(word) {
                let rest = rest.trim().to_owned();
                return Ok(Line { at, rest });
            }
        }
    }

    /// Tells it to begin; returns when.
    pub(crate) async fn go(&mut self) -> Result<Instant> {
        let at = Instant::now();
        self.tell("go\n").await?;
        Ok(at)
    }

    /// Tells it to stop, and waits until it has ended without an error.
    pub(crate) async fn stop(mut self) -> Result<()> {
        self.tell("stop\n").await?;
        self.input = None;
        let limit = self.deadline.max(tokio::time::Instant::now() + ENDING);
        match timeout_at(limit, self.child.wait()).await {
            Ok(Ok(status)) if status.success() => Ok(()),
            Ok(status) => Err(self
                .complaint(&format!("did not end well: {status:?}"))
                .await),
            Err(_) => Err(self.complaint("does not stop").await),
        }
    }

    /// Processor time that it has used.
    pub(crate) fn cpu(&self) -> Option<Duration> {
        system::cpu(self.pid)
    }

    /// Memory that it holds, in MiB.
    pub(crate) fn memory(&self) -> Option<f64> {
        system::memory(self.pid)
    }

    /// Waits until it does nothing more; returns its memory in MiB, if that is known here.
    pub(crate) async fn idle(&self) -> Result<Option<f64>> {
        let deadline = Instant::now() + CALMING;
        let Some(mut before) = self.cpu() else {
            return Ok(None);
        };
        while Instant::now() < deadline {
            sleep(IDLE).await;
            let Some(now) = self.cpu() else {
                return Err(self.complaint("has ended").await);
            };
            if now.saturating_sub(before) < IDLE / 100 {
                break;
            }
            before = now;
        }
        Ok(self.memory())
    }

    async fn tell(&mut self, line: &str) -> Result<()> {
        let Some(input) = &mut self.input else {
            bail!("{} has no input", self.name);
        };
        match input.write_all(line.as_bytes()).await {
            Ok(()) => Ok(()),
            Err(error) => Err(self.complaint(&format!("does not listen: {error}")).await),
        }
    }

    async fn complaint(&self, what: &str) -> anyhow::Error {
        // nothing is ever sent: it ends when all was heard
        let _ = timeout(LAST_WORDS, self.writes.clone().changed()).await;
        let words = self.stderr.lock().unwrap_or_else(PoisonError::into_inner);
        let words = match words.trim() {
            "" => "it wrote no error",
            words => words,
        };
        anyhow::anyhow!("{} {what}\n{words}", self.name)
    }
}

/// Collects what is written.
async fn keep(output: impl AsyncRead + Unpin, kept: Arc<Mutex<String>>, _open: watch::Sender<()>) {
    let mut lines = BufReader::new(output).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.push_str(&line);
        kept.push('\n');
    }
}
