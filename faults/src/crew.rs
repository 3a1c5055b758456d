//! The worker processes: started, killed, paused, and stopped at the end.

use std::env;
use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::process::{Child, Command};
use tokio::sync::Mutex;
use tokio::time::{sleep, timeout};

/// How long a worker may take to stop: its grace period, and some more.
const STOP: Duration = Duration::from_secs(40);

/// All workers.
#[derive(Debug)]
pub(crate) struct Crew {
    posts: Vec<Post>,
}

/// One worker after the other.
#[derive(Debug)]
struct Post {
    number: usize,
    url: String,
    folder: PathBuf,
    /// Locked while something is done to it, so that no fault meets a dead process.
    child: Mutex<Child>,
}

impl Crew {
    /// Starts a worker for each URL.
    pub(crate) fn start(urls: &[String], folder: &Path) -> Result<Self> {
        let posts = urls.iter().enumerate().map(|(number, url)| {
            let child = Mutex::new(spawn(number, url, folder)?);
            anyhow::Ok(Post {
                number,
                url: url.clone(),
                folder: folder.to_owned(),
                child,
            })
        });
        Ok(Self {
            posts: posts.collect::<Result<_>>()?,
        })
    }

    /// Kills a worker, and starts another after a while.
    pub(crate) async fn kill(&self, number: usize, down: Duration) -> Result<()> {
        let post = &self.posts[number];
        let mut child = post.child.lock().await;
        post.expect_alive(&mut child)?;
        child.kill().await.context("cannot kill a worker")?;
        sleep(down).await;
        *child = spawn(post.number, &post.url, &post.folder)?;
        Ok(())
    }

    /// Stops a worker's clock for a while.
    pub(crate) async fn pause(&self, number: usize, lasts: Duration) -> Result<()> {
        let post = &self.posts[number];
        let mut child = post.child.lock().await;
        post.expect_alive(&mut child)?;
        signal(&child, "STOP").await?;
        sleep(lasts).await;
        signal(&child, "CONT").await
    }

    /// Stops all workers the way a supervisor does; returns what was wrong with them.
    pub(crate) async fn stop(&self) -> Vec<String> {
        let mut problems = Vec::new();
        for post in &self.posts {
            let mut child = post.child.lock().await;
            if let Err(error) = post.expect_alive(&mut child) {
                problems.push(error.to_string());
            } else if let Err(error) = signal(&child, "TERM").await {
                problems.push(error.to_string());
            }
        }
        for post in &self.posts {
            let mut child = post.child.lock().await;
            // waiting would close it, and that ends a worker at once
            let _open = child.stdin.take();
            match timeout(STOP, child.wait()).await {
                Ok(Ok(status)) if status.success() => {}
                Ok(status) => problems.push(format!("worker {} ended: {status:?}", post.number)),
                Err(_) => problems.push(format!(
                    "worker {} does not stop within {} s of SIGTERM",
                    post.number,
                    STOP.as_secs()
                )),
            }
        }
        problems
    }
}

impl Post {
    fn expect_alive(&self, child: &mut Child) -> Result<()> {
        match child.try_wait()? {
            None => Ok(()),
            Some(status) => bail!("worker {} ended by itself: {status}", self.number),
        }
    }
}

fn spawn(number: usize, url: &str, folder: &Path) -> Result<Child> {
    let log = folder.join(format!("worker-{number}.log"));
    let log = OpenOptions::new().create(true).append(true).open(&log)?;
    Command::new(env::current_exe()?)
        .args(["worker", "--url", url])
        .args(["--name", &format!("faults-{number}")])
        .arg("--journal")
        .arg(folder.join(format!("worker-{number}.runs")))
        .stdin(Stdio::piped())
        .stdout(log.try_clone()?)
        .stderr(log)
        .kill_on_drop(true)
        .spawn()
        .context("cannot start a worker")
}

async fn signal(child: &Child, name: &str) -> Result<()> {
    let pid = child.id().context("the worker has ended")?.to_string();
    // `kill` is built into every shell; a program of that name is not everywhere
    let status = Command::new("sh")
        .args(["-c", "kill -\"$1\" \"$2\"", "sh", name, &pid])
        .status()
        .await?;
    if !status.success() {
        bail!("cannot send SIG{name} to a worker");
    }
    Ok(())
}
