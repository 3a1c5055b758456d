//! What was set for tasks while the worker runs: time limits, and how many may start in a time.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use coney_protocol::header::TimeLimit;
use coney_protocol::id::TaskId;
use coney_protocol::rate::Rate;

/// A task that has to wait for its turn waits for this time at most before it asks again, so that a new limit takes
/// effect soon.
const ASKS_AGAIN: Duration = Duration::from_secs(10);

/// For each that waits it may be so much more: if many wait, they must not do nothing but ask.
const ASKS_APART: Duration = Duration::from_millis(5);

/// So many bookings there are before those of tasks that did not come back are looked for.
const BOOKINGS: usize = 1024;

/// So many tasks have a booking at most. Those behind them ask again, and get one when there is room.
const MOST_BOOKINGS: usize = 50_000;

/// A booking of a task that is so late went to another worker.
const LOST: Duration = Duration::from_secs(60);

/// Limits by the name of the task.
#[derive(Debug, Default)]
pub(crate) struct TaskLimits {
    /// False until something is set, so that nobody has to look.
    any: AtomicBool,
    book: Mutex<Book>,
}

#[derive(Debug, Default)]
struct Book {
    times: HashMap<String, TimeLimit>,
    rates: HashMap<String, Bucket>,
}

/// As many tasks as a rate allows, evenly spread.
#[derive(Debug)]
struct Bucket {
    rate: Rate,
    /// When the next one may start that has no booking.
    next: SystemTime,
    /// When those may start that wait for their turn.
    booked: HashMap<TaskId, SystemTime>,
    /// When they were looked through: not for each new one, which takes longer the more there are.
    looked: SystemTime,
}

impl TaskLimits {
    /// Sets the time limits of a task instead of its own.
    pub(crate) fn set_time(&self, task: &str, limit: TimeLimit) {
        self.book().times.insert(task.to_owned(), limit);
        self.any.store(true, Ordering::Release);
    }

    /// The time limits that were set for a task.
    pub(crate) fn time(&self, task: &str) -> Option<TimeLimit> {
        if !self.any.load(Ordering::Acquire) {
            return None;
        }
        self.book().times.get(task).copied()
    }

    /// Lets attempts of a task start as often as a rate allows; any number without one.
    pub(crate) fn set_rate(&self, task: &str, rate: Option<Rate>) {
        let mut book = self.book();
        match rate {
            Some(rate) => drop(book.rates.insert(task.to_owned(), Bucket::new(rate))),
            None => drop(book.rates.remove(task)),
        }
        self.any.store(true, Ordering::Release);
    }

    /// How often attempts of a task may start, if that is limited.
    pub(crate) fn rate(&self, task: &str) -> Option<Rate> {
        self.book().rates.get(task).map(|bucket| bucket.rate)
    }

    /// How long an attempt has to wait before it asks again; `None` if it may start.
    pub(crate) fn wait(&self, task: &str, id: &TaskId, now: SystemTime) -> Option<Duration> {
        if !self.any.load(Ordering::Acquire) {
            return None;
        }
        let mut book = self.book();
        book.rates.get_mut(task)?.wait(id, now)
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        // nothing can panic while it is held
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Bucket {
    fn new(rate: Rate) -> Self {
        Self {
            rate,
            next: SystemTime::UNIX_EPOCH,
            booked: HashMap::new(),
            looked: SystemTime::UNIX_EPOCH,
        }
    }

    fn wait(&mut self, id: &TaskId, now: SystemTime) -> Option<Duration> {
        let until = |start: SystemTime| {
            let wait = start.duration_since(now).ok();
            wait.filter(|wait| !wait.is_zero())
        };
        if let Some(start) = self.booked.get(id) {
            return match until(*start) {
                Some(wait) => Some(wait.min(self.asks_again())),
                None => {
                    self.booked.remove(id);
                    None
                }
            };
        }
        let start = self.next.max(now);
        let wait = until(start);
        if wait.is_some() && !self.has_room(now) {
            return Some(self.asks_again());
        }
        self.next = start.checked_add(self.rate.interval()).unwrap_or(start);
        let wait = wait?;
        self.booked.insert(id.clone(), start);
        Some(wait.min(self.asks_again()))
    }

    /// After what time those ask again that wait.
    fn asks_again(&self) -> Duration {
        let waiting = u32::try_from(self.booked.len()).unwrap_or(u32::MAX);
        ASKS_AGAIN.max(ASKS_APART.saturating_mul(waiting))
    }

    /// True if there may be one booking more.
    fn has_room(&mut self, now: SystemTime) -> bool {
        let since = now.duration_since(self.looked);
        let is_due = since.map_or(true, |since| since >= ASKS_AGAIN);
        if is_due && self.booked.len() >= BOOKINGS {
            self.looked = now;
            self.booked.retain(|_, start| {
                now.duration_since(*start).is_ok_and(|late| late < LOST) || *start > now
            });
        }
        self.booked.len() < MOST_BOOKINGS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + SECOND * u32::try_from(seconds).expect("small")
    }

    #[test]
    fn tasks_start_one_in_each_interval_and_each_in_its_turn() {
        let limits = TaskLimits::default();
        limits.set_rate("t", Some(Rate::per_second(0.5)));
        let wait = |id: &str, now| limits.wait("t", &id.into(), at(now));
        assert_eq!(wait("a", 100), None);
        assert_eq!(wait("b", 100), Some(2 * SECOND));
        assert_eq!(wait("c", 100), Some(4 * SECOND));
        // who comes back too early waits for the rest, and does not lose the turn
        assert_eq!(wait("c", 101), Some(3 * SECOND));
        assert_eq!(wait("b", 102), None);
        assert_eq!(wait("c", 104), None);
        assert_eq!(wait("d", 104), Some(2 * SECOND));
        assert_eq!(limits.wait("other", &"e".into(), at(104)), None);
    }

    #[test]
    fn nobody_waits_long_without_asking_again() {
        let limits = TaskLimits::default();
        limits.set_rate("t", Some(Rate::per_minute(1.0)));
        assert_eq!(limits.wait("t", &"a".into(), at(0)), None);
        assert_eq!(limits.wait("t", &"b".into(), at(0)), Some(ASKS_AGAIN));
        limits.set_rate("t", None);
        assert_eq!(limits.wait("t", &"b".into(), at(10)), None);
    }

    #[test]
    fn bookings_of_tasks_that_went_elsewhere_are_forgotten() {
        let mut bucket = Bucket::new(Rate::per_second(1000.0));
        for n in 0..BOOKINGS + 10 {
            bucket.wait(&format!("{n}").as_str().into(), at(1));
        }
        assert!(bucket.booked.len() > BOOKINGS);
        bucket.wait(&"first".into(), at(1000));
        bucket.wait(&"second".into(), at(1000));
        assert!(bucket.booked.len() <= 2);
    }

    #[test]
    fn a_long_line_asks_seldom_and_is_booked_up_to_a_length() {
        let mut bucket = Bucket::new(Rate::per_second(1.0));
        let id = |n: usize| TaskId::from(format!("{n}"));
        for n in 0..=1000 {
            bucket.wait(&id(n), at(1));
        }
        assert_eq!(bucket.wait(&id(1000), at(1)), Some(ASKS_AGAIN));
        for n in 1001..MOST_BOOKINGS + 10 {
            bucket.wait(&id(n), at(1));
        }
        assert_eq!(bucket.booked.len(), MOST_BOOKINGS);
        let (next, late) = (bucket.next, Some(Duration::from_secs(250)));
        // who has no booking takes no turn
        assert_eq!(bucket.wait(&id(MOST_BOOKINGS + 5), at(1)), late);
        assert_eq!(bucket.next, next);
        // who has one keeps it, and makes room when its turn has come
        assert_eq!(bucket.wait(&id(1), at(2)), None);
        assert_eq!(bucket.wait(&id(MOST_BOOKINGS + 5), at(2)), late);
        assert_ne!(bucket.next, next);
        assert_eq!(bucket.booked.len(), MOST_BOOKINGS);
    }

    #[test]
    fn a_time_limit_that_was_set_counts() {
        let limits = TaskLimits::default();
        assert_eq!(limits.time("t"), None);
        let limit = TimeLimit::new(Some(SECOND), None);
        limits.set_time("t", limit);
        assert_eq!(limits.time("t"), Some(limit));
        assert_eq!(limits.time("other"), None);
    }
}
