//! A stream: messages stay, and each consumer reads them from where it wants.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use amq_protocol::types::{AMQPValue, FieldTable};

use super::Settings;
use super::settings::age_of;
use crate::arguments::kind_name;
use crate::content::Content;
use crate::error::{Objection, Outcome};
use crate::table::{integer, text};

/// The size of a segment, unless the queue says otherwise, in bytes.
const SEGMENT: usize = 500_000_000;

/// Where a consumer begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Offset {
    First,
    Last,
    Next,
    Number(u64),
    Time(SystemTime),
}

impl Offset {
    /// Reads `x-stream-offset` among the arguments of `basic.consume`.
    pub(crate) fn read(arguments: &FieldTable, now: SystemTime) -> Outcome<Self> {
        let Some(value) = arguments.inner().get("x-stream-offset") else {
            return Ok(Self::Next);
        };
        if let AMQPValue::Timestamp(seconds) = value {
            let time = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(*seconds));
            return Ok(Self::Time(time.unwrap_or(now)));
        }
        if let Some(number) = integer(value) {
            return Ok(Self::Number(number.try_into().unwrap_or(0)));
        }
        match text(value).as_deref() {
            Some("first") => Ok(Self::First),
            Some("last") => Ok(Self::Last),
            Some("next") => Ok(Self::Next),
            Some(age) if age_of(age).is_some() => {
                let age = age_of(age).unwrap_or_default();
                Ok(Self::Time(
                    now.checked_sub(age).unwrap_or(SystemTime::UNIX_EPOCH),
                ))
            }
            _ => Err(Objection::precondition(format_args!(
                "x-stream-offset must be first, last, next, an offset, a timestamp or an interval such as 1h, not a value of type {}",
                kind_name(value)
            ))),
        }
    }
}

/// The messages of a stream.
#[derive(Debug)]
pub(crate) struct Log {
    entries: VecDeque<Entry>,
    /// The offset of the first that is left.
    first: u64,
    bytes: usize,
    /// The number of the segment that is written, and its size in bytes.
    segment: (u64, usize),
    max_bytes: Option<usize>,
    max_age: Option<Duration>,
    segment_bytes: usize,
}

#[derive(Debug)]
struct Entry {
    content: Arc<Content>,
    time: SystemTime,
    segment: u64,
}

impl Log {
    pub(super) fn new(settings: &Settings) -> Self {
        Self {
            entries: VecDeque::new(),
            first: 0,
            bytes: 0,
            segment: (0, 0),
            max_bytes: settings.max_bytes,
            max_age: settings.max_age,
            segment_bytes: settings.segment_bytes.unwrap_or(SEGMENT),
        }
    }

    pub(super) fn append(&mut self, content: Arc<Content>, now: SystemTime) {
        if self.segment.1 >= self.segment_bytes {
            self.segment = (self.segment.0 + 1, 0);
            self.retain(now);
        }
        let size = content.size() + content.properties.len();
        self.segment.1 += size;
        self.bytes += size;
        self.entries.push_back(Entry {
            content,
            time: now,
            segment: self.segment.0,
        });
    }

    /// Gives up whole segments that are too old or too much; never the one that is written.
    fn retain(&mut self, now: SystemTime) {
        while let Some(oldest) = self.entries.front().map(|entry| entry.segment)
            && oldest < self.segment.0
            && (self.is_too_much() || self.is_too_old(oldest, now))
        {
            while self
                .entries
                .front()
                .is_some_and(|entry| entry.segment == oldest)
            {
                let gone = self.entries.pop_front();
                self.first += 1;
                self.bytes -= gone.map_or(0, |entry| {
                    entry.content.size() + entry.content.properties.len()
                });
            }
        }
    }

    fn is_too_much(&self) -> bool {
        self.max_bytes.is_some_and(|most| self.bytes > most)
    }

    fn is_too_old(&self, segment: u64, now: SystemTime) -> bool {
        let last = self
            .entries
            .partition_point(|entry| entry.segment <= segment);
        let newest = last.checked_sub(1).and_then(|last| self.entries.get(last));
        match (self.max_age.and_then(|age| now.checked_sub(age)), newest) {
            (Some(oldest), Some(newest)) => newest.time < oldest,
            _ => false,
        }
    }

    /// Which offset a consumer reads first.
    pub(crate) fn start(&self, offset: Offset) -> u64 {
        let end = self.first + self.entries.len() as u64;
        match offset {
            Offset::First => self.first,
            Offset::Last => end.saturating_sub(1).max(self.first),
            Offset::Next => end,
            Offset::Number(number) => number.max(self.first),
            Offset::Time(time) => {
                let before = self.entries.partition_point(|entry| entry.time < time);
                self.first + before as u64
            }
        }
    }

    /// The message at this offset, or the first that is left behind it, and where it stands.
    pub(crate) fn read(&self, offset: u64) -> Option<(u64, &Arc<Content>)> {
        let at = offset.max(self.first);
        let entry = self.entries.get((at - self.first) as usize)?;
        Some((at, &entry.content))
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn contents(&self) -> impl Iterator<Item = &Arc<Content>> {
        self.entries.iter().map(|entry| &entry.content)
    }
}
