//! Walking once through the letters that are there, without removing those that are left alone.

use std::time::Duration;

use coney_amqp::{Acker, ConsumeErrorKind, Consumer, ConsumerSpec, Session, SessionStatus};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};
use tracing::debug;

use super::letter::DeadLetter;
use super::{DeadLetterError, DeadLetterErrorKind, DeadLetters};

/// How many letters the first consumer of a walk may hold.
const FIRST_WINDOW: u16 = 1000;

/// How long nothing arrives before the queue is asked whether there is more.
const QUIET: Duration = Duration::from_millis(500);

/// So many quiet spells after the queue was empty, others have taken what is missing.
const EMPTY_SPELLS: u32 = 2;

/// So many quiet spells with letters in the queue that do not come, something keeps them.
const STALLED_SPELLS: u32 = 20;

/// How long the broker may take to show letters again that were handed back.
const SETTLING: Duration = Duration::from_secs(2);

/// One walk through a dead-letter queue.
///
/// Letters that are left alone stay unsettled until the end, or a quorum queue would deliver them again at once. When
/// they fill the window of a consumer, another consumer with a larger one takes over: so any number can be held, while
/// no more than a window of bodies is in memory.
pub(super) struct Walk<'a> {
    letters: &'a DeadLetters,
    session: Session,
    status: watch::Receiver<SessionStatus>,
    /// The last one receives; the others are full.
    consumers: Vec<Consumer>,
    window: u16,
    /// How many of the last consumer's window are taken up for good.
    filled: u16,
    held: Vec<Acker>,
    /// Letters that were there at the start.
    there: usize,
    /// How many more to look at.
    left: usize,
    seen: usize,
    /// Spells in which no letter came though some were waiting, since the last one.
    quiet: u32,
    /// Spells in which no letter came and none was waiting, since the last one.
    empty: u32,
}

impl<'a> Walk<'a> {
    /// Starts to walk through the letters that are there now, at most so many.
    pub(super) async fn start(
        letters: &'a DeadLetters,
        limit: usize,
    ) -> Result<Self, DeadLetterError> {
        let depth = letters.depth().await.map_err(|kind| letters.error(kind))?;
        let there = usize::try_from(depth).unwrap_or(usize::MAX);
        let session = letters.broker.session("dead-letters");
        Ok(Self {
            letters,
            status: session.status(),
            session,
            consumers: Vec::new(),
            window: 0,
            filled: 0,
            held: Vec::new(),
            there,
            left: there.min(limit),
            seen: 0,
            quiet: 0,
            empty: 0,
        })
    }

    /// The next letter; `None` when all were seen, or others have taken the rest. `busy` says that letters are on their
    /// way, so that none may come until they are settled.
    ///
    /// Cancel safe: no letter is lost.
    pub(super) async fn next(
        &mut self,
        busy: bool,
    ) -> Result<Option<(DeadLetter, Acker)>, DeadLetterErrorKind> {
        while self.left > 0 {
            if self.filled == self.window {
                if busy {
                    // the caller drops this call when one of those is settled, which must not hit a half-open consumer
                    std::future::pending::<()>().await;
                }
                self.open().await?;
            }
            let Some(consumer) = self.consumers.last_mut() else {
                break;
            };
            tokio::select! {
                biased;
                delivery = consumer.next() => {
                    let Some(delivery) = delivery else {
                        return Err(interrupted("the broker handle was closed"));
                    };
                    self.left -= 1;
                    self.seen += 1;
                    (self.quiet, self.empty) = (0, 0);
                    let (properties, body, acker) = delivery.into_parts();
                    let letter = DeadLetter::read(properties, body, &self.letters.queue);
                    return Ok(Some((letter, acker)));
                }
                reason = trouble(&mut self.status) => return Err(interrupted(&reason)),
                () = sleep(QUIET) => {}
            }
            if busy {
                continue;
            }
            if self.letters.depth().await? > 0 {
                self.empty = 0;
                self.quiet += 1;
            } else {
                self.empty += 1;
            }
            if self.empty >= EMPTY_SPELLS {
                break;
            }
            if self.quiet >= STALLED_SPELLS {
                return Err(DeadLetterErrorKind::Stalled);
            }
        }
        Ok(None)
    }

    /// Leaves a letter alone: it goes back at the end.
    pub(super) fn hold(&mut self, acker: Acker) {
        self.held.push(acker);
        self.filled = self.filled.saturating_add(1);
    }

    /// How many letters were looked at.
    pub(super) fn seen(&self) -> usize {
        self.seen
    }

    /// Hands back what is held and waits until the broker shows it again, so that who looks next finds it. False if
    /// something that was settled did not reach the broker.
    pub(super) async fn end(mut self, removed: usize) -> bool {
        for acker in self.held.drain(..) {
            acker.requeue();
        }
        for consumer in &mut self.consumers {
            consumer.cancel().await;
        }
        let written = self.session.flush().await && self.session.stale_acks() == 0;
        self.session.close().await;
        if self.consumers.is_empty() {
            return true;
        }
        let expected = self.there.saturating_sub(removed);
        let deadline = Instant::now() + SETTLING;
        while let Ok(depth) = self.letters.depth().await {
            if usize::try_from(depth).is_ok_and(|depth| depth >= expected) {
                break;
            }
            if Instant::now() > deadline {
                debug!(target: "coney::client", queue = self.letters.dead, "others have taken letters meanwhile");
                break;
            }
            sleep(Duration::from_millis(5)).await;
        }
        written
    }

    /// Ends with an error, after so many letters were removed.
    pub(super) async fn fail(self, kind: DeadLetterErrorKind, removed: usize) -> DeadLetterError {
        let error = self.letters.error(kind).after(removed);
        self.end(removed).await;
        error
    }

    /// Opens a consumer for what the others have no room for.
    async fn open(&mut self) -> Result<(), DeadLetterErrorKind> {
        let wanted = u16::try_from(self.left).unwrap_or(u16::MAX);
        let window = match self.window {
            0 => FIRST_WINDOW,
            last => last.saturating_mul(2),
        };
        let window = window.min(wanted);
        let spec = ConsumerSpec::new(&*self.letters.dead)
            .prefetch(window)
            .tag(format!("dead-letters-{}", self.consumers.len() + 1));
        let consumer = self.session.consume(spec).await.map_err(|error| {
            if matches!(error.kind(), ConsumeErrorKind::Missing) {
                DeadLetterErrorKind::Missing
            } else {
                DeadLetterErrorKind::Consume(error)
            }
        })?;
        if self.held.iter().any(Acker::is_stale) {
            return Err(interrupted("the connection was lost"));
        }
        self.status.mark_unchanged();
        self.consumers.push(consumer);
        (self.window, self.filled) = (window, 0);
        Ok(())
    }
}

/// Waits until the session is no longer what it was, and says why.
async fn trouble(status: &mut watch::Receiver<SessionStatus>) -> String {
    loop {
        if status.changed().await.is_err() {
            return "the session is gone".to_owned();
        }
        match &*status.borrow_and_update() {
            SessionStatus::Ready => {}
            SessionStatus::Connecting { reason, .. } => return reason.clone(),
            _ => return "the session was closed".to_owned(),
        }
    }
}

fn interrupted(reason: &str) -> DeadLetterErrorKind {
    DeadLetterErrorKind::Interrupted {
        reason: reason.to_owned(),
    }
}
