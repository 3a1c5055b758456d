//! Who else waits for a task that has failed: the callers of every later step of its chain.

use std::collections::HashSet;

use serde_json::value::RawValue;

use crate::canvas::signature::{Kind, Signature, signatures};
use crate::canvas::{MOST_DEPTH, MOST_STEPS};
use crate::header::Header;
use crate::id::TaskId;

/// A task that will never run, and where its result is awaited.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Told {
    /// The task.
    pub id: TaskId,
    /// The queue that its result goes to.
    pub reply_to: String,
    /// The group that it belongs to.
    pub group: Option<String>,
}

impl Told {
    /// The one that waits for a message's result, if one does.
    #[must_use]
    pub fn of(header: &Header) -> Option<Self> {
        let is_wanted = header.ignore_result != Some(true);
        let reply_to = header.reply_to.clone().filter(|_| is_wanted)?;
        Some(Self {
            id: header.id.clone(),
            reply_to,
            group: header.group.clone(),
        })
    }
}

/// Those that wait for the steps of a chain, the last step first; what is no signature is passed over.
pub(crate) fn of_chain(chain: &RawValue) -> Vec<Told> {
    let mut collector = Collector::default();
    collector.all(signatures(chain).unwrap_or_default(), MOST_DEPTH);
    collector.told
}

#[derive(Default)]
struct Collector {
    told: Vec<Told>,
    known: HashSet<String>,
    seen: usize,
}

impl Collector {
    fn all(&mut self, raws: Vec<&RawValue>, depth: usize) {
        for raw in raws {
            // whoever waits for a chain waits for its last step, which comes first
            if self.seen == MOST_STEPS {
                return;
            }
            self.one(raw, depth);
        }
    }

    fn one(&mut self, raw: &RawValue, depth: usize) {
        self.seen += 1;
        let (Ok(signature), Some(depth)) = (Signature::read(raw), depth.checked_sub(1)) else {
            return;
        };
        match signature.kind() {
            Ok(Kind::Task) => self.task(&signature),
            Ok(Kind::Group(members) | Kind::Chain(members)) => self.all(members, depth),
            _ => {}
        }
        if let Some(chain) = signature.options.get("chain") {
            self.all(signatures(chain).unwrap_or_default(), depth);
        }
    }

    fn task(&mut self, signature: &Signature<'_>) {
        let text = |name| -> Option<String> {
            let raw = signature.options.get(name)?;
            serde_json::from_str(raw.get()).ok()
        };
        let ignored = signature.options.get("ignore_result");
        if ignored.is_some_and(|raw| raw.get() == "true") {
            return;
        }
        let (Some(id), Some(reply_to)) = (text("task_id"), text("reply_to")) else {
            return;
        };
        if !reply_to.is_empty() && self.known.insert(id.clone()) {
            self.told.push(Told {
                id: id.into(),
                reply_to,
                group: text("group_id"),
            });
        }
    }
}
