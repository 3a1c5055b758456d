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

use std::collections::VecDeque;
use std::hash::BuildHasher;

use foldhash::HashMap;
use foldhash::quality::RandomState;

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
    /// The number of the first entry.
    first: u64,
    /// In the order of their numbers; `None` once a message is settled.
    entries: VecDeque<Option<Entry>>,
    /// Those that may come back, by the hash of their ids: of the few that are on their way at once, no two ever have the
    /// same, and if they had, one would wait for the other.
    by_id: HashMap<u64, u64>,
    hasher: RandomState,
    /// How many entries are not confirmed yet.
    outstanding: usize,
    /// How many entries are confirmed, and not settled.
    open: usize,
}

#[derive(Debug)]
struct Entry {
    /// The hash of its id, if it may come back.
    id: Option<u64>,
    /// What its confirm said, once it did, without settling the matter.
    answer: Option<Answer>,
    /// True once its return was seen.
    returned: bool,
}

impl Ledger {
    /// True if a message with this id is on its way; there may be any number without one.
    pub(crate) fn contains(&self, id: Option<&str>) -> bool {
        id.is_some_and(|id| self.by_id.contains_key(&self.hasher.hash_one(id)))
    }

    /// Notes a publish and numbers it; its id must not be on its way already.
    pub(crate) fn published(&mut self, id: Option<&str>) -> u64 {
        let number = self.first + self.entries.len() as u64;
        let id = id.map(|id| self.hasher.hash_one(id));
        self.outstanding += 1;
        if let Some(id) = id {
            self.by_id.insert(id, number);
        }
        self.entries.push_back(Some(Entry {
            id,
            answer: None,
            returned: false,
        }));
        number
    }

    /// Notes a group of confirms, and returns the verdicts that are final now.
    pub(crate) fn resolved(&mut self, group: &[Resolved]) -> Vec<(u64, Verdict)> {
        for id in group.iter().filter_map(|one| one.returned.as_ref()) {
            let number = self.by_id.get(&self.hasher.hash_one(id)).copied();
            if let Some(entry) = number.and_then(|number| self.entry(number)) {
                entry.returned = true;
            }
        }
        let was_empty = group.iter().any(|one| one.returned.is_none());
        let mut verdicts = self.settle(|entry| entry.returned || was_empty);
        verdicts.reserve(group.len());
        for one in group {
            self.confirm(one, &mut verdicts);
        }
        if self.outstanding == 0 {
            verdicts.extend(self.settle(|_| true));
        }
        verdicts
    }

    fn confirm(&mut self, one: &Resolved, verdicts: &mut Vec<(u64, Verdict)>) {
        let Some(entry) = self.entry(one.number) else {
            return;
        };
        entry.answer = Some(one.answer);
        // what cannot come back need not wait for a sign of it
        let is_final = entry.returned || one.returned.is_none() || entry.id.is_none();
        self.outstanding -= 1;
        self.open += 1;
        if is_final {
            verdicts.extend(self.close(one.number));
        }
    }

    fn place(&self, number: u64) -> Option<usize> {
        usize::try_from(number.checked_sub(self.first)?).ok()
    }

    fn entry(&mut self, number: u64) -> Option<&mut Entry> {
        let place = self.place(number)?;
        self.entries.get_mut(place)?.as_mut()
    }

    /// Closes the confirmed entries for which `is_final` holds.
    fn settle(&mut self, is_final: impl Fn(&Entry) -> bool) -> Vec<(u64, Verdict)> {
        if self.open == 0 {
            return Vec::new();
        }
        let confirmed = |entry: &Entry| entry.answer.is_some() && is_final(entry);
        let numbered = (self.first..).zip(&self.entries);
        let numbers: Vec<_> = numbered
            .filter(|(_, entry)| entry.as_ref().is_some_and(confirmed))
            .map(|(number, _)| number)
            .collect();
        numbers
            .into_iter()
            .filter_map(|number| self.close(number))
            .collect()
    }

    fn close(&mut self, number: u64) -> Option<(u64, Verdict)> {
        let place = self.place(number)?;
        let entry = self.entries.get_mut(place)?.take()?;
        if let Some(id) = entry.id {
            self.by_id.remove(&id);
        }
        self.open -= 1;
        while let Some(None) = self.entries.front() {
            self.entries.pop_front();
            self.first += 1;
        }
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
