//! The tasks of these tests.

use std::sync::Arc;

use coney::prelude::*;
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;

#[derive(Queue)]
#[queue(name = "fast", concurrency = 16)]
pub struct Fast;

#[derive(Queue)]
#[queue(name = "slow", concurrency = 2)]
pub struct Slow;

/// Holds tasks back until the test lets them go, and counts those that started.
#[derive(Clone)]
pub struct Gate {
    pub started: Arc<Semaphore>,
    pub open: Arc<Semaphore>,
}

impl Gate {
    pub fn closed() -> Self {
        Self {
            started: Arc::new(Semaphore::new(0)),
            open: Arc::new(Semaphore::new(0)),
        }
    }

    pub async fn pass(&self) {
        self.started.add_permits(1);
        self.open
            .acquire()
            .await
            .expect("the gate is never destroyed")
            .forget();
    }

    /// Waits until so many tasks have started.
    pub async fn wait_started(&self, tasks: u32) {
        let started = self.started.acquire_many(tasks);
        super::support::within("tasks start", started)
            .await
            .expect("the gate is never destroyed")
            .forget();
    }
}

#[derive(Debug, PartialEq, thiserror::Error, TaskError, Serialize, Deserialize)]
pub enum Refusal {
    #[error("no such user: {0}")]
    #[discard]
    NoUser(u64),
    #[error("the mailbox is gone")]
    #[dead]
    Gone,
    #[error("try again")]
    Again,
}

#[task(queue = Fast)]
pub async fn add(x: i64, y: i64) -> i64 {
    x + y
}

#[task(queue = Fast)]
pub async fn greet(name: String, title: Option<String>) -> String {
    title.map_or(format!("hello {name}"), |title| {
        format!("hello {title} {name}")
    })
}

#[task(queue = Slow, blocking)]
pub fn sum_up_to(n: u64) -> u64 {
    (1..=n).sum()
}

#[task(queue = Slow, blocking, retry(max = 0))]
pub fn blocking_panic() {
    panic!("out of paper");
}

#[task(queue = Fast, retry(max = 0))]
pub async fn refuse(how: u64) -> Result<(), Refusal> {
    Err(match how {
        0 => Refusal::Gone,
        1 => Refusal::Again,
        user => Refusal::NoUser(user),
    })
}

#[task(queue = Fast, retry(max = 0))]
pub async fn any_error(text: String) -> coney::Result<u8> {
    Ok(text.parse::<u8>()?)
}

#[task(queue = Fast, retry(max = 0))]
pub async fn anyhow_error() -> anyhow::Result<()> {
    Err(anyhow::anyhow!("inner").context("outer"))
}

#[task(queue = Fast, retry(max = 0))]
pub async fn panics(text: String) -> u8 {
    panic!("{text}")
}

#[task(queue = Fast)]
pub async fn wait_at_gate(State(gate): State<Gate>) -> String {
    gate.pass().await;
    "through".to_owned()
}

#[task(queue = Slow, ignore_result)]
pub async fn quiet_gate(State(gate): State<Gate>) {
    gate.pass().await;
}

#[task(queue = Fast)]
pub async fn count_to(n: u32, ctx: TaskContext) -> Result<u32, coney::Failure> {
    for step in 1..=n {
        ctx.progress(&serde_json::json!({"current": step, "total": n}))
            .await?;
    }
    Ok(n)
}

#[task(queue = Slow, blocking)]
pub fn blocking_count_to(n: u32, ctx: TaskContext) -> Result<u32, coney::Failure> {
    for step in 1..=n {
        ctx.progress_blocking(&step)?;
    }
    Ok(n)
}

/// What a task sees of itself.
#[derive(Debug, Serialize, Deserialize)]
pub struct Seen {
    pub id: String,
    pub task: String,
    pub attempt: u32,
    pub queue: String,
    pub root_id: String,
    pub parent_id: Option<String>,
    pub tenant: Option<String>,
    pub trace_id: String,
    pub headers: usize,
}

#[task(queue = Fast)]
pub async fn look_around(ctx: TaskContext) -> Seen {
    Seen {
        id: ctx.id().to_string(),
        task: ctx.task().to_owned(),
        attempt: ctx.attempt(),
        queue: ctx.queue().to_owned(),
        root_id: ctx.root_id().to_string(),
        parent_id: ctx.parent_id().map(ToString::to_string),
        tenant: ctx
            .headers()
            .get("tenant")
            .and_then(|v| v.as_str())
            .map(str::to_owned),
        trace_id: ctx.trace().trace_id(),
        headers: ctx.headers().len(),
    }
}

/// Sends a child that looks around, and returns the child's id and what it saw.
#[task(queue = Fast)]
pub async fn send_child(
    State(client): State<coney::Client>,
    ctx: TaskContext,
) -> coney::Result<Seen> {
    let child = look_around::call().child_of(&ctx).send(&client).await?;
    Ok(child.result().timeout(secs(10)).await?)
}

/// Typed values of Celery's JSON.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub struct Typed {
    pub at: jiff::Timestamp,
    pub id: uuid::Uuid,
    pub bytes: Vec<u8>,
}

#[task(queue = Fast)]
pub async fn typed(value: Typed) -> Typed {
    value
}

/// A task that another program runs.
#[task(queue = Fast, name = "elsewhere.multiply")]
pub async fn multiply(x: i64, y: i64) -> i64;

/// How often each task ran, by the text that it was called with.
#[derive(Clone, Default)]
pub struct Runs(Arc<std::sync::Mutex<std::collections::HashMap<String, u32>>>);

impl Runs {
    pub fn count(&self, key: &str) -> u32 {
        let mut runs = self.0.lock().expect("nobody panics with it");
        let count = runs.entry(key.to_owned()).or_default();
        *count += 1;
        *count
    }

    pub fn of(&self, key: &str) -> u32 {
        let runs = self.0.lock().expect("nobody panics with it");
        runs.get(key).copied().unwrap_or_default()
    }
}

#[derive(Debug, thiserror::Error, TaskError)]
pub enum Trouble {
    #[error("not yet")]
    #[retry]
    NotYet,
    #[error("in a moment")]
    #[retry(after = .0)]
    Moment(std::time::Duration),
    #[error("busy")]
    #[defer(after = .0)]
    Busy(std::time::Duration),
}

/// Succeeds at the run of this number, and returns its attempt.
#[task(queue = Fast, retry(max = 3, backoff = fixed("20ms"), jitter = false))]
pub async fn succeed_at(
    key: String,
    run: u32,
    State(runs): State<Runs>,
    ctx: TaskContext,
) -> Result<u32, Trouble> {
    match runs.count(&key) {
        now if now < run => Err(Trouble::NotYet),
        _ => Ok(ctx.attempt()),
    }
}

/// Comes back after this many milliseconds, once.
#[task(queue = Fast, retry(max = 1, backoff = fixed("1h")))]
pub async fn come_back(
    key: String,
    millis: u64,
    defer: bool,
    State(runs): State<Runs>,
    ctx: TaskContext,
) -> Result<u32, Trouble> {
    let wait = std::time::Duration::from_millis(millis);
    match runs.count(&key) {
        1 if defer => Err(Trouble::Busy(wait)),
        1 => Err(Trouble::Moment(wait)),
        _ => Ok(ctx.attempt()),
    }
}

#[task(queue = Fast)]
pub async fn now() -> jiff::Timestamp {
    jiff::Timestamp::now()
}

/// Waits for its token, and says whether that came before the hard limit.
#[task(queue = Fast, soft_timeout = "50ms", timeout = "20s", retry(max = 0))]
pub async fn heed_the_soft_limit(ctx: TaskContext) -> bool {
    ctx.cancellation().cancelled().await;
    ctx.deadline()
        .is_some_and(|deadline| deadline > std::time::SystemTime::now())
}

#[task(queue = Fast, timeout = "50ms", retry(max = 1, backoff = fixed("1ms")))]
pub async fn never_ends(key: String, State(runs): State<Runs>) {
    runs.count(&key);
    std::future::pending::<()>().await;
}

#[task(queue = Slow, blocking, timeout = "50ms", retry(max = 0))]
pub fn blocks_until_open(State(gate): State<BlockingGate>) {
    gate.wait();
}

/// Holds blocking tasks back.
#[derive(Clone, Default)]
pub struct BlockingGate(Arc<(std::sync::Mutex<bool>, std::sync::Condvar)>);

impl BlockingGate {
    fn wait(&self) {
        let (open, changed) = &*self.0;
        let mut open = open.lock().expect("nobody panics with it");
        while !*open {
            open = changed.wait(open).expect("nobody panics with it");
        }
    }

    pub fn open(&self) {
        let (open, changed) = &*self.0;
        *open.lock().expect("nobody panics with it") = true;
        changed.notify_all();
    }
}

/// An argument whose own code panics.
#[derive(Debug, Serialize)]
pub struct Explosive(pub bool);

impl<'de> Deserialize<'de> for Explosive {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let explodes = bool::deserialize(deserializer)?;
        assert!(!explodes, "handle with care");
        Ok(Self(explodes))
    }
}

#[task(queue = Fast, retry(max = 0))]
pub async fn carry(what: Explosive) -> bool {
    what.0
}
