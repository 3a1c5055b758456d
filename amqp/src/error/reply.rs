//! What the broker says when it closes a channel or a connection, read from its reply text.

use lapin::ErrorKind;

/// Code and text of a `channel.close` or `connection.close`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BrokerReply<'a> {
    pub(crate) code: u16,
    pub(crate) text: &'a str,
}

impl<'a> BrokerReply<'a> {
    /// The broker's reply, if `error` is one.
    pub(crate) fn of(error: &'a lapin::Error) -> Option<Self> {
        match error.kind() {
            ErrorKind::ProtocolError(reply) => Some(Self {
                code: reply.get_id(),
                text: reply.get_message().as_str(),
            }),
            _ => None,
        }
    }

    /// True if the broker closes everything for a reason of its own, such as a restart (320) or an internal error
    /// (541): it says nothing about what was asked of it.
    pub(crate) fn is_general(&self) -> bool {
        matches!(self.code, 320 | 541)
    }
}

/// The difference in `PRECONDITION_FAILED - inequivalent arg 'x-max-length' for queue 'q' in vhost '/': received
/// the value '20' of type 'signedint' but current is '5'`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Inequivalent<'a> {
    pub(super) argument: &'a str,
    pub(super) wanted: &'a str,
    pub(super) found: &'a str,
}

impl<'a> Inequivalent<'a> {
    pub(super) fn parse(text: &'a str) -> Option<Self> {
        let (_, rest) = text.split_once("inequivalent arg '")?;
        let (argument, rest) = rest.split_once('\'')?;
        let (_, rest) = rest.split_once(": received ")?;
        let (wanted, found) = rest.split_once(" but current is ")?;
        Some(Self {
            argument,
            wanted: value(wanted),
            found: value(found),
        })
    }
}

/// The value in `'20'`, `the value '20' of type 'long'` or `none`.
fn value(text: &str) -> &str {
    match text.split_once('\'') {
        Some((_, rest)) => rest.split('\'').next().unwrap_or(rest),
        None => text.trim(),
    }
}

/// True if the broker's text names this exchange.
pub(crate) fn mentions_exchange(text: &str, exchange: &str) -> bool {
    let name = match exchange {
        "" => "amq.default",
        name => name,
    };
    text.contains(&format!("exchange '{name}'"))
}

/// True if the broker's text names this routing key; `None` if it names none.
pub(crate) fn mentions_topic(text: &str, routing_key: &str) -> Option<bool> {
    let (_, named) = text.split_once("access to topic '")?;
    let rest = named.strip_prefix(routing_key);
    Some(rest.is_some_and(|rest| rest.starts_with("' in exchange ")))
}

/// The size that the broker complains about in `message size 20000000 is larger than configured max size 16777216`.
pub(crate) fn oversized(text: &str) -> Option<usize> {
    let (_, rest) = text.split_once("message size ")?;
    let (size, rest) = rest.split_once(' ')?;
    rest.contains("larger than").then_some(())?;
    size.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mismatch_is_read_from_every_shape_of_text() {
        let cases = [
            (
                "PRECONDITION_FAILED - inequivalent arg 'x-delivery-limit' for queue 'emails' in vhost '/': received '20' but current is '5'",
                ("x-delivery-limit", "20", "5"),
            ),
            (
                "PRECONDITION_FAILED - inequivalent arg 'x-max-length' for queue 'q' in vhost '/': received the value '20' of type 'signedint' but current is none",
                ("x-max-length", "20", "none"),
            ),
            (
                "PRECONDITION_FAILED - inequivalent arg 'x-queue-type' for queue 'a 'b' in vhost '/': received none but current is the value 'quorum' of type 'longstr'",
                ("x-queue-type", "none", "quorum"),
            ),
            (
                "PRECONDITION_FAILED - inequivalent arg 'type' for exchange 'e' in vhost '/': received 'topic' but current is 'direct'",
                ("type", "topic", "direct"),
            ),
        ];
        for (text, (argument, wanted, found)) in cases {
            let expected = Inequivalent {
                argument,
                wanted,
                found,
            };
            assert_eq!(Inequivalent::parse(text), Some(expected), "{text}");
        }
        assert_eq!(
            Inequivalent::parse("PRECONDITION_FAILED - something else"),
            None
        );
    }

    #[test]
    fn the_exchange_at_fault_is_found_in_the_text() {
        let text = "NOT_FOUND - no exchange 'orders' in vhost '/'";
        assert!(mentions_exchange(text, "orders"));
        assert!(!mentions_exchange(text, "order"));
        let text = "ACCESS_REFUSED - write access to exchange 'amq.default' in vhost '/' refused for user 'u'";
        assert!(mentions_exchange(text, ""));
    }

    #[test]
    fn the_routing_key_at_fault_is_found_in_the_text() {
        let text = "ACCESS_REFUSED - write access to topic 'a.b' in exchange 'coney.tasks' in vhost '/' refused for user 'u'";
        assert_eq!(mentions_topic(text, "a.b"), Some(true));
        assert_eq!(mentions_topic(text, "a"), Some(false));
        assert_eq!(mentions_topic(text, "a.b.c"), Some(false));
        assert!(mentions_exchange(text, "coney.tasks"));
        let text = "ACCESS_REFUSED - write access to exchange 'coney.tasks' in vhost '/' refused for user 'u'";
        assert_eq!(mentions_topic(text, "a.b"), None);
    }

    #[test]
    fn the_size_at_fault_is_found_in_the_text() {
        let text = "PRECONDITION_FAILED - message size 134217729 is larger than configured max size 134217728";
        assert_eq!(oversized(text), Some(134_217_729));
        assert_eq!(oversized("PRECONDITION_FAILED - message size"), None);
    }
}
