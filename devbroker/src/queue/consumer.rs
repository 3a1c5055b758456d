//! The consumers of a queue, and whose turn it is.

use std::cmp::Reverse;
use std::sync::Arc;

use amq_protocol::types::FieldTable;

use crate::channel::ChannelKey;

/// Who wants messages of a queue.
#[derive(Debug)]
pub(crate) struct Consumer {
    pub(crate) tag: Arc<str>,
    pub(crate) channel: ChannelKey,
    pub(crate) no_ack: bool,
    pub(crate) exclusive: bool,
    pub(crate) priority: i64,
    /// How many unacknowledged messages it may have; any number if 0.
    pub(crate) prefetch: u16,
    pub(crate) in_flight: usize,
    pub(crate) arguments: FieldTable,
    /// The next offset that it reads of a stream.
    pub(crate) offset: u64,
}

impl Consumer {
    /// Whether its own prefetch leaves room.
    pub(crate) fn has_room(&self) -> bool {
        self.prefetch == 0 || self.in_flight < usize::from(self.prefetch)
    }

    pub(crate) fn is(&self, channel: ChannelKey, tag: &str) -> bool {
        self.channel == channel && *self.tag == *tag
    }
}

/// All consumers of a queue: higher priorities first, equal ones by turns.
#[derive(Debug, Default)]
pub(crate) struct Consumers {
    all: Vec<Consumer>,
    /// Where to look first.
    turn: usize,
    /// The single active consumer, where there is one.
    active: Option<(ChannelKey, Arc<str>)>,
    /// There was one: an auto-delete queue ends with its last.
    pub(crate) had_any: bool,
}

impl Consumers {
    pub(crate) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Consumer> {
        self.all.iter()
    }

    pub(crate) fn at(&mut self, index: usize) -> Option<&mut Consumer> {
        self.all.get_mut(index)
    }

    pub(crate) fn find(&mut self, channel: ChannelKey, tag: &str) -> Option<&mut Consumer> {
        self.all.iter_mut().find(|one| one.is(channel, tag))
    }

    pub(crate) fn is_exclusive(&self) -> bool {
        self.all.iter().any(|one| one.exclusive)
    }

    /// Adds one behind those of its priority. With `single`, the first stays active until it goes.
    pub(crate) fn add(&mut self, consumer: Consumer, single: bool) {
        if single && self.active.is_none() {
            self.active = Some((consumer.channel, consumer.tag.clone()));
        }
        self.had_any = true;
        self.all.push(consumer);
        self.all.sort_by_key(|one| Reverse(one.priority));
    }

    /// Removes one; if it was the single active one, the next takes over.
    pub(crate) fn remove(&mut self, channel: ChannelKey, tag: &str) -> Option<Consumer> {
        let place = self.all.iter().position(|one| one.is(channel, tag))?;
        let gone = self.all.remove(place);
        if self
            .active
            .as_ref()
            .is_some_and(|(of, tag)| gone.is(*of, tag))
        {
            self.active = self.all.first().map(|one| (one.channel, one.tag.clone()));
        }
        Some(gone)
    }

    /// Whether it gets messages: all do, unless one alone is active.
    pub(crate) fn is_active(&self, consumer: &Consumer) -> bool {
        let active = self.active.as_ref();
        active.is_none_or(|(channel, tag)| consumer.is(*channel, tag))
    }

    /// Whose turn it is among those that can take a message; an index for `at`.
    pub(crate) fn next(&mut self, can: impl Fn(&Consumer) -> bool) -> Option<usize> {
        let can = |one: &Consumer| one.has_room() && self.is_active(one) && can(one);
        let best = self.all.iter().find(|one| can(one))?.priority;
        let ready = |index: &usize| {
            let one = &self.all[*index];
            one.priority == best && can(one)
        };
        let count = self.all.len();
        let index = (self.turn..count)
            .chain(0..self.turn.min(count))
            .find(ready)?;
        self.turn = index + 1;
        Some(index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn consumer(tag: &str, priority: i64, prefetch: u16) -> Consumer {
        Consumer {
            tag: tag.into(),
            channel: ChannelKey {
                connection: 1,
                number: 1,
            },
            no_ack: false,
            exclusive: false,
            priority,
            prefetch,
            in_flight: 0,
            arguments: FieldTable::default(),
            offset: 0,
        }
    }

    fn turns(consumers: &mut Consumers, count: usize) -> Vec<String> {
        let mut tags = Vec::new();
        for _ in 0..count {
            let Some(index) = consumers.next(|_| true) else {
                break;
            };
            let one = consumers.at(index).expect("it is there");
            one.in_flight += 1;
            tags.push(one.tag.to_string());
        }
        tags
    }

    #[test]
    fn higher_priorities_come_first_and_equals_take_turns() {
        let mut consumers = Consumers::default();
        consumers.add(consumer("low", 0, 0), false);
        consumers.add(consumer("a", 5, 2), false);
        consumers.add(consumer("b", 5, 2), false);
        assert_eq!(turns(&mut consumers, 6), ["a", "b", "a", "b", "low", "low"]);
    }

    #[test]
    fn one_alone_is_active_until_it_goes() {
        let mut consumers = Consumers::default();
        consumers.add(consumer("first", 0, 0), true);
        consumers.add(consumer("second", 9, 0), true);
        assert_eq!(turns(&mut consumers, 2), ["first", "first"]);
        let channel = ChannelKey {
            connection: 1,
            number: 1,
        };
        consumers.remove(channel, "first");
        assert_eq!(turns(&mut consumers, 1), ["second"]);
    }
}
