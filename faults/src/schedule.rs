//! Which fault when: drawn from a seed, so that a run can be repeated.

use std::fmt;
use std::time::Duration;

use crate::dice::Dice;

/// Whose connections break.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    Sender,
    Worker(usize),
    Everybody,
}

/// Which bytes are held back, seen from the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Out,
    In,
    Both,
}

/// What is broken, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// SIGKILL; a new process follows.
    Kill { worker: usize, down: Duration },
    /// SIGSTOP, then SIGCONT.
    Pause { worker: usize, lasts: Duration },
    /// Connections end with a reset.
    Cut { who: Who },
    /// Half-open: connections stay, bytes do not come through until it is over.
    Hold { who: Who, way: Way, lasts: Duration },
    /// Every chunk of bytes is late.
    Delay {
        who: Who,
        by: Duration,
        lasts: Duration,
    },
    /// Connections end, and new ones are reset.
    Refuse { who: Who, lasts: Duration },
    /// The broker ends, cleanly or by SIGKILL, and starts again.
    Restart {
        node: usize,
        cleanly: bool,
        down: Duration,
    },
    /// The broker believes that its memory is short, and blocks publishers.
    Alarm { node: usize, lasts: Duration },
}

/// A fault and when it starts, counted from the first task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) at: Duration,
    pub(crate) fault: Fault,
}

#[derive(Clone, Copy)]
enum Kind {
    Kill,
    Pause,
    Cut,
    Hold,
    Delay,
    Refuse,
    Crash,
    Restart,
    Alarm,
}

/// What happens to programs and connections, with how often it comes.
const SMALL: [(usize, Kind); 6] = [
    (6, Kind::Kill),
    (3, Kind::Pause),
    (6, Kind::Cut),
    (4, Kind::Hold),
    (3, Kind::Delay),
    (2, Kind::Refuse),
];

/// What happens to the broker.
const LARGE: [(usize, Kind); 3] = [(2, Kind::Crash), (1, Kind::Restart), (1, Kind::Alarm)];

/// How many workers and nodes of the broker can be hurt.
#[derive(Clone, Copy)]
struct Cast {
    workers: usize,
    nodes: usize,
}

/// Milliseconds between two faults, at least and at most.
struct Pace {
    /// While each kind comes once.
    first: (u64, u64),
    /// After that.
    then: (u64, u64),
}

const SMALL_PACE: Pace = Pace {
    first: (500, 5_000),
    then: (1_000, 9_000),
};

/// Those of the broker take long, and nothing is sent meanwhile.
const LARGE_PACE: Pace = Pace {
    first: (18_000, 26_000),
    then: (25_000, 60_000),
};

/// The faults of a run of this length: first each kind once in a random order and soon after each other, then as they
/// come, and with time to recover from most of them.
pub(crate) fn draw(seed: u64, length: Duration, workers: usize, nodes: usize) -> Vec<Event> {
    let mut dice = Dice::new(seed);
    let cast = Cast { workers, nodes };
    let mut events = track(&mut dice, &SMALL, &SMALL_PACE, length, cast);
    events.extend(track(&mut dice, &LARGE, &LARGE_PACE, length, cast));
    events.sort_by_key(|event| event.at);
    events
}

fn track(
    dice: &mut Dice,
    kinds: &[(usize, Kind)],
    pace: &Pace,
    length: Duration,
    cast: Cast,
) -> Vec<Event> {
    let mut first: Vec<_> = kinds.iter().map(|(_, kind)| *kind).collect();
    dice.shuffle(&mut first);
    let mut at = dice.millis(2_000, 6_000);
    let mut events = Vec::new();
    while at < length {
        let (kind, (shortest, longest)) = match first.pop() {
            Some(kind) => (kind, pace.first),
            None => (dice.pick(kinds), pace.then),
        };
        let fault = fault(dice, kind, cast);
        events.push(Event { at, fault });
        at += dice.millis(shortest, longest);
    }
    events
}

fn fault(dice: &mut Dice, kind: Kind, cast: Cast) -> Fault {
    let worker = dice.below(cast.workers);
    let who = dice.pick(&[
        (3, Who::Worker(worker)),
        (2, Who::Sender),
        (1, Who::Everybody),
    ]);
    match kind {
        Kind::Kill => Fault::Kill {
            worker,
            down: dice.millis(0, 4_000),
        },
        Kind::Pause => Fault::Pause {
            worker,
            lasts: dice.millis(1_000, 12_000),
        },
        Kind::Cut => Fault::Cut { who },
        Kind::Hold => Fault::Hold {
            who,
            way: dice.pick(&[(1, Way::Out), (1, Way::In), (1, Way::Both)]),
            lasts: dice.millis(1_000, 12_000),
        },
        Kind::Delay => Fault::Delay {
            who,
            by: dice.millis(20, 400),
            lasts: dice.millis(2_000, 8_000),
        },
        Kind::Refuse => Fault::Refuse {
            who,
            lasts: dice.millis(500, 8_000),
        },
        Kind::Crash | Kind::Restart => Fault::Restart {
            node: dice.node(cast.nodes),
            cleanly: matches!(kind, Kind::Restart),
            down: dice.millis(0, 3_000),
        },
        // longer than a publish may take, too
        Kind::Alarm => Fault::Alarm {
            node: dice.node(cast.nodes),
            lasts: dice.millis(1_000, 16_000),
        },
    }
}

impl Fault {
    /// The word by which faults are counted.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Kill { .. } => "worker killed",
            Self::Pause { .. } => "worker paused",
            Self::Cut { .. } => "connections cut",
            Self::Hold { .. } => "half-open",
            Self::Delay { .. } => "delayed",
            Self::Refuse { .. } => "refused",
            Self::Restart { cleanly: false, .. } => "broker killed",
            Self::Restart { cleanly: true, .. } => "broker restarted",
            Self::Alarm { .. } => "memory alarm",
        }
    }
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sender => f.write_str("the sender"),
            Self::Worker(number) => write!(f, "worker {number}"),
            Self::Everybody => f.write_str("everybody"),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.name();
        match self {
            Self::Kill { worker, down } => write!(f, "{name}: {worker}, for {down:?}"),
            Self::Pause { worker, lasts } => write!(f, "{name}: {worker}, for {lasts:?}"),
            Self::Cut { who } => write!(f, "{name}: {who}"),
            Self::Hold { who, way, lasts } => write!(f, "{name}: {who}, {way:?}, for {lasts:?}"),
            Self::Delay { who, by, lasts } => write!(f, "{name}: {who}, by {by:?} for {lasts:?}"),
            Self::Refuse { who, lasts } => write!(f, "{name}: {who}, for {lasts:?}"),
            Self::Restart { node, down, .. } => write!(f, "{name}: node {node}, for {down:?}"),
            Self::Alarm { node, lasts } => write!(f, "{name}: node {node}, for {lasts:?}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn a_seed_repeats_its_schedule() {
        assert_eq!(draw(7, MINUTE, 3, 1), draw(7, MINUTE, 3, 1));
        assert_ne!(draw(7, MINUTE, 3, 1), draw(8, MINUTE, 3, 1));
    }

    #[test]
    fn a_minute_has_every_kind_of_fault() {
        for seed in 0..100 {
            let events = draw(seed, MINUTE, 3, 3);
            let names: BTreeSet<_> = events.iter().map(|event| event.fault.name()).collect();
            assert_eq!(
                names.len(),
                SMALL.len() + LARGE.len(),
                "seed {seed}: {names:?}"
            );
            assert!(events.is_sorted_by_key(|event| event.at));
        }
    }

    #[test]
    fn only_workers_that_exist_are_hurt() {
        for event in draw(1, 20 * MINUTE, 2, 1) {
            if let Fault::Kill { worker, .. }
            | Fault::Pause { worker, .. }
            | Fault::Cut {
                who: Who::Worker(worker),
            } = event.fault
            {
                assert!(worker < 2);
            }
        }
    }
}
