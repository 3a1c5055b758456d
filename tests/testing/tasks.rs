//! The tasks and queues of these tests.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

use coney::Client;
use coney::prelude::*;
use coney::testing::{TestApp, TestAppBuilder};
use serde::{Deserialize, Serialize};

#[derive(Debug, Queue)]
#[queue(name = "mail", concurrency = 4)]
pub struct Mail;

#[derive(Debug, Queue)]
#[queue(name = "audit")]
pub struct Audit;

/// Counts what runs.
#[derive(Clone, Debug, Default)]
pub struct Count(Arc<AtomicU32>);

impl Count {
    pub fn up(&self) -> u32 {
        self.0.fetch_add(1, Ordering::Relaxed) + 1
    }

    pub fn get(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }
}

#[derive(Debug, thiserror::Error, TaskError, Serialize, Deserialize, PartialEq)]
pub enum MailError {
    #[error("the mail server is away")]
    #[retry]
    Away,
    #[error("no user {0}")]
    #[discard]
    NoUser(u64),
    #[error("bounced")]
    #[dead]
    Bounced,
    #[error("too many")]
    #[defer(after = "2h")]
    TooMany,
}

/// Users 0 to 3 come to one error each, all others are welcome.
#[task(queue = Mail, retry(max = 3, backoff = fixed("10h")))]
pub async fn welcome(user: u64, State(count): State<Count>) -> Result<String, MailError> {
    count.up();
    match user {
        0 => Err(MailError::Away),
        1 => Err(MailError::NoUser(user)),
        2 => Err(MailError::Bounced),
        3 => Err(MailError::TooMany),
        _ => Ok(format!("welcome, user {user}")),
    }
}

/// Succeeds with the third attempt.
#[task(queue = Mail, retry(max = 5, backoff = exponential("10h", "100h")))]
pub async fn stubborn(ctx: TaskContext, State(count): State<Count>) -> coney::Result<u32> {
    count.up();
    match ctx.attempt() {
        3 => Ok(ctx.attempt()),
        _ => Err(Failure::retry("not yet")),
    }
}

/// Sends a welcome and writes it down, an hour later.
#[task(queue = Audit)]
pub async fn sign_up(user: u64, State(client): State<Client>) -> coney::Result<()> {
    welcome::call(user)
        .ignore_result(true)
        .send(&client)
        .await?;
    note::call(format!("user {user}"), Some(2))
        .delay(hours(1))
        .send(&client)
        .await?;
    Ok(())
}

#[task(queue = Audit)]
pub async fn note(text: String, level: Option<u8>) -> String {
    format!("{text} {level:?}")
}

/// Sends itself again, for ever.
#[task(queue = Audit)]
pub async fn daily(State(client): State<Client>) -> coney::Result<()> {
    daily::call()
        .delay(hours(24))
        .ignore_result(true)
        .send(&client)
        .await?;
    Ok(())
}

/// Never ends.
#[task(queue = Mail)]
pub async fn stuck() {
    std::future::pending::<()>().await;
}

/// Is acknowledged before it runs, and sends another call at its end.
#[task(queue = Mail, ack = "early", ignore_result)]
pub async fn hasty(State(client): State<Client>) -> coney::Result<()> {
    tokio::time::sleep(Duration::from_millis(30)).await;
    note::call("late".to_owned(), None).send(&client).await?;
    Ok(())
}

#[task(queue = Mail, blocking)]
pub fn crunch(number: u64) -> u64 {
    assert!(number > 0, "nothing to crunch");
    number * 2
}

#[task(queue = Mail, expires = "1h")]
pub async fn fresh() {}

/// An app that knows all of them.
pub async fn app(count: &Count) -> TestApp {
    builder(count).start().await.expect("a good set-up")
}

pub fn builder(count: &Count) -> TestAppBuilder {
    TestApp::builder()
        .state(count.clone())
        .state_with(Client::clone)
        .tasks(coney::registered())
}

/// How long after `start` a time is.
pub fn after(start: SystemTime, time: SystemTime) -> Duration {
    time.duration_since(start).expect("time does not go back")
}
