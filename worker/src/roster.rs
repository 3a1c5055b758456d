//! What a worker has received: what waits for a slot, what runs, what it sent to wait in the broker.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use coney_protocol::id::TaskId;

use crate::card::Card;

/// How many of the tasks that were sent to wait are remembered; the oldest are forgotten first.
const MOST_SCHEDULED: usize = 10_000;

/// What a worker has received and not finished. One short lock; whoever asks gets copies of pointers.
#[derive(Debug, Default)]
pub(crate) struct Roster(Mutex<Book>);

#[derive(Debug, Default)]
struct Book {
    next: u64,
    here: BTreeMap<u64, Entry>,
    scheduled: HashMap<TaskId, Scheduled>,
    /// The ids of those in the order in which they were sent away, and of some that have come back since.
    sent_away: VecDeque<TaskId>,
    accepted: HashMap<String, u64>,
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
        let comes_back = book.scheduled.remove(card.id()).is_some();
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
        let mut book = self.book();
        let card = Arc::clone(card);
        let id = card.id().clone();
        book.sent_away.push_back(id.clone());
        book.scheduled.insert(id, Scheduled { card, eta });
        if book.sent_away.len() > MOST_SCHEDULED
            && let Some(oldest) = book.sent_away.pop_front()
        {
            book.scheduled.remove(&oldest);
        }
    }

    /// What waits for a slot, in the order in which it came.
    pub(crate) fn reserved(&self) -> Vec<Arc<Card>> {
        let book = self.book();
        let waiting = book.here.values().filter(|entry| entry.started.is_none());
        waiting.map(|entry| Arc::clone(&entry.card)).collect()
    }

    /// What runs, in the order in which it came.
    pub(crate) fn active(&self) -> Vec<Active> {
        self.book()
            .here
            .values()
            .filter_map(Entry::active)
            .collect()
    }

    /// What this worker sent to wait in the broker and has not seen again, the next one first, as far as it is not due at
    /// `now`.
    pub(crate) fn scheduled(&self, now: SystemTime) -> Vec<Scheduled> {
        let mut book = self.book();
        book.scheduled.retain(|_, waiting| waiting.eta > now);
        let mut scheduled: Vec<_> = book.scheduled.values().cloned().collect();
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
        let waiting = book.scheduled.get(id).filter(|waiting| waiting.eta > now);
        waiting.cloned().map(Place::Scheduled)
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
        Arc::new(Card {
            message: Message::new(Header::new("t", TaskId::from(id)), Body::json("[[],{},{}]")),
            exchange: String::new(),
            routing_key: "q".to_owned(),
            redelivered: false,
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
}
