//! Dead letters can be looked at, put back and thrown away; none is lost on the way.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use coney::amqp::Publication;
use coney::prelude::*;
use coney::protocol::dead::Reason;
use coney::protocol::topology::Route;
use coney::{
    Backoff, DeadLetterErrorKind, DeadLetters, DeadReason, RetryPolicy, Selection, TaskId,
};

use crate::support::{RunningWorker, Vhost, bare, told, within};
use crate::tasks::Runs;

#[derive(Queue)]
#[queue(name = "mend", concurrency = 64, delivery_limit = 1)]
pub struct Mend;

/// Whether tasks fail, to be repaired.
#[derive(Clone, Default)]
pub struct Broken(Arc<AtomicBool>);

#[derive(Debug, thiserror::Error, TaskError)]
pub enum Snag {
    #[error("out of glue")]
    #[retry]
    NoGlue,
    #[error("beyond repair")]
    #[dead]
    Hopeless,
}

/// Notes its attempt once it succeeds.
#[task(queue = Mend, retry(max = 0), ignore_result)]
pub async fn mend(
    key: String,
    State(broken): State<Broken>,
    State(runs): State<Runs>,
    ctx: TaskContext,
) -> Result<(), Snag> {
    if broken.0.load(Ordering::SeqCst) {
        return Err(Snag::NoGlue);
    }
    runs.count(&key);
    runs.count(&format!("{key} at attempt {}", ctx.attempt()));
    Ok(())
}

/// Fails at once while broken.
#[task(queue = Mend, ignore_result)]
pub async fn fragile(
    key: u32,
    State(broken): State<Broken>,
    State(runs): State<Runs>,
) -> Result<(), Snag> {
    if broken.0.load(Ordering::SeqCst) {
        return Err(Snag::Hopeless);
    }
    runs.count(&key.to_string());
    Ok(())
}

/// A worker whose tasks fail until it is repaired.
struct Workshop {
    vhost: Vhost,
    broken: Broken,
    runs: Runs,
    client: Client,
    letters: DeadLetters,
    worker: RunningWorker,
}

impl Workshop {
    async fn open() -> Self {
        let vhost = Vhost::new();
        let broken = Broken(Arc::new(AtomicBool::new(true)));
        let runs = Runs::default();
        let set_up = |w: coney::WorkerBuilder| {
            w.name("mender@home")
                .state(broken.clone())
                .state(runs.clone())
                .task::<mend>()
                .task::<fragile>()
        };
        let worker = vhost.worker(set_up).await;
        let client = vhost.client().await;
        Self {
            letters: client.dead_letters::<Mend>(),
            vhost,
            broken,
            runs,
            client,
            worker,
        }
    }

    fn repair(&self) {
        self.broken.0.store(false, Ordering::SeqCst);
    }

    /// Waits for so many letters; ten thousand of them take a small machine a while.
    async fn has_letters(&self, count: usize) {
        let there = async {
            while self.letters.count().await.expect("the queue is there") != count {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let there = tokio::time::timeout(mins(2), there).await;
        there.unwrap_or_else(|_| panic!("no {count} dead letters in time"));
    }

    /// Sends calls that fail, one after the other, and waits until they are dead letters.
    async fn fail(&self, keys: &[&str]) -> Vec<TaskId> {
        self.fail_by(keys, RetryPolicy::max(0)).await
    }

    /// As [`fail`](Self::fail), each at its second attempt.
    async fn fail_twice(&self, keys: &[&str]) -> Vec<TaskId> {
        let backoff = Backoff::Fixed(Duration::from_millis(1));
        self.fail_by(keys, RetryPolicy::max(1).backoff(backoff))
            .await
    }

    async fn fail_by(&self, keys: &[&str], policy: RetryPolicy) -> Vec<TaskId> {
        let mut ids = Vec::new();
        for (at, key) in keys.iter().enumerate() {
            let call = mend::call((*key).to_owned()).retry(policy);
            let handle = call.send(&self.client).await.expect("sent");
            ids.push(handle.id().clone());
            self.has_letters(at + 1).await;
        }
        ids
    }

    async fn ran(&self, key: &str) {
        let ran = async {
            while self.runs.of(key) == 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        within(key, ran).await;
    }
}

#[tokio::test]
async fn a_letter_shows_why_when_and_by_whom_it_was_given_up() {
    let shop = Workshop::open().await;
    let ids = shop.fail_twice(&["a", "b"]).await;
    let letters = shop.letters.list(100).await.expect("a list");
    assert_eq!(letters.len(), 2);
    let letter = &letters[0];
    assert_eq!(letter.task.as_deref(), Some("coney.mend"));
    assert_eq!(letter.id.as_ref(), Some(&ids[0]));
    assert_eq!(letter.reason, Reason::Exhausted.into());
    assert_eq!(letter.first_error(), Some("Snag: out of glue"));
    assert_eq!(letter.last_error(), Some("Snag: out of glue"));
    assert_eq!(letter.worker.as_deref(), Some("mender@home"));
    assert_eq!(letter.queue, "mend");
    assert_eq!(letter.retries, 1);
    let attempts: Vec<_> = letter.attempts.iter().map(|a| a.attempt).collect();
    assert_eq!(attempts, [1, 2]);
    assert!(letter.died_at.is_some());
    assert!(!format!("{letter:?}").contains("glue"));

    // looking takes nothing away and keeps the order
    let again = shop.letters.list(1).await.expect("a list");
    assert_eq!(again[0].id.as_ref(), Some(&ids[0]));
    let found = shop.letters.find(&ids[1]).await.expect("looked");
    assert_eq!(found.and_then(|letter| letter.id), Some(ids[1].clone()));
    let unknown = shop.letters.find(&TaskId::from("nobody")).await;
    assert!(unknown.expect("looked").is_none());
    assert_eq!(shop.letters.count().await.expect("a count"), 2);
}

#[tokio::test]
async fn one_letter_matching_ones_and_all_run_again_from_the_first_attempt() {
    let shop = Workshop::open().await;
    let ids = shop.fail(&["a", "b", "c", "d"]).await;
    shop.repair();
    let one = shop.letters.redrive(&ids[1]).await.expect("put back");
    assert_eq!((one.count, one.seen), (1, 4));
    shop.ran("b at attempt 1").await;
    assert_eq!(shop.letters.count().await.expect("a count"), 3);

    let third = ids[2].clone();
    let selection = Selection::matching(move |letter| letter.id.as_ref() == Some(&third));
    let matching = shop.letters.redrive(selection).await.expect("put back");
    assert_eq!((matching.count, matching.seen), (1, 3));
    shop.ran("c at attempt 1").await;

    let all = shop.letters.redrive(Selection::reason(Reason::Exhausted));
    assert_eq!(all.await.expect("put back").count, 2);
    shop.ran("a at attempt 1").await;
    shop.ran("d at attempt 1").await;
    assert_eq!(shop.letters.count().await.expect("a count"), 0);
    assert_eq!(shop.runs.of("b"), 1);
}

#[tokio::test]
async fn discarded_letters_are_gone_and_the_others_stay() {
    let shop = Workshop::open().await;
    let ids = shop.fail(&["a", "b", "c"]).await;
    let one = shop.letters.discard(&ids[1]).await.expect("discarded");
    assert_eq!((one.count, one.seen), (1, 3));
    let left = shop.letters.list(10).await.expect("a list");
    let left: Vec<_> = left.into_iter().filter_map(|letter| letter.id).collect();
    assert_eq!(left, [ids[0].clone(), ids[2].clone()]);
    let all = shop.letters.discard(Selection::task("coney.mend")).await;
    assert_eq!(all.expect("discarded").count, 2);
    assert_eq!(shop.letters.count().await.expect("a count"), 0);
}

#[tokio::test]
async fn what_matches_nothing_or_is_not_there_is_said() {
    let shop = Workshop::open().await;
    // an empty queue
    assert!(shop.letters.list(10).await.expect("a list").is_empty());
    let none = shop.letters.redrive(Selection::all()).await.expect("none");
    assert_eq!((none.count, none.seen), (0, 0));
    let ids = shop.fail(&["a"]).await;
    // a filter that matches nothing
    let none = shop.letters.redrive(Selection::task("no.such")).await;
    let none = none.expect("none");
    assert_eq!((none.count, none.seen), (0, 1));
    let none = shop.letters.discard(Selection::reason("delivery_limit"));
    assert_eq!(none.await.expect("none").count, 0);
    // an id that is not there
    let error = shop.letters.redrive(TaskId::from("nobody")).await;
    let error = error.expect_err("nobody");
    assert!(
        matches!(error.kind(), DeadLetterErrorKind::NotFound(id) if id.to_string() == "nobody")
    );
    let error = shop.letters.discard(TaskId::from("nobody")).await;
    let error = error.expect_err("nobody");
    assert!(matches!(error.kind(), DeadLetterErrorKind::NotFound(_)));
    let left = shop.letters.find(&ids[0]).await.expect("looked");
    assert!(left.is_some());
    // a queue that is not there
    let nowhere = shop.client.dead_letters_of("nowhere");
    let errors = [
        nowhere.count().await.expect_err("missing"),
        nowhere.list(1).await.expect_err("missing"),
        nowhere.find(&ids[0]).await.expect_err("missing"),
        nowhere
            .redrive(Selection::all())
            .await
            .expect_err("missing"),
        nowhere
            .discard(Selection::all())
            .await
            .expect_err("missing"),
    ];
    for error in errors {
        assert!(
            matches!(error.kind(), DeadLetterErrorKind::Missing),
            "{error}"
        );
        assert!(error.to_string().contains("`nowhere.dead`"), "{error}");
    }
}

#[tokio::test]
async fn a_letter_that_the_broker_does_not_take_back_stays() {
    let shop = Workshop::open().await;
    let ids = shop.fail(&["a", "b"]).await;
    shop.worker.stop().await.expect("a clean stop");
    let vhost = &shop.vhost;
    vhost
        .management
        .delete(&format!("queues/{}/mend", vhost.name));
    let error = shop.letters.redrive(Selection::all()).await;
    let error = error.expect_err("there is no queue to put it into");
    assert!(
        matches!(error.kind(), DeadLetterErrorKind::Publish { id: Some(id), .. } if ids.contains(id)),
        "{}",
        told(&error)
    );
    assert_eq!((error.done(), error.is_transient()), (0, false));
    let left = shop.letters.list(10).await.expect("a list");
    let mut left: Vec<_> = left.into_iter().filter_map(|letter| letter.id).collect();
    // what was delivered and is handed back may come in another order
    left.sort_unstable();
    assert_eq!(left, ids, "ids are made in ascending order");
}

#[tokio::test]
async fn a_task_that_fails_again_is_a_dead_letter_again_once() {
    let shop = Workshop::open().await;
    let ids = shop.fail_twice(&["a"]).await;
    for _ in 0..3 {
        let back = shop.letters.redrive(Selection::all()).await;
        assert_eq!(back.expect("put back").count, 1);
        shop.has_letters(1).await;
        let letter = shop.letters.find(&ids[0]).await.expect("looked");
        let letter = letter.expect("it is there");
        let attempts: Vec<_> = letter.attempts.iter().map(|a| a.attempt).collect();
        assert_eq!(attempts, [1, 2], "the count started over");
        assert_eq!(letter.reason, Reason::Exhausted.into());
    }
    assert_eq!(shop.letters.count().await.expect("a count"), 1);
}

#[tokio::test]
async fn what_was_too_late_or_cannot_be_read_can_be_put_back() {
    let shop = Workshop::open().await;
    shop.repair();
    let mut late = bare("coney.mend", "late");
    late.headers.insert("expires", "2020-01-01T00:00:00+00:00");
    late.headers.insert("tenant", "acme");
    shop.vhost
        .publish_raw("mend", late, r#"[["late"], {}, {}]"#)
        .await;
    let unreadable = bare("coney.mend", "unreadable");
    shop.vhost
        .publish_raw("mend", unreadable, b"\xff".to_vec())
        .await;
    let mut strange = bare("coney.mend", "strange");
    strange.headers.insert("task", 7);
    strange.headers.remove("id");
    shop.vhost.publish_raw("mend", strange, "").await;
    shop.has_letters(3).await;
    let letters = shop.letters.list(10).await.expect("a list");
    let mut reasons: Vec<_> = letters.iter().map(|l| l.reason.as_str()).collect();
    reasons.sort_unstable();
    assert_eq!(reasons, ["decode", "decode", "expired"]);
    let back = shop.letters.redrive(Selection::all()).await;
    assert_eq!(back.expect("put back").count, 3);
    shop.ran("late at attempt 1").await;
    shop.has_letters(2).await;
    let letters = shop.letters.list(10).await.expect("a list");
    assert!(
        letters
            .iter()
            .any(|letter| letter.body == b"\xff".as_slice())
    );
    assert!(letters.iter().any(|letter| letter.task.is_none()));
}

#[tokio::test]
async fn what_the_broker_gave_up_says_so_and_runs_again() {
    let shop = Workshop::open().await;
    let Workshop {
        vhost,
        broken,
        runs,
        letters,
        worker,
        ..
    } = shop;
    worker.stop().await.expect("a clean stop");
    vhost
        .publish_raw(
            "mend",
            bare("coney.mend", "refused"),
            r#"[["refused"], {}, {}]"#,
        )
        .await;
    let mut consumer = vhost.consumer("mend").await;
    let delivery = within("a message", consumer.next())
        .await
        .expect("a message");
    delivery.acker.reject();
    let wait = |count| {
        let letters = letters.clone();
        async move {
            while letters.count().await.expect("a count") != count {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    };
    within("a rejected letter", wait(1)).await;
    drop(consumer);

    // a message whose consumers are lost over it
    vhost
        .publish_raw(
            "mend",
            bare("coney.mend", "deadly"),
            r#"[["deadly"], {}, {}]"#,
        )
        .await;
    for _ in 0..2 {
        let session = vhost.broker().await.session("victim");
        let spec = coney::amqp::ConsumerSpec::new("mend");
        let mut consumer = session.consume(spec).await.expect("the queue is there");
        let held = within("a delivery", consumer.next()).await;
        session.close().await;
        drop(held);
    }
    within("a letter beyond the delivery limit", wait(2)).await;

    let list = letters.list(10).await.expect("a list");
    let reasons: Vec<_> = list.iter().map(|letter| letter.reason.clone()).collect();
    let rejected = DeadReason::Other("rejected".to_owned());
    assert_eq!(reasons, [rejected, Reason::DeliveryLimit.into()]);
    assert!(list.iter().all(|letter| letter.died_at.is_some()));

    broken.0.store(false, Ordering::SeqCst);
    let set_up = |w: coney::WorkerBuilder| w.state(broken).state(runs.clone()).task::<mend>();
    let _worker = vhost.worker(set_up).await;
    let back = letters.redrive(Selection::reason("delivery_limit")).await;
    assert_eq!(back.expect("put back").count, 1);
    let back = letters.redrive(Selection::reason("rejected")).await;
    assert_eq!(back.expect("put back").count, 1);
    for key in ["refused at attempt 1", "deadly at attempt 1"] {
        let ran = async {
            while runs.of(key) == 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        within(key, ran).await;
    }
}

#[tokio::test]
async fn thousands_of_letters_can_be_passed_over() {
    let shop = Workshop::open().await;
    shop.repair();
    let publisher = shop.client.broker().publisher();
    let mut receipts = Vec::new();
    for n in 0..3_500 {
        let properties = bare("coney.mend", &n.to_string());
        let body = format!(r#"[["{n}"], {{}}, {{}}]"#);
        let publication =
            Publication::new(Route::to_queue("mend.dead"), properties, body.into_bytes());
        receipts.push(publisher.submit(publication).await);
    }
    for receipt in receipts {
        receipt.await.expect("stored");
    }
    let last = shop.letters.redrive(TaskId::from("3499")).await;
    let last = last.expect("put back");
    assert_eq!((last.count, last.seen), (1, 3_500));
    shop.ran("3499").await;
    let left = shop.letters.list(usize::MAX).await.expect("a list");
    assert_eq!(left.len(), 3_499);
    let left: BTreeSet<_> = left.into_iter().filter_map(|letter| letter.id).collect();
    let expected: BTreeSet<_> = (0..3_499)
        .map(|n: u32| TaskId::from(n.to_string()))
        .collect();
    assert!(left == expected, "all are still there, each once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_letters_are_put_back_while_a_worker_consumes_and_none_is_lost() {
    const LETTERS: u32 = 10_000;
    const NEW: u32 = 1_000;
    let shop = Workshop::open().await;
    let sent = shop.client.send_all((0..LETTERS).map(fragile::call)).await;
    assert!(sent.iter().all(Result::is_ok));
    let count = usize::try_from(LETTERS).expect("it fits");
    shop.has_letters(count).await;
    shop.repair();
    let started = Instant::now();
    let calls = (LETTERS..LETTERS + NEW).map(fragile::call);
    let (back, sent) = tokio::join!(
        shop.letters.redrive(Selection::all()),
        shop.client.send_all(calls),
    );
    let back = back.expect("put back");
    let took = started.elapsed();
    assert!(sent.iter().all(Result::is_ok));
    assert_eq!((back.count, back.seen), (count, count));
    for key in 0..LETTERS + NEW {
        shop.ran(&key.to_string()).await;
    }
    let all = 0..LETTERS + NEW;
    let twice = all.filter(|key| shop.runs.of(&key.to_string()) != 1);
    assert_eq!(twice.collect::<Vec<_>>(), Vec::<u32>::new());
    assert_eq!(shop.letters.count().await.expect("a count"), 0);
    println!("10,000 dead letters put back in {took:?}");
}
