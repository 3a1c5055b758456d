//! What a worker knows of cancelled tasks, and which of its tasks it can cancel.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use coney_protocol::id::TaskId;
use tokio_util::sync::CancellationToken;

/// How long a worker remembers revocations unless the builder says otherwise: as long as Celery's.
pub const DEFAULT_MEMORY: Duration = Duration::from_secs(3 * 60 * 60);

/// How long a running task may go on after its token fired unless the builder says otherwise.
pub const DEFAULT_REVOKE_GRACE: Duration = Duration::from_secs(5);

/// How many revocations a worker remembers at most; the oldest go first.
pub const MOST_REMEMBERED: usize = 50_000;

/// The revoked tasks and the running ones. One lock for both: a task either finds its revocation when it enters, or is
/// found by it.
#[derive(Debug)]
pub(crate) struct Revocations {
    memory: Duration,
    most: usize,
    book: Mutex<Book>,
}

#[derive(Debug, Default)]
struct Book {
    /// When each was revoked last, as seen here: clocks of clients differ.
    revoked: HashMap<TaskId, Instant>,
    /// The same in order, repetitions included.
    order: VecDeque<(Instant, TaskId)>,
    running: HashMap<TaskId, Attempts>,
}

/// The attempts of one task that run here: two if the broker delivered it twice.
#[derive(Debug)]
struct Attempts {
    count: usize,
    revoked: CancellationToken,
}

impl Revocations {
    pub(crate) fn new(memory: Duration, most: usize) -> Arc<Self> {
        Arc::new(Self {
            memory,
            most,
            book: Mutex::default(),
        })
    }

    /// How long they are remembered.
    pub(crate) fn memory(&self) -> Duration {
        self.memory
    }

    /// Notes that a task is revoked, and tells it if it runs; true if it does.
    pub(crate) fn revoke(&self, id: TaskId, now: Instant) -> bool {
        let mut book = self.book();
        book.order.push_back((now, id.clone()));
        let running = book.running.get(&id).map(|runs| runs.revoked.clone());
        book.revoked.insert(id, now);
        book.forget(now, self.memory, self.most);
        drop(book);
        if let Some(token) = &running {
            token.cancel();
        }
        running.is_some()
    }

    /// True if a task is revoked.
    pub(crate) fn is_revoked(&self, id: &TaskId, now: Instant) -> bool {
        let mut book = self.book();
        book.forget(now, self.memory, self.most);
        book.revoked.contains_key(id)
    }

    /// Lets a task in, unless it is revoked.
    pub(crate) fn enter(self: &Arc<Self>, id: &TaskId, now: Instant) -> Option<Entered> {
        let mut book = self.book();
        book.forget(now, self.memory, self.most);
        if book.revoked.contains_key(id) {
            return None;
        }
        let runs = match book.running.entry(id.clone()) {
            Entry::Occupied(occupied) => occupied.into_mut(),
            Entry::Vacant(vacant) => vacant.insert(Attempts {
                count: 0,
                revoked: CancellationToken::new(),
            }),
        };
        runs.count += 1;
        let revoked = runs.revoked.clone();
        drop(book);
        Some(Entered {
            id: id.clone(),
            revoked,
            revocations: Arc::clone(self),
        })
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        // nothing can panic while it is held
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Book {
    fn forget(&mut self, now: Instant, memory: Duration, most: usize) {
        while let Some((at, id)) = self.order.front() {
            let is_old = now.duration_since(*at) >= memory;
            if !is_old && self.order.len() <= most {
                return;
            }
            // revoked again since: the later entry counts
            if self.revoked.get(id) == Some(at) {
                self.revoked.remove(id);
            }
            self.order.pop_front();
        }
    }
}

/// A task that was let in; it can be revoked until this is dropped.
#[derive(Debug)]
pub(crate) struct Entered {
    id: TaskId,
    revoked: CancellationToken,
    revocations: Arc<Revocations>,
}

impl Entered {
    /// Fires when the task is revoked.
    pub(crate) fn revoked(&self) -> &CancellationToken {
        &self.revoked
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        let mut book = self.revocations.book();
        if let Some(runs) = book.running.get_mut(&self.id) {
            runs.count -= 1;
            if runs.count == 0 {
                book.running.remove(&self.id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn id(n: usize) -> TaskId {
        TaskId::from(format!("task-{n}"))
    }

    #[test]
    fn a_revoked_task_is_not_let_in_for_as_long_as_it_is_remembered() {
        let revocations = Revocations::new(HOUR, 10);
        let start = Instant::now();
        assert!(!revocations.revoke(id(1), start), "it does not run");
        assert!(
            revocations
                .enter(&id(1), start + HOUR - Duration::from_secs(1))
                .is_none()
        );
        assert!(revocations.enter(&id(2), start).is_some());
        assert!(revocations.enter(&id(1), start + HOUR).is_some());
    }

    #[test]
    fn the_last_revocation_of_a_task_counts() {
        let revocations = Revocations::new(HOUR, 10);
        let start = Instant::now();
        revocations.revoke(id(1), start);
        revocations.revoke(id(1), start + HOUR / 2);
        assert!(revocations.enter(&id(1), start + HOUR).is_none());
        assert!(revocations.enter(&id(1), start + HOUR * 2).is_some());
    }

    #[test]
    fn the_oldest_go_first_when_there_are_too_many() {
        let revocations = Revocations::new(HOUR, 10);
        let start = Instant::now();
        for n in 0..1_000 {
            revocations.revoke(id(n), start);
        }
        assert!(revocations.enter(&id(989), start).is_some());
        assert!(revocations.enter(&id(990), start).is_none());
        let book = revocations.book();
        assert_eq!((book.revoked.len(), book.order.len()), (10, 10));
    }

    #[test]
    fn all_running_attempts_of_a_task_are_told_and_forgotten_when_they_end() {
        let revocations = Revocations::new(HOUR, 10);
        let now = Instant::now();
        let first = revocations.enter(&id(1), now).expect("let in");
        let second = revocations.enter(&id(1), now).expect("let in");
        drop(first);
        assert!(!second.revoked().is_cancelled());
        assert!(revocations.revoke(id(1), now));
        assert!(second.revoked().is_cancelled());
        drop(second);
        assert!(revocations.book().running.is_empty());
        assert!(!revocations.revoke(id(1), now));
    }
}
