//! Which of the messages on their way made the broker close the channel.

use crate::error::{
    BrokerReply, PublishError, PublishErrorKind, mentions_exchange, mentions_topic, oversized,
};
use crate::job::Job;

/// True if the broker's text points at this message.
///
/// RabbitMQ names the exchange it does not know (404) or does not let the user write to (403), with topic permissions
/// also the routing key, and the size of the message that is too large (406).
pub(crate) fn fits(reply: &BrokerReply<'_>, job: &Job) -> bool {
    match reply.code {
        403 | 404 => {
            mentions_exchange(reply.text, job.exchange())
                && mentions_topic(reply.text, job.routing_key()).unwrap_or(true)
        }
        406 => oversized(reply.text) == Some(job.payload().len()),
        _ => false,
    }
}

/// What the caller of a message that closed the channel is told.
pub(crate) fn verdict(reply: &BrokerReply<'_>, job: &Job) -> PublishError {
    let detail = reply.text.to_owned();
    PublishError::new(match reply.code {
        403 => PublishErrorKind::Permission { detail },
        404 => PublishErrorKind::NoExchange {
            exchange: job.exchange().to_owned(),
        },
        406 if oversized(reply.text).is_some() => PublishErrorKind::TooLarge { detail },
        _ => PublishErrorKind::Refused { detail },
    })
}
