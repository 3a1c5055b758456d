//! Stage four: what follows from an outcome. Pure: no I/O, no clock but the one given.
//!
//! | outcome | reply | dead letter | delivery |
//! |---|---|---|---|
//! | success | SUCCESS | – | ack |
//! | failure that may be retried | FAILURE | `exhausted` | ack |
//! | `dead` | FAILURE | `dead` | ack |
//! | `discard` | FAILURE | – | ack |
//! | poison | FAILURE (REVOKED if expired) | its reason | ack |
//! | aborted at shutdown | – | – | back to the queue |
//!
//! The delay ladder does not exist yet, so that every failed attempt is the last one: retry and `defer` end in the
//! dead letters, where nothing is lost and all can be put back.

use std::time::SystemTime;

use coney_protocol::dead::Reason;
use coney_protocol::header::Header;
use coney_protocol::outcome::{ErrorReport, Next};
use coney_protocol::reply::{Reply, Status};
use coney_protocol::spec::TaskSpec;

use crate::decode::Poison;
use crate::outcome::Outcome;
use crate::settle::ReplyAddress;

/// What to publish, and what becomes of the delivery after that.
#[derive(Debug)]
pub(crate) struct Disposition {
    pub(crate) reply: Option<(ReplyAddress, Reply)>,
    pub(crate) dead: Option<(Reason, ErrorReport)>,
    pub(crate) then: Then,
}

/// What becomes of the delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    /// It is done.
    Ack,
    /// It goes back to the queue.
    Requeue,
}

impl Disposition {
    /// The word for metrics and logs.
    pub(crate) fn outcome(&self) -> &'static str {
        match (&self.then, &self.dead, &self.reply) {
            (Then::Requeue, ..) => "returned",
            (_, Some((reason, _)), _) => reason.as_str(),
            (_, None, _) => "done",
        }
    }
}

/// What follows from the outcome of an attempt.
pub(crate) fn decide(
    header: &Header,
    spec: &TaskSpec,
    outcome: Outcome,
    now: SystemTime,
) -> Disposition {
    let address = wanted_reply(header, spec);
    match outcome {
        Outcome::Success(result) => Disposition {
            reply: address.map(|to| {
                let reply = Reply::new(header.id.clone(), Status::Success, result);
                (to, complete(reply, header, now))
            }),
            dead: None,
            then: Then::Ack,
        },
        Outcome::Failed { next, report } => Disposition {
            reply: address.map(|to| {
                let reply = Reply::failure(header.id.clone(), Status::Failure, &report);
                (to, complete(reply, header, now))
            }),
            dead: reason_of(next).map(|reason| (reason, report)),
            then: Then::Ack,
        },
        Outcome::Aborted => Disposition {
            reply: None,
            dead: None,
            then: Then::Requeue,
        },
    }
}

/// What follows from a message that cannot run.
pub(crate) fn poisoned(poison: &Poison, now: SystemTime) -> Disposition {
    let status = match poison.reason {
        Reason::Expired => Status::Revoked,
        _ => Status::Failure,
    };
    let reply = poison.reply.clone().map(|to| {
        let mut reply = Reply::failure(to.id.clone(), status, &poison.report);
        reply.date_done = Some(now);
        (to, reply)
    });
    Disposition {
        reply,
        dead: Some((poison.reason, poison.report.clone())),
        then: Then::Ack,
    }
}

/// The dead-letter reason of a failure, if it is one.
fn reason_of(next: Next) -> Option<Reason> {
    match next {
        Next::Discard => None,
        Next::Dead => Some(Reason::Dead),
        _ => Some(Reason::Exhausted),
    }
}

/// Where the caller waits, unless nobody wants the result.
fn wanted_reply(header: &Header, spec: &TaskSpec) -> Option<ReplyAddress> {
    let task_ignores = header.ignore_result.is_none() && spec.ignore_result;
    ReplyAddress::of(header).filter(|_| !task_ignores)
}

fn complete(mut reply: Reply, header: &Header, now: SystemTime) -> Reply {
    reply.date_done = Some(now);
    reply.group_id.clone_from(&header.group);
    reply.parent_id.clone_from(&header.parent_id);
    reply
}

#[cfg(test)]
mod tests {
    use coney_protocol::id::TaskId;
    use serde_json::value::RawValue;

    use super::*;

    fn header() -> Header {
        let mut header = Header::new("t", TaskId::generate());
        header.reply_to = Some("reply".to_owned());
        header
    }

    fn spec() -> TaskSpec {
        TaskSpec::new("t", "m")
    }

    fn failed(next: Next) -> Outcome {
        Outcome::Failed {
            next,
            report: ErrorReport::new("E", "boom"),
        }
    }

    fn decided(outcome: Outcome) -> (Option<Status>, Option<Reason>, Then) {
        let disposition = decide(&header(), &spec(), outcome, SystemTime::UNIX_EPOCH);
        (
            disposition.reply.map(|(_, reply)| reply.status),
            disposition.dead.map(|(reason, _)| reason),
            disposition.then,
        )
    }

    #[test]
    fn each_outcome_has_its_disposition() {
        let success = Outcome::Success(RawValue::NULL.to_owned());
        assert_eq!(decided(success), (Some(Status::Success), None, Then::Ack));
        for (next, reason) in [
            (Next::Retry, Some(Reason::Exhausted)),
            (Next::Dead, Some(Reason::Dead)),
            (Next::Discard, None),
        ] {
            let expected = (Some(Status::Failure), reason, Then::Ack);
            assert_eq!(decided(failed(next)), expected, "{next:?}");
        }
        assert_eq!(decided(Outcome::Aborted), (None, None, Then::Requeue));
    }

    #[test]
    fn a_result_that_nobody_wants_is_not_sent() {
        let mut header = header();
        header.ignore_result = Some(true);
        let outcome = failed(Next::Dead);
        let disposition = decide(&header, &spec(), outcome, SystemTime::UNIX_EPOCH);
        assert!(disposition.reply.is_none());
        assert!(disposition.dead.is_some(), "but a dead letter is kept");
    }

    #[test]
    fn the_callers_wish_for_a_result_counts_more_than_the_tasks() {
        let mut header = header();
        header.ignore_result = Some(false);
        let success = Outcome::Success(RawValue::NULL.to_owned());
        let spec = spec().ignore_result();
        let disposition = decide(&header, &spec, success, SystemTime::UNIX_EPOCH);
        assert!(disposition.reply.is_some());
    }
}
