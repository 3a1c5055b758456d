//! Stage four: what follows from an outcome. Pure: no I/O, no clock and no dice but those given.
//!
//! | outcome | publishes | delivery |
//! |---|---|---|
//! | success | SUCCESS result | ack |
//! | failure, time limit, panic; attempts left | RETRY result, retry copy through the delay ladder | ack |
//! | the same, no attempts left | FAILURE result, dead letter `exhausted` | ack |
//! | `dead` | FAILURE result, dead letter `dead` | ack |
//! | `discard` | FAILURE result | ack |
//! | `ignore` | – | ack |
//! | `reject` | FAILURE result | reject |
//! | `reject`, back to the queue | – | back to the queue |
//! | `defer` | the same message through the delay ladder | ack |
//! | not due yet | the same message through the delay ladder | ack |
//! | revoked before it started | REVOKED result `revoked` | ack |
//! | revoked while it ran, and no success | REVOKED result `terminated` | ack |
//! | delivered again, where only workers count that | the same message with its count | ack |
//! | poison | FAILURE result (REVOKED if expired), dead letter with its reason | ack |
//! | aborted at shutdown, not revoked | – (the message itself, if it was acknowledged early) | back to the queue |

use std::time::{Duration, SystemTime};

use coney_protocol::dead::Reason;
use coney_protocol::delay::{Precision, Steps};
use coney_protocol::header::Header;
use coney_protocol::history;
use coney_protocol::outcome::{ErrorReport, Next};
use coney_protocol::policy;
use coney_protocol::reply::{Reply, Status};
use coney_protocol::spec::{AckMode, TaskSpec};

use crate::decode::Poison;
use crate::outcome::Outcome;
use crate::settle::ReplyAddress;

/// What to publish, and what becomes of the delivery after that.
#[derive(Debug)]
pub(crate) struct Disposition {
    pub(crate) reply: Option<(ReplyAddress, Reply)>,
    /// The message comes back, with its body as it is.
    pub(crate) again: Option<Again>,
    /// The message is a dead letter.
    pub(crate) dead: Option<(Reason, ErrorReport)>,
    /// The header that the message goes on with, if it is another.
    pub(crate) header: Option<Header>,
    /// True if the task was cancelled, for metrics and logs.
    pub(crate) revoked: bool,
    pub(crate) then: Then,
}

/// When a message comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Again {
    /// At once.
    Now,
    /// Down the delay ladder.
    After(Steps),
}

impl Again {
    fn after(wait: Duration, precision: Precision) -> Self {
        Steps::of(wait, precision).map_or(Self::Now, Self::After)
    }
}

/// What becomes of the delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    /// It is done.
    Ack,
    /// It goes back to the queue.
    Requeue,
    /// The broker hands it to the dead-letter exchange of its queue, if that has one.
    Reject,
}

/// What the rule looks at beside the outcome.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Facts<'a> {
    pub(crate) header: &'a Header,
    pub(crate) spec: &'a TaskSpec,
    /// True if the task was revoked while it ran.
    pub(crate) revoked: bool,
    /// The worker's name, for the history.
    pub(crate) worker: &'a str,
    pub(crate) now: SystemTime,
    /// Drawn evenly between 0 and 1.
    pub(crate) chance: f64,
}

impl Disposition {
    const ACK: Self = Self {
        reply: None,
        again: None,
        dead: None,
        header: None,
        revoked: false,
        then: Then::Ack,
    };

    /// The message comes back at once.
    pub(crate) const AGAIN: Self = Self {
        again: Some(Again::Now),
        ..Self::ACK
    };

    /// The word for metrics and logs.
    pub(crate) fn outcome(&self) -> &'static str {
        match self {
            Self {
                then: Then::Requeue,
                ..
            } => "returned",
            Self { revoked: true, .. } => "revoked",
            Self { again: Some(_), .. } => "again",
            Self {
                dead: Some((reason, _)),
                ..
            } => reason.as_str(),
            Self { .. } => "done",
        }
    }
}

/// What follows from the outcome of an attempt.
pub(crate) fn decide(facts: Facts<'_>, outcome: Outcome) -> Disposition {
    match outcome {
        Outcome::Success(result) => {
            let id = facts.header.id.clone();
            let reply = Reply::new(id, Status::Success, result);
            Disposition {
                reply: facts.answer(reply),
                ..Disposition::ACK
            }
        }
        // whatever else it says: it was asked to end
        _ if facts.revoked => facts.terminated(),
        Outcome::Revoked => facts.terminated(),
        Outcome::Failed { next, report } => failed(facts, next, report),
        Outcome::TimedOut(limit) => failed(facts, Next::Retry, time_limit(limit)),
        // what was acknowledged early has to be sent again to come back
        Outcome::Aborted if facts.spec.ack == AckMode::Early => Disposition::AGAIN,
        Outcome::Aborted => Disposition {
            then: Then::Requeue,
            ..Disposition::ACK
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
        ..Disposition::ACK
    }
}

/// What follows from a message whose task was revoked before it started.
pub(crate) fn revoked(header: &Header, now: SystemTime) -> Disposition {
    let mut reply = cancelled(header, "revoked");
    reply.date_done = Some(now);
    Disposition {
        reply: ReplyAddress::of(header).map(|to| (to, reply)),
        revoked: true,
        ..Disposition::ACK
    }
}

/// What Celery answers for a task that was revoked, so that its clients raise what they expect.
fn cancelled(header: &Header, how: &str) -> Reply {
    let report = ErrorReport::new("TaskRevokedError", how).module("celery.exceptions");
    let mut reply = Reply::failure(header.id.clone(), Status::Revoked, &report);
    reply.group_id.clone_from(&header.group);
    reply.parent_id.clone_from(&header.parent_id);
    reply
}

/// What follows from a message that came before its time: it waits for the rest in the broker, not here.
pub(crate) fn early(remaining: Duration) -> Disposition {
    Disposition {
        again: Some(Again::after(remaining, Precision::Fine)),
        ..Disposition::ACK
    }
}

fn failed(facts: Facts<'_>, next: Next, report: ErrorReport) -> Disposition {
    let mut policy = facts.header.retry().unwrap_or(facts.spec.retry);
    if let Next::RetryUpTo { max, .. } = next {
        policy.max = max;
    }
    let drawn = policy::wait(&policy, facts.header.attempt(), facts.chance);
    match next {
        Next::Discard => facts.given_up(report, None),
        Next::Dead => facts.given_up(report, Some(Reason::Dead)),
        Next::Defer(wait) => Disposition {
            again: Some(Again::after(wait, Precision::Fine)),
            ..Disposition::ACK
        },
        Next::RetryAfter(wait)
        | Next::RetryUpTo {
            wait: Some(wait), ..
        } if drawn.is_some() => facts.retried(&report, Again::after(wait, Precision::Fine)),
        Next::Ignore => Disposition::ACK,
        Next::Reject { requeue: true } => Disposition {
            then: Then::Requeue,
            ..Disposition::ACK
        },
        Next::Reject { requeue: false } => Disposition {
            then: Then::Reject,
            ..facts.given_up(rejected(&report), None)
        },
        _ => match drawn {
            Some(wait) => facts.retried(&report, Again::after(wait, Precision::Coarse)),
            None => facts.given_up(report, Some(Reason::Exhausted)),
        },
    }
}

impl Facts<'_> {
    /// The same message with one attempt more behind it.
    fn retried(self, report: &ErrorReport, again: Again) -> Disposition {
        let mut header = self.remembering(report);
        header.retries = header.retries.saturating_add(1);
        // as Celery does: each attempt is the child of the one before
        header.parent_id = Some(header.id.clone());
        let mut reply = Reply::failure(header.id.clone(), Status::Retry, report);
        reply.group_id.clone_from(&self.header.group);
        reply.parent_id.clone_from(&self.header.parent_id);
        Disposition {
            reply: self.address().map(|to| (to, reply)),
            again: Some(again),
            header: Some(header),
            ..Disposition::ACK
        }
    }

    /// It ran, and was cancelled.
    fn terminated(self) -> Disposition {
        Disposition {
            reply: self.answer(cancelled(self.header, "terminated")),
            revoked: true,
            ..Disposition::ACK
        }
    }

    fn given_up(self, report: ErrorReport, reason: Option<Reason>) -> Disposition {
        let reply = Reply::failure(self.header.id.clone(), Status::Failure, &report);
        Disposition {
            reply: self.answer(reply),
            header: reason.map(|_| self.remembering(&report)),
            dead: reason.map(|reason| (reason, report)),
            ..Disposition::ACK
        }
    }

    fn remembering(&self, report: &ErrorReport) -> Header {
        let mut header = self.header.clone();
        let error = format!("{}: {}", report.kind, report.message);
        history::add(&mut header, &error, self.worker, self.now);
        header
    }

    /// A final reply with its address, if somebody wants it.
    fn answer(&self, mut reply: Reply) -> Option<(ReplyAddress, Reply)> {
        reply.date_done = Some(self.now);
        reply.group_id.clone_from(&self.header.group);
        reply.parent_id.clone_from(&self.header.parent_id);
        self.address().map(|to| (to, reply))
    }

    /// Where the caller waits, unless nobody wants the result.
    fn address(&self) -> Option<ReplyAddress> {
        let task_ignores = self.header.ignore_result.is_none() && self.spec.ignore_result;
        ReplyAddress::of(self.header).filter(|_| !task_ignores)
    }
}

/// What Celery answers for a task that refuses its message.
fn rejected(report: &ErrorReport) -> ErrorReport {
    ErrorReport::new("Reject", &*report.message)
        .module("celery.exceptions")
        .args(vec![report.message.as_str().into(), false.into()])
}

/// What Celery answers when a task runs into its hard limit.
pub(crate) fn time_limit(limit: Duration) -> ErrorReport {
    let seconds = limit.as_secs_f64();
    let argument = match limit.subsec_nanos() {
        0 => limit.as_secs().into(),
        _ => seconds.into(),
    };
    ErrorReport::new("TimeLimitExceeded", seconds.to_string())
        .module("billiard.exceptions")
        .args(vec![argument])
}

#[cfg(test)]
mod tests {
    use coney_protocol::id::TaskId;
    use coney_protocol::spec::{Backoff, RetryPolicy};
    use serde_json::value::RawValue;

    use super::*;

    fn header() -> Header {
        let mut header = Header::new("t", TaskId::generate());
        header.reply_to = Some("reply".to_owned());
        header
    }

    fn spec() -> TaskSpec {
        let backoff = Backoff::Fixed(Duration::from_secs(8));
        TaskSpec::new("t", "m").retry(RetryPolicy::max(2).backoff(backoff).jitter(false))
    }

    fn decided(header: &Header, outcome: Outcome) -> Disposition {
        let facts = Facts {
            header,
            spec: &spec(),
            revoked: false,
            worker: "w",
            now: SystemTime::UNIX_EPOCH,
            chance: 0.5,
        };
        decide(facts, outcome)
    }

    fn failed(next: Next) -> Outcome {
        let report = ErrorReport::new("E", "boom");
        Outcome::Failed { next, report }
    }

    fn success() -> Outcome {
        Outcome::Success(RawValue::NULL.to_owned())
    }

    /// Status of the reply, dead-letter reason, retries and milliseconds until it comes back, and what then.
    type Row = (
        Option<Status>,
        Option<Reason>,
        Option<(Option<u32>, u128)>,
        Then,
    );

    fn row(disposition: Disposition) -> Row {
        let retries = disposition.header.map(|header| header.retries);
        let again = disposition.again.map(|again| match again {
            Again::Now => (retries, 0),
            Again::After(steps) => (retries, steps.duration().as_millis()),
        });
        (
            disposition.reply.map(|(_, reply)| reply.status),
            disposition.dead.map(|(reason, _)| reason),
            again,
            disposition.then,
        )
    }

    #[test]
    fn each_outcome_has_its_disposition() {
        let secs = Duration::from_secs;
        let (ack, failure, retry) = (Then::Ack, Some(Status::Failure), Some(Status::Retry));
        let first = header();
        let rows: [(Outcome, Row); 9] = [
            (success(), (Some(Status::Success), None, None, ack)),
            (
                failed(Next::Retry),
                (retry.clone(), None, Some((Some(1), 8192)), ack),
            ),
            (
                failed(Next::RetryAfter(secs(3))),
                (retry.clone(), None, Some((Some(1), 3008)), ack),
            ),
            (
                Outcome::TimedOut(secs(1)),
                (retry, None, Some((Some(1), 8192)), ack),
            ),
            (
                failed(Next::Dead),
                (failure.clone(), Some(Reason::Dead), None, ack),
            ),
            (failed(Next::Discard), (failure.clone(), None, None, ack)),
            (
                failed(Next::Defer(secs(1))),
                (None, None, Some((None, 1008)), ack),
            ),
            (Outcome::Aborted, (None, None, None, Then::Requeue)),
            (Outcome::Revoked, (Some(Status::Revoked), None, None, ack)),
        ];
        for (outcome, expected) in rows {
            let name = format!("{outcome:?}");
            assert_eq!(row(decided(&first, outcome)), expected, "{name}");
        }
        let mut last = header();
        last.retries = 2;
        for outcome in [
            failed(Next::Retry),
            failed(Next::RetryAfter(secs(3))),
            Outcome::panicked("x"),
        ] {
            let expected = (failure.clone(), Some(Reason::Exhausted), None, ack);
            assert_eq!(row(decided(&last, outcome)), expected);
        }
        // a deferral costs no attempt, and so has no last one
        assert_eq!(
            row(decided(&last, failed(Next::Defer(secs(1))))).2,
            Some((None, 1008))
        );
    }

    #[test]
    fn a_revoked_attempt_has_succeeded_or_is_over() {
        let header = header();
        for outcome in [
            success(),
            failed(Next::Retry),
            failed(Next::Dead),
            failed(Next::Discard),
            failed(Next::Defer(Duration::from_secs(1))),
            Outcome::TimedOut(Duration::from_secs(1)),
            Outcome::Revoked,
            Outcome::Aborted,
        ] {
            let name = format!("{outcome:?}");
            let status = match outcome {
                Outcome::Success(_) => Status::Success,
                _ => Status::Revoked,
            };
            let facts = Facts {
                header: &header,
                spec: &spec(),
                revoked: true,
                worker: "w",
                now: SystemTime::UNIX_EPOCH,
                chance: 0.5,
            };
            let disposition = decide(facts, outcome);
            assert_eq!(disposition.revoked, status == Status::Revoked, "{name}");
            assert_eq!(
                row(disposition),
                (Some(status), None, None, Then::Ack),
                "{name}"
            );
        }
    }

    #[test]
    fn a_task_that_was_revoked_before_it_started_is_no_dead_letter() {
        let disposition = revoked(&header(), SystemTime::UNIX_EPOCH);
        assert_eq!(disposition.outcome(), "revoked");
        let report = disposition.reply.as_ref().and_then(|(_, r)| r.report());
        let report = report.expect("an exception");
        assert_eq!(
            (&*report.kind, &*report.message, report.module.as_deref()),
            ("TaskRevokedError", "revoked", Some("celery.exceptions"))
        );
        assert_eq!(
            row(disposition),
            (Some(Status::Revoked), None, None, Then::Ack)
        );
    }

    #[test]
    fn the_callers_retry_policy_counts_more_than_the_tasks() {
        let mut header = header();
        let policy = RetryPolicy::max(0);
        header.extra.insert("coney-retry", policy.to_string());
        let disposition = decided(&header, failed(Next::Retry));
        assert!(matches!(disposition.dead, Some((Reason::Exhausted, _))));
    }

    #[test]
    fn what_was_acknowledged_early_is_sent_again_when_the_worker_stops() {
        let facts = Facts {
            header: &header(),
            spec: &spec().ack(AckMode::Early),
            worker: "w",
            now: SystemTime::UNIX_EPOCH,
            chance: 0.5,
            revoked: false,
        };
        let disposition = decide(facts, Outcome::Aborted);
        assert_eq!(disposition.again, Some(Again::Now));
    }

    #[test]
    fn a_task_may_retry_on_terms_of_its_own() {
        let wait = Some(Duration::from_secs(3));
        let again = |max| failed(Next::RetryUpTo { wait, max });
        let mut later = header();
        later.retries = 1000;
        let expected = Some((Some(1001), 3008));
        assert_eq!(row(decided(&later, again(u32::MAX))).2, expected);
        let exhausted = decided(&later, again(1000));
        assert!(matches!(exhausted.dead, Some((Reason::Exhausted, _))));
        // without a wait of its own, as long as the policy says
        let max = 1;
        let policys = decided(&header(), failed(Next::RetryUpTo { wait: None, max }));
        assert_eq!(row(policys).2, Some((Some(1), 8192)));
    }

    #[test]
    fn a_task_may_end_in_silence_or_refuse_its_message() {
        let first = header();
        assert_eq!(
            row(decided(&first, failed(Next::Ignore))),
            (None, None, None, Then::Ack)
        );
        let back = failed(Next::Reject { requeue: true });
        assert_eq!(
            row(decided(&first, back)),
            (None, None, None, Then::Requeue)
        );
        let refused = decided(&first, failed(Next::Reject { requeue: false }));
        let report = refused.reply.as_ref().and_then(|(_, r)| r.report());
        let report = report.expect("an exception");
        assert_eq!(report.repr(), "Reject('boom', False)");
        assert_eq!(
            row(refused),
            (Some(Status::Failure), None, None, Then::Reject)
        );
    }

    #[test]
    fn a_time_limit_is_told_as_celery_does() {
        for (limit, told) in [
            (1000, "TimeLimitExceeded(1)"),
            (1500, "TimeLimitExceeded(1.5)"),
        ] {
            assert_eq!(time_limit(Duration::from_millis(limit)).repr(), told);
        }
    }

    #[test]
    fn a_retry_is_the_child_of_the_attempt_before() {
        let mut header = header();
        header.parent_id = Some("parent".into());
        let retry = decided(&header, failed(Next::Retry));
        let (_, reply) = retry.reply.expect("somebody waits");
        assert_eq!(reply.parent_id, Some("parent".into()));
        assert_eq!(retry.header.and_then(|h| h.parent_id), Some(header.id));
    }

    #[test]
    fn a_retry_remembers_the_attempt() {
        let disposition = decided(&header(), failed(Next::Retry));
        let header = disposition.header.expect("a retry");
        let history = history::read(&header.extra);
        assert_eq!(history.len(), 1);
        assert_eq!(
            (history[0].attempt, &*history[0].error, &*history[0].worker),
            (1, "E: boom", "w")
        );
    }

    #[test]
    fn a_result_that_nobody_wants_is_not_sent() {
        let mut header = header();
        header.ignore_result = Some(true);
        let disposition = decided(&header, failed(Next::Dead));
        assert!(disposition.reply.is_none());
        assert!(disposition.dead.is_some(), "but a dead letter is kept");
    }

    #[test]
    fn the_callers_wish_for_a_result_counts_more_than_the_tasks() {
        let mut header = header();
        header.ignore_result = Some(false);
        let facts = Facts {
            header: &header,
            spec: &spec().ignore_result(),
            revoked: false,
            worker: "w",
            now: SystemTime::UNIX_EPOCH,
            chance: 0.5,
        };
        assert!(decide(facts, success()).reply.is_some());
    }
}
