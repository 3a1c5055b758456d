//! The client: sends mixed tasks at a steady rate, and keeps what it was told of each.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use coney::prelude::*;
use coney::{Call, ResultErrorKind, Task};
use tokio_util::task::TaskTracker;

use crate::dice::Dice;
use crate::tasks;

/// What a task does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Kind {
    Fast,
    Slow,
    Blocking,
    Flaky,
    Failing,
    Delayed,
}

/// Each kind, with how often it is sent.
const MIX: [(usize, Kind); 6] = [
    (40, Kind::Fast),
    (14, Kind::Slow),
    (10, Kind::Blocking),
    (14, Kind::Flaky),
    (8, Kind::Failing),
    (14, Kind::Delayed),
];

/// What the client was told about a send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    Confirmed,
    /// It failed; `stored` if the broker may have the message all the same.
    Failed {
        stored: bool,
        why: String,
    },
}

/// What the client was told about the result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The value, or the failure, that was to be expected.
    Right,
    Wrong(String),
}

/// One task as its client knows it.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    pub(crate) id: String,
    pub(crate) kind: Kind,
    pub(crate) sent: Instant,
    pub(crate) told: Option<Told>,
    pub(crate) answer: Option<Answer>,
    pub(crate) answered: Option<Instant>,
}

/// All tasks that were sent.
#[derive(Debug, Default)]
pub(crate) struct Ledger(Mutex<Vec<Record>>);

impl Ledger {
    pub(crate) fn records(&self) -> MutexGuard<'_, Vec<Record>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tasks that were answered.
    pub(crate) fn answered(&self) -> usize {
        let records = self.records();
        records
            .iter()
            .filter(|record| record.answer.is_some())
            .count()
    }

    /// Tasks that the client still expects something of.
    pub(crate) fn open(&self) -> usize {
        let open = |record: &&Record| match record.told {
            None => true,
            Some(Told::Confirmed) => record.answer.is_none(),
            Some(Told::Failed { .. }) => false,
        };
        self.records().iter().filter(open).count()
    }
}

/// Sends until the time is over. Results go on coming to `ledger` by the tasks on `waiting`.
pub(crate) async fn send(
    client: &Client,
    seed: u64,
    rate: u32,
    lasts: Duration,
    ledger: &'static Ledger,
    waiting: &TaskTracker,
) {
    let mut dice = Dice::new(!seed);
    let end = Instant::now() + lasts;
    let mut beat = tokio::time::interval(Duration::from_secs(1) / rate.max(1));
    for n in 0.. {
        beat.tick().await;
        if Instant::now() > end {
            break;
        }
        let kind = dice.pick(&MIX);
        let millis = dice.millis(100, 1_500);
        let wait = dice.millis(200, 8_000);
        let failures = 1 + dice.below(3) as u32;
        let job = Job {
            client: client.clone(),
            ledger,
            n,
            id: format!("{kind:?}-{n:06}-{seed:x}").to_lowercase(),
            kind,
        };
        let short = millis.as_millis() as u64;
        match kind {
            Kind::Fast => waiting.spawn(job.run(tasks::fast::call(n))),
            Kind::Slow => waiting.spawn(job.run(tasks::slow::call(n, short))),
            Kind::Blocking => waiting.spawn(job.run(tasks::blocking::call(n, short / 3))),
            Kind::Flaky => waiting.spawn(job.run(tasks::flaky::call(n, failures))),
            Kind::Failing => waiting.spawn(job.run(tasks::failing::call(n))),
            Kind::Delayed => waiting.spawn(job.run(tasks::fast::call(n).delay(wait))),
        };
    }
}

pub(crate) struct Job {
    client: Client,
    ledger: &'static Ledger,
    n: u64,
    id: String,
    kind: Kind,
}

impl Job {
    /// A job whose id tells nothing but its number.
    pub(crate) fn new(client: &Client, ledger: &'static Ledger, n: u64, kind: Kind) -> Self {
        Self {
            client: client.clone(),
            ledger,
            n,
            id: format!("task-{n}"),
            kind,
        }
    }

    pub(crate) async fn run<T>(self, call: Call<T>)
    where
        T: Task<Output = u64>,
        T::Error: Send + 'static,
    {
        let index = {
            let mut records = self.ledger.records();
            records.push(Record {
                id: self.id.clone(),
                kind: self.kind,
                sent: Instant::now(),
                told: None,
                answer: None,
                answered: None,
            });
            records.len() - 1
        };
        let sent = call.id(self.id.as_str()).send(&self.client).await;
        let handle = match sent {
            Ok(handle) => handle,
            Err(error) => {
                let told = Told::Failed {
                    stored: error.may_have_been_stored(),
                    why: chain(&error),
                };
                self.ledger.records()[index].told = Some(told);
                return;
            }
        };
        self.ledger.records()[index].told = Some(Told::Confirmed);
        let answer = match handle.result().await {
            Ok(n) if n == self.n && self.kind != Kind::Failing => Answer::Right,
            Ok(n) => Answer::Wrong(format!("it returned {n}")),
            // at the end of the run
            Err(error) if matches!(error.kind(), ResultErrorKind::Closed) => return,
            Err(error) if self.kind == Kind::Failing && error.message() == tasks::COMPLAINT => {
                Answer::Right
            }
            Err(error) => Answer::Wrong(error.to_string()),
        };
        let record = &mut self.ledger.records()[index];
        record.answer = Some(answer);
        record.answered = Some(Instant::now());
    }
}

/// An error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
