//! Which confirmed message was unroutable: returns matched to confirms, without stopping the stream of publishes.
//!
//! The broker sends `basic.return` before the `basic.ack` of the same message. lapin queues returned messages and
//! hands the oldest one to *whichever* confirm resolves next, which is the wrong one as soon as two are on their way.
//! Returns are therefore matched by message id, and a message counts as stored only when its return, had there been
//! one, must have been seen.
//!
//! Confirms are reported in groups, and a group holds everything that had resolved when its last member was seen
//! (see `Window::drain` for why that can be had). So whatever is in a later group resolved later, and:
//!
//! * A confirm that resolves **without** a return found lapin's queue empty: whatever had come back before, its own
//!   return included, went to a confirm that resolved before, hence to this group or an earlier one.
//! * A confirm that resolves with **another** message's return took it away from that one, and its own may still be
//!   queued. Its message stays open until its own return turns up, or until the queue is known to have been empty
//!   since: because a confirm in a later group has none, or because nothing is outstanding any more (the queue never
//!   holds more than the returns of messages whose ack is still to come).

use std::collections::HashMap;

/// What a confirm said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Ack,
    Nack,
}

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Stored,
    Rejected,
    Unroutable,
}

/// A confirm that resolved.
#[derive(Debug)]
pub(crate) struct Resolved {
    /// The message's number.
    pub(crate) number: u64,
    /// Ack or nack.
    pub(crate) answer: Answer,
    /// The id of the message that came back with it, whichever that is.
    pub(crate) returned: Option<String>,
}

/// Messages on their way on one channel.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    next: u64,
    by_id: HashMap<String, u64>,
    entries: HashMap<u64, Entry>,
    /// How many entries are not confirmed yet.
    outstanding: usize,
}

#[derive(Debug)]
struct Entry {
    id: String,
    /// What its confirm said, once it did, without settling the matter.
    answer: Option<Answer>,
    /// True once its return was seen.
    returned: bool,
}

impl Ledger {
    /// True if a message with this id is on its way.
    pub(crate) fn contains(&self, id: &str) -> bool {
        self.by_id.contains_key(id)
    }

    /// Notes a publish and numbers it; its id must not be on its way already.
    pub(crate) fn published(&mut self, id: &str) -> u64 {
        let number = self.next;
        self.next += 1;
        self.outstanding += 1;
        self.by_id.insert(id.to_owned(), number);
        let entry = Entry {
            id: id.to_owned(),
            answer: None,
            returned: false,
        };
        self.entries.insert(number, entry);
        number
    }

    /// Notes a group of confirms, and returns the verdicts that are final now.
    pub(crate) fn resolved(&mut self, group: &[Resolved]) -> Vec<(u64, Verdict)> {
        for id in group.iter().filter_map(|one| one.returned.as_ref()) {
            let number = self.by_id.get(id);
            if let Some(entry) = number.and_then(|number| self.entries.get_mut(number)) {
                entry.returned = true;
            }
        }
        let was_empty = group.iter().any(|one| one.returned.is_none());
        let mut verdicts = self.settle(|entry| entry.returned || was_empty);
        for one in group {
            self.confirm(one, &mut verdicts);
        }
        if self.outstanding == 0 {
            verdicts.extend(self.settle(|_| true));
        }
        verdicts
    }

    fn confirm(&mut self, one: &Resolved, verdicts: &mut Vec<(u64, Verdict)>) {
        let Some(entry) = self.entries.get_mut(&one.number) else {
            return;
        };
        self.outstanding -= 1;
        entry.answer = Some(one.answer);
        if entry.returned || one.returned.is_none() {
            verdicts.extend(self.close(one.number));
        }
    }

    /// Closes the confirmed entries for which `is_final` holds.
    fn settle(&mut self, is_final: impl Fn(&Entry) -> bool) -> Vec<(u64, Verdict)> {
        if self.entries.len() == self.outstanding {
            return Vec::new();
        }
        let confirmed = |entry: &Entry| entry.answer.is_some() && is_final(entry);
        let numbers: Vec<_> = self
            .entries
            .iter()
            .filter(|(_, entry)| confirmed(entry))
            .map(|(number, _)| *number)
            .collect();
        numbers
            .into_iter()
            .filter_map(|number| self.close(number))
            .collect()
    }

    fn close(&mut self, number: u64) -> Option<(u64, Verdict)> {
        let entry = self.entries.remove(&number)?;
        self.by_id.remove(&entry.id);
        let verdict = match entry.answer? {
            _ if entry.returned => Verdict::Unroutable,
            Answer::Ack => Verdict::Stored,
            Answer::Nack => Verdict::Rejected,
        };
        Some((number, verdict))
    }
}

#[cfg(test)]
mod tests;
