//! Dead letters: looking at what was given up, putting it back, throwing it away.

mod error;
mod letter;
mod selection;
mod walk;

use std::fmt;

use coney_amqp::{Acker, Broker, DeclareError, DeclareErrorKind, Publication, PublishError};
use coney_protocol::id::TaskId;
use coney_protocol::spec::Queue;
use coney_protocol::topology;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tracing::info;

use crate::client::Client;
use crate::telemetry;

pub use self::error::{DeadLetterError, DeadLetterErrorKind};
pub use self::letter::{DeadLetter, DeadReason};
pub use self::selection::Selection;

use self::walk::Walk;

/// How many letters are on their way back at once.
const WINDOW: usize = 512;

/// The dead letters of one queue: what is in `<queue>.dead`.
///
/// Every operation walks through the letters that were there when it began, on a connection of its own, and holds the
/// ones it leaves alone until it is done; then they are handed back. So it ends even if letters arrive as fast as it
/// works, and looks at each letter once. What holds for all of them:
///
/// * Letters that another program holds at that moment are not seen. Two walks at once share the letters between them.
/// * Letters that are handed back stand at the head of the queue again. RabbitMQ may mix up their order where it takes
///   back hundreds at once (seen with 3.10).
/// * A letter that was held counts as delivered once more; dead-letter queues that coney declares have no limit to it.
/// * Bodies of letters that are left alone are not kept in memory, and any number of them can be passed over.
/// * When the future is dropped, or the program ends, what was held goes back by itself.
///
/// It needs the permission to read `<queue>.dead`, and to put letters back the one to write to the task exchange.
///
/// ```no_run
/// # async fn example(client: coney_producer::Client) -> Result<(), coney_producer::DeadLetterError> {
/// use coney_producer::Selection;
/// use coney_protocol::dead::Reason;
///
/// let letters = client.dead_letters_of("billing");
/// for letter in letters.list(20).await? {
///     println!("{letter}");
/// }
/// let back = letters.redrive(Selection::reason(Reason::Exhausted)).await?;
/// println!("{} of {} put back", back.count, back.seen);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct DeadLetters {
    broker: Broker,
    queue: String,
    dead: String,
}

/// What became of a [`redrive`](DeadLetters::redrive).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "it says how many letters were put back, which may be none"]
#[non_exhaustive]
pub struct Redriven {
    /// Letters that were put back; 0 if none was selected.
    pub count: usize,
    /// Letters that were looked at.
    pub seen: usize,
}

/// What became of a [`discard`](DeadLetters::discard).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "it says how many letters were thrown away, which may be none"]
#[non_exhaustive]
pub struct Discarded {
    /// Letters that were thrown away; 0 if none was selected.
    pub count: usize,
    /// Letters that were looked at.
    pub seen: usize,
}

impl Client {
    /// The dead letters of the queue `Q`.
    #[must_use]
    pub fn dead_letters<Q: Queue>(&self) -> DeadLetters {
        self.dead_letters_of(Q::SPEC.name)
    }

    /// The dead letters of the queue of this name, for tools. It is the name of the queue that the tasks were sent to,
    /// without `.dead`.
    #[must_use]
    pub fn dead_letters_of(&self, queue: impl Into<String>) -> DeadLetters {
        let queue = queue.into();
        DeadLetters {
            broker: self.broker().clone(),
            dead: topology::dead_queue(&queue),
            queue,
        }
    }
}

impl DeadLetters {
    /// The queue whose dead letters these are.
    #[must_use]
    pub fn queue(&self) -> &str {
        &self.queue
    }

    /// The queue that they are in: `<queue>.dead`.
    #[must_use]
    pub fn dead_queue(&self) -> &str {
        &self.dead
    }

    /// How many there are; those that somebody holds at the moment are not counted.
    ///
    /// # Errors
    ///
    /// [`DeadLetterError`], with [`Missing`](DeadLetterErrorKind::Missing) if there is no such dead-letter queue.
    ///
    /// # Cancel safety
    ///
    /// Asking changes nothing.
    pub async fn count(&self) -> Result<usize, DeadLetterError> {
        let depth = self.depth().await.map_err(|kind| self.error(kind))?;
        Ok(usize::try_from(depth).unwrap_or(usize::MAX))
    }

    /// The first letters in the order of the queue, at most so many. They stay where they are.
    ///
    /// All of them are in memory at once, bodies included.
    ///
    /// # Errors
    ///
    /// [`DeadLetterError`], with [`Missing`](DeadLetterErrorKind::Missing) if there is no such dead-letter queue.
    ///
    /// # Delivery
    ///
    /// No letter is removed: each is held for a moment and handed back.
    ///
    /// # Cancel safety
    ///
    /// What is held when the future is dropped goes back.
    pub async fn list(&self, limit: usize) -> Result<Vec<DeadLetter>, DeadLetterError> {
        let mut letters = Vec::new();
        let mut walk = Walk::start(self, limit).await?;
        loop {
            match walk.next(false).await {
                Ok(Some((letter, acker))) => {
                    walk.hold(acker);
                    letters.push(letter);
                }
                Ok(None) => break,
                Err(kind) => return Err(walk.fail(kind, 0).await),
            }
        }
        walk.end(0).await;
        Ok(letters)
    }

    /// The first letter with this task id, if there is one. It stays where it is.
    ///
    /// # Errors
    ///
    /// [`DeadLetterError`], with [`Missing`](DeadLetterErrorKind::Missing) if there is no such dead-letter queue.
    ///
    /// # Delivery
    ///
    /// No letter is removed: each is held until the one is found, and handed back.
    ///
    /// # Cancel safety
    ///
    /// What is held when the future is dropped goes back.
    pub async fn find(&self, id: &TaskId) -> Result<Option<DeadLetter>, DeadLetterError> {
        let mut walk = Walk::start(self, usize::MAX).await?;
        let found = loop {
            match walk.next(false).await {
                Ok(Some((letter, acker))) => {
                    walk.hold(acker);
                    if letter.id.as_ref() == Some(id) {
                        break Some(letter);
                    }
                }
                Ok(None) => break None,
                Err(kind) => return Err(walk.fail(kind, 0).await),
            }
        };
        walk.end(0).await;
        Ok(found)
    }

    /// Puts the selected letters back into their queue, each as a first attempt: the task runs again.
    ///
    /// The count of attempts starts over and the reason, the history and what RabbitMQ wrote on the letter are taken
    /// off. So are `eta` and `expires`: a task that was too late would only be too late again. Task id, arguments, the
    /// caller's own headers and the address for the reply stay (a caller that was told of the failure does not hear
    /// again). Letters that nobody can read are put back unchanged, for a worker that can.
    ///
    /// A selection that matches nothing is no error: the count is 0. One by id is, if no letter has that id; if several
    /// have it, all are put back.
    ///
    /// # Errors
    ///
    /// [`DeadLetterError`], which knows how many were put back before ([`done`](DeadLetterError::done)): the first
    /// letter that the broker does not take ends it, and that one and all that follow stay dead letters. With
    /// [`Missing`](DeadLetterErrorKind::Missing) if there is no such dead-letter queue, with
    /// [`NotFound`](DeadLetterErrorKind::NotFound) if there is no letter of the id.
    ///
    /// # Delivery
    ///
    /// No letter is lost: its copy for the queue is confirmed before the letter is removed. In between, a crash or a
    /// lost connection leaves both, with the same task id.
    ///
    /// # Cancel safety
    ///
    /// When the future is dropped, an unknown number of letters has been put back; some hundreds that were on their way
    /// may be back and stay dead letters, too. Calling it again goes on, and may run those twice.
    pub async fn redrive(
        &self,
        selection: impl Into<Selection>,
    ) -> Result<Redriven, DeadLetterError> {
        let selection = selection.into();
        let mut walk = Walk::start(self, usize::MAX).await?;
        let mut on_their_way = FuturesUnordered::new();
        let mut count = 0;
        let mut failed = None;
        let mut all_seen = false;
        loop {
            let taking = !all_seen && failed.is_none() && on_their_way.len() < WINDOW;
            let busy = !on_their_way.is_empty();
            tokio::select! {
                Some(Returned { acker, verdict }) = on_their_way.next(), if busy => match verdict {
                    Ok(()) => {
                        acker.ack();
                        count += 1;
                    }
                    Err(kind) => {
                        walk.hold(acker);
                        failed = failed.or(Some(kind));
                    }
                },
                next = walk.next(busy), if taking => match next {
                    Ok(Some((letter, acker))) if selection.takes(&letter) => {
                        on_their_way.push(self.put_back(letter, acker));
                    }
                    Ok(Some((_, acker))) => walk.hold(acker),
                    Ok(None) => all_seen = true,
                    Err(kind) => failed = Some(kind),
                },
                else => break,
            }
        }
        telemetry::dead_letters(&self.queue, "redriven", count);
        if let Some(kind) = failed {
            return Err(walk.fail(kind, count).await);
        }
        let seen = self.finish(walk, &selection, count).await?;
        info!(target: "coney::client", queue = self.queue, count, seen, "dead letters put back");
        Ok(Redriven { count, seen })
    }

    /// Throws the selected letters away, for good.
    ///
    /// A selection that matches nothing is no error: the count is 0. One by id is, if no letter has that id; if several
    /// have it, all are thrown away.
    ///
    /// # Errors
    ///
    /// [`DeadLetterError`], with [`Missing`](DeadLetterErrorKind::Missing) if there is no such dead-letter queue, with
    /// [`NotFound`](DeadLetterErrorKind::NotFound) if there is no letter of the id.
    ///
    /// # Delivery
    ///
    /// A connection that is lost meanwhile may bring some of the letters back, which is told as
    /// [`Interrupted`](DeadLetterErrorKind::Interrupted).
    ///
    /// # Cancel safety
    ///
    /// When the future is dropped, an unknown number of the selected letters has been thrown away.
    pub async fn discard(
        &self,
        selection: impl Into<Selection>,
    ) -> Result<Discarded, DeadLetterError> {
        let selection = selection.into();
        let mut walk = Walk::start(self, usize::MAX).await?;
        let mut count = 0;
        loop {
            match walk.next(false).await {
                Ok(Some((letter, acker))) if selection.takes(&letter) => {
                    acker.ack();
                    count += 1;
                }
                Ok(Some((_, acker))) => walk.hold(acker),
                Ok(None) => break,
                Err(kind) => return Err(walk.fail(kind, count).await),
            }
        }
        telemetry::dead_letters(&self.queue, "discarded", count);
        let seen = self.finish(walk, &selection, count).await?;
        info!(target: "coney::client", queue = self.queue, count, seen, "dead letters thrown away");
        Ok(Discarded { count, seen })
    }

    /// Publishes a letter to its queue and waits for the confirm. The letter is not settled yet.
    async fn put_back(&self, letter: DeadLetter, acker: Acker) -> Returned {
        let (id, task) = (letter.id.clone(), letter.task.clone());
        let (properties, body) = letter.into_message();
        let route = self.broker.preset().route(self.queue.clone());
        let publication = Publication::new(route, properties, body);
        let verdict = self.broker.publisher().publish(publication).await;
        let unsent = |error: PublishError| DeadLetterErrorKind::Publish { task, id, error };
        Returned {
            acker,
            verdict: verdict.map_err(unsent),
        }
    }

    async fn finish(
        &self,
        walk: Walk<'_>,
        selection: &Selection,
        count: usize,
    ) -> Result<usize, DeadLetterError> {
        let seen = walk.seen();
        if !walk.end(count).await {
            let reason = "the last letters may not have been removed".to_owned();
            let kind = DeadLetterErrorKind::Interrupted { reason };
            return Err(self.error(kind).after(count));
        }
        match selection.wanted() {
            Some(id) if count == 0 => Err(self.error(DeadLetterErrorKind::NotFound(id.clone()))),
            _ => Ok(seen),
        }
    }

    async fn depth(&self) -> Result<u32, DeadLetterErrorKind> {
        let missing = |error: DeclareError| match error.kind() {
            DeclareErrorKind::Missing { .. } => DeadLetterErrorKind::Missing,
            _ => DeadLetterErrorKind::Look(error),
        };
        self.broker.queue_depth(&self.dead).await.map_err(missing)
    }

    fn error(&self, kind: DeadLetterErrorKind) -> DeadLetterError {
        DeadLetterError::new(&self.queue, kind)
    }
}

/// A letter that was published, or not, and what removes its dead copy.
struct Returned {
    acker: Acker,
    verdict: Result<(), DeadLetterErrorKind>,
}

impl fmt::Debug for DeadLetters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeadLetters")
            .field("queue", &self.queue)
            .finish_non_exhaustive()
    }
}
