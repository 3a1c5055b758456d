//! What becomes of a published message: exchanges, queues, returns, confirms.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use amq_protocol::protocol::{AMQPClass, basic};
use amq_protocol::types::AMQPValue;

use super::ChannelKey;
use crate::access::Right;
use crate::arguments::kind_name;
use crate::content::{Content, Properties};
use crate::dead::{Letter, Reason, carbon_copies};
use crate::error::{Objection, Outcome};
use crate::exchange::Destination;
use crate::frame::Out;
use crate::queue::{GivenUp, Message, Overflow, QueueId};
use crate::table::RawTable;
use crate::vhost::Vhost;

/// What a client publishes to or consumes from for direct replies.
pub(super) const REPLY_TO: &str = "amq.rabbitmq.reply-to";

/// The largest body, in bytes: RabbitMQ's.
pub(crate) const LARGEST: u64 = 128 * 1024 * 1024;

/// How many ways to queues a message may have before it is looked whether they are the same.
const MANY_WAYS: usize = 1024;

impl Vhost {
    /// Objects unless the client may publish to this exchange.
    pub(crate) fn check_publish(
        &self,
        key: ChannelKey,
        exchange: &str,
        routing_key: &str,
        immediate: bool,
    ) -> Outcome<()> {
        if immediate {
            return Err(Objection::not_implemented("immediate=true"));
        }
        self.check_exchange(key, Right::Write, exchange)?;
        if self.exchange(exchange)?.internal {
            return Err(Objection::access_refused(format_args!(
                "cannot publish to internal {}",
                self.exchange_called(exchange)
            )));
        }
        self.check_topic(key, Right::Write, exchange, routing_key)
    }

    /// Takes a message from a client.
    pub(crate) fn publish(
        &mut self,
        key: ChannelKey,
        content: Content,
        mandatory: bool,
    ) -> Outcome<()> {
        // what a client cannot read would end the connection of whoever gets it
        let Some(properties) = content.read().filter(|read| read.headers.is_whole()) else {
            return Err(Objection::syntax(
                "the properties of a message cannot be read",
            ));
        };
        self.check_user(key, &properties)?;
        let ttl = expiration(&properties)?;
        check_content(&properties)?;
        let content = self.direct_reply_to(key, content, &properties)?;
        let number = self.channel_mut(key)?.published.as_mut().map(|number| {
            *number += 1;
            *number
        });
        let (queues, content) = self.destinations(content, &properties.headers);
        let content = Arc::new(content);
        self.deliver_reply(&content);
        if queues.is_empty() && mandatory {
            self.send_back(key, content.clone());
        }
        let refused = number.is_some() && self.is_refused_on_purpose();
        let priority = properties.priority.unwrap_or(0);
        let accepted = !refused && self.enqueue(&queues, &content, priority, ttl);
        if let Some(number) = number {
            self.confirm(key, number, accepted);
        }
        Ok(())
    }

    fn check_user(&self, key: ChannelKey, properties: &Properties) -> Outcome<()> {
        let user = &*self.channel(key)?.user;
        match &properties.user_id {
            Some(claimed) if claimed != user => Err(Objection::precondition(format_args!(
                "user_id property set to '{claimed}' but authenticated user was '{user}'"
            ))),
            _ => Ok(()),
        }
    }

    /// Replaces the pseudo-queue by the one of this channel.
    fn direct_reply_to(
        &self,
        key: ChannelKey,
        content: Content,
        properties: &Properties,
    ) -> Outcome<Content> {
        if properties.reply_to.as_deref() != Some(REPLY_TO) {
            return Ok(content);
        }
        match &self.channel(key)?.reply_to {
            Some(reply) => Ok(content.with_reply_to(&reply.name)),
            None => Err(Objection::precondition(
                "fast reply consumer does not exist",
            )),
        }
    }

    fn deliver_reply(&mut self, content: &Arc<Content>) {
        let is_reply = content.exchange.is_empty() && content.routing_key.starts_with(REPLY_TO);
        if is_reply
            && let Some(reply) = self.replies.get(&content.routing_key)
            && let Some(channel) = self.channels.get_mut(&reply.channel)
        {
            channel.deliver_reply(&reply.tag, content.clone());
        }
    }

    /// The queues that a message reaches, and the message as they get it: without the header `BCC`.
    fn destinations(&self, content: Content, headers: &RawTable) -> (Vec<QueueId>, Content) {
        let mut keys = vec![content.routing_key.clone()];
        let mut content = content;
        if !headers.is_empty() {
            keys.extend(carbon_copies(headers, "CC"));
            let hidden: Vec<_> = carbon_copies(headers, "BCC").collect();
            if !hidden.is_empty() {
                let mut shown = headers.clone();
                shown.remove("BCC");
                content = content.with_headers(&shown);
            }
            keys.extend(hidden);
        }
        (self.route(&content.exchange, &keys, headers), content)
    }

    /// The queues that are reached from an exchange, each once.
    fn route(&self, exchange: &str, keys: &[String], headers: &RawTable) -> Vec<QueueId> {
        let mut queues = Vec::new();
        let mut seen = BTreeSet::from([exchange]);
        let mut open = vec![exchange];
        while let Some(name) = open.pop() {
            let Some(exchange) = self.exchanges.get(name) else {
                continue;
            };
            let mut nothing = true;
            let mut enter = |name| {
                if seen.insert(name) {
                    open.push(name);
                }
            };
            // what does not look at keys is asked once, however many there are
            let asked = if exchange.kind.has_keys() {
                keys.len()
            } else {
                1
            };
            for key in keys.iter().take(asked) {
                if name.is_empty() {
                    nothing &= !self.names.get(&**key).is_some_and(|id| {
                        reach(&mut queues, *id);
                        true
                    });
                }
                exchange.route(key, headers, &mut |destination| {
                    nothing = false;
                    match destination {
                        Destination::Queue(id) => reach(&mut queues, *id),
                        Destination::Exchange(name) => enter(name),
                    }
                });
            }
            if let (true, Some(alternate)) = (nothing, &exchange.alternate) {
                enter(alternate);
            }
        }
        if queues.len() > 1 {
            queues.sort_unstable();
            queues.dedup();
        }
        queues
    }

    /// Puts a message into queues; false if one refuses it.
    fn enqueue(
        &mut self,
        queues: &[QueueId],
        content: &Arc<Content>,
        priority: u8,
        ttl: Option<Duration>,
    ) -> bool {
        let now = self.now;
        let mut accepted = true;
        for id in queues {
            let Some(queue) = self.queues.get_mut(id) else {
                continue;
            };
            if queue.refuses(content.size()) {
                accepted = false;
                if queue.settings.overflow == Overflow::RejectAndDeadLetter {
                    let message = Message {
                        content: content.clone(),
                        expires: None,
                        redelivered: false,
                        returns: 0,
                    };
                    let reason = Reason::MaxLength;
                    self.give_up(*id, vec![GivenUp { message, reason }]);
                }
            } else {
                queue.arrive(content.clone(), priority, ttl, now);
                self.touch(*id);
            }
        }
        accepted
    }

    fn send_back(&self, key: ChannelKey, content: Arc<Content>) {
        let Some(channel) = self.channels.get(&key) else {
            return;
        };
        let back = basic::Return {
            reply_code: 312,
            reply_text: "NO_ROUTE".into(),
            exchange: content.exchange.as_str().into(),
            routing_key: content.routing_key.as_str().into(),
        };
        let back = AMQPClass::Basic(basic::AMQPMethod::Return(back));
        channel.outbox.push(Out::Content(key.number, back, content));
    }

    /// Publishes a given up message to its dead-letter exchange.
    pub(crate) fn bury(&mut self, letter: Letter) {
        let content = letter.content(self.now);
        let properties = content.read().unwrap_or_default();
        let (mut queues, content) = self.destinations(content, &properties.headers);
        queues.retain(|id| {
            let queue = self.queues.get(id);
            queue.is_some_and(|queue| !letter.is_cycle(&properties.headers, &queue.name))
        });
        let accepted = self.enqueue(
            &queues,
            &Arc::new(content),
            properties.priority.unwrap_or(0),
            None,
        );
        if letter.to.at_least_once
            && (queues.is_empty() || !accepted)
            && let Some(source) = self.queues.get_mut(&letter.from)
        {
            source.hold(letter.given_up, self.now);
            self.touch(letter.from);
        }
    }
}

/// Objects to what no queue could take.
fn check_content(properties: &Properties) -> Outcome<()> {
    let invalid = |why: String| Objection::precondition(format_args!("invalid message: {why}"));
    if let Some(mode) = properties
        .delivery_mode
        .filter(|mode| !matches!(mode, 1 | 2))
    {
        return Err(invalid(format!("{{delivery_mode_unknown,{mode}}}")));
    }
    for name in ["CC", "BCC"] {
        match properties.headers.get(name) {
            None | Some(AMQPValue::FieldArray(_)) => {}
            Some(other) => {
                let kind = kind_name(&other);
                let why = format!("{{unacceptable_type_in_header,\"{name}\",{kind}}}");
                return Err(invalid(why));
            }
        }
    }
    Ok(())
}

/// Adds a queue that is reached. Many ways to the same queues take no more room than twice the queues.
fn reach(queues: &mut Vec<QueueId>, id: QueueId) {
    if queues.len() == queues.capacity() && queues.len() >= MANY_WAYS {
        queues.sort_unstable();
        queues.dedup();
    }
    queues.push(id);
}

/// The time to live that a message brings.
fn expiration(properties: &Properties) -> Outcome<Option<Duration>> {
    let Some(text) = &properties.expiration else {
        return Ok(None);
    };
    let digits = text
        .trim_start_matches('-')
        .find(|c: char| !c.is_ascii_digit());
    let wrong = match (text.parse::<i64>(), digits) {
        (Ok(millis), _) if millis < 0 => format!("{{value_negative,{millis}}}"),
        (Ok(millis), _) => return Ok(Some(Duration::from_millis(millis.unsigned_abs()))),
        (Err(_), Some(at)) if at > 0 => format!("{{leftover_string,\"{}\"}}", &text[at..]),
        (Err(_), _) => "no_integer".to_owned(),
    };
    Err(Objection::precondition(format_args!(
        "invalid expiration '{text}': {wrong}"
    )))
}
