//! One participant on one kind of queue: starts its processes.

use std::time::Duration;

use anyhow::Result;

use super::actor::Actor;
use super::stage::Stage;
use crate::participant::{Kind, Part, Participant};

/// One participant on one kind of queue.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cast<'a> {
    pub(crate) stage: &'a Stage,
    pub(crate) participant: Participant,
    pub(crate) kind: Kind,
    /// Threads of the runtimes, if they are to be other than the participant's best.
    pub(crate) threads: Option<usize>,
    /// How long one process may take.
    pub(crate) limit: Duration,
}

impl Cast<'_> {
    /// Takes away what is there from before, and declares the queue.
    pub(crate) async fn prepare(&self, more: &[&str]) -> Result<()> {
        self.stage.clear().await?;
        self.actor(Part::Declare, 0, more)?.stop().await
    }

    /// Puts tasks into the queue.
    pub(crate) async fn fill(&self, tasks: u64, more: &[&str]) -> Result<()> {
        let mut publisher = self.actor(Part::Publish, tasks, more)?;
        publisher.until("ready").await?;
        publisher.go().await?;
        publisher.until("done").await?;
        publisher.stop().await
    }

    /// Starts a process.
    pub(crate) fn actor(&self, part: Part, tasks: u64, more: &[&str]) -> Result<Actor> {
        let tasks = tasks.to_string();
        let fixed = [
            self.participant.name(),
            part.name(),
            "--url",
            &self.stage.url,
            "--kind",
            self.kind.name(),
            "--tasks",
            &tasks,
        ];
        let words = fixed.iter().chain(more).map(|&word| word.to_owned());
        let mut words: Vec<_> = words.collect();
        if let Some(threads) = self.threads {
            words.extend(["--threads".to_owned(), threads.to_string()]);
        }
        Actor::start(&words, self.limit)
    }
}
