//! The counters and histograms of the sending side, in one list.
//!
//! They go through the [`metrics`] facade and cost next to nothing while no recorder is installed. Labels follow the
//! OpenTelemetry messaging conventions (<https://opentelemetry.io/docs/specs/semconv/messaging/messaging-metrics/>).

use std::time::Duration;

use metrics::{counter, histogram};

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

pub(crate) fn sent(queue: &str, confirmed: bool, took: Duration) {
    let outcome = if confirmed { "confirmed" } else { "failed" };
    counter!(SENT, "messaging.destination.name" => queue.to_owned(), "outcome" => outcome)
        .increment(1);
    histogram!(CONFIRM_SECONDS).record(took);
}

pub(crate) fn reply(outcome: &'static str) {
    counter!(REPLIES, "outcome" => outcome).increment(1);
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
