//! When which queue has something to do by itself.

use std::collections::BTreeSet;
use std::time::SystemTime;

use crate::queue::{Queue, QueueId};

/// The times at which queues want to be looked at, one for each queue.
#[derive(Debug, Default)]
pub(crate) struct Agenda(BTreeSet<(SystemTime, QueueId)>);

impl Agenda {
    /// Sets the time of a queue; none if it has nothing to wait for.
    pub(super) fn plan(&mut self, queue: &mut Queue, due: Option<SystemTime>) {
        if queue.scheduled == due {
            return;
        }
        if let Some(old) = queue.scheduled {
            self.0.remove(&(old, queue.id));
        }
        if let Some(due) = due {
            self.0.insert((due, queue.id));
        }
        queue.scheduled = due;
    }

    pub(super) fn next(&self) -> Option<SystemTime> {
        self.0.first().map(|(due, _)| *due)
    }

    /// How many queues wait for their time.
    #[cfg(feature = "__fuzzing")]
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Takes the first that is due.
    pub(super) fn pop_due(&mut self, now: SystemTime) -> Option<(SystemTime, QueueId)> {
        if self.next()? > now {
            return None;
        }
        self.0.pop_first()
    }
}
