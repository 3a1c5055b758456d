//! Whether messages come and go, and why not.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

/// Whether a consuming connection and all its consumers work.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SessionStatus {
    /// Not everything works; attempts go on until it does.
    Connecting {
        /// How many attempts have failed so far.
        attempt: u32,
        /// Why the last one failed, for people to read.
        reason: String,
    },
    /// Connected, and every consumer receives.
    Ready,
    /// Closed for good.
    Closed,
}

impl fmt::Display for SessionStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connecting { reason, .. } => write!(f, "not ready: {reason}"),
            Self::Ready => f.write_str("ready"),
            Self::Closed => f.write_str("closed"),
        }
    }
}

/// Whether messages can be published.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PublisherStatus {
    /// There is no connection; attempts go on, and what is published waits for them until its deadline.
    Connecting {
        /// Why the last connection ended, or the last attempt failed, for people to read.
        reason: String,
    },
    /// Connected, but the broker takes no messages for now: it is short of memory or disk.
    Blocked {
        /// What the broker says.
        reason: String,
    },
    /// Connected, but the broker has not answered for a third of a second: what is published waits until it does, or
    /// the connection is replaced.
    Silent,
    /// Connected.
    Ready,
    /// Closed for good.
    Closed,
}

impl fmt::Display for PublisherStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connecting { reason } => write!(f, "not ready: {reason}"),
            Self::Blocked { reason } => write!(f, "blocked by the broker: {reason}"),
            Self::Silent => f.write_str("not ready: the broker does not answer"),
            Self::Ready => f.write_str("ready"),
            Self::Closed => f.write_str("closed"),
        }
    }
}

/// Collects what connection and consumers report into one status.
#[derive(Debug)]
pub(crate) struct Board {
    state: Mutex<State>,
    status: watch::Sender<SessionStatus>,
}

/// Something that does not work: how many attempts failed, and why the last one did.
#[derive(Clone, Debug, Default)]
struct Trouble {
    attempt: u32,
    reason: String,
}

#[derive(Debug)]
struct State {
    closed: bool,
    connection: Option<Trouble>,
    consumers: BTreeMap<u64, Option<Trouble>>,
}

impl State {
    fn status(&self) -> SessionStatus {
        let consumers = || self.consumers.values().flatten();
        match self.connection.as_ref().or_else(|| consumers().next()) {
            _ if self.closed => SessionStatus::Closed,
            Some(Trouble { attempt, reason }) => SessionStatus::Connecting {
                attempt: *attempt,
                reason: reason.clone(),
            },
            None => SessionStatus::Ready,
        }
    }
}

impl Default for Board {
    fn default() -> Self {
        let state = State {
            closed: false,
            connection: Some(Trouble {
                attempt: 0,
                reason: "not connected yet".to_owned(),
            }),
            consumers: BTreeMap::new(),
        };
        Self {
            status: watch::Sender::new(state.status()),
            state: Mutex::new(state),
        }
    }
}

impl Board {
    pub(crate) fn subscribe(&self) -> watch::Receiver<SessionStatus> {
        self.status.subscribe()
    }

    pub(crate) fn connected(&self) {
        self.change(|state| state.connection = None);
    }

    pub(crate) fn disconnected(&self, attempt: u32, reason: String) {
        self.change(|state| state.connection = Some(Trouble { attempt, reason }));
    }

    /// Why there is no connection, if there is none.
    pub(crate) fn connection_trouble(&self) -> Option<String> {
        let state = self.state();
        state
            .connection
            .as_ref()
            .map(|trouble| trouble.reason.clone())
    }

    pub(crate) fn consuming(&self, consumer: u64) {
        self.change(|state| {
            state.consumers.insert(consumer, None);
        });
    }

    pub(crate) fn not_consuming(&self, consumer: u64, attempt: u32, reason: String) {
        let trouble = Some(Trouble { attempt, reason });
        self.change(|state| {
            state.consumers.insert(consumer, trouble);
        });
    }

    pub(crate) fn remove(&self, consumer: u64) {
        self.change(|state| {
            state.consumers.remove(&consumer);
        });
    }

    pub(crate) fn close(&self) {
        self.change(|state| state.closed = true);
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.state();
        change(&mut state);
        let status = state.status();
        // within the lock, so that the last change is the last one seen
        self.status.send_if_modified(|current| {
            let is_new = *current != status;
            *current = status;
            is_new
        });
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connecting(attempt: u32, reason: &str) -> SessionStatus {
        SessionStatus::Connecting {
            attempt,
            reason: reason.to_owned(),
        }
    }

    #[test]
    fn ready_means_that_everything_works() {
        let board = Board::default();
        let status = board.subscribe();
        assert_eq!(*status.borrow(), connecting(0, "not connected yet"));
        board.not_consuming(1, 0, "first".into());
        board.connected();
        assert_eq!(*status.borrow(), connecting(0, "first"));
        board.consuming(1);
        assert_eq!(*status.borrow(), SessionStatus::Ready);
        board.not_consuming(2, 3, "second".into());
        assert_eq!(*status.borrow(), connecting(3, "second"));
        board.disconnected(1, "gone".into());
        assert_eq!(*status.borrow(), connecting(1, "gone"));
        board.connected();
        board.remove(2);
        assert_eq!(*status.borrow(), SessionStatus::Ready);
        board.close();
        assert_eq!(*status.borrow(), SessionStatus::Closed);
    }
}
