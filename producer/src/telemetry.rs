//! The counters and histograms of the sending side, in one list.
//!
//! They go through the [`metrics`] facade and cost next to nothing while no recorder is installed. Install it before the
//! first call: what is counted for every call is asked of it once. Labels follow the
//! OpenTelemetry messaging conventions (<https://opentelemetry.io/docs/specs/semconv/messaging/messaging-metrics/>).

use std::fmt;
use std::sync::{OnceLock, PoisonError, RwLock};
use std::time::Duration;

use foldhash::HashMap;
use metrics::{Counter, Histogram, counter, histogram};

/// How many queues have a counter of their own that is kept.
const MOST_QUEUES: usize = 1000;

/// Calls sent and confirmed, or not: labels `messaging.destination.name`, `outcome` (`confirmed`, `failed`).
pub const SENT: &str = "coney_client_sent_total";

/// Seconds from sending to the broker's confirm.
pub const CONFIRM_SECONDS: &str = "coney_client_confirm_seconds";

/// Replies that arrived: label `outcome` (`delivered`, `unwanted`, `undecodable`).
pub const REPLIES: &str = "coney_client_replies_total";

/// Dead letters put back or thrown away: labels `messaging.destination.name`, `outcome` (`redriven`, `discarded`).
pub const DEAD_LETTERS: &str = "coney_client_dead_letters_total";

/// Events of sent tasks that no monitor was told, because the broker did not take them in time.
pub const EVENTS_LOST: &str = "coney_client_events_lost_total";

/// What came to a listener and is no event.
pub const EVENTS_UNREADABLE: &str = "coney_client_events_unreadable_total";

/// Describes all of them to the installed recorder.
pub fn describe() {
    metrics::describe_counter!(SENT, "Calls sent, by queue and outcome");
    metrics::describe_histogram!(
        CONFIRM_SECONDS,
        metrics::Unit::Seconds,
        "Time from sending a call to the broker's confirm"
    );
    metrics::describe_counter!(REPLIES, "Replies that arrived, by outcome");
    metrics::describe_counter!(
        DEAD_LETTERS,
        "Dead letters put back or thrown away, by queue and outcome"
    );
    metrics::describe_counter!(EVENTS_LOST, "Events of sent tasks that no monitor was told");
    metrics::describe_counter!(EVENTS_UNREADABLE, "What came to a listener and is no event");
}

/// What is counted for each call, asked of the recorder once for each queue.
#[derive(Default)]
pub(crate) struct SendMeter {
    confirmed: RwLock<HashMap<String, Counter>>,
    seconds: OnceLock<Histogram>,
}

impl SendMeter {
    /// Counts a call that the broker has confirmed, or not.
    pub(crate) fn sent(&self, queue: &str, confirmed: bool, took: Duration) {
        match confirmed {
            true => self.confirmed(queue),
            false => sent(queue, "failed").increment(1),
        }
        let seconds = self.seconds.get_or_init(|| histogram!(CONFIRM_SECONDS));
        seconds.record(took);
    }

    fn confirmed(&self, queue: &str) {
        let known = self.confirmed.read();
        if let Some(counter) = known.unwrap_or_else(PoisonError::into_inner).get(queue) {
            return counter.increment(1);
        }
        let counter = sent(queue, "confirmed");
        counter.increment(1);
        let mut known = self
            .confirmed
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        // names of queues may be made up without end
        if known.len() < MOST_QUEUES {
            known.insert(queue.to_owned(), counter);
        }
    }
}

fn sent(queue: &str, outcome: &'static str) -> Counter {
    counter!(SENT, "messaging.destination.name" => queue.to_owned(), "outcome" => outcome)
}

/// What became of a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReplyOutcome {
    Delivered,
    Unwanted,
    Undecodable,
}

/// What is counted for each reply, asked of the recorder once for each outcome.
#[derive(Default)]
pub(crate) struct ReplyMeter([OnceLock<Counter>; 3]);

impl ReplyMeter {
    /// Counts a reply.
    pub(crate) fn count(&self, outcome: ReplyOutcome) {
        let word = match outcome {
            ReplyOutcome::Delivered => "delivered",
            ReplyOutcome::Unwanted => "unwanted",
            ReplyOutcome::Undecodable => "undecodable",
        };
        let counter = self.0[outcome as usize].get_or_init(|| counter!(REPLIES, "outcome" => word));
        counter.increment(1);
    }
}

impl fmt::Debug for ReplyMeter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ReplyMeter")
    }
}

pub(crate) fn dead_letters(queue: &str, outcome: &'static str, count: usize) {
    let count = u64::try_from(count).unwrap_or(u64::MAX);
    counter!(DEAD_LETTERS, "messaging.destination.name" => queue.to_owned(), "outcome" => outcome)
        .increment(count);
}

pub(crate) fn events_lost(events: u64) {
    counter!(EVENTS_LOST).increment(events);
}

pub(crate) fn unreadable_event() {
    counter!(EVENTS_UNREADABLE).increment(1);
}
