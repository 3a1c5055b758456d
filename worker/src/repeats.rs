//! Messages that a queue delivers twice to the same worker, which runs them once.
//!
//! A publisher that did not hear the confirm publishes again, and a broker that did not hear the ack delivers again.
//! Both keep the message's id, which is fresh for every publication, retries among them. So a worker remembers the ids
//! of messages that it has finished or is working on: a repetition is not run, but acknowledged with the original. What
//! another worker has finished it cannot know, and that is why tasks have to bear being run twice.
//!
//! Each queue has a memory of its own: one message that is routed to two queues is no repetition.
//!
//! Only ids that are UUIDs count, as coney's are. Those of other clients may be anything, the same for every message
//! even, and a message must not be taken for a repetition that it is not.

use std::collections::{HashMap, HashSet};
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;
use uuid::Uuid;

/// How many finished messages are remembered for a queue at least; 16 bytes each, and as many again.
pub(crate) const REMEMBERED: usize = 25_000;

/// What was finished of a queue's messages, and what is worked on.
#[derive(Debug)]
pub(crate) struct Repeats {
    remembered: usize,
    book: Mutex<Book>,
}

#[derive(Debug, Default)]
struct Book {
    /// With the repetitions that wait for each to end.
    working: HashMap<Uuid, Vec<oneshot::Sender<()>>>,
    finished: HashSet<Uuid>,
    /// Those that were finished before, forgotten together when there are enough new ones.
    earlier: HashSet<Uuid>,
}

/// What is known of a message that arrives.
#[derive(Debug)]
pub(crate) enum Arrival {
    /// Nothing: it has to be worked on.
    New(Work),
    /// It was worked on, and all that follows from it is confirmed.
    Finished,
    /// It is being worked on.
    Repeated(Original),
}

impl Repeats {
    pub(crate) fn new(remembered: usize) -> Arc<Self> {
        Arc::new(Self {
            remembered,
            book: Mutex::default(),
        })
    }

    /// Looks a message up by its id, and notes that it is worked on unless it is or was.
    pub(crate) fn arrive(self: &Arc<Self>, message_id: Option<&str>) -> Arrival {
        let Some(id) = message_id.and_then(|id| Uuid::try_parse(id).ok()) else {
            return Arrival::New(Work(None));
        };
        let mut book = self.book();
        if book.finished.contains(&id) || book.earlier.contains(&id) {
            return Arrival::Finished;
        }
        if let Some(waiting) = book.working.get_mut(&id) {
            let (end, original) = oneshot::channel();
            waiting.push(end);
            return Arrival::Repeated(Original(original));
        }
        book.working.insert(id, Vec::new());
        let repeats = Arc::clone(self);
        Arrival::New(Work(Some(Entry { id, repeats })))
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        // nothing can panic while it is held
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A message that is worked on, until this is dropped.
#[derive(Debug)]
pub(crate) struct Work(Option<Entry>);

#[derive(Debug)]
struct Entry {
    id: Uuid,
    repeats: Arc<Repeats>,
}

impl Work {
    /// Notes that all that follows from the message is confirmed. Without this, a repetition is run.
    pub(crate) fn finished(self) {
        let Some(entry) = &self.0 else {
            return;
        };
        let mut book = entry.repeats.book();
        book.finished.insert(entry.id);
        if book.finished.len() >= entry.repeats.remembered {
            book.earlier = mem::take(&mut book.finished);
        }
        for end in book.working.remove(&entry.id).unwrap_or_default() {
            // nobody waits any more if the repetition is gone
            let _ = end.send(());
        }
    }
}

/// Who waits for the end hears nothing if it was not finished.
impl Drop for Entry {
    fn drop(&mut self) {
        self.repeats.book().working.remove(&self.id);
    }
}

/// A message that is worked on because of an earlier delivery.
#[derive(Debug)]
pub(crate) struct Original(oneshot::Receiver<()>);

impl Original {
    /// Waits for its end: true if it was finished, false if it was given up.
    pub(crate) async fn ends_well(self) -> bool {
        self.0.await.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u128) -> String {
        Uuid::from_u128(number).to_string()
    }

    fn start(repeats: &Arc<Repeats>, id: &str) -> Work {
        match repeats.arrive(Some(id)) {
            Arrival::New(work) => work,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn a_repetition_follows_its_original() {
        let repeats = Repeats::new(10);
        for is_finished in [false, true] {
            let work = start(&repeats, &id(1));
            let Arrival::Repeated(original) = repeats.arrive(Some(&id(1))) else {
                panic!("a repetition");
            };
            match is_finished {
                true => work.finished(),
                false => drop(work),
            }
            assert_eq!(original.ends_well().await, is_finished);
        }
        assert!(matches!(repeats.arrive(Some(&id(1))), Arrival::Finished));
        assert!(repeats.book().working.is_empty());
    }

    #[test]
    fn only_the_last_ones_are_remembered() {
        let repeats = Repeats::new(10);
        for number in 0..25 {
            start(&repeats, &id(number)).finished();
        }
        let known = (0..25)
            .filter(|number| matches!(repeats.arrive(Some(&id(*number))), Arrival::Finished));
        assert_eq!(known.collect::<Vec<_>>(), (10..25).collect::<Vec<_>>());
    }

    #[test]
    fn an_id_that_need_not_be_unique_says_nothing() {
        let repeats = Repeats::new(10);
        for id in [None, Some(""), Some("order 7")] {
            for _ in 0..2 {
                match repeats.arrive(id) {
                    Arrival::New(work) => work.finished(),
                    other => panic!("{other:?}"),
                }
            }
        }
    }
}
