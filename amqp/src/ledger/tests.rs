use std::collections::{BTreeMap, VecDeque};

use proptest::prelude::*;

use super::*;

/// What a message will turn out to be.
fn fate(kind: u8) -> Verdict {
    match kind % 3 {
        0 => Verdict::Stored,
        1 => Verdict::Rejected,
        _ => Verdict::Unroutable,
    }
}

/// The broker and lapin's I/O thread: confirms in any order, each return somewhere before its own confirm, the
/// oldest waiting return attached to whichever confirm resolves next.
#[derive(Default)]
struct Wire {
    unconfirmed: Vec<(u64, Verdict, bool)>,
    waiting: VecDeque<u64>,
    /// Resolved, not yet seen by the publisher.
    unseen: VecDeque<Resolved>,
}

impl Wire {
    fn publish(&mut self, number: u64, fate: Verdict) {
        self.unconfirmed.push((number, fate, false));
    }

    fn give_back(&mut self, pick: usize) {
        let candidates: Vec<_> = (0..self.unconfirmed.len())
            .filter(|at| matches!(self.unconfirmed[*at], (_, Verdict::Unroutable, false)))
            .collect();
        if let Some(at) = candidates.get(pick % candidates.len().max(1)) {
            self.unconfirmed[*at].2 = true;
            self.waiting.push_back(self.unconfirmed[*at].0);
        }
    }

    fn confirm(&mut self, pick: usize) {
        if self.unconfirmed.is_empty() {
            return;
        }
        let (number, fate, returned) = self.unconfirmed.remove(pick % self.unconfirmed.len());
        if fate == Verdict::Unroutable && !returned {
            self.waiting.push_back(number);
        }
        let answer = match fate {
            Verdict::Rejected => Answer::Nack,
            _ => Answer::Ack,
        };
        let returned = self.waiting.pop_front().map(|number| number.to_string());
        self.unseen.push_back(Resolved {
            number,
            answer,
            returned,
        });
    }

    /// The oldest resolved confirms, in an order that says nothing.
    fn see(&mut self, pick: usize) -> Vec<Resolved> {
        let mut group: Vec<_> = self
            .unseen
            .drain(..pick % (self.unseen.len() + 1))
            .collect();
        let turn = pick % group.len().max(1);
        group.rotate_left(turn);
        group
    }
}

fn report(ledger: &mut Ledger, verdicts: &mut BTreeMap<u64, Verdict>, group: &[Resolved]) {
    for (number, verdict) in ledger.resolved(group) {
        let before = verdicts.insert(number, verdict);
        assert_eq!(before, None, "{number} settled twice");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn every_message_gets_its_own_verdict(
        steps in prop::collection::vec((0u8..8, any::<u8>(), any::<usize>()), 1..200),
    ) {
        let mut wire = Wire::default();
        let mut ledger = Ledger::default();
        let mut fates = BTreeMap::new();
        let mut verdicts = BTreeMap::new();
        for (step, kind, pick) in steps {
            match step {
                0..=2 => {
                    let id = (ledger.first + ledger.entries.len() as u64).to_string();
                    // one that never comes back may have none
                    let has_id = kind < 128 || fate(kind) == Verdict::Unroutable;
                    let id = has_id.then_some(&*id);
                    prop_assert!(!ledger.contains(id));
                    let number = ledger.published(id);
                    fates.insert(number, fate(kind));
                    wire.publish(number, fate(kind));
                }
                3 => wire.give_back(pick),
                4 | 5 => wire.confirm(pick),
                _ => report(&mut ledger, &mut verdicts, &wire.see(pick)),
            }
        }
        while !wire.unconfirmed.is_empty() {
            wire.confirm(0);
        }
        let rest: Vec<_> = wire.unseen.drain(..).collect();
        report(&mut ledger, &mut verdicts, &rest);
        prop_assert_eq!(verdicts, fates);
        prop_assert!(ledger.by_id.is_empty() && ledger.entries.is_empty());
    }
}

#[test]
fn a_verdict_waits_while_its_return_may_be_on_its_way() {
    let mut ledger = Ledger::default();
    let mut publish = |id| ledger.published(Some(id));
    let (stored, lost) = (publish("stored"), publish("lost"));
    // lapin hands the return of the second to the confirm of the first
    let first = Resolved {
        number: stored,
        answer: Answer::Ack,
        returned: Some("lost".into()),
    };
    assert_eq!(ledger.resolved(&[first]), []);
    let second = Resolved {
        number: lost,
        answer: Answer::Ack,
        returned: None,
    };
    let mut verdicts = ledger.resolved(&[second]);
    verdicts.sort_by_key(|(number, _)| *number);
    assert_eq!(
        verdicts,
        [(stored, Verdict::Stored), (lost, Verdict::Unroutable)]
    );
}
