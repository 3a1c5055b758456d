//! Whether a worker takes messages, and why not.

use std::fmt;

use tokio::sync::watch;

/// Whether a worker takes messages.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ready {
    /// It has not started yet, or lost its connection.
    NotYet {
        /// Why, for people.
        reason: String,
    },
    /// It consumes all its queues.
    Yes,
    /// It has stopped, or finishes what it runs.
    Stopped,
}

impl fmt::Display for Ready {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotYet { reason } => write!(f, "not ready: {reason}"),
            Self::Yes => f.write_str("ready"),
            Self::Stopped => f.write_str("stopped"),
        }
    }
}

/// Watches whether a worker takes messages; cheap to clone. For health checks and tests.
#[derive(Clone, Debug)]
pub struct Readiness(watch::Receiver<Ready>);

impl Readiness {
    pub(crate) fn new(receiver: watch::Receiver<Ready>) -> Self {
        Self(receiver)
    }

    /// What it is now.
    #[must_use]
    pub fn now(&self) -> Ready {
        self.0.borrow().clone()
    }

    /// Waits until the worker takes messages; false if it stopped instead.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn ready(&mut self) -> bool {
        let settled = self
            .0
            .wait_for(|ready| !matches!(ready, Ready::NotYet { .. }));
        matches!(settled.await.as_deref(), Ok(Ready::Yes))
    }

    /// Waits for the next change; `None` once the worker is gone.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn changed(&mut self) -> Option<Ready> {
        self.0.changed().await.ok()?;
        Some(self.0.borrow_and_update().clone())
    }
}
