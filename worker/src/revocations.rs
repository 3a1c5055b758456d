//! What a worker knows of cancelled tasks, and which of its tasks it can cancel.

use std::collections::VecDeque;
use std::collections::hash_map::Entry;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use coney_protocol::control::stamp::{self, Stamp};
use coney_protocol::header::Header;
use coney_protocol::id::TaskId;
use coney_protocol::signal::Signal;
use foldhash::HashMap;

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

#[derive(Debug)]
struct Book {
    revoked: Memory<TaskId>,
    /// Stamps whose tasks are revoked.
    stamps: Memory<Stamp>,
    running: HashMap<TaskId, Attempts>,
}

/// What was revoked, and when.
#[derive(Debug)]
struct Memory<K> {
    /// When each was revoked last, as seen here: clocks of clients differ.
    last: HashMap<K, Instant>,
    /// The same in order, repetitions included.
    order: VecDeque<(Instant, K)>,
}

/// The attempts of one task that run here: two if the broker delivered it twice.
#[derive(Debug)]
struct Attempts {
    count: usize,
    orders: Arc<Orders>,
    stamps: Vec<Stamp>,
}

/// What running attempts of a task are told.
#[derive(Debug, Default)]
struct Orders {
    revoked: Signal,
    terminated: Signal,
    /// The signal that a Python worker would have sent to the process.
    signal: OnceLock<i32>,
}

impl Revocations {
    pub(crate) fn new(memory: Duration, most: usize) -> Arc<Self> {
        let book = Book {
            revoked: Memory::default(),
            stamps: Memory::default(),
            running: HashMap::default(),
        };
        Arc::new(Self {
            memory,
            most,
            book: Mutex::new(book),
        })
    }

    /// How long they are remembered.
    pub(crate) fn memory(&self) -> Duration {
        self.memory
    }

    /// Notes that a task is revoked, and tells it if it runs; true if it does.
    pub(crate) fn revoke(&self, id: TaskId, now: Instant) -> bool {
        let mut book = self.book(now);
        let running = book.running.get(&id).map(|runs| Arc::clone(&runs.orders));
        book.revoked.note(id, now, self.most);
        drop(book);
        if let Some(orders) = &running {
            orders.revoked.fire();
        }
        running.is_some()
    }

    /// Notes that tasks shall not start any more. As in Celery, one that runs goes on.
    pub(crate) fn flag(&self, ids: impl IntoIterator<Item = TaskId>, now: Instant) {
        let mut book = self.book(now);
        for id in ids {
            book.revoked.note(id, now, self.most);
        }
    }

    /// Notes that a task shall not start any more, and ends it at once if it runs; true if it does.
    pub(crate) fn terminate(&self, id: TaskId, signal: i32, now: Instant) -> bool {
        let mut book = self.book(now);
        let running = book.running.get(&id).map(|runs| Arc::clone(&runs.orders));
        book.revoked.note(id, now, self.most);
        drop(book);
        if let Some(orders) = &running {
            orders.terminate(signal);
        }
        running.is_some()
    }

    /// Notes that tasks with one of these stamps shall not start any more.
    pub(crate) fn flag_stamps(&self, stamps: impl IntoIterator<Item = Stamp>, now: Instant) {
        let mut book = self.book(now);
        for stamp in stamps {
            book.stamps.note(stamp, now, self.most);
        }
    }

    /// Ends the running tasks that have one of these stamps at once, and says which of the stamps they had.
    pub(crate) fn terminate_stamped(
        &self,
        stamps: &[Stamp],
        signal: i32,
        now: Instant,
    ) -> Vec<Stamp> {
        let book = self.book(now);
        let mut found = Vec::new();
        let mut ending = Vec::new();
        for runs in book.running.values() {
            let shared: Vec<_> = stamps.iter().filter(|s| runs.stamps.contains(s)).collect();
            if !shared.is_empty() {
                ending.push(Arc::clone(&runs.orders));
            }
            for stamp in shared {
                if !found.contains(stamp) {
                    found.push(stamp.clone());
                }
            }
        }
        drop(book);
        for orders in ending {
            orders.terminate(signal);
        }
        found
    }

    /// The revoked tasks, the oldest first.
    pub(crate) fn list(&self, now: Instant) -> Vec<TaskId> {
        self.book(now).revoked.in_order().cloned().collect()
    }

    /// True if a task is revoked, by its id or by a stamp.
    pub(crate) fn is_revoked(&self, header: &Header, now: Instant) -> bool {
        self.book(now).is_revoked(header)
    }

    /// Lets a task in, unless it is revoked.
    pub(crate) fn enter(self: &Arc<Self>, header: &Header, now: Instant) -> Option<Entered> {
        let mut book = self.book(now);
        if book.is_revoked(header) {
            return None;
        }
        let runs = match book.running.entry(header.id.clone()) {
            Entry::Occupied(occupied) => occupied.into_mut(),
            Entry::Vacant(vacant) => vacant.insert(Attempts {
                count: 0,
                orders: Arc::default(),
                stamps: stamp::of_header(header),
            }),
        };
        runs.count += 1;
        let orders = Arc::clone(&runs.orders);
        drop(book);
        Some(Entered {
            id: header.id.clone(),
            orders,
            revocations: Arc::clone(self),
        })
    }

    /// What is known, without what is forgotten by now.
    fn book(&self, now: Instant) -> MutexGuard<'_, Book> {
        let mut book = self.lock();
        book.revoked.forget(now, self.memory);
        book.stamps.forget(now, self.memory);
        book
    }

    fn lock(&self) -> MutexGuard<'_, Book> {
        // nothing can panic while it is held
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Book {
    fn is_revoked(&self, header: &Header) -> bool {
        let has_stamp = || {
            let stamps = stamp::of_header(header);
            stamps.iter().any(|stamp| self.stamps.contains(stamp))
        };
        self.revoked.contains(&header.id) || (!self.stamps.is_empty() && has_stamp())
    }
}

impl<K> Default for Memory<K> {
    fn default() -> Self {
        Self {
            last: HashMap::default(),
            order: VecDeque::new(),
        }
    }
}

impl<K: Clone + Eq + Hash> Memory<K> {
    fn note(&mut self, key: K, now: Instant, most: usize) {
        if self.last.insert(key.clone(), now) == Some(now) {
            return;
        }
        self.order.push_back((now, key));
        while self.last.len() > most {
            self.forget_first();
        }
        // workers tell each other all that they know whenever one starts
        if self.order.len() > 2 * most {
            let Self { last, order } = self;
            order.retain(|(at, key)| last.get(key) == Some(at));
        }
    }

    fn contains(&self, key: &K) -> bool {
        self.last.contains_key(key)
    }

    fn is_empty(&self) -> bool {
        self.last.is_empty()
    }

    fn in_order(&self) -> impl Iterator<Item = &K> {
        let last = |(at, key): &&(Instant, K)| self.last.get(key) == Some(at);
        self.order.iter().filter(last).map(|(_, key)| key)
    }

    fn forget(&mut self, now: Instant, memory: Duration) {
        let is_old = |(at, _): &(Instant, K)| now.duration_since(*at) >= memory;
        while self.order.front().is_some_and(is_old) {
            self.forget_first();
        }
    }

    fn forget_first(&mut self) {
        if let Some((at, key)) = self.order.pop_front()
            // revoked again since: the later entry counts
            && self.last.get(&key) == Some(&at)
        {
            self.last.remove(&key);
        }
    }
}

impl Orders {
    fn terminate(&self, signal: i32) {
        // the first signal ends it
        let _ = self.signal.set(signal);
        self.revoked.fire();
        self.terminated.fire();
    }
}

/// A task that was let in; it can be revoked until this is dropped.
#[derive(Debug)]
pub(crate) struct Entered {
    id: TaskId,
    orders: Arc<Orders>,
    revocations: Arc<Revocations>,
}

impl Entered {
    /// Fires when the task is revoked.
    pub(crate) fn revoked(&self) -> &Signal {
        &self.orders.revoked
    }

    /// Fires when the task shall end at once.
    pub(crate) fn terminated(&self) -> &Signal {
        &self.orders.terminated
    }

    /// The signal that a Python worker would have sent, if the task was told to end at once.
    pub(crate) fn signal(&self) -> Option<i32> {
        self.orders.signal.get().copied()
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        let mut book = self.revocations.lock();
        if let Entry::Occupied(mut runs) = book.running.entry(self.id.clone()) {
            runs.get_mut().count -= 1;
            if runs.get().count == 0 {
                runs.remove();
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

    fn task(n: usize) -> Header {
        Header::new("t", id(n))
    }

    fn stamped(n: usize, tenant: &'static str) -> Header {
        let mut header = task(n);
        header.stamps.insert("tenant", tenant);
        header.stamped_headers.push("tenant".to_owned());
        header
    }

    fn tenant(name: &str) -> Stamp {
        ("tenant".to_owned(), name.to_owned())
    }

    #[test]
    fn a_revoked_task_is_not_let_in_for_as_long_as_it_is_remembered() {
        let revocations = Revocations::new(HOUR, 10);
        let start = Instant::now();
        assert!(!revocations.revoke(id(1), start), "it does not run");
        assert!(
            revocations
                .enter(&task(1), start + HOUR - Duration::from_secs(1))
                .is_none()
        );
        assert!(revocations.enter(&task(2), start).is_some());
        assert!(revocations.enter(&task(1), start + HOUR).is_some());
    }

    #[test]
    fn the_last_revocation_of_a_task_counts() {
        let revocations = Revocations::new(HOUR, 10);
        let start = Instant::now();
        revocations.revoke(id(1), start);
        revocations.revoke(id(1), start + HOUR / 2);
        assert!(revocations.enter(&task(1), start + HOUR).is_none());
        assert!(revocations.enter(&task(1), start + HOUR * 2).is_some());
    }

    #[test]
    fn the_oldest_go_first_when_there_are_too_many() {
        let revocations = Revocations::new(HOUR, 10);
        let start = Instant::now();
        for n in 0..1_000 {
            revocations.revoke(id(n), start);
        }
        assert!(revocations.enter(&task(989), start).is_some());
        assert!(revocations.enter(&task(990), start).is_none());
        let book = revocations.lock();
        let (last, order) = (&book.revoked.last, &book.revoked.order);
        assert_eq!((last.len(), order.len()), (10, 10));
    }

    #[test]
    fn what_is_said_again_pushes_nothing_else_out() {
        let revocations = Revocations::new(HOUR, 10);
        let start = Instant::now();
        revocations.flag([id(0)], start);
        for n in 1..1_000 {
            let now = start + Duration::from_millis(n);
            revocations.flag((1..10).map(id), now);
            revocations.flag((1..10).map(id), now);
        }
        let now = start + Duration::from_secs(1);
        assert_eq!(revocations.list(now), (0..10).map(id).collect::<Vec<_>>());
        assert!(revocations.lock().revoked.order.len() <= 20);
        revocations.flag([id(10)], now);
        assert!(!revocations.is_revoked(&task(0), now));
    }

    #[test]
    fn all_running_attempts_of_a_task_are_told_and_forgotten_when_they_end() {
        let revocations = Revocations::new(HOUR, 10);
        let now = Instant::now();
        let first = revocations.enter(&task(1), now).expect("let in");
        let second = revocations.enter(&task(1), now).expect("let in");
        drop(first);
        assert!(!second.revoked().has_fired());
        assert!(revocations.revoke(id(1), now));
        assert!(second.revoked().has_fired());
        drop(second);
        assert!(revocations.lock().running.is_empty());
        assert!(!revocations.revoke(id(1), now));
    }

    #[test]
    fn a_running_task_that_is_flagged_goes_on_and_is_not_started_again() {
        let revocations = Revocations::new(HOUR, 10);
        let now = Instant::now();
        let running = revocations.enter(&task(1), now).expect("let in");
        revocations.flag([id(1), id(2)], now);
        assert!(!running.revoked().has_fired());
        assert!(revocations.is_revoked(&task(1), now) && revocations.is_revoked(&task(2), now));
    }

    #[test]
    fn a_task_that_is_terminated_ends_at_once_with_its_signal() {
        let revocations = Revocations::new(HOUR, 10);
        let now = Instant::now();
        let running = revocations.enter(&task(1), now).expect("let in");
        let other = revocations.enter(&task(2), now).expect("let in");
        assert!(revocations.terminate(id(1), 9, now));
        assert!(running.terminated().has_fired() && running.revoked().has_fired());
        assert_eq!((running.signal(), other.signal()), (Some(9), None));
        assert!(!revocations.terminate(id(3), 9, now));
        assert!(revocations.enter(&task(3), now).is_none());
    }

    #[test]
    fn tasks_are_revoked_by_their_stamps() {
        let revocations = Revocations::new(HOUR, 10);
        let now = Instant::now();
        let running = revocations.enter(&stamped(1, "acme"), now).expect("in");
        let other = revocations.enter(&stamped(2, "other"), now).expect("in");
        let stamps = [tenant("acme"), tenant("nobody")];
        revocations.flag_stamps(stamps.clone(), now);
        assert!(!running.revoked().has_fired());
        assert!(revocations.enter(&stamped(3, "acme"), now).is_none());
        assert!(revocations.enter(&stamped(3, "acme"), now + HOUR).is_some());
        let found = revocations.terminate_stamped(&stamps, 15, now);
        assert_eq!(found, [tenant("acme")]);
        assert!(running.terminated().has_fired() && !other.terminated().has_fired());
    }

    #[test]
    fn revoked_tasks_are_listed_once_the_oldest_first() {
        let revocations = Revocations::new(HOUR, 10);
        let start = Instant::now();
        revocations.flag([id(1), id(2), id(3)], start);
        let later = start + HOUR / 2;
        revocations.flag([id(2)], later);
        assert_eq!(revocations.list(later), [id(1), id(3), id(2)]);
        assert_eq!(revocations.list(start + HOUR), [id(2)]);
    }
}
