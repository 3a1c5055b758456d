//! How long to wait before the next attempt: pure, with the random number given.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::spec::{Backoff, RetryPolicy};

/// The wait before the attempt that follows `failed` failed ones, or `None` if that was the last.
///
/// `chance` lies between 0 and 1 and is used if the policy has jitter: the wait is drawn evenly between nothing and the
/// computed one ("full jitter", <https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/>).
///
/// ```
/// use std::time::Duration;
/// use coney_protocol::policy;
/// use coney_protocol::spec::{Backoff, RetryPolicy};
///
/// let policy = RetryPolicy::max(3).backoff(Backoff::Fixed(Duration::from_secs(10))).jitter(false);
/// assert_eq!(policy::wait(&policy, 1, 0.5), Some(Duration::from_secs(10)));
/// assert_eq!(policy::wait(&policy, 4, 0.5), None);
/// ```
#[must_use]
pub fn wait(policy: &RetryPolicy, failed: u32, chance: f64) -> Option<Duration> {
    if failed > policy.max {
        return None;
    }
    let wait = backoff(policy.backoff, failed);
    Some(if policy.jitter {
        wait.mul_f64(chance.clamp(0.0, 1.0))
    } else {
        wait
    })
}

/// The wait without jitter; never overflows.
fn backoff(backoff: Backoff, failed: u32) -> Duration {
    let steps = failed.max(1) - 1;
    match backoff {
        Backoff::Exponential { first, cap } => {
            let factor = 1_u32.checked_shl(steps).unwrap_or(u32::MAX);
            first.saturating_mul(factor).min(cap)
        }
        Backoff::Linear { step, cap } => {
            let factor = steps.saturating_add(1);
            step.saturating_mul(factor).min(cap)
        }
        Backoff::Fixed(wait) => wait,
    }
}

/// The form that travels in a header: `5 exponential 1000 600000 jitter`, times in milliseconds.
impl fmt::Display for RetryPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.max)?;
        match self.backoff {
            Backoff::Exponential { first, cap } => {
                write!(f, "exponential {} {}", first.as_millis(), cap.as_millis())?;
            }
            Backoff::Linear { step, cap } => {
                write!(f, "linear {} {}", step.as_millis(), cap.as_millis())?;
            }
            Backoff::Fixed(wait) => write!(f, "fixed {}", wait.as_millis())?,
        }
        f.write_str(if self.jitter { " jitter" } else { "" })
    }
}

/// The text is no retry policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a retry policy")]
pub struct NotAPolicy;

impl FromStr for RetryPolicy {
    type Err = NotAPolicy;

    fn from_str(text: &str) -> Result<Self, NotAPolicy> {
        let mut words = text.split(' ');
        let mut word = || words.next().ok_or(NotAPolicy);
        let max = word()?.parse().map_err(|_| NotAPolicy)?;
        let kind = word()?;
        let mut millis = || {
            let number = word()?.parse().map_err(|_| NotAPolicy)?;
            Ok(Duration::from_millis(number))
        };
        let backoff = match kind {
            "exponential" => Backoff::Exponential {
                first: millis()?,
                cap: millis()?,
            },
            "linear" => Backoff::Linear {
                step: millis()?,
                cap: millis()?,
            },
            "fixed" => Backoff::Fixed(millis()?),
            _ => return Err(NotAPolicy),
        };
        let jitter = match words.next() {
            None => false,
            Some("jitter") => true,
            Some(_) => return Err(NotAPolicy),
        };
        Ok(Self::max(max).backoff(backoff).jitter(jitter))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn secs(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn waits(backoff: Backoff) -> Vec<u64> {
        let policy = RetryPolicy::max(6).backoff(backoff).jitter(false);
        (1..=6)
            .filter_map(|failed| wait(&policy, failed, 0.0))
            .map(|wait| wait.as_secs())
            .collect()
    }

    #[test]
    fn each_backoff_grows_as_it_says_up_to_its_cap() {
        let exponential = Backoff::Exponential {
            first: secs(1),
            cap: secs(10),
        };
        assert_eq!(waits(exponential), [1, 2, 4, 8, 10, 10]);
        let linear = Backoff::Linear {
            step: secs(3),
            cap: secs(10),
        };
        assert_eq!(waits(linear), [3, 6, 9, 10, 10, 10]);
        assert_eq!(waits(Backoff::Fixed(secs(7))), [7; 6]);
    }

    #[test]
    fn after_the_last_attempt_there_is_no_wait() {
        let policy = RetryPolicy::max(2);
        assert!(wait(&policy, 2, 1.0).is_some());
        assert_eq!(wait(&policy, 3, 1.0), None);
        assert_eq!(wait(&RetryPolicy::max(0), 1, 1.0), None);
    }

    fn durations() -> impl Strategy<Value = Duration> {
        any::<u64>().prop_map(Duration::from_millis)
    }

    fn backoffs() -> impl Strategy<Value = Backoff> {
        prop_oneof![
            (durations(), durations()).prop_map(|(first, cap)| Backoff::Exponential { first, cap }),
            (durations(), durations()).prop_map(|(step, cap)| Backoff::Linear { step, cap }),
            durations().prop_map(Backoff::Fixed),
        ]
    }

    proptest! {
        #[test]
        fn no_policy_overflows_and_jitter_only_shortens(
            backoff in backoffs(), max: u32, failed in 1_u32.., chance in 0.0..=1.0,
        ) {
            let policy = RetryPolicy::max(max).backoff(backoff);
            let plain = wait(&policy.jitter(false), failed, chance);
            let drawn = wait(&policy.jitter(true), failed, chance);
            prop_assert_eq!(plain.is_some(), failed <= max);
            prop_assert_eq!(drawn.is_some(), plain.is_some());
            // a float has 52 bits: a wait of many years may come out a moment longer
            prop_assert!(drawn <= plain.map(|wait| wait.saturating_add(secs(wait.as_secs() >> 40)).saturating_add(Duration::from_millis(1))));
        }

        #[test]
        fn a_policy_survives_its_text(backoff in backoffs(), max: u32, jitter: bool) {
            let policy = RetryPolicy::max(max).backoff(backoff).jitter(jitter);
            prop_assert_eq!(policy.to_string().parse(), Ok(policy));
        }

        #[test]
        fn waits_never_shrink(backoff in backoffs(), failed in 1_u32..1000) {
            let policy = RetryPolicy::max(u32::MAX).backoff(backoff).jitter(false);
            prop_assert!(wait(&policy, failed, 0.0) <= wait(&policy, failed + 1, 0.0));
        }
    }
}
