//! Which letters an operation is about.

use std::fmt;

use coney_protocol::id::TaskId;

use super::letter::{DeadLetter, DeadReason};

/// Which dead letters to put back or to throw away.
pub struct Selection(Kind);

enum Kind {
    All,
    Id(TaskId),
    Matching(Predicate),
}

type Predicate = Box<dyn Fn(&DeadLetter) -> bool + Send + Sync>;

impl Selection {
    /// All that are there when the operation begins.
    #[must_use]
    pub fn all() -> Self {
        Self(Kind::All)
    }

    /// Those with this task id. That there is none is an error, other than with
    /// [`matching`](Self::matching).
    #[must_use]
    pub fn id(id: TaskId) -> Self {
        Self(Kind::Id(id))
    }

    /// Those that `predicate` says yes to.
    #[must_use]
    pub fn matching(predicate: impl Fn(&DeadLetter) -> bool + Send + Sync + 'static) -> Self {
        Self(Kind::Matching(Box::new(predicate)))
    }

    /// Those that were given up for this reason: a `Reason`, a [`DeadReason`] or a word such as `delivery_limit`.
    #[must_use]
    pub fn reason(reason: impl Into<DeadReason>) -> Self {
        let reason = reason.into();
        Self::matching(move |letter| letter.reason == reason)
    }

    /// Those of the task with this wire name.
    #[must_use]
    pub fn task(name: impl Into<String>) -> Self {
        let name = name.into();
        Self::matching(move |letter| letter.task.as_ref() == Some(&name))
    }

    pub(super) fn takes(&self, letter: &DeadLetter) -> bool {
        match &self.0 {
            Kind::All => true,
            Kind::Id(id) => letter.id.as_ref() == Some(id),
            Kind::Matching(predicate) => predicate(letter),
        }
    }

    /// The id that has to be there.
    pub(super) fn wanted(&self) -> Option<&TaskId> {
        match &self.0 {
            Kind::Id(id) => Some(id),
            Kind::All | Kind::Matching(_) => None,
        }
    }
}

impl From<TaskId> for Selection {
    fn from(id: TaskId) -> Self {
        Self::id(id)
    }
}

impl From<&TaskId> for Selection {
    fn from(id: &TaskId) -> Self {
        Self::id(id.clone())
    }
}

impl fmt::Debug for Selection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::All => f.write_str("Selection(all)"),
            Kind::Id(id) => write!(f, "Selection({id})"),
            Kind::Matching(_) => f.write_str("Selection(matching)"),
        }
    }
}
