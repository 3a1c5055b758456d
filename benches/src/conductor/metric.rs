//! What is measured, and what is aimed at.

use clap::ValueEnum;

use crate::participant::Participant;

/// A piece of work that all participants do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Workload {
    /// Publish tasks, confirmed, from one process.
    W1,
    /// Drain tasks that do nothing, with one worker process.
    W2,
    /// Many calls at once, all results back.
    W3,
    /// One call after another.
    W4,
    /// Tasks that sleep for 100 ms.
    W5,
    /// Start a worker that has a task waiting.
    W6,
}

impl Workload {
    pub(crate) const ALL: [Self; 6] = [Self::W1, Self::W2, Self::W3, Self::W4, Self::W5, Self::W6];
}

/// Which of two figures is the better one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Better {
    Higher,
    Lower,
}

/// Something that is measured.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Metric {
    /// Its name in the JSON.
    pub(crate) id: &'static str,
    pub(crate) workload: Workload,
    /// Its name for people, with the unit.
    pub(crate) name: &'static str,
    pub(crate) better: Better,
    /// Decimal places that say something.
    pub(crate) digits: usize,
}

const fn metric(
    id: &'static str,
    workload: Workload,
    name: &'static str,
    better: Better,
    digits: usize,
) -> Metric {
    Metric {
        id,
        workload,
        name,
        better,
        digits,
    }
}

macro_rules! metrics {
    ($($constant:ident = $id:literal $workload:ident $name:literal $better:ident $digits:literal)*) => {
        $(
            #[doc = $name]
            pub(crate) const $constant: Metric =
                metric($id, Workload::$workload, $name, Better::$better, $digits);
        )*

        /// All, in the order of the table.
        pub(crate) const ALL: &[&Metric] = &[$(&$constant),*];
    };
}

metrics! {
    PUBLISH_RATE = "w1_rate" W1 "W1 publish, tasks/s" Higher 0
    PUBLISH_CPU = "w1_client_cpu" W1 "W1 client CPU, µs/task" Lower 1
    PUBLISH_BROKER = "w1_broker_cpu" W1 "W1 broker CPU, µs/task" Lower 1
    DRAIN_RATE = "w2_rate" W2 "W2 drain, tasks/s" Higher 0
    DRAIN_CPU = "w2_worker_cpu" W2 "W2 worker CPU, s/10,000 tasks" Lower 3
    DRAIN_BROKER = "w2_broker_cpu" W2 "W2 broker CPU, µs/task" Lower 1
    DRAIN_MEMORY = "w2_memory" W2 "W2 worker RSS when idle again, MiB" Lower 1
    CALL_RATE = "w3_rate" W3 "W3 calls at once, results/s" Higher 0
    CALL_CLIENT = "w3_client_cpu" W3 "W3 client CPU, µs/call" Lower 1
    CALL_WORKER = "w3_worker_cpu" W3 "W3 worker CPU, µs/call" Lower 1
    CALL_BROKER = "w3_broker_cpu" W3 "W3 broker CPU, µs/call" Lower 1
    LATENCY_HALF = "w4_p50" W4 "W4 call after call, p50, µs" Lower 0
    LATENCY_MOST = "w4_p99" W4 "W4 call after call, p99, µs" Lower 0
    NAPS = "w5_time" W5 "W5 sleeping tasks, first start to last end, ms" Lower 1
    START = "w6_start" W6 "W6 start to first task done, ms" Lower 1
    MEMORY = "w6_memory" W6 "W6 worker RSS when idle, MiB" Lower 1
}

/// What coney aims at.
#[derive(Debug)]
pub(crate) struct Goal {
    pub(crate) metric: &'static Metric,
    pub(crate) bound: Bound,
}

/// How good is good enough.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Bound {
    /// At least this part of what another participant achieves.
    Of(Participant, f64),
    /// At most this figure.
    AtMost(f64),
}

impl Bound {
    /// Such as `≥ 0.70 of LIMIT`.
    pub(crate) fn text(self) -> String {
        match self {
            Self::Of(other, part) => format!("≥ {part:.2} of {}", other.name().to_uppercase()),
            Self::AtMost(most) => format!("≤ {most}"),
        }
    }

    /// Whether it is good enough.
    pub(crate) fn is_met_by(self, figure: f64) -> bool {
        match self {
            Self::Of(_, part) => figure >= part,
            Self::AtMost(most) => figure <= most,
        }
    }
}

const fn goal(metric: &'static Metric, bound: Bound) -> Goal {
    Goal { metric, bound }
}

/// The goals, for the median of all rounds.
pub(crate) const GOALS: &[Goal] = &[
    goal(&PUBLISH_RATE, Bound::Of(Participant::Limit, 0.70)),
    goal(&PUBLISH_RATE, Bound::Of(Participant::Rich, 0.90)),
    goal(&DRAIN_RATE, Bound::Of(Participant::Limit, 0.60)),
    goal(&DRAIN_RATE, Bound::Of(Participant::Rich, 0.95)),
    goal(&CALL_RATE, Bound::Of(Participant::Rich, 0.90)),
    goal(&LATENCY_HALF, Bound::Of(Participant::Rich, 0.90)),
    goal(&NAPS, Bound::Of(Participant::Limit, 0.95)),
    goal(&START, Bound::AtMost(50.0)),
    goal(&MEMORY, Bound::AtMost(15.0)),
    goal(&DRAIN_CPU, Bound::AtMost(0.22)),
];
