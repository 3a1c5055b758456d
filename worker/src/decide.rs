//! Stage four: what follows from an outcome. Pure: no I/O, no clock and no dice but those given.
//!
//! | outcome | publishes | delivery |
//! |---|---|---|
//! | success | callbacks and next step, SUCCESS result | ack |
//! | failure, time limit, panic; attempts left | RETRY result, retry copy through the delay ladder | ack |
//! | the same, no attempts left | FAILURE result, dead letter `exhausted`, errbacks; later steps are told | ack |
//! | `dead` | FAILURE result, dead letter `dead` | ack |
//! | `discard` | FAILURE result | ack |
//! | `ignore` | – | ack |
//! | `reject` | FAILURE result (dead letter `dead`, if it was acknowledged early) | reject |
//! | `reject`, back to the queue | – (the message itself, if it was acknowledged early) | back to the queue |
//! | `defer` | the same message through the delay ladder | ack |
//! | not due yet | the same message through the delay ladder | ack |
//! | revoked before it started | REVOKED result `revoked` | ack |
//! | revoked while it ran, and no success | REVOKED result `terminated` | ack |
//! | delivered again, where only workers count that | the same message with its count | ack |
//! | poison | FAILURE result (REVOKED if expired), dead letter with its reason | ack |
//! | aborted at shutdown, not revoked | – (the message itself, if it was acknowledged early) | back to the queue |

use std::time::{Duration, SystemTime};

use coney_protocol::canvas::Child;
use coney_protocol::dead::Reason;
use coney_protocol::delay::{Precision, Steps};
use coney_protocol::header::Header;
use coney_protocol::history;
use coney_protocol::id::TaskId;
use coney_protocol::outcome::{ErrorReport, Next};
use coney_protocol::policy;
use coney_protocol::reply::{Reply, Status};
use coney_protocol::spec::{AckMode, TaskSpec};
use coney_protocol::workflow::Replacement;
use serde_json::value::RawValue;

use crate::decode::Poison;
use crate::flow::{self, Flow, Follow};
use crate::outcome::Outcome;
use crate::settle::ReplyAddress;
use crate::telemetry;

/// What to publish, and what becomes of the delivery after that.
#[derive(Debug)]
pub(crate) struct Disposition {
    pub(crate) reply: Option<(ReplyAddress, Reply)>,
    /// The message comes back, with its body as it is.
    pub(crate) again: Option<Again>,
    /// The message is a dead letter.
    pub(crate) dead: Option<(Reason, ErrorReport)>,
    /// The header that the message goes on with, if it is another.
    pub(crate) header: Option<Box<Header>>,
    /// True if the task was cancelled, for metrics and logs.
    pub(crate) revoked: bool,
    /// What follows beside the result.
    pub(crate) follow: Follow,
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
    /// What the message says shall follow.
    pub(crate) flow: Flow<'a>,
    /// The call that takes the task's place, if it said so.
    pub(crate) replacement: &'a Replacement,
    /// What the task has sent itself.
    pub(crate) children: &'a [TaskId],
}

impl Disposition {
    const ACK: Self = Self {
        reply: None,
        again: None,
        dead: None,
        header: None,
        revoked: false,
        follow: Follow::NOTHING,
        then: Then::Ack,
    };

    /// The message comes back at once.
    pub(crate) fn again() -> Self {
        Self {
            again: Some(Again::Now),
            ..Self::ACK
        }
    }

    /// True if anything has to be published before the delivery is settled.
    pub(crate) fn publishes(&self) -> bool {
        self.reply.is_some()
            || self.again.is_some()
            || self.dead.is_some()
            || !self.follow.is_nothing()
    }

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
            Self { .. } => telemetry::DONE,
        }
    }
}

/// What follows from the outcome of an attempt.
pub(crate) fn decide(facts: Facts<'_>, outcome: Outcome) -> Disposition {
    match outcome {
        Outcome::Success(result) => facts.succeeded(result),
        // whatever else it says: it was asked to end
        _ if facts.revoked => facts.terminated(),
        Outcome::Revoked => facts.terminated(),
        Outcome::Failed { next, report } => failed(facts, next, report),
        Outcome::TimedOut(limit) => failed(facts, Next::Retry, time_limit(limit)),
        // what was acknowledged early has to be sent again to come back
        Outcome::Aborted if facts.spec.ack == AckMode::Early => Disposition::again(),
        Outcome::Aborted => Disposition {
            then: Then::Requeue,
            ..Disposition::ACK
        },
    }
}

/// What follows from a message that cannot run.
///
/// Celery's clients are told nothing of a message that cannot be read, as by Celery's own workers.
pub(crate) fn poisoned(poison: &Poison, now: SystemTime, flow: Option<Flow<'_>>) -> Disposition {
    let status = match poison.reason {
        Reason::Expired => Status::Revoked,
        _ => Status::Failure,
    };
    let follow = flow.map(|flow| match poison.reason {
        Reason::Expired => flow.revoked(&poison.report),
        _ => flow.failed(&poison.report),
    });
    let reply = poison
        .reply
        .clone()
        .filter(|to| !poison.is_unread || to.is_of_coney());
    let reply = reply.map(|to| {
        let mut reply = Reply::failure(to.id.clone(), status, &poison.report);
        if let Some(card) = &poison.card {
            reply.group_id.clone_from(&card.header().group);
            reply.parent_id.clone_from(&card.header().parent_id);
        }
        reply.date_done = Some(now);
        (to, reply)
    });
    Disposition {
        reply,
        dead: Some((poison.reason, poison.report.clone())),
        follow: follow.unwrap_or_default(),
        ..Disposition::ACK
    }
}

/// What follows from a message whose task was revoked before it started.
pub(crate) fn revoked(header: &Header, now: SystemTime, flow: &Flow<'_>) -> Disposition {
    let report = cancelled("revoked");
    let mut reply = Reply::failure(header.id.clone(), Status::Revoked, &report);
    reply.group_id.clone_from(&header.group);
    reply.parent_id.clone_from(&header.parent_id);
    reply.date_done = Some(now);
    Disposition {
        reply: ReplyAddress::of(header).map(|to| (to, reply)),
        revoked: true,
        follow: flow.revoked(&report),
        ..Disposition::ACK
    }
}

/// What Celery answers for a task that was revoked, so that its clients raise what they expect.
fn cancelled(how: &str) -> ErrorReport {
    ErrorReport::new("TaskRevokedError", how).module("celery.exceptions")
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
        // what was acknowledged early has to be sent again to come back
        Next::Reject { requeue: true } if facts.spec.ack == AckMode::Early => Disposition::again(),
        Next::Reject { requeue: true } => Disposition {
            then: Then::Requeue,
            ..Disposition::ACK
        },
        // and what the broker has given away it cannot hand to the dead letters
        Next::Reject { requeue: false } if facts.spec.ack == AckMode::Early => {
            facts.given_up(rejected(&report), Some(Reason::Dead))
        }
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
    /// It has a value: what follows gets it, and the result says what follows.
    fn succeeded(self, result: Box<RawValue>) -> Disposition {
        let (header, flow) = (self.header, &self.flow);
        match self.replacement.take(header, flow.plan, self.now) {
            None => {}
            Some(Err(error)) => return self.given_up(ErrorReport::of(&error), Some(Reason::Dead)),
            Some(Ok(replacement)) => {
                return Disposition {
                    follow: Follow {
                        before: vec![replacement],
                        ..Follow::NOTHING
                    },
                    ..Disposition::ACK
                };
            }
        }
        let followers = match self.flow.succeeded(&result) {
            Ok(followers) => followers,
            Err(error) => {
                let (reason, report) = flow::objection(&error);
                return self.given_up(report, Some(reason));
            }
        };
        let mut reply = Reply::new(self.header.id.clone(), Status::Success, result);
        reply.children = self.children();
        reply.children.extend(followers.children);
        Disposition {
            reply: self.answer(reply),
            follow: Follow {
                before: followers.outgoing,
                ..Follow::NOTHING
            },
            ..Disposition::ACK
        }
    }

    fn children(&self) -> Vec<Child> {
        self.children.iter().cloned().map(Child::task).collect()
    }

    /// The same message with one attempt more behind it.
    fn retried(self, report: &ErrorReport, again: Again) -> Disposition {
        let mut header = self.remembering(report);
        header.retries = header.retries.saturating_add(1);
        // as Celery does: each attempt is the child of the one before
        header.parent_id = Some(header.id.clone());
        header.eta = match again {
            Again::Now => None,
            Again::After(steps) => self.now.checked_add(steps.duration()),
        };
        let mut reply = Reply::failure(header.id.clone(), Status::Retry, report);
        reply.group_id.clone_from(&self.header.group);
        reply.parent_id.clone_from(&self.header.parent_id);
        reply.children = self.children();
        reply.children.push(Child::task(header.id.clone()));
        Disposition {
            reply: self.address().map(|to| (to, reply)),
            again: Some(again),
            header: Some(Box::new(header)),
            ..Disposition::ACK
        }
    }

    /// It ran, and was cancelled.
    fn terminated(self) -> Disposition {
        let report = cancelled("terminated");
        let reply = Reply::failure(self.header.id.clone(), Status::Revoked, &report);
        Disposition {
            reply: self.answer(reply),
            revoked: true,
            follow: self.flow.revoked(&report),
            ..Disposition::ACK
        }
    }

    fn given_up(self, report: ErrorReport, reason: Option<Reason>) -> Disposition {
        let mut reply = Reply::failure(self.header.id.clone(), Status::Failure, &report);
        reply.children = self.children();
        Disposition {
            reply: self.answer(reply),
            follow: self.flow.failed(&report),
            header: reason.map(|_| Box::new(self.remembering(&report))),
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
        (!task_ignores).then(|| ReplyAddress::of(self.header))?
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
mod tests;
