//! The time that messages go by: real, or given by a test.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

/// Tells the time to everything that reads or writes a time of a message: when a delayed call is due, when it expires,
/// when an attempt failed, how long a revocation is remembered.
///
/// The clock of a broker handle is the clock of all clients and workers on it. A test that gives it virtual time gives
/// the same to the broker that it runs against. What waits for something that happens now (time limits of running
/// tasks, timeouts of the network) never asks it.
#[derive(Clone)]
pub struct Clock(Kind);

#[derive(Clone)]
enum Kind {
    System,
    Virtual(Arc<Virtual>),
}

struct Virtual {
    now: Box<dyn Fn() -> SystemTime + Send + Sync>,
    /// What the clock showed when it was made, and when that was.
    start: (SystemTime, Instant),
}

impl Clock {
    /// The clock of this machine.
    #[must_use]
    pub const fn system() -> Self {
        Self(Kind::System)
    }

    /// A clock that shows what `now` says.
    #[must_use]
    pub fn of(now: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        let start = (now(), Instant::now());
        let now = Box::new(now);
        Self(Kind::Virtual(Arc::new(Virtual { now, start })))
    }

    /// The time of day.
    #[must_use]
    pub fn now(&self) -> SystemTime {
        match &self.0 {
            Kind::System => SystemTime::now(),
            Kind::Virtual(clock) => (clock.now)(),
        }
    }

    /// The same for measuring how long something lasts: never goes back, whatever becomes of the time of day.
    #[must_use]
    pub fn instant(&self) -> Instant {
        match &self.0 {
            Kind::System => Instant::now(),
            Kind::Virtual(clock) => {
                let (from, began) = clock.start;
                let passed = (clock.now)().duration_since(from);
                began + passed.unwrap_or(Duration::ZERO)
            }
        }
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::system()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::System => f.write_str("Clock(system)"),
            Kind::Virtual(_) => write!(f, "Clock({:?})", self.now()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[test]
    fn a_given_clock_shows_and_measures_given_time() {
        let time = Arc::new(Mutex::new(SystemTime::UNIX_EPOCH));
        let clock = Clock::of({
            let time = Arc::clone(&time);
            move || *time.lock().expect("nothing panics while it is held")
        });
        let before = clock.instant();
        *time.lock().expect("nothing panics while it is held") += Duration::from_secs(3600);
        assert_eq!(
            clock.now(),
            SystemTime::UNIX_EPOCH + Duration::from_secs(3600)
        );
        assert_eq!(clock.instant() - before, Duration::from_secs(3600));
    }
}
