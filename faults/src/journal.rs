//! What workers write down outside the broker: every start and end of an attempt. It outlives a SIGKILL.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use anyhow::{Context, Result};
use coney::TaskContext;

/// The file of one worker process.
#[derive(Clone, Debug)]
pub(crate) struct Journal(Arc<File>);

/// How an attempt ended, or that it started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mark {
    Start,
    /// It returned a value.
    Done,
    /// It returned an error.
    Failed,
}

/// How often a task ran.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Runs {
    pub(crate) starts: u32,
    pub(crate) done: u32,
    /// Failures, by attempt.
    pub(crate) failed: HashMap<u32, u32>,
    /// Ends of messages that had not been delivered before, by attempt: more than one if there were several messages.
    pub(crate) fresh: HashMap<u32, u32>,
}

impl Journal {
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(path);
        let file = file.with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Self(Arc::new(file)))
    }

    /// Writes a line in one piece: id, attempt, mark, redeliveries, and milliseconds since 1970.
    pub(crate) fn note(&self, ctx: &TaskContext, mark: Mark) {
        let word = match mark {
            Mark::Start => "start",
            Mark::Done => "done",
            Mark::Failed => "failed",
        };
        let (attempt, redeliveries) = (ctx.attempt(), ctx.redeliveries());
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let millis = now.map_or(0, |now| now.as_millis());
        let line = format!("{} {attempt} {word} {redeliveries} {millis}\n", ctx.id());
        (&*self.0)
            .write_all(line.as_bytes())
            .expect("the journal can be written");
    }
}

/// Adds the lines of a journal to what is known of each task.
pub(crate) fn count(text: &str, runs: &mut HashMap<String, Runs>) {
    for line in text.lines() {
        let words: Vec<_> = line.split(' ').collect();
        let [id, attempt, word, redeliveries, _millis] = words[..] else {
            continue;
        };
        let Ok(attempt) = attempt.parse() else {
            continue;
        };
        let of = runs.entry(id.to_owned()).or_default();
        if word != "start" && redeliveries == "0" {
            *of.fresh.entry(attempt).or_default() += 1;
        }
        match word {
            "start" => of.starts += 1,
            "done" => of.done += 1,
            "failed" => *of.failed.entry(attempt).or_default() += 1,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_counted_by_task_and_attempt() {
        let mut runs = HashMap::new();
        count(
            "a 1 start 0 1\na 1 failed 0 2\na 2 start 0 3\nb 1 start 0 3\n",
            &mut runs,
        );
        count("a 2 start 1 5\na 2 done 1 6\ntorn", &mut runs);
        let expected = Runs {
            starts: 3,
            done: 1,
            failed: [(1, 1)].into(),
            fresh: [(1, 1)].into(),
        };
        assert_eq!(runs["a"], expected);
        assert_eq!((runs["b"].starts, runs["b"].done), (1, 0));
        assert_eq!(runs.len(), 2);
    }
}
