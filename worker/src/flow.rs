//! What follows from a task beside its result: whom to send, whom to tell. Pure.

use std::time::SystemTime;

use coney_protocol::canvas::{CanvasError, Followers, Outgoing, Parent, Plan, Told};
use coney_protocol::dead::Reason;
use coney_protocol::header::Header;
use coney_protocol::outcome::ErrorReport;
use coney_protocol::reply::{Reply, Status};
use serde_json::value::RawValue;

use crate::settle::ReplyAddress;

/// What a message says shall follow, and the task that it follows from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Flow<'a> {
    pub(crate) plan: Option<&'a Plan>,
    pub(crate) parent: Parent<'a>,
}

/// Tasks to send and callers to tell, in this order around the result.
#[derive(Debug, Default)]
pub(crate) struct Follow {
    /// Sent before the result, which lists them.
    pub(crate) before: Vec<Outgoing>,
    /// Sent after the result, which they may ask for.
    pub(crate) after: Vec<Outgoing>,
    /// Callers of steps that will not run now.
    pub(crate) told: Vec<(ReplyAddress, Reply)>,
}

impl Follow {
    pub(crate) const NOTHING: Self = Self {
        before: Vec::new(),
        after: Vec::new(),
        told: Vec::new(),
    };

    pub(crate) fn is_nothing(&self) -> bool {
        self.before.is_empty() && self.after.is_empty() && self.told.is_empty()
    }
}

impl<'a> Flow<'a> {
    pub(crate) fn new(
        plan: Option<&'a Plan>,
        header: &'a Header,
        (oid, worker): (&'a str, &'a str),
        now: SystemTime,
    ) -> Self {
        let trace = header.trace();
        Self {
            plan,
            parent: Parent::new(&header.id, header.root(), oid, worker, now, trace),
        }
    }

    /// The callbacks and the next step of the chain.
    pub(crate) fn succeeded(&self, result: &RawValue) -> Result<Followers, CanvasError> {
        match self.plan {
            Some(plan) => plan.succeeded(&self.parent, result),
            None => Ok(Followers::default()),
        }
    }

    /// The errbacks, and everybody who waits for a later step of the chain: they get the same failure.
    pub(crate) fn failed(&self, report: &ErrorReport) -> Follow {
        // a plan that cannot be sent has been refused before, and has none left
        let errbacks = self.plan.map(|plan| plan.failed(&self.parent));
        Follow {
            after: errbacks.and_then(Result::ok).unwrap_or_default(),
            ..self.given_up(&Status::Failure, report)
        }
    }

    /// Everybody who waits for a later step of the chain; revoking calls no errbacks.
    pub(crate) fn revoked(&self, report: &ErrorReport) -> Follow {
        self.given_up(&Status::Revoked, report)
    }

    fn given_up(&self, status: &Status, report: &ErrorReport) -> Follow {
        let abandoned = self.plan.map(Plan::abandoned).unwrap_or_default();
        Follow {
            told: told(abandoned, status, report, self.parent.now),
            ..Follow::NOTHING
        }
    }
}

/// What is told to whoever waits for tasks that will not run.
pub(crate) fn told(
    abandoned: Vec<Told>,
    status: &Status,
    report: &ErrorReport,
    now: SystemTime,
) -> Vec<(ReplyAddress, Reply)> {
    let told = abandoned.into_iter().map(|told| {
        let mut reply = Reply::failure(told.id.clone(), status.clone(), report);
        reply.date_done = Some(now);
        reply.group_id = told.group;
        (ReplyAddress::of_task(told.reply_to, told.id), reply)
    });
    told.collect()
}

/// Why a message is refused whose consequences cannot be sent.
pub(crate) fn objection(error: &CanvasError) -> (Reason, ErrorReport) {
    match error {
        CanvasError::Chord | CanvasError::GroupInBetween => {
            let report = ErrorReport::new("NotImplementedError", error.to_string());
            (Reason::Unsupported, report.module("builtins"))
        }
        CanvasError::TooMany { .. } | CanvasError::TooLarge { .. } => {
            (Reason::TooLarge, ErrorReport::of(error))
        }
        _ => (Reason::Decode, ErrorReport::of(error)),
    }
}
