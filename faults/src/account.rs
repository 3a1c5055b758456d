//! What became of every task. Pure: facts in, sums out.

use std::collections::{BTreeMap, BTreeSet};

use coney::protocol::dead::Reason;

use crate::journal::Runs;
use crate::sender::{Answer, Kind, Told};
use crate::tasks::ATTEMPTS;

/// All that is known of a task.
#[derive(Clone, Debug)]
pub(crate) struct Fate {
    pub(crate) id: String,
    pub(crate) kind: Kind,
    pub(crate) told: Told,
    pub(crate) answer: Option<Answer>,
    pub(crate) runs: Runs,
    /// Reasons of its dead letters.
    pub(crate) dead: Vec<String>,
    /// Queues that it still waits in.
    pub(crate) waits: Vec<String>,
    /// Whether it was in flight while something was broken.
    pub(crate) touched: bool,
}

/// What must not become of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    /// Confirmed, and neither run to its end nor dead nor waiting; or it failed for good without a dead letter.
    Lost,
    /// Confirmed, and neither answered nor dead when it should have been.
    Stuck,
    /// A worker buried it and its client was not told.
    Untold,
    /// Answered with what it did not return.
    Wrong,
    /// The client was told that the broker does not have it, and it ran.
    Denied,
}

impl Fate {
    /// How often its last attempt came to an end.
    fn ends(&self) -> u32 {
        match self.kind {
            Kind::Failing => self.runs.failed.get(&ATTEMPTS).copied().unwrap_or_default(),
            _ => self.runs.done,
        }
    }

    pub(crate) fn is_duplicated(&self) -> bool {
        self.ends() > 1
    }

    /// There were several messages of it: a publisher did not hear the confirm, or the broker moved it twice.
    fn was_published_twice(&self) -> bool {
        self.runs.fresh.values().any(|messages| *messages > 1)
    }

    /// The broker gave it up: delivered more often than the queue allows.
    fn is_given_up(&self) -> bool {
        self.dead.iter().any(|reason| reason == "delivery_limit")
    }

    pub(crate) fn fault(&self) -> Option<Fault> {
        match &self.told {
            Told::Failed { stored: false, .. } => (self.runs.starts > 0).then_some(Fault::Denied),
            Told::Failed { stored: true, .. } => None,
            Told::Confirmed => self.fault_of_confirmed(),
        }
    }

    fn fault_of_confirmed(&self) -> Option<Fault> {
        let exhausted = Reason::Exhausted.as_str();
        match &self.answer {
            Some(Answer::Wrong(_)) => Some(Fault::Wrong),
            Some(Answer::Right) if self.kind == Kind::Failing => {
                let kept = self.dead.iter().any(|reason| reason == exhausted);
                (!kept).then_some(Fault::Lost)
            }
            Some(Answer::Right) => (self.ends() == 0).then_some(Fault::Wrong),
            None if self.is_given_up() => None,
            None if !self.dead.is_empty() => Some(Fault::Untold),
            None if self.ends() > 0 || !self.waits.is_empty() => Some(Fault::Stuck),
            None => Some(Fault::Lost),
        }
    }
}

/// Sums of one kind of task, or of all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sums {
    pub(crate) sent: usize,
    pub(crate) confirmed: usize,
    pub(crate) uncertain: usize,
    pub(crate) refused: usize,
    pub(crate) answered: usize,
    pub(crate) runs: usize,
    pub(crate) cut_short: usize,
    pub(crate) dead: usize,
    pub(crate) given_up: usize,
    pub(crate) touched: usize,
    pub(crate) duplicated: usize,
    /// How many of those came of several messages; the others of one that was delivered again.
    pub(crate) published_twice: usize,
}

impl Sums {
    fn add(&mut self, fate: &Fate) {
        let ended = fate.runs.done + fate.runs.failed.values().sum::<u32>();
        self.sent += 1;
        match fate.told {
            Told::Confirmed => self.confirmed += 1,
            Told::Failed { stored: true, .. } => self.uncertain += 1,
            Told::Failed { stored: false, .. } => self.refused += 1,
        }
        self.answered += usize::from(fate.answer.is_some());
        self.runs += fate.runs.starts as usize;
        self.cut_short += fate.runs.starts.saturating_sub(ended) as usize;
        self.dead += fate.dead.len();
        self.given_up += usize::from(fate.is_given_up());
        self.touched += usize::from(fate.touched);
        self.duplicated += usize::from(fate.is_duplicated());
        self.published_twice += usize::from(fate.is_duplicated() && fate.was_published_twice());
    }
}

/// The whole account.
#[derive(Debug, Default)]
pub(crate) struct Account {
    pub(crate) by_kind: BTreeMap<Kind, Sums>,
    pub(crate) all: Sums,
    pub(crate) faults: BTreeMap<Fault, BTreeSet<String>>,
}

impl Account {
    pub(crate) fn of(fates: &[Fate]) -> Self {
        let mut account = Self::default();
        for fate in fates {
            account.all.add(fate);
            account.by_kind.entry(fate.kind).or_default().add(fate);
            if let Some(fault) = fate.fault() {
                let ids = account.faults.entry(fault).or_default();
                ids.insert(fate.id.clone());
            }
        }
        account
    }

    pub(crate) fn count(&self, fault: Fault) -> usize {
        self.faults.get(&fault).map_or(0, BTreeSet::len)
    }

    /// Such as `lost=0 duplicated=3 (0.10 %) stuck=0`.
    pub(crate) fn line(&self) -> String {
        format!(
            "lost={} duplicated={} ({} of all, {} of those in flight during a fault) stuck={}",
            self.count(Fault::Lost),
            self.all.duplicated,
            percent(self.all.duplicated, self.all.sent),
            percent(self.all.duplicated, self.all.touched),
            self.count(Fault::Stuck),
        )
    }
}

fn percent(part: usize, whole: usize) -> String {
    format!("{:.2} %", 100.0 * part as f64 / whole.max(1) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fate(kind: Kind) -> Fate {
        let runs = Runs {
            starts: 1,
            done: 1,
            ..Runs::default()
        };
        Fate {
            id: format!("{kind:?}"),
            kind,
            told: Told::Confirmed,
            answer: Some(Answer::Right),
            runs,
            dead: Vec::new(),
            waits: Vec::new(),
            touched: false,
        }
    }

    fn failed(stored: bool) -> Told {
        let why = String::new();
        Told::Failed { stored, why }
    }

    #[test]
    fn each_fate_has_its_fault() {
        let fine = fate(Kind::Fast);
        let unanswered = Fate {
            answer: None,
            ..fine.clone()
        };
        let vanished = Fate {
            runs: Runs {
                starts: 1,
                ..Runs::default()
            },
            ..unanswered.clone()
        };
        let buried = Fate {
            kind: Kind::Failing,
            dead: vec!["exhausted".to_owned()],
            ..fine.clone()
        };
        let cases = [
            (fine.clone(), None),
            (unanswered.clone(), Some(Fault::Stuck)),
            (vanished.clone(), Some(Fault::Lost)),
            (
                Fate {
                    waits: vec!["q".to_owned()],
                    ..vanished.clone()
                },
                Some(Fault::Stuck),
            ),
            (
                Fate {
                    dead: vec!["delivery_limit".to_owned()],
                    ..vanished.clone()
                },
                None,
            ),
            (buried.clone(), None),
            (
                Fate {
                    answer: None,
                    ..buried.clone()
                },
                Some(Fault::Untold),
            ),
            (
                Fate {
                    dead: Vec::new(),
                    ..buried
                },
                Some(Fault::Lost),
            ),
            (
                Fate {
                    answer: Some(Answer::Wrong(String::new())),
                    ..fine.clone()
                },
                Some(Fault::Wrong),
            ),
            (
                Fate {
                    runs: Runs::default(),
                    ..fine.clone()
                },
                Some(Fault::Wrong),
            ),
            (
                Fate {
                    told: failed(true),
                    ..vanished.clone()
                },
                None,
            ),
            (
                Fate {
                    told: failed(false),
                    ..vanished
                },
                Some(Fault::Denied),
            ),
        ];
        for (fate, expected) in cases {
            assert_eq!(fate.fault(), expected, "{fate:?}");
        }
    }

    #[test]
    fn only_the_end_of_the_last_attempt_counts_as_a_duplicate() {
        let mut flaky = fate(Kind::Flaky);
        flaky.runs.failed.insert(1, 2);
        assert!(!flaky.is_duplicated());
        flaky.runs.done = 2;
        assert!(flaky.is_duplicated());
        let mut failing = fate(Kind::Failing);
        failing.runs.failed.insert(ATTEMPTS, 2);
        assert!(failing.is_duplicated());
    }

    #[test]
    fn the_line_tells_the_sums() {
        let mut twice = fate(Kind::Fast);
        twice.runs.done = 2;
        twice.touched = true;
        let account = Account::of(&[twice, fate(Kind::Slow)]);
        assert_eq!(
            account.line(),
            "lost=0 duplicated=1 (50.00 % of all, 100.00 % of those in flight during a fault) stuck=0"
        );
    }
}
