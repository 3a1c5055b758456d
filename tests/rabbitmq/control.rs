//! Workers answer remote control, also while all their slots are busy, and do what they are told.

use std::convert::Infallible;
use std::time::{Duration, Instant};

use coney::amqp::Publication;
use coney::prelude::*;
use coney::protocol::control::address::Matcher;
use coney::protocol::control::mailbox;
use coney::protocol::property::Properties;
use coney::{Client, Control, ResultErrorKind, WorkerBuilder};
use serde_json::{Value as Json, json};

use crate::support::{RunningWorker, Vhost, connect, told, within};
use crate::tasks::{self, Gate};

const NODE: &str = "one@test";

/// How long a reply may take: the whole time only if none comes.
const REPLY: Duration = Duration::from_secs(20);

/// A worker with one slot, or as many as `with` says.
async fn worker(
    vhost: &Vhost,
    gate: &Gate,
    with: fn(WorkerBuilder) -> WorkerBuilder,
) -> RunningWorker {
    let set_up = |w: WorkerBuilder| {
        with(
            w.name(NODE)
                .state(gate.clone())
                .concurrency(1)
                .task::<tasks::wait_at_gate>()
                .task::<tasks::add>(),
        )
    };
    vhost.worker(set_up).await
}

/// Asks the worker, and returns its answer.
async fn ask(control: &Control, method: &str, arguments: Json) -> Json {
    let asked = control.broadcast(method, arguments).destination([NODE]);
    let replies = asked.reply_within(REPLY).await.expect("asked");
    assert_eq!(replies.len(), 1, "{method}: {replies:?}");
    assert_eq!(replies[0].node, NODE);
    replies[0].read().expect("JSON")
}

async fn send(client: &Client) -> TaskHandle<String, Infallible> {
    tasks::wait_at_gate::call()
        .send(client)
        .await
        .expect("sent")
}

#[tokio::test]
async fn a_worker_answers_while_all_its_slots_are_busy() {
    let vhost = Vhost::new();
    let gate = Gate::closed();
    let worker = worker(&vhost, &gate, |w| w).await;
    let client = vhost.client().await;
    let (running, waiting) = (send(&client).await, send(&client).await);
    gate.wait_started(1).await;
    let control = client.control();
    assert_eq!(
        ask(&control, "ping", json!({})).await,
        json!({"ok": "pong"})
    );

    let asked = Instant::now();
    let active = ask(&control, "active", json!({})).await;
    assert!(
        asked.elapsed() < Duration::from_secs(5),
        "{:?}",
        asked.elapsed()
    );
    assert_eq!(active[0]["id"], running.id().to_string());
    assert_eq!(active[0]["hostname"], NODE);
    let reserved = async {
        loop {
            let reserved = ask(&control, "reserved", json!({})).await;
            if reserved[0]["id"] == waiting.id().to_string() {
                return;
            }
        }
    };
    within("the second is reserved", reserved).await;
    let ids = json!({"ids": [running.id().to_string(), "nobody"]});
    let found = ask(&control, "query_task", ids).await;
    assert_eq!(found[running.id().to_string()][0], "active");
    assert_eq!(found.as_object().map(|all| all.len()), Some(1));

    let typed = control
        .stats(Duration::from_millis(500))
        .await
        .expect("asked");
    let stats = typed[NODE].as_ref().expect("stats");
    assert_eq!(stats.pool.max_concurrency, 1);
    assert_eq!(stats.total.values().sum::<u64>(), 1);

    gate.open.add_permits(9);
    for task in [running, waiting] {
        task.result().timeout(REPLY).await.expect("it ends");
    }
    worker.stop().await.expect("a clean stop");
}

#[tokio::test]
async fn only_those_answer_that_are_asked() {
    let vhost = Vhost::new();
    let worker = worker(&vhost, &Gate::closed(), |w| w).await;
    let control = vhost.client().await.control();
    let wait = Duration::from_millis(500);
    let ping = || control.broadcast("ping", json!({}));
    let nobody = ping().destination(["nobody@test"]).reply_within(wait).await;
    assert!(nobody.expect("asked").is_empty());
    let pattern = ping()
        .pattern("o[mn]e@*", Matcher::Glob)
        .reply_within(wait)
        .await;
    assert_eq!(pattern.expect("asked").len(), 1);
    let pattern = ping()
        .pattern("test", Matcher::Pcre)
        .reply_within(wait)
        .await;
    assert!(pattern.expect("asked").is_empty());
    assert_eq!(control.ping(wait).await.expect("asked"), [NODE]);
    worker.stop().await.expect("a clean stop");
}

#[tokio::test]
async fn tasks_are_revoked_before_they_start_and_terminated_while_they_run() {
    let vhost = Vhost::new();
    let gate = Gate::closed();
    let worker = worker(&vhost, &gate, |w| w.revoke_grace(Duration::from_secs(3600))).await;
    let client = vhost.client().await;
    let control = client.control();
    let (running, waiting) = (send(&client).await, send(&client).await);
    gate.wait_started(1).await;
    let id = json!({"task_id": running.id().to_string()});
    let said = ask(&control, "revoke", id.clone()).await;
    let flagged = format!("tasks {{'{}'}} flagged as revoked", running.id());
    assert_eq!(said, json!({"ok": flagged}));
    ask(
        &control,
        "revoke",
        json!({"task_id": [waiting.id().to_string()]}),
    )
    .await;
    assert_eq!(
        ask(&control, "active", json!({})).await[0]["id"],
        id["task_id"]
    );

    let terminate = json!({"task_id": id["task_id"], "terminate": true, "signal": "SIGKILL"});
    let said = ask(&control, "revoke", terminate).await;
    assert_eq!(said, json!({"ok": format!("terminate: {}", running.id())}));
    for (task, reason) in [(running, "terminated"), (waiting, "revoked")] {
        let error = task.result().timeout(REPLY).await.expect_err("cancelled");
        let ResultErrorKind::Cancelled { reason: told } = error.kind() else {
            panic!("{error:?}");
        };
        assert_eq!(told, reason);
    }
    let revoked = ask(&control, "revoked", json!({})).await;
    assert_eq!(revoked.as_array().map(Vec::len), Some(2));
    let unknown = json!({"task_id": "nobody", "signal": "TERM"});
    let said = ask(&control, "terminate", unknown).await;
    assert_eq!(said, json!({"ok": "terminate: tasks unknown"}));
    worker.stop().await.expect("a clean stop");
}

#[tokio::test]
async fn a_pool_grows_and_shrinks_for_real() {
    let vhost = Vhost::new();
    let gate = Gate::closed();
    let worker = worker(&vhost, &gate, |w| w).await;
    let client = vhost.client().await;
    let control = client.control();
    let mut sent = Vec::new();
    for _ in 0..3 {
        sent.push(send(&client).await);
    }
    gate.wait_started(1).await;
    let said = ask(&control, "pool_grow", json!({"n": 2})).await;
    assert_eq!(said, json!({"ok": "pool will grow"}));
    gate.wait_started(2).await;
    ask(&control, "pool_shrink", json!({"n": 1})).await;
    let stats = ask(&control, "stats", json!({})).await;
    assert_eq!(stats["pool"]["max-concurrency"], 2);
    let said = ask(&control, "autoscale", json!({"max": 4, "min": 2})).await;
    assert_eq!(
        said,
        json!({"error": "ValueError('Autoscale not enabled')"})
    );
    gate.open.add_permits(9);
    for task in sent {
        task.result().timeout(REPLY).await.expect("it ends");
    }
    worker.stop().await.expect("a clean stop");
}

#[tokio::test]
async fn slots_that_follow_the_load_have_their_range_changed() {
    let vhost = Vhost::new();
    let worker = worker(&vhost, &Gate::closed(), |w| w.autoscale(1, 3)).await;
    let control = vhost.client().await.control();
    let said = ask(&control, "autoscale", json!({"max": 4, "min": 2})).await;
    assert_eq!(said, json!({"ok": "autoscale now max=4 min=2"}));
    let stats = ask(&control, "stats", json!({})).await;
    assert_eq!(stats["pool"]["max-concurrency"], 2);
    let said = ask(&control, "pool_grow", json!({"n": 1})).await;
    let told = "pool_grow is not supported with autoscale. Adjust autoscale range instead.";
    assert_eq!(said, json!({"error": told}));
    worker.stop().await.expect("a clean stop");
}

#[tokio::test]
async fn queues_are_added_and_given_up_while_the_worker_runs() {
    let vhost = Vhost::new();
    let worker = worker(&vhost, &Gate::closed(), |w| w).await;
    let client = vhost.client().await;
    let control = client.control();
    let add =
        json!({"queue": "later", "exchange": "e", "exchange_type": "topic", "routing_key": "a.#"});
    let said = ask(&control, "add_consumer", add).await;
    assert_eq!(said, json!({"ok": "add consumer later"}));
    let queues = ask(&control, "active_queues", json!({})).await;
    let later = queues
        .as_array()
        .and_then(|all| all.iter().find(|q| q["name"] == "later"));
    let later = later.expect("it is consumed");
    assert_eq!(
        (&later["exchange"]["name"], &later["routing_key"]),
        (&json!("e"), &json!("a.#"))
    );
    let call = tasks::add::call(1, 2).queue_named("later");
    let sum = call.send(&client).await.expect("sent");
    assert_eq!(sum.result().timeout(REPLY).await.expect("it runs"), 3);

    for _ in 0..2 {
        let said = ask(&control, "cancel_consumer", json!({"queue": "later"})).await;
        assert_eq!(said, json!({"ok": "no longer consuming from later"}));
    }
    let queues = ask(&control, "active_queues", json!({})).await;
    assert!(
        queues
            .as_array()
            .is_some_and(|all| all.iter().all(|q| q["name"] != "later"))
    );
    for wrong in [
        json!({"queue": ""}),
        json!({"queue": "q", "exchange_type": "magic"}),
    ] {
        let said = ask(&control, "add_consumer", wrong).await;
        assert!(
            said["error"]
                .as_str()
                .is_some_and(|e| e.starts_with("ValueError(")),
            "{said}"
        );
    }
    worker.stop().await.expect("a clean stop");
}

#[tokio::test]
async fn a_queue_that_is_given_up_while_it_is_added_is_not_consumed() {
    let vhost = Vhost::new();
    let worker = worker(&vhost, &Gate::closed(), |w| w).await;
    let control = vhost.client().await.control();
    for command in ["add_consumer", "cancel_consumer"] {
        let sent = control.broadcast(command, json!({"queue": "later"})).send();
        sent.await.expect("sent");
    }
    // queues are added one after the other
    ask(&control, "add_consumer", json!({"queue": "other"})).await;
    let queues = ask(&control, "active_queues", json!({})).await;
    let names = queues.as_array().expect("a list").iter();
    assert!(
        names.clone().all(|queue| queue["name"] != "later"),
        "{queues}"
    );
    worker.stop().await.expect("a clean stop");
}

#[tokio::test]
async fn a_time_limit_counts_at_once() {
    let vhost = Vhost::new();
    let with = |w: WorkerBuilder| w.task::<tasks::heed_the_soft_limit>();
    let worker = worker(&vhost, &Gate::closed(), with).await;
    let client = vhost.client().await;
    let control = client.control();
    let registered = ask(&control, "registered", json!({})).await;
    let mut known = registered
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Json::as_str);
    let name = known
        .find(|name| name.ends_with("heed_the_soft_limit"))
        .expect("it is known");
    let limit = json!({"task_name": name, "hard": 0.1, "soft": null});
    let said = ask(&control, "time_limit", limit).await;
    assert_eq!(said, json!({"ok": "time limits set successfully"}));
    // by name: a typed call brings the limits of its task along, and they win
    let call = client.call_by_name(name, json!([])).queue_named("fast");
    let task = call.send(&client).await.expect("sent");
    let error = task.result().timeout(REPLY).await.expect_err("cut off");
    assert!(told(&error).contains("TimeLimitExceeded"), "{error}");
    worker.stop().await.expect("a clean stop");
}

#[tokio::test]
async fn what_is_no_command_harms_nobody() {
    let vhost = Vhost::new();
    let worker = worker(&vhost, &Gate::closed(), |w| w).await;
    let client = vhost.client().await;
    let control = client.control();
    let mut properties = Properties::default();
    properties.content_type = Some("application/json".into());
    for body in [
        "",
        "[]",
        "{}",
        r#"{"method": "ping", "reply_to": 1}"#,
        r#"{"method": "shutdown", "destination": 1}"#,
    ] {
        let publication = Publication::new(
            mailbox::route(),
            properties.clone(),
            body.as_bytes().to_vec(),
        );
        let published = client.broker().publisher().publish(publication).await;
        published.expect("the worker's queue takes it");
    }
    let election = json!({"id": "e", "topic": "task", "action": {"task": "x"}});
    assert_eq!(ask(&control, "election", election).await, Json::Null);
    let said = ask(&control, "frobnicate", json!({})).await;
    assert_eq!(said, json!({"error": "KeyError('frobnicate')"}));
    let said = ask(&control, "rate_limit", json!({"bogus": 1})).await;
    let told = "TypeError(\"rate_limit() missing 2 required positional arguments: 'task_name' and 'rate_limit'\")";
    assert_eq!(said, json!({"error": told}));
    worker.stop().await.expect("a clean stop");
}

#[tokio::test]
async fn a_worker_is_told_to_stop_and_finishes_what_runs() {
    let vhost = Vhost::new();
    let gate = Gate::closed();
    let worker = worker(&vhost, &gate, |w| w).await;
    let client = vhost.client().await;
    let running = send(&client).await;
    gate.wait_started(1).await;
    let shutdown = client.control().broadcast("shutdown", json!({}));
    shutdown.destination([NODE]).send().await.expect("sent");
    gate.open.add_permits(9);
    within("it ends by itself", worker.ends())
        .await
        .expect("a clean stop");
    running
        .result()
        .timeout(REPLY)
        .await
        .expect("it was finished");
}

#[tokio::test]
async fn a_worker_without_permission_works_without_remote_control() {
    let vhost = Vhost::new();
    let user = vhost.user("^(coney|fast).*", ".*", ".*");
    let broker = connect(&vhost.url_for(&format!("{user}:secret"))).await;
    let worker = RunningWorker::start(&broker, |w| w.task::<tasks::add>()).await;
    let client = vhost.client().await;
    let sum = tasks::add::call(1, 2).send(&client).await.expect("sent");
    assert_eq!(sum.result().timeout(REPLY).await.expect("it runs"), 3);
    worker.stop().await.expect("a clean stop");
}
