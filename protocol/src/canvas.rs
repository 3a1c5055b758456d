//! What follows from a task as the message says it: Celery's canvas, computed.
//!
//! A message embeds signatures: callbacks, errbacks, and the remaining steps of its chain in reverse order. [`Plan`]
//! reads and checks them before the task runs, so that nothing runs whose consequences cannot be sent; once the task has
//! ended, it gives the tasks to send. Arguments and all other pieces stay the JSON text that they came as.
//!
//! Ids that the client did not fix are derived from that of the task that has ended, so that a worker that sends a
//! follow-up again, having died in between, sends the same.
//!
//! Source: `trace.py`, `backends/base.py` and `canvas.py` of Celery 5.7.

mod check;
mod child;
mod error;
mod expand;
mod outgoing;
mod rewrite;
mod signature;
mod told;

use std::time::SystemTime;

use serde_json::value::RawValue;

pub use child::Child;
pub use error::CanvasError;
pub use outgoing::{Destination, Outgoing};
pub use told::Told;

use crate::canvas::check::Checker;
use crate::canvas::expand::Expander;
use crate::canvas::signature::{Kind, Signature, signatures};
use crate::codec::body::Embed;
use crate::id::TaskId;
use crate::trace::TraceContext;

/// So many steps may remain of a chain: each hop carries all of them, which adds up by the square.
pub const MOST_STEPS: usize = 10_000;

/// So many signatures may a message bring, all counted.
pub const MOST_SIGNATURES: usize = 50_000;

/// So deep may groups, chains and links be nested.
pub const MOST_DEPTH: usize = 24;

/// What shall follow from a task.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    callbacks: Option<Box<RawValue>>,
    errbacks: Option<Box<RawValue>>,
    chain: Option<Box<RawValue>>,
}

/// The task that has ended, and who sends what follows.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Parent<'a> {
    /// The task that has ended.
    pub id: &'a TaskId,
    /// The first task of its workflow.
    pub root: &'a TaskId,
    /// Where results go that nobody asked for: the id of the worker, which is no queue.
    pub reply_to: &'a str,
    /// The worker's name.
    pub origin: &'a str,
    /// The time that delays count from.
    pub now: SystemTime,
    /// The span of the task.
    pub trace: Option<TraceContext>,
}

impl<'a> Parent<'a> {
    /// Makes a parent of its parts.
    #[must_use]
    pub const fn new(
        id: &'a TaskId,
        root: &'a TaskId,
        reply_to: &'a str,
        origin: &'a str,
        now: SystemTime,
        trace: Option<TraceContext>,
    ) -> Self {
        Self {
            id,
            root,
            reply_to,
            origin,
            now,
            trace,
        }
    }
}

/// The tasks to send after a success, in this order, and how the result lists them.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Followers {
    /// The tasks.
    pub outgoing: Vec<Outgoing>,
    /// The same as the result's `children`.
    pub children: Vec<Child>,
}

impl Plan {
    /// Reads what a message embeds and checks all of it; none if nothing follows.
    ///
    /// # Errors
    ///
    /// [`CanvasError`] for a signature that is none, an option of the wrong type, a chord, and what is too much.
    pub fn read(embed: &Embed<'_>) -> Result<Option<Self>, CanvasError> {
        if embed.chord.is_some() {
            return Err(CanvasError::Chord);
        }
        let Some(plan) = Self::unchecked(embed) else {
            return Ok(None);
        };
        let mut checker = Checker::default();
        for list in [embed.callbacks, embed.errbacks].into_iter().flatten() {
            checker.beside(&signatures(list)?)?;
        }
        if let Some(chain) = embed.chain {
            checker.chain(&signatures(chain)?)?;
        }
        Ok(Some(plan))
    }

    /// Takes what a message embeds as far as it can be sent, for a task that fails anyway: if not all of it can, only
    /// whoever waits for a later step is left.
    #[must_use]
    pub fn salvage(embed: &Embed<'_>) -> Option<Self> {
        Self::read(embed).unwrap_or_else(|_| {
            Self::unchecked(&Embed {
                chain: embed.chain,
                ..Embed::default()
            })
        })
    }

    fn unchecked(embed: &Embed<'_>) -> Option<Self> {
        let owned = |raw: Option<&RawValue>| raw.map(ToOwned::to_owned);
        let plan = Self {
            callbacks: owned(embed.callbacks),
            errbacks: owned(embed.errbacks),
            chain: owned(embed.chain),
        };
        let follows = plan.callbacks.is_some() || plan.errbacks.is_some() || plan.chain.is_some();
        follows.then_some(plan)
    }

    /// The pieces again, to embed them in another message.
    #[must_use]
    pub fn embed(&self) -> Embed<'_> {
        Embed {
            callbacks: self.callbacks.as_deref(),
            errbacks: self.errbacks.as_deref(),
            chain: self.chain.as_deref(),
            chord: None,
        }
    }

    /// What is sent after `parent` has succeeded with `result`: the callbacks, then the next step of the chain.
    ///
    /// # Errors
    ///
    /// [`CanvasError`] where [`read`](Self::read) has one.
    pub fn succeeded(
        &self,
        parent: &Parent<'_>,
        result: &RawValue,
    ) -> Result<Followers, CanvasError> {
        let mut expander = Expander::new(parent, result);
        if let Some(callbacks) = self.callbacks.as_deref() {
            match &signatures(callbacks)?[..] {
                [one] => expander.one(one, "callbacks.0")?,
                several => {
                    // a group among them stays a group of its own
                    let mut others = Vec::with_capacity(several.len());
                    for (at, raw) in several.iter().enumerate() {
                        match Signature::read(raw)?.kind()? {
                            Kind::Group(_) => expander.one(raw, &format!("callbacks.{at}"))?,
                            _ => others.push(*raw),
                        }
                    }
                    expander.beside(&others, "callbacks")?;
                }
            }
        }
        if let Some(chain) = self.chain.as_deref() {
            expander.next_step(signatures(chain)?)?;
        }
        Ok(expander.followers)
    }

    /// What is sent after `parent` has failed: the errbacks, as a group, each with the id of the failed task before
    /// its own arguments. They come after the result.
    ///
    /// # Errors
    ///
    /// [`CanvasError`] where [`read`](Self::read) has one.
    pub fn failed(&self, parent: &Parent<'_>) -> Result<Vec<Outgoing>, CanvasError> {
        let Some(errbacks) = self.errbacks.as_deref() else {
            return Ok(Vec::new());
        };
        let id = serde_json::value::to_raw_value(parent.id).map_err(CanvasError::Signature)?;
        let mut expander = Expander::new(parent, &id);
        expander.beside(&signatures(errbacks)?, "errbacks")?;
        Ok(expander.followers.outgoing)
    }

    /// Whoever waits for a later step of the chain, which will not run now: all of them get the same failure.
    #[must_use]
    pub fn abandoned(&self) -> Vec<Told> {
        self.chain
            .as_deref()
            .map(told::of_chain)
            .unwrap_or_default()
    }
}
