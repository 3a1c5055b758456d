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

use std::collections::hash_map::Entry;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use foldhash::HashMap;
use tokio::sync::oneshot;
use uuid::Uuid;

/// How many finished messages are remembered for a queue at least; some 20 bytes each, and as many again.
pub(crate) const REMEMBERED: usize = 25_000;

/// What was finished of a queue's messages, and what is worked on.
#[derive(Debug)]
pub(crate) struct Repeats {
    remembered: usize,
    book: Mutex<Book>,
}

#[derive(Debug, Default)]
struct Book {
    known: HashMap<Uuid, State>,
    /// How many of them are finished.
    finished: usize,
    /// Those that were finished before, forgotten together when there are enough new ones.
    earlier: HashMap<Uuid, State>,
    /// Repetitions that wait for the end of what is worked on.
    waiting: HashMap<Uuid, Vec<oneshot::Sender<()>>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Working,
    Finished,
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
        if book.earlier.contains_key(&id) {
            return Arrival::Finished;
        }
        match book.known.entry(id) {
            Entry::Vacant(new) => {
                new.insert(State::Working);
                let repeats = Arc::clone(self);
                Arrival::New(Work(Some(Place { id, repeats })))
            }
            Entry::Occupied(known) => match known.get() {
                State::Finished => Arrival::Finished,
                State::Working => {
                    let (end, original) = oneshot::channel();
                    book.waiting.entry(id).or_default().push(end);
                    Arrival::Repeated(Original(original))
                }
            },
        }
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        // nothing can panic while it is held
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A message that is worked on, until this is dropped.
#[derive(Debug)]
pub(crate) struct Work(Option<Place>);

#[derive(Debug)]
struct Place {
    id: Uuid,
    repeats: Arc<Repeats>,
}

impl Work {
    /// Notes that all that follows from the message is confirmed. Without this, a repetition is run.
    pub(crate) fn finished(mut self) {
        let Some(Place { id, repeats }) = self.0.take() else {
            return;
        };
        let mut book = repeats.book();
        book.known.insert(id, State::Finished);
        book.finished += 1;
        if book.finished >= repeats.remembered {
            book.turn_the_page();
        }
        if book.waiting.is_empty() {
            return;
        }
        for end in book.waiting.remove(&id).unwrap_or_default() {
            // nobody waits any more if the repetition is gone
            let _ = end.send(());
        }
    }
}

/// Who waits for the end hears nothing if it was not finished.
impl Drop for Work {
    fn drop(&mut self) {
        if let Some(Place { id, repeats }) = &self.0 {
            let mut book = repeats.book();
            book.known.remove(id);
            book.waiting.remove(id);
        }
    }
}

impl Book {
    /// Keeps what is worked on, and forgets what was finished before the last so many.
    fn turn_the_page(&mut self) {
        let known = mem::take(&mut self.known);
        let (finished, working) = known
            .into_iter()
            .partition(|(_, state)| *state == State::Finished);
        (self.earlier, self.known) = (finished, working);
        self.finished = 0;
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
        assert!(matches!(
            repeats.book().known.values().collect::<Vec<_>>()[..],
            [State::Finished]
        ));
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
