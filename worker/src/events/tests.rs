//! What a monitor reads of a worker's events, over a development broker in this process.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use coney_amqp::{Consumer, ConsumerSpec};
use coney_devbroker::DevBroker;
use coney_protocol::header::Header;
use coney_protocol::id::TaskId;
use coney_protocol::message::{Body, Message};
use tokio::time::timeout;

use super::*;

const DEADLINE: Duration = Duration::from_secs(20);

/// A broker, the events of a worker on it, and a monitor that listens to them.
struct Stage {
    events: Events,
    telling: Telling,
    monitor: Consumer,
    processed: Arc<AtomicU64>,
    _broker: DevBroker,
}

impl Stage {
    async fn new(always: bool) -> Self {
        let dev = DevBroker::builder().start().await.expect("a free port");
        let url = format!("amqp://guest:guest@{}", dev.address());
        let broker = Broker::connect(&url).await.expect("a broker");
        let spec = ConsumerSpec::new("celeryev.test")
            .own_topology(topology::event_queue("celeryev.test", "#"))
            .prefetch(1000);
        let session = broker.session("monitor");
        let monitor = session.consume(spec).await.expect("a queue of its own");
        let processed = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&processed);
        let events = Events::new(Setup {
            name: "w@host".to_owned(),
            broker,
            clock: Arc::default(),
            always,
            counts: Box::new(move || Counts {
                active: 3,
                processed: counted.load(Ordering::Relaxed),
            }),
        });
        let telling = events.clone().start();
        Self {
            events,
            telling,
            monitor,
            processed,
            _broker: dev,
        }
    }

    /// The next message: its routing key and events.
    async fn next(&mut self) -> (String, Vec<Event<'static>>) {
        let next = timeout(DEADLINE, self.monitor.next()).await;
        let delivery = next.expect("in time").expect("a message");
        assert!(!delivery.properties.persistent);
        let events = event::decode(&delivery.payload);
        delivery.acker.ack();
        let events = events.into_iter().collect::<Result<_, _>>();
        (delivery.routing_key, events.expect("only events"))
    }

    /// All that is told until the worker goes.
    async fn rest(mut self) -> Vec<Event<'static>> {
        let mut all = Vec::new();
        self.telling.stop.cancel();
        while !matches!(
            all.last().map(|event: &Event<'_>| &event.what),
            Some(What::WorkerOffline(_))
        ) {
            all.extend(self.next().await.1);
        }
        let ended = timeout(DEADLINE, self.telling.farewell()).await;
        ended.expect("in time");
        all
    }
}

fn card(id: &str) -> Card {
    let mut header = Header::new("shop.add", TaskId::from(id));
    header.args_repr = Some("(2, 3)".to_owned());
    header.kwargs_repr = Some("{}".to_owned());
    Card {
        message: Arc::new(Message::new(header, Body::json(&b"[[2,3],{},{}]"[..]))),
        delivery: Arc::default(),
    }
}

fn kinds(events: &[Event<'_>]) -> Vec<String> {
    let kinds = events.iter().map(|event| event.what.kind().to_owned());
    kinds.collect()
}

#[tokio::test]
async fn what_becomes_of_a_task_is_told_in_order_and_together() {
    let mut stage = Stage::new(true).await;
    let (key, online) = stage.next().await;
    assert_eq!(
        (&*key, &*kinds(&online)),
        ("worker.online", &["worker-online".to_owned()][..])
    );
    let card = card("1");
    let result = RawValue::from_string("[5]".to_owned()).expect("JSON");
    stage.events.received(&card);
    stage.events.started(&card);
    stage
        .events
        .succeeded(&card, &result, Duration::from_millis(1500));
    let (key, told) = stage.next().await;
    assert_eq!(key, event::MULTI_KEY);
    assert_eq!(
        kinds(&told),
        ["task-received", "task-started", "task-succeeded"]
    );
    let What::TaskReceived(call) = &told[0].what else {
        panic!("{told:?}");
    };
    assert_eq!(
        (&*call.name, &*call.args, &*call.kwargs),
        ("shop.add", "(2, 3)", "{}")
    );
    assert_eq!(
        (call.root_id.as_deref(), &call.parent_id),
        (Some("1"), &None)
    );
    let What::TaskSucceeded {
        uuid,
        result,
        runtime,
    } = &told[2].what
    else {
        panic!("{told:?}");
    };
    assert_eq!((&**uuid, &**result, *runtime), ("1", "[5]", 1.5));
    assert!(told.iter().all(|event| event.hostname == "w@host"));
}

#[tokio::test]
async fn events_are_numbered_in_the_order_in_which_they_come() {
    let mut stage = Stage::new(true).await;
    let card = card("1");
    for _ in 0..500 {
        stage.events.started(&card);
        stage.events.rejected(&card, true);
    }
    stage.events.heartbeat_now();
    stage.events.revoked(&card, true, Some(15), false);
    let mut clocks = Vec::new();
    while clocks.len() < 1003 {
        let (_, events) = stage.next().await;
        assert!(events.len() <= event::MOST_IN_BATCH);
        clocks.extend(events.iter().map(|event| event.clock));
    }
    assert_eq!(clocks, (1..=1003).collect::<Vec<_>>());
    assert_eq!(kinds(&stage.rest().await), ["worker-offline"]);
}

#[tokio::test]
async fn nothing_is_told_of_tasks_until_somebody_asks() {
    let mut stage = Stage::new(false).await;
    stage.next().await;
    let events = stage.events.clone();
    let (first, second, third) = (card("1"), card("2"), card("3"));
    events.received(&first);
    assert!(events.enable());
    assert!(!events.enable());
    events.received(&second);
    assert!(events.disable());
    assert!(!events.disable());
    events.received(&third);
    let told = stage.rest().await;
    assert_eq!(kinds(&told), ["task-received", "worker-offline"]);
    assert_eq!(told[0].what.task(), Some("2"));
}

#[tokio::test]
async fn a_worker_that_always_tells_cannot_be_switched() {
    let mut stage = Stage::new(true).await;
    stage.next().await;
    assert!(!stage.events.enable());
    assert!(!stage.events.disable());
    let report = ErrorReport::new("ValueError", "boom").traceback("in full");
    stage.events.failed(&card("1"), &report);
    stage.events.retried(&card("1"), &report);
    let told = stage.rest().await;
    assert_eq!(
        kinds(&told),
        ["task-failed", "task-retried", "worker-offline"]
    );
    let attempt = Attempt::new("1", "ValueError('boom')", Some("in full"));
    assert_eq!(told[0].what, What::TaskFailed(attempt));
}

#[tokio::test]
async fn a_worker_says_that_it_is_there_and_how_busy_it_is() {
    let mut stage = Stage::new(false).await;
    let (_, online) = stage.next().await;
    stage.processed.store(7, Ordering::Relaxed);
    stage.events.heartbeat_now();
    let (key, extra) = stage.next().await;
    let (_, beat) = stage.next().await;
    assert_eq!(key, "worker.heartbeat");
    let told: Vec<_> = [online, extra, beat]
        .iter()
        .map(|events| match &events[..] {
            [event] => match &event.what {
                What::WorkerOnline(vitals) | What::WorkerHeartbeat(vitals) => (
                    vitals.freq,
                    vitals.active,
                    vitals.processed,
                    vitals.loadavg.is_some(),
                ),
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        })
        .collect();
    let expected = [
        (2.0, Some(3), Some(0), true),
        (5.0, None, None, false),
        (2.0, Some(3), Some(7), true),
    ];
    assert_eq!(told, expected);
}
