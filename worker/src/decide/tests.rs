use coney_protocol::call::DynamicCall;
use coney_protocol::canvas::Plan;
use coney_protocol::codec::body::RawCall;
use coney_protocol::spec::{Backoff, RetryPolicy};
use serde_json::json;

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

fn facts<'a>(header: &'a Header, spec: &'a TaskSpec) -> Facts<'a> {
    Facts {
        header,
        spec,
        revoked: false,
        worker: "w",
        now: SystemTime::UNIX_EPOCH,
        chance: 0.5,
        flow: flow(header, None),
        replacement: none(),
        children: &[],
    }
}

fn none() -> &'static Replacement {
    static NONE: std::sync::LazyLock<Replacement> = std::sync::LazyLock::new(Replacement::default);
    &NONE
}

fn flow<'a>(header: &'a Header, plan: Option<&'a Plan>) -> Flow<'a> {
    Flow::new(plan, header, ("oid", "w"), SystemTime::UNIX_EPOCH)
}

fn decided(header: &Header, outcome: Outcome) -> Disposition {
    decide(facts(header, &spec()), outcome)
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
        let spec = spec();
        let facts = Facts {
            revoked: true,
            ..facts(&header, &spec)
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
    let header = header();
    let disposition = revoked(&header, SystemTime::UNIX_EPOCH, &flow(&header, None));
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
    let spec = spec().ack(AckMode::Early);
    let disposition = decide(facts(&header(), &spec), Outcome::Aborted);
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
fn a_message_that_was_acknowledged_early_is_not_lost_when_its_task_refuses_it() {
    let (header, spec) = (header(), spec().ack(AckMode::Early));
    let refused = |requeue| {
        let outcome = failed(Next::Reject { requeue });
        decide(facts(&header, &spec), outcome)
    };
    // nobody else can bring it back
    let back = refused(true);
    assert_eq!((back.again, back.then), (Some(Again::Now), Then::Ack));
    let dead = refused(false);
    let (reason, _) = dead.dead.as_ref().expect("a dead letter");
    assert_eq!(*reason, Reason::Dead);
    let report = dead.reply.as_ref().and_then(|(_, reply)| reply.report());
    assert_eq!(
        report.expect("an exception").repr(),
        "Reject('boom', False)"
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
    let spec = spec().ignore_result();
    assert!(decide(facts(&header, &spec), success()).reply.is_some());
}

/// A plan with a callback, an errback, and two steps that somebody waits for.
fn plan() -> Plan {
    let step = |id: &str| json!({"task": "s", "options": {"task_id": id, "reply_to": "caller"}});
    let body = json!([[], {}, {
        "callbacks": [{"task": "c"}], "errbacks": [{"task": "e"}], "chain": [step("2"), step("1")],
    }]);
    let body = body.to_string();
    let call = RawCall::cut(body.as_bytes()).expect("a body");
    Plan::read(&call.embed).expect("good").expect("a plan")
}

/// The tasks that are sent before the result and after it, and the ids of those who are told, with their status.
fn followers(disposition: &Disposition) -> (Vec<&str>, Vec<&str>, Vec<String>) {
    let Follow {
        before,
        after,
        told,
    } = &disposition.follow;
    let told = told.iter().map(|(to, reply)| {
        assert_eq!((&*to.queue, &to.id), ("caller", &reply.task_id));
        format!("{} {}", reply.task_id, reply.status.as_str())
    });
    (
        before.iter().map(|out| &*out.header.task).collect(),
        after.iter().map(|out| &*out.header.task).collect(),
        told.collect(),
    )
}

#[test]
fn each_end_of_a_task_has_its_followers() {
    let (plan, spec, mut last) = (plan(), spec(), header());
    last.retries = 2;
    let told = |status: &str| vec![format!("2 {status}"), format!("1 {status}")];
    let failure = || (vec![], vec!["e"], told("FAILURE"));
    let nothing = || (vec![], vec![], vec![]);
    let decided = |header: &Header, outcome, revoked| {
        let facts = Facts {
            flow: flow(header, Some(&plan)),
            revoked,
            ..facts(header, &spec)
        };
        decide(facts, outcome)
    };
    for (outcome, expected) in [
        (success(), (vec!["c", "s"], vec![], vec![])),
        (failed(Next::Retry), failure()),
        (failed(Next::Dead), failure()),
        (failed(Next::Discard), failure()),
        (failed(Next::Reject { requeue: false }), failure()),
        (Outcome::TimedOut(Duration::from_secs(1)), failure()),
        (failed(Next::Ignore), nothing()),
        (failed(Next::Defer(Duration::from_secs(1))), nothing()),
        (Outcome::Aborted, nothing()),
        (Outcome::Revoked, (vec![], vec![], told("REVOKED"))),
    ] {
        let name = format!("{outcome:?}");
        let disposition = decided(&last, outcome, false);
        assert_eq!(followers(&disposition), expected, "{name}");
    }
    let retried = decided(&header(), failed(Next::Retry), false);
    assert_eq!(followers(&retried), nothing());
    let revoked = decided(&last, failed(Next::Retry), true);
    assert_eq!(followers(&revoked), (vec![], vec![], told("REVOKED")));
}

#[test]
fn a_result_lists_what_the_task_sent_and_what_follows_from_it() {
    let (plan, spec, header) = (plan(), spec(), header());
    let sent = [TaskId::from("own")];
    let facts = Facts {
        flow: flow(&header, Some(&plan)),
        children: &sent,
        ..facts(&header, &spec)
    };
    let disposition = decide(facts, success());
    let (_, reply) = disposition.reply.expect("a result");
    let before = disposition.follow.before.iter();
    let ids: Vec<_> = before.map(|out| out.header.id.clone()).collect();
    let expected = [sent[0].clone(), ids[0].clone(), "1".into()].map(Child::task);
    assert_eq!(reply.children, expected);
    let retried = decide(facts, failed(Next::Retry));
    let (_, reply) = retried.reply.expect("a state");
    assert_eq!(
        reply.children,
        [sent[0].clone(), header.id.clone()].map(Child::task)
    );
}

#[test]
fn who_waits_for_a_later_step_is_told_of_a_message_that_does_not_run() {
    let (plan, header) = (plan(), header());
    let flow = flow(&header, Some(&plan));
    let before = revoked(&header, SystemTime::UNIX_EPOCH, &flow);
    let told = |status: &str| vec![format!("2 {status}"), format!("1 {status}")];
    assert_eq!(followers(&before), (vec![], vec![], told("REVOKED")));
    for (reason, errbacks, status) in [
        (Reason::UnknownTask, vec!["e"], "FAILURE"),
        (Reason::Arguments, vec!["e"], "FAILURE"),
        (Reason::Expired, vec![], "REVOKED"),
    ] {
        let poison = Poison {
            reason,
            report: ErrorReport::new("E", "boom"),
            is_unread: false,
            letter: crate::settle::Letter::new(Default::default(), "".into()),
            reply: None,
            card: None,
        };
        let disposition = poisoned(&poison, SystemTime::UNIX_EPOCH, Some(flow));
        assert_eq!(followers(&disposition), (vec![], errbacks, told(status)));
    }
}

#[test]
fn celery_s_clients_are_told_nothing_of_what_cannot_be_read() {
    for (is_unread, reply_to, is_told) in [
        (true, "5c1e9f3a", false),
        (false, "5c1e9f3a", true),
        (true, "coney.reply.5c1e9f3a", true),
    ] {
        let poison = Poison {
            reason: Reason::Decode,
            report: ErrorReport::new("E", "boom"),
            is_unread,
            letter: crate::settle::Letter::new(Default::default(), "".into()),
            reply: Some(ReplyAddress::of_task(reply_to.to_owned(), "1".into())),
            card: None,
        };
        let disposition = poisoned(&poison, SystemTime::UNIX_EPOCH, None);
        assert_eq!(disposition.reply.is_some(), is_told, "{poison:?}");
    }
}

#[test]
fn another_call_takes_the_place_of_a_task_with_all_that_shall_follow() {
    let (plan, spec, mut header) = (plan(), spec(), header());
    header.group = Some("g".to_owned());
    let replacement = Replacement::default();
    let call = DynamicCall::new("other", json!([1])).queue_named("elsewhere");
    replacement.set(call).expect("a good call");
    let facts = Facts {
        flow: flow(&header, Some(&plan)),
        replacement: &replacement,
        ..facts(&header, &spec)
    };
    let disposition = decide(facts, success());
    assert!(disposition.reply.is_none(), "the other one answers");
    let [sent] = &disposition.follow.before[..] else {
        panic!("{disposition:?}");
    };
    let new = &sent.header;
    assert_eq!(
        (&*new.task, &new.id, &new.reply_to),
        ("other", &header.id, &header.reply_to)
    );
    assert_eq!(
        (new.replaced_task_nesting, new.group.as_deref()),
        (1, Some("g"))
    );
    let body = sent.message().body.bytes;
    let body: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
    assert_eq!(body[0], json!([1]));
    let ids = [0, 1].map(|at| body[2]["chain"][at]["options"]["task_id"].clone());
    assert_eq!(ids, [json!("2"), json!("1")]);
    assert_eq!(body[2]["errbacks"][0]["task"], "e");
}
