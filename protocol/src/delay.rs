//! The delay ladder: how a message waits in the broker, for a millisecond or for years, without a plugin.
//!
//! Level k is a queue whose messages live for 2^k milliseconds and then fall, dead-lettered, to level k - 1. A delay is
//! written as one binary digit for each level in front of the routing key; a digit 1 leads into the level's queue, a
//! digit 0 past it from exchange to exchange. Past the last level the queue that waits for the message is bound with as
//! many `*.` as there are levels.
//!
//! ```text
//! coney.delay.2 --*.1.#--> queue coney.delay.2 (4 ms) --dead letter--+
//!       |                                                            v
//!       +------------*.0.#--------------------------------> coney.delay.1 ..   .. coney.delay.out --*.*.*.emails--> emails
//! ```
//!
//! The queues are quorum queues that dead-letter at least once, so a waiting message survives what a quorum survives.

use std::borrow::Cow;
use std::time::{Duration, SystemTime};

use crate::property::Table;
use crate::topology::{
    Binding, Destination, Exchange, ExchangeKind, Queue, Route, Topology, durable,
};

/// Levels of the ladder: the longest delay is 2^38 - 1 ms, some 8.7 years.
pub const LEVELS: usize = 38;

/// The longest delay; a longer one waits that long again when it is over.
pub const LONGEST: Duration = Duration::from_millis((1 << LEVELS) - 1);

/// The exchange that a delayed message comes out of.
pub const OUT_EXCHANGE: &str = "coney.delay.out";

/// What the names of the levels start with; the number follows.
const PREFIX: &str = "coney.delay.";

/// How exactly a delay is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// To 1 ms below 1 s, to 16 ms below 16 s, to about 1 s above: what a caller asks for.
    Fine,
    /// To three binary digits, at most a seventh longer: fewer hops, for back-off, which is drawn at random anyway.
    Coarse,
}

/// A delay as the ladder keeps it: rounded up, never early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Steps(u64);

impl Steps {
    /// Rounds a delay up to what the ladder keeps; `None` if there is nothing to wait for.
    #[must_use]
    pub fn of(delay: Duration, precision: Precision) -> Option<Self> {
        let exact = ceil_millis(delay.min(LONGEST));
        let unit = match precision {
            Precision::Fine => match exact {
                0..1_000 => 1,
                1_000..16_000 => 16,
                _ => 1_024,
            },
            Precision::Coarse => {
                let bits = u64::BITS - exact.leading_zeros();
                1 << bits.saturating_sub(3)
            }
        };
        let rounded = exact.next_multiple_of(unit);
        // rounding up the longest would leave the ladder
        (exact > 0).then(|| Self(rounded.min(ceil_millis(LONGEST))))
    }

    /// The steps from `now` until `time`, rounded up finely; `None` if that is not later.
    #[must_use]
    pub fn until(time: SystemTime, now: SystemTime) -> Option<Self> {
        let remaining = time.duration_since(now).ok()?;
        Self::of(remaining, Precision::Fine)
    }

    /// How long it really waits.
    #[must_use]
    pub const fn duration(self) -> Duration {
        Duration::from_millis(self.0)
    }

    /// Where to publish a message that shall reach `key` after the delay: at the highest level that it waits in.
    #[must_use]
    pub fn route(self, key: &str) -> Route {
        let highest = self.0.ilog2() as usize;
        let mut delayed = String::with_capacity(2 * LEVELS + key.len());
        for level in (0..LEVELS).rev() {
            delayed.push(if self.0 >> level & 1 == 1 { '1' } else { '0' });
            delayed.push('.');
        }
        delayed.push_str(key);
        Route {
            exchange: Cow::Owned(exchange(highest)),
            key: Cow::Owned(delayed),
        }
    }
}

/// The wait that a routing key of the ladder still stands for below `level`, and the key behind it; `None` if it is no
/// such key.
#[must_use]
pub fn below_level(key: &str, level: usize) -> Option<(Duration, &str)> {
    let (digits, key) = key.split_at_checked(2 * LEVELS)?;
    let millis = digits.split_terminator('.').try_fold(0, |millis, digit| {
        let digit = match digit {
            "0" => 0_u64,
            "1" => 1,
            _ => return None,
        };
        Some(millis << 1 | digit)
    })?;
    let below = millis & ((1 << level.min(LEVELS)) - 1);
    digits
        .ends_with('.')
        .then_some((Duration::from_millis(below), key))
}

/// The queue that a message was meant for that came out of the ladder; `None` if it did not.
#[must_use]
pub fn meant_for<'a>(exchange: &str, key: &'a str) -> Option<&'a str> {
    exchange
        .starts_with(PREFIX)
        .then(|| below_level(key, 0))
        .flatten()
        .map(|(_, queue)| queue)
}

/// The level that a queue of the ladder is.
#[must_use]
pub fn level_of(queue: &str) -> Option<usize> {
    queue.strip_prefix(PREFIX)?.parse().ok()
}

fn ceil_millis(duration: Duration) -> u64 {
    let nanos = duration.as_nanos().div_ceil(1_000_000);
    u64::try_from(nanos).unwrap_or(u64::MAX)
}

/// The exchange of a level, and its queue: they share a name.
fn exchange(level: usize) -> String {
    format!("{PREFIX}{level}")
}

/// Where a message goes that is past `level`.
fn below(level: usize) -> Cow<'static, str> {
    match level.checked_sub(1) {
        Some(next) => Cow::Owned(exchange(next)),
        None => Cow::Borrowed(OUT_EXCHANGE),
    }
}

/// The exchange that delayed messages come out of.
#[must_use]
pub fn out_exchange() -> Exchange {
    topic(OUT_EXCHANGE)
}

/// The binding that lets delayed messages of a queue reach it.
///
/// Exactly one `*.` for each level: with `#.` the key `b` would also catch what is meant for `a.b`.
#[must_use]
pub fn exit(queue: &str) -> Binding {
    Binding {
        exchange: Cow::Borrowed(OUT_EXCHANGE),
        destination: Destination::Queue(Cow::Owned(queue.to_owned())),
        key: Cow::Owned(format!("{}{queue}", "*.".repeat(LEVELS))),
    }
}

/// The whole ladder: the same for everybody, declared by whoever delays first.
#[must_use]
pub fn ladder() -> Topology {
    let mut topology = Topology::default();
    topology.exchanges.push(out_exchange());
    // from the last level up, so that each level falls on something
    for level in 0..LEVELS {
        let name = exchange(level);
        let above = "*.".repeat(LEVELS - 1 - level);
        topology.exchanges.push(topic(name.clone()));
        topology.queues.push(Queue {
            arguments: Table::new()
                .with("x-queue-type", "quorum")
                .with("x-message-ttl", 1_i64 << level)
                .with("x-dead-letter-exchange", below(level).into_owned())
                .with("x-dead-letter-strategy", "at-least-once")
                .with("x-overflow", "reject-publish"),
            ..durable(name.clone())
        });
        topology.bindings.push(Binding {
            exchange: Cow::Owned(name.clone()),
            destination: Destination::Queue(Cow::Owned(name.clone())),
            key: Cow::Owned(format!("{above}1.#")),
        });
        topology.bindings.push(Binding {
            exchange: Cow::Owned(name),
            destination: Destination::Exchange(below(level)),
            key: Cow::Owned(format!("{above}0.#")),
        });
    }
    topology
}

fn topic(name: impl Into<Cow<'static, str>>) -> Exchange {
    Exchange {
        name: name.into(),
        kind: ExchangeKind::Topic,
        durable: true,
        arguments: Table::new(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::name::MAX_QUEUE_NAME;

    fn millis(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    #[test]
    fn what_is_past_needs_no_steps() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(60);
        let later = now + Duration::from_millis(7);
        assert_eq!(
            Steps::until(later, now),
            Steps::of(Duration::from_millis(7), Precision::Fine)
        );
        assert_eq!(Steps::until(now, now), None);
        assert_eq!(Steps::until(now, later), None);
    }

    #[test]
    fn a_key_of_the_ladder_says_how_long_it_stands_for() {
        let steps = Steps::of(millis(0b1011), Precision::Fine).expect("a wait");
        let route = steps.route("a.b");
        let level = level_of(&route.exchange).expect("a level");
        assert_eq!(level, 3);
        assert_eq!(below_level(&route.key, LEVELS), Some((millis(11), "a.b")));
        assert_eq!(below_level(&route.key, level), Some((millis(3), "a.b")));
        assert_eq!(below_level(&route.key, 0), Some((millis(0), "a.b")));
        for other in ["", "a.b", &"2.".repeat(LEVELS), &"10".repeat(LEVELS)] {
            assert_eq!(below_level(other, LEVELS), None, "{other}");
        }
        assert_eq!(level_of("coney.delay.out"), None);
    }

    /// Walks a route down the declared ladder as the broker would, and says how long that takes and where it ends.
    fn walk(route: &Route) -> (u64, String) {
        let topology = ladder();
        let digits: Vec<&str> = route.key.split('.').take(LEVELS).collect();
        let mut waited = 0;
        let mut at = route.exchange.to_string();
        while at != OUT_EXCHANGE {
            let binding = topology
                .bindings
                .iter()
                .find(|binding| binding.exchange == at && matches(&binding.key, &digits))
                .expect("every digit leads somewhere");
            at = match &binding.destination {
                Destination::Exchange(next) => next.to_string(),
                Destination::Queue(name) => {
                    let queue = topology.queues.iter().find(|q| q.name == *name);
                    let arguments = &queue.expect("a declared queue").arguments;
                    let ttl = arguments
                        .get("x-message-ttl")
                        .and_then(crate::property::Value::as_i64);
                    waited += ttl.expect("a time to live").unsigned_abs();
                    let next = arguments.get("x-dead-letter-exchange");
                    next.and_then(|v| v.as_str()).expect("a way on").to_owned()
                }
            };
        }
        (
            waited,
            route
                .key
                .split('.')
                .skip(LEVELS)
                .collect::<Vec<_>>()
                .join("."),
        )
    }

    fn matches(pattern: &str, digits: &[&str]) -> bool {
        pattern
            .split('.')
            .zip(digits)
            .all(|(p, d)| p == "*" || p == "#" || p == *d)
    }

    #[test]
    fn delays_are_kept_to_the_precision_that_is_promised() {
        let fine = |ms| Steps::of(millis(ms), Precision::Fine).map(|s| s.duration().as_millis());
        assert_eq!(fine(0), None);
        assert_eq!([1, 999].map(fine), [Some(1), Some(999)]);
        assert_eq!([1_000, 15_999].map(fine), [Some(1_008), Some(16_000)]);
        assert_eq!(fine(60_000), Some(60_416));
        let coarse =
            |ms| Steps::of(millis(ms), Precision::Coarse).map(|s| s.duration().as_millis());
        assert_eq!([7, 9, 1_000].map(coarse), [Some(7), Some(10), Some(1_024)]);
        assert_eq!(
            Steps::of(Duration::from_nanos(1), Precision::Fine).map(Steps::duration),
            Some(millis(1))
        );
        assert_eq!(
            Steps::of(Duration::MAX, Precision::Fine).map(Steps::duration),
            Some(LONGEST)
        );
    }

    #[test]
    fn what_came_out_of_the_ladder_tells_where_it_was_meant_to_go() {
        let steps = Steps::of(millis(5), Precision::Fine).expect("a delay");
        let Route { exchange, key } = steps.route("a.b");
        assert_eq!(meant_for(&exchange, &key), Some("a.b"));
        assert_eq!(meant_for(OUT_EXCHANGE, &key), Some("a.b"));
        assert_eq!(meant_for("", &key), None);
        assert_eq!(meant_for(&exchange, "a.b"), None);
    }

    #[test]
    fn the_longest_queue_name_fits_behind_the_digits() {
        let key = "q".repeat(MAX_QUEUE_NAME);
        let steps = Steps::of(LONGEST, Precision::Fine).expect("a delay");
        assert!(steps.route(&key).key.len() <= 255);
        assert!(exit(&key).key.len() <= 255);
    }

    proptest! {
        #[test]
        fn a_message_waits_as_long_as_its_steps_say_and_never_less(
            delay in 1_u64..1 << LEVELS, coarse: bool, key in "[a-z]{1,8}(\\.[a-z]{1,8}){0,3}",
        ) {
            let precision = if coarse { Precision::Coarse } else { Precision::Fine };
            let steps = Steps::of(millis(delay), precision).expect("a delay");
            prop_assert!(steps.duration() >= millis(delay));
            let slack = if coarse { delay / 4 + 1 } else { 1_024 };
            prop_assert!(steps.duration() <= millis(delay + slack));
            let (waited, end) = walk(&steps.route(&key));
            prop_assert_eq!(u128::from(waited), steps.duration().as_millis());
            prop_assert_eq!(end, key);
        }
    }
}
