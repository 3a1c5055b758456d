//! How long to wait before the next attempt to reconnect.

use std::time::Duration;

/// The first wait is drawn below this.
const FIRST: Duration = Duration::from_millis(100);

/// No wait is longer.
const LONGEST: Duration = Duration::from_secs(5);

/// The shortest wait, so that a broker that closes at once is not hammered.
const SHORTEST: Duration = Duration::from_millis(50);

/// Doubles from attempt to attempt, and draws from the upper half, so that clients do not come back in step.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    attempt: u32,
}

impl Backoff {
    /// The number of waits so far.
    pub(crate) fn attempt(&self) -> u32 {
        self.attempt
    }

    /// The next wait.
    pub(crate) fn next(&mut self) -> Duration {
        let ceiling = FIRST.saturating_mul(1 << self.attempt.min(16)).min(LONGEST);
        self.attempt = self.attempt.saturating_add(1);
        (ceiling / 2 + ceiling.mul_f64(random() / 2.0)).max(SHORTEST)
    }

    /// Starts again from the shortest wait.
    pub(crate) fn reset(&mut self) {
        self.attempt = 0;
    }
}

/// A number between 0 and 1: good enough to spread clients, and no dependency for it.
fn random() -> f64 {
    let bytes = uuid::Uuid::now_v7().into_bytes();
    let low = u16::from_be_bytes([bytes[14], bytes[15]]);
    f64::from(low) / f64::from(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_up_to_a_bound_and_start_again() {
        let mut backoff = Backoff::default();
        let waits: Vec<_> = (0..40).map(|_| backoff.next()).collect();
        assert!(waits.iter().all(|wait| (SHORTEST..=LONGEST).contains(wait)));
        assert!(waits[0] <= FIRST);
        assert!(waits[39] >= LONGEST / 2);
        backoff.reset();
        assert!(backoff.next() <= FIRST);
    }
}
