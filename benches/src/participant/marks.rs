//! What a participant says on its standard output, so that another process can take the time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Counts tasks and tells of the first and the last; clones count together.
#[derive(Clone, Debug)]
pub(crate) struct Marks(Arc<Counts>);

#[derive(Debug)]
struct Counts {
    expected: u64,
    tell_every: Option<u64>,
    started: AtomicU64,
    ended: AtomicU64,
}

impl Marks {
    /// The last task is the one that makes it `expected`.
    pub(crate) fn new(expected: u64) -> Self {
        Self::telling(expected, None)
    }

    /// Says `some`, too, whenever so many more have ended.
    pub(crate) fn telling(expected: u64, tell_every: Option<u64>) -> Self {
        Self(Arc::new(Counts {
            expected,
            tell_every,
            started: AtomicU64::new(0),
            ended: AtomicU64::new(0),
        }))
    }

    /// A task starts.
    pub(crate) fn start(&self) {
        if self.0.started.fetch_add(1, Ordering::Relaxed) == 0 {
            say("start");
        }
    }

    /// A task has ended.
    pub(crate) fn end(&self) {
        let ended = self.0.ended.fetch_add(1, Ordering::Relaxed) + 1;
        if ended == 1 {
            say("first");
        }
        if self
            .0
            .tell_every
            .is_some_and(|some| ended.is_multiple_of(some))
        {
            say("some");
        }
        if ended == self.0.expected {
            say("last");
        }
    }
}

/// Says a line to the conductor.
pub(crate) fn say(line: &str) {
    println!("{line}");
}
