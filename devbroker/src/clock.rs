//! Real or virtual time: everything that a queue does by itself goes by it.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::watch;
use tokio::time::sleep;

/// The time by which messages and queues expire; cheap to clone.
///
/// A virtual clock stands still until it is told to advance, so that a test need not wait for what takes hours.
/// Connections (heartbeats, handshakes) always go by real time.
#[derive(Clone, Debug)]
pub struct Clock(Kind);

#[derive(Clone, Debug)]
enum Kind {
    System,
    Virtual(Arc<watch::Sender<SystemTime>>),
}

impl Clock {
    /// Real time.
    #[must_use]
    pub fn system() -> Self {
        Self(Kind::System)
    }

    /// A clock that stands still at the time of this call.
    #[must_use]
    pub fn stopped() -> Self {
        Self(Kind::Virtual(Arc::new(watch::Sender::new(
            SystemTime::now(),
        ))))
    }

    /// The time.
    #[must_use]
    pub fn now(&self) -> SystemTime {
        match &self.0 {
            Kind::System => SystemTime::now(),
            Kind::Virtual(now) => *now.borrow(),
        }
    }

    /// Advances a virtual clock; real time cannot be.
    pub fn advance(&self, by: Duration) {
        if let Kind::Virtual(now) = &self.0 {
            now.send_modify(|now| *now += by);
        }
    }

    /// Advances a virtual clock to this time, unless it is past already.
    pub fn advance_to(&self, time: SystemTime) {
        if let Kind::Virtual(now) = &self.0 {
            now.send_modify(|now| *now = time.max(*now));
        }
    }

    /// Whether it only goes on when told.
    pub(crate) fn is_virtual(&self) -> bool {
        matches!(self.0, Kind::Virtual(_))
    }

    /// Waits until `due`; for ever without it.
    pub(crate) async fn until(&self, due: Option<SystemTime>) {
        let Some(due) = due else {
            return std::future::pending().await;
        };
        match &self.0 {
            Kind::System => {
                let wait = due.duration_since(SystemTime::now());
                // clocks of the kernel are exact to the millisecond; never early
                sleep(wait.unwrap_or_default()).await;
            }
            Kind::Virtual(now) => {
                let mut time = now.subscribe();
                let _clock_is_gone = time.wait_for(|now| *now >= due).await.is_err();
            }
        }
    }
}
