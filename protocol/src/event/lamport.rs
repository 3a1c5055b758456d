//! The logical clock of a process.

use std::sync::atomic::{AtomicU64, Ordering};

/// The highest time that is taken from others: far beyond what a process reaches, and far from the end of the numbers.
const HIGHEST: u64 = 1 << 53;

/// A Lamport clock: counts what a process says and hears, so that what follows from something has a higher number.
///
/// Events of one worker are ordered by it. It costs one atomic operation.
#[derive(Debug, Default)]
pub struct LamportClock(AtomicU64);

impl LamportClock {
    /// A clock at zero.
    #[must_use]
    pub const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// Counts one event, and returns its number.
    pub fn tick(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Goes beyond the time that another process said it had, and returns the new time. A time that cannot be true is
    /// ignored.
    pub fn adjust(&self, received: u64) -> u64 {
        if received > HIGHEST {
            return self.tick();
        }
        self.0.fetch_max(received, Ordering::Relaxed);
        self.tick()
    }

    /// The number of the last event.
    #[must_use]
    pub fn now(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_follows_has_a_higher_number() {
        let clock = LamportClock::new();
        assert_eq!((clock.tick(), clock.tick(), clock.now()), (1, 2, 2));
        assert_eq!(clock.adjust(40), 41);
        assert_eq!(clock.adjust(7), 42);
        assert_eq!(clock.tick(), 43);
    }

    #[test]
    fn a_time_that_cannot_be_true_does_not_end_the_clock() {
        let clock = LamportClock::new();
        assert_eq!(clock.adjust(u64::MAX), 1);
    }
}
