//! Dead letters: messages that cannot succeed, kept with the reason.

use std::time::{Duration, SystemTime};

use crate::header::names;
use crate::outcome::ErrorReport;
use crate::property::{Properties, Table, Value};
use crate::wire::{self, time};

/// The longest error text that a dead letter carries, in bytes: headers have to fit into one frame.
const MAX_ERROR: usize = 2048;

/// Why a message is a dead letter: the header `coney-reason`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// The last attempt failed.
    Exhausted,
    /// The task itself said so.
    Dead,
    /// The message cannot be read.
    Decode,
    /// No worker of the queue knows the task.
    UnknownTask,
    /// The arguments do not fit the task.
    Arguments,
    /// The body is larger than the worker takes.
    TooLarge,
    /// The content type or compression is none that the worker reads.
    ContentType,
    /// It was too late to start.
    Expired,
    /// It was delivered too often without being finished: its workers died over it.
    DeliveryLimit,
    /// It embeds steps that cannot be sent on (a chord, or a group in the middle of a chain).
    Unsupported,
    /// It follows from another task, and no queue took it.
    Undeliverable,
}

impl Reason {
    /// All reasons.
    pub const ALL: [Self; 11] = [
        Self::Exhausted,
        Self::Dead,
        Self::Decode,
        Self::UnknownTask,
        Self::Arguments,
        Self::TooLarge,
        Self::ContentType,
        Self::Expired,
        Self::DeliveryLimit,
        Self::Unsupported,
        Self::Undeliverable,
    ];

    /// The reason that a word on the wire stands for, if it is one of these.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == word)
    }

    /// The word on the wire, in metrics and in logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Exhausted => "exhausted",
            Self::Dead => "dead",
            Self::Decode => "decode",
            Self::UnknownTask => "unknown_task",
            Self::Arguments => "arguments",
            Self::TooLarge => "too_large",
            Self::ContentType => "content_type",
            Self::Expired => "expired",
            Self::DeliveryLimit => "delivery_limit",
            Self::Unsupported => "unsupported",
            Self::Undeliverable => "undeliverable",
        }
    }
}

/// Writes on a message why, when and by whom it was given up.
///
/// All its own headers stay as they came, so that it can be put back.
pub fn mark(
    properties: &mut Properties,
    reason: Reason,
    report: &ErrorReport,
    queue: &str,
    worker: &str,
    now: SystemTime,
) {
    let headers = &mut properties.headers;
    let causes = report.chain.iter().map(|cause| format!(": {cause}"));
    let error = format!(
        "{}: {}{}",
        report.kind,
        report.message,
        causes.collect::<String>()
    );
    headers.insert(names::REASON, reason.as_str());
    headers.insert(names::ERROR, Value::from(shorten(error, MAX_ERROR)));
    headers.insert(names::QUEUE, queue.to_owned());
    headers.insert(names::WORKER, worker.to_owned());
    headers.insert(names::DIED_AT, time::format(now));
    // a dead letter waits for people: neither its old time to live nor its old id apply to the copy
    properties.expiration = None;
    properties.message_id = None;
    properties.persistent = true;
}

/// What [`mark`] and the attempts before it wrote on a message, and what would end it again at once.
const UNMARKED: [&str; 10] = [
    names::REASON,
    names::ERROR,
    names::QUEUE,
    names::WORKER,
    names::DIED_AT,
    names::ATTEMPTS,
    names::REDELIVERIES,
    "retries",
    "eta",
    "expires",
];

/// Makes a dead letter a message that can be put back, as a first attempt that starts now: undoes [`mark`], counts the
/// attempts from 1, and takes off what RabbitMQ wrote on its way.
///
/// `eta` and `expires` go too: a time that was wanted is past, and a message that was too late once would be too late
/// again at once. Everything else stays, the address of the reply among it.
pub fn unmark(properties: &mut Properties) {
    let headers = std::mem::take(&mut properties.headers);
    properties.headers = headers
        .into_iter()
        .filter(|(name, _)| {
            // what is published with the broker's own headers can be taken for one that goes in circles, and dropped
            !UNMARKED.contains(&&**name) && !wire::is_of_the_broker(name)
        })
        .collect();
    properties.expiration = None;
    properties.message_id = None;
    properties.persistent = true;
}

/// What RabbitMQ itself wrote on a message that it dead-lettered.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Death {
    /// Why: `rejected`, `expired`, `maxlen` or `delivery_limit`.
    pub reason: String,
    /// When, to the second, if it says so.
    pub at: Option<SystemTime>,
}

/// The broker's own account of the last time that a message left the queue called `queue` as a dead letter.
#[must_use]
pub fn broker_death(headers: &Table, queue: &str) -> Option<Death> {
    let Some(Value::List(deaths)) = headers.get("x-death") else {
        return None;
    };
    // the latest comes first; others tell of the delay ladder
    deaths.iter().find_map(|death| {
        let Value::Table(death) = death else {
            return None;
        };
        let text = |name| death.get(name).and_then(Value::as_str);
        if text("queue") != Some(queue) {
            return None;
        }
        let at = match death.get("time") {
            Some(Value::Timestamp(seconds)) => {
                SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(*seconds))
            }
            _ => None,
        };
        Some(Death {
            reason: text("reason")?.to_owned(),
            at,
        })
    })
}

/// Cuts a text to so many bytes at most, at a character.
pub(crate) fn shorten(mut text: String, most: usize) -> String {
    if text.len() > most {
        let end = (0..=most).rev().find(|&at| text.is_char_boundary(at));
        text.truncate(end.unwrap_or(0));
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn death(queue: &'static str, reason: &'static str, seconds: u64) -> Value {
        let table = Table::new()
            .with("queue", queue)
            .with("reason", reason)
            .with("time", Value::Timestamp(seconds));
        Value::Table(table)
    }

    #[test]
    fn every_reason_is_read_from_its_word() {
        for reason in Reason::ALL {
            assert_eq!(Reason::parse(reason.as_str()), Some(reason));
        }
        assert_eq!(Reason::parse("rejected"), None);
    }

    #[test]
    fn a_letter_is_put_back_as_it_was_sent() {
        let mut sent = Properties {
            reply_to: Some("replies".to_owned()),
            persistent: true,
            ..Properties::default()
        };
        sent.headers.insert("task", "t");
        sent.headers.insert("tenant", Value::U16(7));
        let mut letter = sent.clone();
        letter.expiration = Some("5".to_owned());
        letter.headers.insert("retries", 3);
        letter.headers.insert("expires", "2020-01-01T00:00:00");
        letter.headers.insert("eta", Value::Null);
        letter.headers.insert(names::ATTEMPTS, Value::List(vec![]));
        letter.headers.insert("x-death", Value::List(vec![]));
        letter.headers.insert("x-first-death-queue", "q");
        let report = ErrorReport::new("E", "text");
        mark(
            &mut letter,
            Reason::Dead,
            &report,
            "q",
            "w",
            SystemTime::now(),
        );
        unmark(&mut letter);
        assert_eq!(letter, sent);
    }

    #[test]
    fn the_brokers_word_about_the_queue_counts_and_not_that_about_the_ladder() {
        let deaths = vec![
            death("coney.delay.3", "expired", 9),
            death("q", "delivery_limit", 7),
            death("q", "rejected", 5),
        ];
        let headers = Table::new().with("x-death", Value::List(deaths));
        let found = broker_death(&headers, "q").expect("a death");
        assert_eq!(found.reason, "delivery_limit");
        assert_eq!(
            found.at,
            Some(SystemTime::UNIX_EPOCH + Duration::from_secs(7))
        );
        assert_eq!(broker_death(&headers, "other"), None);
        let ladder = Table::new().with("x-death", Value::List(vec![Value::Null]));
        assert_eq!(broker_death(&ladder, "q"), None);
    }
}
