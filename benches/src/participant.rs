//! Who is measured, and how each shows what it does.

pub mod coney;
pub mod limit;
mod marks;
mod raw;
pub mod rich;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

pub(crate) use self::marks::Marks;

/// Who is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Participant {
    /// Raw lapin, the least that can be written.
    Limit,
    /// Raw lapin with all that a framework needs.
    Rich,
    /// The framework.
    Coney,
}

impl Participant {
    /// The name in tables and on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Limit => "limit",
            Self::Rich => "rich",
            Self::Coney => "coney",
        }
    }
}

/// The kind of the task queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Replicated, what coney declares by itself.
    Quorum,
    /// Kept by one node.
    Classic,
}

impl Kind {
    /// The value of `x-queue-type`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Quorum => "quorum",
            Self::Classic => "classic",
        }
    }
}

/// The part of a participant in a workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Part {
    /// Declares the queue, and ends.
    Declare,
    /// Publishes tasks, confirmed.
    Publish,
    /// Runs tasks until it is told to stop.
    Work,
    /// Calls tasks and waits for all results.
    Call,
}

impl Part {
    /// The name on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Declare => "declare",
            Self::Publish => "publish",
            Self::Work => "work",
            Self::Call => "call",
        }
    }
}
