//! Dead letters: messages that cannot succeed, kept with the reason.

use std::time::SystemTime;

use crate::header::names;
use crate::outcome::ErrorReport;
use crate::property::{Properties, Value};
use crate::wire::time;

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
    /// It embeds steps that this version does not send on (a chain, links, a chord).
    Unsupported,
}

impl Reason {
    /// All reasons.
    pub const ALL: [Self; 9] = [
        Self::Exhausted,
        Self::Dead,
        Self::Decode,
        Self::UnknownTask,
        Self::Arguments,
        Self::TooLarge,
        Self::ContentType,
        Self::Expired,
        Self::Unsupported,
    ];

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
            Self::Unsupported => "unsupported",
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

/// Cuts a text to so many bytes at most, at a character.
pub(crate) fn shorten(mut text: String, most: usize) -> String {
    if text.len() > most {
        let end = (0..=most).rev().find(|&at| text.is_char_boundary(at));
        text.truncate(end.unwrap_or(0));
        text.push('…');
    }
    text
}
