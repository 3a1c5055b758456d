//! Whatever cannot be run is kept in the dead letters with its reason, its caller is told, and the worker goes on.

use std::io::Write;
use std::time::{Duration, SystemTime};

use coney::prelude::*;
use coney::protocol::property::{Properties, Value};
use coney::protocol::reply::{Reply, Status};
use coney::protocol::topology::{self, Preset};
use flate2::Compression;
use flate2::write::ZlibEncoder;
use tokio::sync::mpsc;

use crate::support::proxy::Proxy;
use crate::support::raw::{RawPublisher, long, short};
use crate::support::{RunningWorker, Vhost, bare, text_header, within};
use crate::tasks;

/// Named as a client of coney names it: others are told less, as Celery's workers do.
const REPLIES: &str = "coney.reply.kitchen";

/// A worker, a reply queue, and a check that poison is handled and the worker goes on.
struct Kitchen {
    vhost: Vhost,
    _worker: crate::support::RunningWorker,
    replies: coney::amqp::Consumer,
}

impl Kitchen {
    async fn open() -> Self {
        let vhost = Vhost::new();
        let worker = vhost
            .worker(|w| {
                w.task::<tasks::add>()
                    .task::<tasks::refuse>()
                    .max_body(100_000)
            })
            .await;
        let broker = vhost.broker().await;
        broker
            .declare(&topology::reply_queue(REPLIES))
            .await
            .expect("declared");
        let replies = vhost.consumer(REPLIES).await;
        Self {
            vhost,
            _worker: worker,
            replies,
        }
    }

    async fn serve(&self, mut properties: Properties, body: impl Into<Vec<u8>>) {
        properties.reply_to = Some(REPLIES.to_owned());
        self.vhost.publish_raw("fast", properties, body).await;
    }

    async fn expect(&mut self, reason: &str, status: Status, kind: &str) {
        let (found, letter) = self.vhost.dead_letter("fast").await;
        assert_eq!(found, reason);
        assert_eq!(text_header(&letter, "coney-queue").as_deref(), Some("fast"));
        letter.acker.ack();
        let reply = within("a reply", self.replies.next())
            .await
            .expect("a reply");
        let told = Reply::decode(&reply.payload).expect("a reply");
        reply.acker.ack();
        assert_eq!(told.status, status, "{reason}");
        assert_eq!(
            told.report().map(|r| r.kind).as_deref(),
            Some(kind),
            "{reason}"
        );
        self.goes_on().await;
    }

    /// The worker is none the worse for it.
    async fn goes_on(&self) {
        let client = self.vhost.client().await;
        let sum = tasks::add::call(1, 2).send(&client).await.expect("sent");
        assert_eq!(sum.result().timeout(secs(10)).await.expect("a sum"), 3);
    }
}

const GOOD: &str = r#"[[1, 2], {}, {}]"#;

#[derive(Queue)]
#[queue(name = "deadly", concurrency = 1, delivery_limit = 2)]
struct Deadly;

/// Never ends by itself; writes down how often it was delivered before.
#[task(queue = Deadly)]
async fn kill_worker(State(seen): State<mpsc::UnboundedSender<u32>>, ctx: TaskContext) {
    seen.send(ctx.redeliveries()).expect("the test listens");
    std::future::pending::<()>().await;
}

/// Cuts the worker's connection whenever it runs the message; returns what its attempts saw, and why it was given up.
async fn cut_until_given_up(preset: Preset) -> (Vec<u32>, String) {
    let (vhost, proxy) = (Vhost::new(), Proxy::start().await);
    let connect = async |url: String| {
        let builder = Broker::builder(&url).preset(preset);
        builder.connect().await.expect("connected")
    };
    let (seen, mut sees) = mpsc::unbounded_channel::<u32>();
    let broker = connect(proxy.url(&vhost.name)).await;
    let _worker = RunningWorker::start(&broker, |w| w.state(seen).task::<kill_worker>()).await;
    let client = Client::new(&connect(vhost.url()).await);
    kill_worker::call().send(&client).await.expect("sent");
    let mut all = Vec::new();
    for _ in 0..3 {
        all.extend(within("a delivery", sees.recv()).await);
        proxy.cut();
    }
    let letters = client.dead_letters::<Deadly>();
    let given_up = async {
        loop {
            let list = letters.list(1).await.expect("a list");
            if let Some(letter) = list.first() {
                break letter.reason.to_string();
            }
        }
    };
    let reason = within("a dead letter", given_up).await;
    (all, reason)
}

#[tokio::test]
async fn a_message_whose_workers_die_over_it_is_kept_after_its_delivery_limit() {
    for preset in [Preset::Native, Preset::Celery] {
        let (seen, reason) = cut_until_given_up(preset).await;
        assert_eq!((&seen[..], &*reason), (&[0, 1, 2][..], "delivery_limit"));
    }
}

#[tokio::test]
async fn an_unknown_task_is_kept() {
    let mut kitchen = Kitchen::open().await;
    kitchen.serve(bare("no.such.task", "1"), GOOD).await;
    kitchen
        .expect("unknown_task", Status::Failure, "NotRegistered")
        .await;
}

#[tokio::test]
async fn wrong_arguments_are_kept() {
    let mut kitchen = Kitchen::open().await;
    for body in [
        r#"[[1], {}, {}]"#,
        r#"[["one", "two"], {}, {}]"#,
        r#"[[1, 2, 3], {}, {}]"#,
        r#"[[1, 2], {"z": 3}, {}]"#,
        r#"[[1, 2], {"x": 3}, {}]"#,
    ] {
        kitchen.serve(bare("coney.add", "1"), body).await;
        kitchen
            .expect("arguments", Status::Failure, "TypeError")
            .await;
    }
}

#[tokio::test]
async fn a_body_that_is_no_task_is_kept() {
    let mut kitchen = Kitchen::open().await;
    let deep = format!(
        "[[{}1{}, 2], {{}}, {{}}]",
        "[".repeat(10_000),
        "]".repeat(10_000)
    );
    for body in [
        b"".to_vec(),
        b"{}".to_vec(),
        b"[[1,2]]".to_vec(),
        b"\xff\xfe not utf-8".to_vec(),
        b"[[1, \"\xff\"], {}, {}]".to_vec(),
    ] {
        kitchen.serve(bare("coney.add", "1"), body).await;
        kitchen
            .expect("decode", Status::Failure, "DecodeError")
            .await;
    }
    kitchen.serve(bare("coney.add", "1"), deep).await;
    let (reason, letter) = kitchen.vhost.dead_letter("fast").await;
    assert!(["decode", "arguments"].contains(&&*reason), "{reason}");
    letter.acker.ack();
}

#[tokio::test]
async fn a_message_without_an_id_is_kept() {
    let mut kitchen = Kitchen::open().await;
    let mut properties = bare("coney.add", "1");
    properties.headers.remove("id");
    properties.correlation_id = Some("c-1".to_owned());
    kitchen.serve(properties, GOOD).await;
    kitchen
        .expect("decode", Status::Failure, "DecodeError")
        .await;
}

/// The bits of a content header that say which properties follow.
mod flag {
    pub(super) const CONTENT_TYPE: u16 = 1 << 15;
    pub(super) const HEADERS: u16 = 1 << 13;
    pub(super) const REPLY_TO: u16 = 1 << 9;
    pub(super) const MESSAGE_ID: u16 = 1 << 7;
}

/// The headers of a message that would run, and one that nests so many tables.
fn nested_headers(levels: usize) -> Vec<u8> {
    let nested = (1..levels).fold(Vec::new(), |inner, _| {
        [b"\x01nF".as_slice(), &long(&inner)].concat()
    });
    let text = |name: &str, value: &str| [&short(name)[..], b"S", &long(value.as_bytes())].concat();
    let entries = [
        text("task", "coney.add"),
        text("id", "deep"),
        [&short("deep")[..], b"F", &long(&nested)].concat(),
    ];
    long(&entries.concat())
}

#[tokio::test]
async fn headers_nested_a_thousand_deep_are_kept_and_can_be_looked_at() {
    let mut kitchen = Kitchen::open().await;
    let mut publisher = RawPublisher::connect(&kitchen.vhost.name);
    for levels in [40, 1_000, 10_000] {
        let properties = [
            short("application/json"),
            nested_headers(levels),
            short(REPLIES),
        ];
        let flags = flag::CONTENT_TYPE | flag::HEADERS | flag::REPLY_TO;
        publisher.publish("fast", flags, &properties.concat(), GOOD.as_bytes());
        let client = kitchen.vhost.client().await;
        let letters = client.dead_letters::<tasks::Fast>();
        let listed = within("a dead letter", async {
            loop {
                let listed = letters.list(10).await.expect("a dead-letter queue");
                if !listed.is_empty() {
                    break listed;
                }
            }
        })
        .await;
        assert_eq!(listed[0].reason.as_str(), "decode");
        kitchen
            .expect("decode", Status::Failure, "DecodeError")
            .await;
    }
}

#[tokio::test]
async fn properties_that_are_not_text_are_kept() {
    let kitchen = Kitchen::open().await;
    let mut publisher = RawPublisher::connect(&kitchen.vhost.name);
    for (flags, properties) in [
        (flag::MESSAGE_ID, short(b"id \xFF\xFE")),
        (flag::CONTENT_TYPE, short(b"application/\xC3json")),
        (flag::HEADERS, long(b"\x04na\xFFet\x01")),
    ] {
        publisher.publish("fast", flags, &properties, GOOD.as_bytes());
        let (reason, letter) = kitchen.vhost.dead_letter("fast").await;
        assert_eq!(reason, "decode");
        letter.acker.ack();
    }
    kitchen.goes_on().await;
}

#[tokio::test]
async fn a_content_type_that_nobody_reads_is_kept() {
    let mut kitchen = Kitchen::open().await;
    let mut pickled = bare("coney.add", "1");
    pickled.content_type = Some("application/x-python-serialize".into());
    kitchen.serve(pickled, b"\x80\x04".to_vec()).await;
    kitchen
        .expect("content_type", Status::Failure, "DecodeError")
        .await;
    let mut exotic = bare("coney.add", "1");
    exotic.headers.insert("compression", "application/x-brotli");
    kitchen.serve(exotic, GOOD).await;
    kitchen
        .expect("content_type", Status::Failure, "DecodeError")
        .await;
}

#[tokio::test]
async fn a_body_that_is_too_large_is_kept() {
    let mut kitchen = Kitchen::open().await;
    let body = format!("[[1, 2], {{\"note\": \"{}\"}}, {{}}]", "x".repeat(200_000));
    kitchen.serve(bare("coney.add", "1"), body).await;
    kitchen
        .expect("too_large", Status::Failure, "DecodeError")
        .await;
}

#[tokio::test]
async fn a_compression_bomb_is_kept_and_not_unpacked() {
    let mut kitchen = Kitchen::open().await;
    let mut bomb = ZlibEncoder::new(Vec::new(), Compression::best());
    for _ in 0..200 {
        bomb.write_all(&vec![b' '; 1_000_000]).expect("memory");
    }
    let mut properties = bare("coney.add", "1");
    properties
        .headers
        .insert("compression", "application/x-gzip");
    kitchen
        .serve(properties, bomb.finish().expect("memory"))
        .await;
    kitchen
        .expect("too_large", Status::Failure, "DecodeError")
        .await;
}

#[tokio::test]
async fn a_task_that_is_too_late_is_kept_and_not_run() {
    let mut kitchen = Kitchen::open().await;
    let mut late = bare("coney.add", "1");
    late.headers.insert("expires", "2020-01-01T00:00:00+00:00");
    kitchen.serve(late, GOOD).await;
    kitchen
        .expect("expired", Status::Revoked, "TaskRevokedError")
        .await;
}

#[tokio::test]
async fn a_workflow_that_cannot_go_on_is_kept_whole() {
    let mut kitchen = Kitchen::open().await;
    let body = r#"[[1, 2], {}, {"chord": {"task": "body"}}]"#;
    kitchen.serve(bare("coney.add", "1"), body).await;
    kitchen
        .expect("unsupported", Status::Failure, "NotImplementedError")
        .await;
    let body = r#"[[1, 2], {}, {"chain": [{"args": [1]}]}]"#;
    kitchen.serve(bare("coney.add", "2"), body).await;
    kitchen
        .expect("decode", Status::Failure, "CanvasError")
        .await;
}

#[tokio::test]
async fn failed_tasks_are_kept_unless_they_say_otherwise() {
    let kitchen = Kitchen::open().await;
    let client = kitchen.vhost.client().await;
    let calls = [7, 0, 1].map(tasks::refuse::call);
    for handle in client.send_all(calls).await {
        let result = handle.expect("sent").result().timeout(secs(10)).await;
        assert!(result.is_err());
    }
    let mut dead = kitchen.vhost.consumer("fast.dead").await;
    let mut reasons = Vec::new();
    for _ in 0..2 {
        let letter = within("a dead letter", dead.next())
            .await
            .expect("a letter");
        let error = text_header(&letter, "coney-error").unwrap_or_default();
        reasons.push((
            text_header(&letter, "coney-reason").unwrap_or_default(),
            error,
        ));
        letter.acker.ack();
    }
    reasons.sort();
    let expected = [
        ("dead", "Refusal: the mailbox is gone"),
        ("exhausted", "Refusal: try again"),
    ];
    assert_eq!(reasons, expected.map(|(a, b)| (a.to_owned(), b.to_owned())));
    // the third, discarded one, is nowhere
    let third = tokio::time::timeout(Duration::from_millis(300), dead.next()).await;
    assert!(third.is_err());
}

#[tokio::test]
async fn a_dead_letter_is_the_message_as_it_came() {
    let kitchen = Kitchen::open().await;
    let mut properties = bare("no.such.task", "keep-me");
    properties.headers.insert("tenant", "acme");
    properties.headers.insert("number", Value::U16(7));
    let before = SystemTime::now();
    kitchen.serve(properties, GOOD).await;
    let (_, letter) = kitchen.vhost.dead_letter("fast").await;
    let headers = &letter.properties.headers;
    assert_eq!(letter.payload, GOOD.as_bytes());
    assert_eq!(headers.get("id").and_then(|v| v.as_str()), Some("keep-me"));
    assert_eq!(headers.get("tenant").and_then(|v| v.as_str()), Some("acme"));
    assert_eq!(headers.get("number"), Some(&Value::U16(7)), "types survive");
    assert!(headers.get("coney-worker").is_some());
    let died =
        text_header(&letter, "coney-died-at").and_then(|t| coney::protocol::wire::time::parse(&t));
    assert!(died.is_some_and(|t| t + secs(1) > before));
    letter.acker.ack();
}

#[tokio::test]
async fn a_lost_dead_letter_queue_is_declared_again() {
    let mut kitchen = Kitchen::open().await;
    let vhost = &kitchen.vhost;
    vhost
        .management
        .delete(&format!("queues/{}/fast.dead", vhost.name));
    vhost
        .management
        .delete(&format!("exchanges/{}/coney.dead", vhost.name));
    kitchen.serve(bare("no.such.task", "1"), GOOD).await;
    let reply = within("a reply", kitchen.replies.next())
        .await
        .expect("a reply");
    reply.acker.ack();
    let is_there = || {
        let queues = kitchen.vhost.shows("queues");
        // a queue can be listed before it can be consumed: it is there once it shows its message
        let mut queues = queues.as_array().into_iter().flatten();
        queues.any(|queue| queue["name"] == "fast.dead" && queue["messages"] == 1)
    };
    let dead = async {
        let mut ticks = tokio::time::interval(Duration::from_millis(200));
        while !is_there() {
            ticks.tick().await;
        }
    };
    within("the queue is back", dead).await;
    let (reason, letter) = kitchen.vhost.dead_letter("fast").await;
    assert_eq!(reason, "unknown_task");
    letter.acker.ack();
}
