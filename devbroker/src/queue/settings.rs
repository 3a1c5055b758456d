//! What the arguments of a queue ask for.

use std::time::Duration;

use amq_protocol::types::{AMQPValue, FieldTable};

use super::Kind;
use crate::arguments::{kind_name, not_an_integer, wrong_kind};
use crate::error::{Objection, Outcome};
use crate::table::{integer, text};

/// Arguments that RabbitMQ accepts for every queue, and that change nothing in one process without a disk.
const WITHOUT_EFFECT: [&str; 5] = [
    "x-cancel-on-ha-failover",
    "x-consumer-timeout",
    "x-quorum-target-group-size",
    "x-stream-filter-size-bytes",
    "x-unclean-leader-election",
];

/// What to do with a message that does not fit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Overflow {
    #[default]
    DropHead,
    Reject,
    RejectAndDeadLetter,
}

/// Where given up messages go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DeadLetter {
    pub(crate) exchange: String,
    /// The message's own, if it is `None`.
    pub(crate) routing_key: Option<String>,
    /// A message stays until another queue has it.
    pub(crate) at_least_once: bool,
}

/// The arguments of a queue, read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Settings {
    pub(crate) kind: Kind,
    pub(crate) message_ttl: Option<Duration>,
    /// How long the queue lives without use.
    pub(crate) expires: Option<Duration>,
    pub(crate) dead_letter: Option<DeadLetter>,
    pub(crate) max_length: Option<usize>,
    /// Of all bodies, in bytes.
    pub(crate) max_bytes: Option<usize>,
    pub(crate) overflow: Overflow,
    pub(crate) max_priority: Option<u8>,
    pub(crate) single_active: bool,
    pub(crate) delivery_limit: Option<u32>,
    pub(crate) max_age: Option<Duration>,
    /// The smallest part of a stream that is given up, in bytes.
    pub(crate) segment_bytes: Option<usize>,
}

impl Settings {
    /// Reads and checks them; `queue` is how the queue is called in an objection.
    pub(crate) fn read(arguments: &FieldTable, queue: &str) -> Outcome<Self> {
        let reader = Reader { arguments, queue };
        let kind = reader.kind()?;
        let mut settings = Self {
            kind,
            ..Self::default()
        };
        let (mut dlx, mut key, mut at_least_once) = (None, None, false);
        for (name, value) in arguments.inner() {
            let name = name.as_str();
            reader.check_belongs(kind, name)?;
            let number = || reader.number(name, value);
            match name {
                "x-message-ttl" => settings.message_ttl = Some(reader.time(name, value, 0)?),
                "x-expires" => settings.expires = Some(reader.time(name, value, 1)?),
                "x-dead-letter-exchange" => dlx = Some(reader.name(name, value)?),
                "x-dead-letter-routing-key" => {
                    reader.text(name, value)?;
                    key = Some(reader.name(name, value)?);
                }
                "x-max-length" => settings.max_length = Some(number()?),
                "x-max-length-bytes" => settings.max_bytes = Some(number()?),
                "x-overflow" => settings.overflow = reader.overflow(name, value, kind)?,
                "x-max-priority" => settings.max_priority = Some(reader.priority(name, value)?),
                "x-single-active-consumer" => settings.single_active = reader.flag(name, value)?,
                "x-delivery-limit" => {
                    settings.delivery_limit = Some(number()?.try_into().unwrap_or(u32::MAX));
                }
                "x-dead-letter-strategy" => at_least_once = reader.strategy(name, value)?,
                "x-max-age" => settings.max_age = Some(reader.age(name, value)?),
                "x-stream-max-segment-size-bytes" => settings.segment_bytes = Some(number()?),
                "x-queue-mode" => reader.one_of(name, value, "mode", &["default", "lazy"])?,
                "x-queue-version" => reader.version(name, value)?,
                _ => {}
            }
        }
        if key.is_some() && dlx.is_none() {
            let text = "routing_key_but_no_dlx_defined";
            return Err(reader.invalid("x-dead-letter-routing-key", text));
        }
        settings.dead_letter = dlx.map(|exchange| DeadLetter {
            exchange,
            routing_key: key,
            // RabbitMQ falls back to at most once without the other
            at_least_once: at_least_once && settings.overflow == Overflow::Reject,
        });
        Ok(settings)
    }
}

struct Reader<'a> {
    arguments: &'a FieldTable,
    queue: &'a str,
}

impl Reader<'_> {
    fn kind(&self) -> Outcome<Kind> {
        let Some(value) = self.arguments.inner().get("x-queue-type") else {
            return Ok(Kind::Classic);
        };
        match &*self.text("x-queue-type", value)? {
            "classic" => Ok(Kind::Classic),
            "quorum" => Ok(Kind::Quorum),
            "stream" => Ok(Kind::Stream),
            other => {
                let text = format!("\"unsupported queue type '{other}'\"");
                Err(self.invalid("x-queue-type", text))
            }
        }
    }

    /// Refuses what this kind of queue cannot do, and what this broker does not know.
    fn check_belongs(&self, kind: Kind, name: &str) -> Outcome<()> {
        use Kind::{Classic, Quorum, Stream};
        let kinds: &[Kind] = match name {
            "x-queue-type" | "x-max-length-bytes" => return Ok(()),
            "x-message-ttl"
            | "x-expires"
            | "x-dead-letter-exchange"
            | "x-dead-letter-routing-key"
            | "x-max-length"
            | "x-overflow"
            | "x-single-active-consumer" => &[Classic, Quorum],
            "x-max-priority" | "x-queue-mode" | "x-queue-version" | "x-queue-master-locator" => {
                &[Classic]
            }
            "x-delivery-limit"
            | "x-dead-letter-strategy"
            | "x-max-in-memory-bytes"
            | "x-max-in-memory-length"
            | "x-quorum-initial-group-size" => &[Quorum],
            "x-queue-leader-locator" => &[Quorum, Stream],
            "x-max-age" | "x-stream-max-segment-size-bytes" | "x-initial-cluster-size" => &[Stream],
            name if WITHOUT_EFFECT.contains(&name) => return Ok(()),
            // what does not begin with x- means nothing to RabbitMQ either
            name if !name.starts_with("x-") => return Ok(()),
            name => {
                return Err(Objection::not_implemented(format_args!(
                    "argument '{name}' of {} is not known to coney-devbroker: leave it out or use RabbitMQ",
                    self.queue
                )));
            }
        };
        if kinds.contains(&kind) {
            return Ok(());
        }
        Err(wrong_kind(name, self.queue, kind))
    }

    fn invalid(&self, name: &str, why: impl std::fmt::Display) -> Objection {
        Objection::precondition(format_args!(
            "invalid arg '{name}' for {}: {why}",
            self.queue
        ))
    }

    fn unacceptable(&self, name: &str, value: &AMQPValue) -> Objection {
        self.invalid(
            name,
            format_args!("{{unacceptable_type,{}}}", kind_name(value)),
        )
    }

    fn text(&self, name: &str, value: &AMQPValue) -> Outcome<String> {
        text(value).ok_or_else(|| self.unacceptable(name, value))
    }

    /// The name of an exchange, or a routing key.
    fn name(&self, name: &str, value: &AMQPValue) -> Outcome<String> {
        let Some(text) = text(value) else {
            return Err(Objection::precondition(format_args!(
                "invalid type '{}' for arg '{name}' in {}",
                kind_name(value),
                self.queue
            )));
        };
        if text.len() > 255 {
            // messages could not carry it
            return Err(self.invalid(name, "it has more than 255 bytes"));
        }
        Ok(text)
    }

    fn integer(&self, name: &str, value: &AMQPValue) -> Outcome<i64> {
        integer(value).ok_or_else(|| not_an_integer(name, self.queue, value))
    }

    fn one_of(&self, name: &str, value: &AMQPValue, what: &str, known: &[&str]) -> Outcome<()> {
        let text = self.text(name, value)?;
        if known.contains(&&*text) {
            return Ok(());
        }
        Err(self.invalid(name, format_args!("\"unsupported queue {what} '{text}'\"")))
    }

    fn version(&self, name: &str, value: &AMQPValue) -> Outcome<()> {
        match self.integer(name, value)? {
            1 | 2 => Ok(()),
            other => Err(self.invalid(
                name,
                format_args!("\"unsupported queue version '{other}'\""),
            )),
        }
    }

    fn strategy(&self, name: &str, value: &AMQPValue) -> Outcome<bool> {
        match &*self.text(name, value)? {
            "at-least-once" => Ok(true),
            "at-most-once" => Ok(false),
            _ => Err(self.invalid(name, "invalid_dlx_strategy")),
        }
    }

    fn flag(&self, name: &str, value: &AMQPValue) -> Outcome<bool> {
        match value {
            AMQPValue::Boolean(flag) => Ok(*flag),
            _ => Err(self.unacceptable(name, value)),
        }
    }

    fn number(&self, name: &str, value: &AMQPValue) -> Outcome<usize> {
        let number = self.integer(name, value)?;
        number
            .try_into()
            .map_err(|_negative| self.invalid(name, format_args!("{{value_negative,{number}}}")))
    }

    fn time(&self, name: &str, value: &AMQPValue, least: i64) -> Outcome<Duration> {
        let millis = self.integer(name, value)?;
        if millis == 0 && least > 0 {
            return Err(self.invalid(name, "{value_zero,0}"));
        }
        match u64::try_from(millis) {
            Ok(millis) => Ok(Duration::from_millis(millis)),
            Err(_) => Err(self.invalid(name, format_args!("{{value_negative,{millis}}}"))),
        }
    }

    fn priority(&self, name: &str, value: &AMQPValue) -> Outcome<u8> {
        let number = self.number(name, value)?;
        number
            .try_into()
            .map_err(|_| self.invalid(name, format_args!("{{max_value_exceeded,{number}}}")))
    }

    fn overflow(&self, name: &str, value: &AMQPValue, kind: Kind) -> Outcome<Overflow> {
        match &*self.text(name, value)? {
            "drop-head" => Ok(Overflow::DropHead),
            "reject-publish" => Ok(Overflow::Reject),
            "reject-publish-dlx" if kind == Kind::Classic => Ok(Overflow::RejectAndDeadLetter),
            _ => Err(self.invalid(name, "invalid_overflow")),
        }
    }

    /// A number and a unit: `7D`, `12h`.
    fn age(&self, name: &str, value: &AMQPValue) -> Outcome<Duration> {
        let age = self.text(name, value)?;
        age_of(&age).ok_or_else(|| self.invalid(name, "invalid_max_age"))
    }
}

/// Reads a time span as streams write it.
pub(crate) fn age_of(text: &str) -> Option<Duration> {
    let unit = text.chars().last()?;
    let number: u64 = text.strip_suffix(unit)?.parse().ok()?;
    let seconds = match unit {
        'Y' => 365 * 86_400,
        'M' => 30 * 86_400,
        'D' => 86_400,
        'h' => 3_600,
        'm' => 60,
        's' => 1,
        _ => return None,
    };
    Some(Duration::from_secs(number.checked_mul(seconds)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(arguments: &[(&str, AMQPValue)]) -> Outcome<Settings> {
        let mut table = FieldTable::default();
        for (name, value) in arguments {
            table.insert((*name).into(), value.clone());
        }
        Settings::read(&table, "queue 'q' in vhost '/'")
    }

    fn long(text: &str) -> AMQPValue {
        AMQPValue::LongString(text.into())
    }

    #[test]
    fn arguments_are_read_by_what_they_say() {
        let settings = read(&[
            ("x-queue-type", long("quorum")),
            ("x-message-ttl", AMQPValue::LongLongInt(1500)),
            ("x-dead-letter-exchange", long("dead")),
            ("x-dead-letter-strategy", long("at-least-once")),
            ("x-overflow", long("reject-publish")),
            ("x-queue-leader-locator", long("balanced")),
        ]);
        let settings = settings.expect("accepted");
        assert_eq!(settings.kind, Kind::Quorum);
        assert_eq!(settings.message_ttl, Some(Duration::from_millis(1500)));
        assert!(settings.dead_letter.expect("dead letters").at_least_once);
    }

    #[test]
    fn what_it_does_not_know_it_refuses_by_name() {
        let refused = read(&[("x-wonder", AMQPValue::LongInt(1))]).expect_err("refused");
        assert_eq!(refused.code, 540);
        assert!(refused.text.contains("'x-wonder'"), "{}", refused.text);
    }

    #[test]
    fn ages_have_units() {
        assert_eq!(age_of("2h"), Some(Duration::from_secs(7200)));
        assert_eq!(age_of("2"), None);
        assert_eq!(age_of("é"), None);
    }
}
