//! What becomes of messages that a queue gives up: their `x-death` header, and the rule against cycles.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use amq_protocol::types::{AMQPValue, FieldArray, FieldTable};

use crate::content::{Content, Properties};
use crate::queue::{DeadLetter, GivenUp, QueueId};
use crate::table::{RawTable, integer, text};

/// Why a message is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    DeliveryLimit,
    Expired,
    MaxLength,
    Rejected,
}

impl Reason {
    fn name(self) -> &'static str {
        match self {
            Self::DeliveryLimit => "delivery_limit",
            Self::Expired => "expired",
            Self::MaxLength => "maxlen",
            Self::Rejected => "rejected",
        }
    }
}

/// A message on its way to a dead-letter exchange.
#[derive(Debug)]
pub(crate) struct Letter {
    pub(crate) from: QueueId,
    pub(crate) queue: Arc<str>,
    pub(crate) to: DeadLetter,
    pub(crate) given_up: GivenUp,
}

impl Letter {
    /// The message as it is published again.
    pub(crate) fn content(&self, now: SystemTime) -> Content {
        let old = &self.given_up.message.content;
        let properties = old.read().unwrap_or_default();
        let mut headers = properties.headers.clone();
        self.add_death(&mut headers, &properties, now);
        if self.to.routing_key.is_some() {
            headers.remove("CC");
        }
        let key = self.to.routing_key.as_ref().unwrap_or(&old.routing_key);
        old.with_headers(&headers)
            .without_expiration()
            .published(self.to.exchange.clone(), key.clone())
    }

    /// Counts the death, in front of the earlier ones.
    fn add_death(&self, headers: &mut RawTable, properties: &Properties, now: SystemTime) {
        let reason = self.given_up.reason.name();
        let exchange = &self.given_up.message.content.exchange;
        let mut deaths = deaths(headers);
        if deaths.is_empty() {
            headers.set("x-first-death-reason", &long(reason));
            headers.set("x-first-death-queue", &long(&self.queue));
            headers.set("x-first-death-exchange", &long(exchange));
        }
        let same = |death: &FieldTable| {
            get_text(death, "queue").as_deref() == Some(&*self.queue)
                && get_text(death, "reason").as_deref() == Some(reason)
        };
        let mut death = match deaths.iter().position(same) {
            Some(place) => deaths.remove(place),
            None => self.first_death(properties, now),
        };
        let count = death.inner().get("count").and_then(integer).unwrap_or(0);
        death.insert("count".into(), AMQPValue::LongLongInt(count + 1));
        deaths.insert(0, death);
        let deaths = deaths.into_iter().map(AMQPValue::FieldTable);
        let all = FieldArray::from(deaths.collect::<Vec<_>>());
        headers.set("x-death", &AMQPValue::FieldArray(all));
    }

    fn first_death(&self, properties: &Properties, now: SystemTime) -> FieldTable {
        let content = &self.given_up.message.content;
        let seconds = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let mut keys = vec![long(&content.routing_key)];
        keys.extend(carbon_copies(&properties.headers, "CC").map(|key| long(&key)));
        let mut death = FieldTable::default();
        death.insert("reason".into(), long(self.given_up.reason.name()));
        death.insert("queue".into(), long(&self.queue));
        death.insert("time".into(), AMQPValue::Timestamp(seconds));
        death.insert("exchange".into(), long(&content.exchange));
        death.insert("routing-keys".into(), AMQPValue::FieldArray(keys.into()));
        if let Some(expiration) = &properties.expiration {
            death.insert("original-expiration".into(), long(expiration));
        }
        death
    }

    /// Whether this queue must not get it: it has been there, and no client rejected it since.
    pub(crate) fn is_cycle(&self, headers: &RawTable, queue: &str) -> bool {
        if self.given_up.reason == Reason::Rejected {
            return false;
        }
        let deaths = deaths(headers);
        let was_there = |death: &FieldTable| get_text(death, "queue").as_deref() == Some(queue);
        let Some(last) = deaths.iter().position(was_there) else {
            return false;
        };
        let rejected =
            |death: &FieldTable| get_text(death, "reason").as_deref() == Some("rejected");
        !deaths[..=last].iter().any(rejected)
    }
}

/// The routing keys that a message has beside its own.
pub(crate) fn carbon_copies(headers: &RawTable, name: &str) -> impl Iterator<Item = String> {
    let all = match headers.get(name) {
        Some(AMQPValue::FieldArray(all)) => all.as_slice().to_vec(),
        _ => Vec::new(),
    };
    all.into_iter().filter_map(|key| text(&key))
}

fn deaths(headers: &RawTable) -> Vec<FieldTable> {
    let Some(AMQPValue::FieldArray(all)) = headers.get("x-death") else {
        return Vec::new();
    };
    let tables = all.as_slice().iter().filter_map(|death| match death {
        AMQPValue::FieldTable(death) => Some(death.clone()),
        _ => None,
    });
    tables.collect()
}

fn get_text(table: &FieldTable, name: &str) -> Option<String> {
    text(table.inner().get(name)?)
}

fn long(text: &str) -> AMQPValue {
    AMQPValue::LongString(text.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::Body;
    use crate::meter::Meter;
    use crate::queue::Message;

    fn letter(queue: &str, reason: Reason, content: Content) -> Letter {
        Letter {
            from: 1,
            queue: queue.into(),
            to: DeadLetter {
                exchange: "dead".to_owned(),
                routing_key: None,
                at_least_once: false,
            },
            given_up: GivenUp {
                message: Message {
                    content: Arc::new(content),
                    expires: None,
                    redelivered: false,
                    returns: 0,
                },
                reason,
            },
        }
    }

    fn fresh() -> Content {
        let meter = Meter::default();
        let body = Body::new(Vec::new(), meter.charge(0));
        // expiration 5
        Content::new(
            "x".into(),
            "k".into(),
            b"\x01\x00\x015".to_vec(),
            body,
            &meter,
        )
    }

    fn headers(content: &Content) -> RawTable {
        content.read().expect("properties").headers
    }

    #[test]
    fn a_death_is_counted_in_front_of_earlier_ones() {
        let now = UNIX_EPOCH;
        let once = letter("a", Reason::Expired, fresh()).content(now);
        assert_eq!((&*once.exchange, &*once.routing_key), ("dead", "k"));
        assert_eq!(once.read().expect("properties").expiration, None);
        let twice = letter("b", Reason::Rejected, once).content(now);
        let thrice = letter("a", Reason::Expired, twice).content(now);
        let headers = headers(&thrice);
        let deaths = deaths(&headers);
        let told: Vec<_> = deaths
            .iter()
            .map(|death| {
                (
                    get_text(death, "queue"),
                    death.inner().get("count").and_then(integer),
                )
            })
            .collect();
        let named = |name: &str| Some(name.to_owned());
        assert_eq!(told, [(named("a"), Some(2)), (named("b"), Some(1))]);
        assert_eq!(get_text(&deaths[0], "original-expiration"), named("5"));
        assert_eq!(
            headers.get("x-first-death-queue").as_ref().and_then(text),
            named("a")
        );
    }

    #[test]
    fn a_cycle_ends_also_with_keys_that_look_like_nested_tables() {
        let key = "A\0\0\x02\0".repeat(62) + &"x".repeat(600);
        let mut copies = RawTable::default();
        let all = FieldArray::from(vec![long(&key)]);
        copies.set("CC", &AMQPValue::FieldArray(all));
        let once = letter("a", Reason::Expired, fresh().with_headers(&copies));
        assert!(once.is_cycle(&headers(&once.content(UNIX_EPOCH)), "a"));
    }

    #[test]
    fn a_cycle_without_a_reject_ends() {
        let now = UNIX_EPOCH;
        let once = letter("a", Reason::Expired, fresh()).content(now);
        let again = letter("b", Reason::Expired, once);
        let out = headers(&again.content(now));
        assert!(again.is_cycle(&out, "a"));
        assert!(again.is_cycle(&out, "b"));
        assert!(!again.is_cycle(&out, "c"));

        let rejected = letter("b", Reason::Rejected, again.content(now));
        let third = letter("c", Reason::Expired, rejected.content(now));
        let out = headers(&third.content(now));
        assert!(!third.is_cycle(&out, "a"), "a client rejected it since");
        assert!(third.is_cycle(&out, "c"));
    }
}
