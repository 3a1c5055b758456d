//! What a worker has received: what waits for a slot, what runs, what it sent to wait in the broker.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use coney_protocol::id::TaskId;
use foldhash::HashMap;

use crate::card::Card;

/// How many of the tasks that were sent to wait are remembered; the oldest are forgotten first.
const MOST_SCHEDULED: usize = 10_000;

/// How many bytes their bodies may have together.
const MOST_BYTES: usize = 16 * 1024 * 1024;

/// What a worker has received and not finished. One short lock; whoever asks gets copies of pointers.
#[derive(Debug, Default)]
pub(crate) struct Roster(Mutex<Book>);

#[derive(Debug, Default)]
struct Book {
    next: u64,
    /// By the order in which they came.
    here: HashMap<u64, Entry>,
    scheduled: Away,
    accepted: HashMap<String, u64>,
}

/// What was sent to wait in the broker.
#[derive(Debug, Default)]
struct Away {
    tasks: HashMap<TaskId, Waiting>,
    /// Their ids in the order in which they were sent away, and of some that have come back since.
    order: VecDeque<(u64, TaskId)>,
    next: u64,
    bytes: usize,
}

#[derive(Debug)]
struct Waiting {
    scheduled: Scheduled,
    number: u64,
}

#[derive(Debug)]
struct Entry {
    card: Arc<Card>,
    started: Option<SystemTime>,
    acknowledged: bool,
}

/// A task that runs.
#[derive(Clone, Debug)]
pub(crate) struct Active {
    pub(crate) card: Arc<Card>,
    pub(crate) started: SystemTime,
    /// True if its message was acknowledged before it ran.
    pub(crate) acknowledged: bool,
}

/// A task that was sent to wait in the broker.
#[derive(Clone, Debug)]
pub(crate) struct Scheduled {
    pub(crate) card: Arc<Card>,
    pub(crate) eta: SystemTime,
}

/// Where a task is that the worker has.
#[derive(Clone, Debug)]
pub(crate) enum Place {
    /// It waits for a slot.
    Reserved(Arc<Card>),
    /// It runs.
    Active(Active),
    /// It waits in the broker.
    Scheduled(Scheduled),
}

impl Roster {
    /// Enters a message that is here from now on, until the seat is dropped.
    pub(crate) fn receive(self: &Arc<Self>, card: &Arc<Card>) -> Seat {
        let mut book = self.book();
        let number = book.next;
        book.next += 1;
        let comes_back = book.scheduled.remove(card.id());
        let entry = Entry {
            card: Arc::clone(card),
            started: None,
            acknowledged: false,
        };
        book.here.insert(number, entry);
        Seat {
            roster: Arc::clone(self),
            number,
            comes_back,
        }
    }

    /// Notes that a message was sent to wait in the broker.
    pub(crate) fn schedule(&self, card: &Arc<Card>, eta: SystemTime) {
        let card = Arc::clone(card);
        self.book().scheduled.add(Scheduled { card, eta });
    }

    /// What waits for a slot, in the order in which it came.
    pub(crate) fn reserved(&self) -> Vec<Arc<Card>> {
        let book = self.book();
        let entries = book.in_order();
        let waiting = entries.filter(|entry| entry.started.is_none());
        waiting.map(|entry| Arc::clone(&entry.card)).collect()
    }

    /// What runs, in the order in which it came.
    pub(crate) fn active(&self) -> Vec<Active> {
        let book = self.book();
        book.in_order().filter_map(Entry::active).collect()
    }

    /// What this worker sent to wait in the broker and has not seen again, the next one first, as far as it is not due at
    /// `now`.
    pub(crate) fn scheduled(&self, now: SystemTime) -> Vec<Scheduled> {
        let mut scheduled = self.book().scheduled.after(now);
        scheduled.sort_by_key(|waiting| waiting.eta);
        scheduled
    }

    /// Where a task is, if it is known here.
    pub(crate) fn find(&self, id: &TaskId, now: SystemTime) -> Option<Place> {
        let book = self.book();
        let here = book.here.values().find(|entry| entry.card.id() == id);
        if let Some(entry) = here {
            return Some(match entry.active() {
                Some(active) => Place::Active(active),
                None => Place::Reserved(Arc::clone(&entry.card)),
            });
        }
        let waiting = book.scheduled.tasks.get(id)?.scheduled.clone();
        (waiting.eta > now).then_some(Place::Scheduled(waiting))
    }

    /// How many tasks run.
    pub(crate) fn running(&self) -> usize {
        let book = self.book();
        let started = |entry: &&Entry| entry.started.is_some();
        book.here.values().filter(started).count()
    }

    /// How many tasks were started.
    pub(crate) fn total(&self) -> u64 {
        self.book().accepted.values().sum()
    }

    /// How many tasks of each name were started.
    pub(crate) fn totals(&self) -> BTreeMap<String, u64> {
        let accepted = self.book().accepted.clone();
        accepted.into_iter().collect()
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        // nothing can panic while it is held
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Book {
    fn in_order(&self) -> impl Iterator<Item = &Entry> {
        let mut here: Vec<_> = self.here.iter().collect();
        here.sort_unstable_by_key(|(number, _)| **number);
        here.into_iter().map(|(_, entry)| entry)
    }
}

impl Away {
    fn add(&mut self, scheduled: Scheduled) {
        let id = scheduled.card.id().clone();
        self.remove(&id);
        let number = self.next;
        self.next += 1;
        self.bytes += size(&scheduled);
        self.order.push_back((number, id.clone()));
        self.tasks.insert(id, Waiting { scheduled, number });
        while self.order.len() > MOST_SCHEDULED || self.bytes > MOST_BYTES {
            self.forget_first();
        }
    }

    /// Forgets a task; true if it was known.
    fn remove(&mut self, id: &TaskId) -> bool {
        let known = self.tasks.remove(id);
        if let Some(waiting) = &known {
            self.bytes -= size(&waiting.scheduled);
        }
        known.is_some()
    }

    fn forget_first(&mut self) {
        if let Some((number, id)) = self.order.pop_front()
            // sent away again since: the later entry counts
            && self.tasks.get(&id).is_some_and(|w| w.number == number)
        {
            self.remove(&id);
        }
    }

    /// Those that are not due yet; the others are forgotten.
    fn after(&mut self, now: SystemTime) -> Vec<Scheduled> {
        let Self { tasks, bytes, .. } = self;
        tasks.retain(|_, waiting| {
            let is_early = waiting.scheduled.eta > now;
            if !is_early {
                *bytes -= size(&waiting.scheduled);
            }
            is_early
        });
        tasks.values().map(|w| w.scheduled.clone()).collect()
    }
}

fn size(scheduled: &Scheduled) -> usize {
    scheduled.card.message.body.bytes.len()
}

impl Entry {
    fn active(&self) -> Option<Active> {
        Some(Active {
            card: Arc::clone(&self.card),
            started: self.started?,
            acknowledged: self.acknowledged,
        })
    }
}

/// A message that is here until this is dropped.
#[derive(Debug)]
pub(crate) struct Seat {
    roster: Arc<Roster>,
    number: u64,
    comes_back: bool,
}

impl Seat {
    /// True if this worker had sent it to wait.
    pub(crate) fn comes_back(&self) -> bool {
        self.comes_back
    }

    /// Notes that its task runs.
    pub(crate) fn started(&self, now: SystemTime, acknowledged: bool) {
        let mut book = self.roster.book();
        let Some(entry) = book.here.get_mut(&self.number) else {
            return;
        };
        entry.started = Some(now);
        entry.acknowledged = acknowledged;
        let card = Arc::clone(&entry.card);
        match book.accepted.get_mut(card.task()) {
            Some(count) => *count += 1,
            None => drop(book.accepted.insert(card.task().to_owned(), 1)),
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.roster.book().here.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use coney_protocol::header::Header;
    use coney_protocol::message::{Body, Message};

    use super::*;

    fn card(id: &str) -> Arc<Card> {
        with_body(id, "[[],{},{}]".to_owned())
    }

    fn with_body(id: &str, body: String) -> Arc<Card> {
        Arc::new(Card {
            message: Arc::new(Message::new(
                Header::new("t", TaskId::from(id)),
                Body::json(body),
            )),
            delivery: Arc::default(),
        })
    }

    fn ids<'a>(cards: impl IntoIterator<Item = &'a Arc<Card>>) -> Vec<String> {
        cards.into_iter().map(|c| c.id().to_string()).collect()
    }

    #[test]
    fn a_message_is_reserved_then_active_then_gone() {
        let roster = Arc::new(Roster::default());
        let now = SystemTime::UNIX_EPOCH;
        let seats = [roster.receive(&card("a")), roster.receive(&card("b"))];
        assert_eq!(ids(&roster.reserved()), ["a", "b"]);
        seats[1].started(now, true);
        assert_eq!(ids(&roster.reserved()), ["a"]);
        let active = roster.active();
        assert_eq!(ids(active.iter().map(|a| &a.card)), ["b"]);
        assert!(active[0].acknowledged);
        assert!(matches!(
            roster.find(&"b".into(), now),
            Some(Place::Active(_))
        ));
        drop(seats);
        assert!(roster.reserved().is_empty() && roster.active().is_empty());
        assert_eq!(roster.totals(), BTreeMap::from([("t".to_owned(), 1)]));
    }

    #[test]
    fn what_was_sent_to_wait_is_known_until_it_is_due_or_comes_back() {
        let roster = Arc::new(Roster::default());
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        roster.schedule(&card("a"), at(10));
        roster.schedule(&card("b"), at(20));
        let waiting = roster.scheduled(at(10));
        assert_eq!(ids(waiting.iter().map(|s| &s.card)), ["b"]);
        assert!(matches!(
            roster.find(&"b".into(), at(10)),
            Some(Place::Scheduled(_))
        ));
        assert!(roster.receive(&card("b")).comes_back());
        assert!(!roster.receive(&card("c")).comes_back());
        assert!(roster.scheduled(at(10)).is_empty());
    }

    #[test]
    fn what_was_sent_to_wait_takes_so_much_memory_at_most() {
        let roster = Arc::new(Roster::default());
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let large = || "x".repeat(MOST_BYTES / 4);
        for id in ["a", "b", "a", "c", "d", "e"] {
            roster.schedule(&with_body(id, large()), at(10));
        }
        let known = |id: &str| roster.find(&id.into(), at(0)).is_some();
        // the first one of `a` is not what counts
        let all = ["a", "b", "c", "d", "e"].map(known);
        assert_eq!(all, [true, false, true, true, true]);
        assert!(roster.receive(&card("a")).comes_back());
        roster.schedule(&with_body("f", large()), at(10));
        assert!(known("c") && known("f") && !known("a"));
        assert!(roster.scheduled(at(10)).is_empty());
        assert_eq!(roster.book().scheduled.bytes, 0);
    }

    #[test]
    fn so_many_are_remembered_at_most() {
        let roster = Arc::new(Roster::default());
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        roster.schedule(&card("0"), at(10));
        roster.schedule(&card("0"), at(10));
        for n in 1..MOST_SCHEDULED {
            roster.schedule(&card(&n.to_string()), at(10));
        }
        assert_eq!(roster.scheduled(at(0)).len(), MOST_SCHEDULED);
        roster.schedule(&card("last"), at(10));
        assert_eq!(roster.scheduled(at(0)).len(), MOST_SCHEDULED);
        assert!(roster.find(&"0".into(), at(0)).is_none());
    }
}
