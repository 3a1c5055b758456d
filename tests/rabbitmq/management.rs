//! The management UI shows named connections, consumers with meaningful tags, typed queues and their dead letters.

use std::time::Duration;

use coney::prelude::*;
use serde_json::Value;

use crate::support::{DEADLINE, Vhost};
use crate::tasks;

/// Asks until the statistics, which the broker collects once in a while, show what `found` looks for.
async fn shown<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    let mut ticks = tokio::time::interval(Duration::from_millis(200));
    let asking = async {
        loop {
            ticks.tick().await;
            if let Some(value) = found() {
                return value;
            }
        }
    };
    tokio::time::timeout(DEADLINE, asking)
        .await
        .unwrap_or_else(|_| panic!("{what} is not shown"))
}

fn texts(list: &Value, of: impl Fn(&Value) -> &Value) -> Vec<String> {
    let mut texts: Vec<_> = list
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|item| of(item).as_str().map(str::to_owned))
        .collect();
    texts.sort();
    texts
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_has_a_name() {
    let vhost = Vhost::new();
    let worker = vhost
        .worker(|w| {
            w.name("kitchen@home")
                .task::<tasks::add>()
                .task::<tasks::sum_up_to>()
        })
        .await;
    let client = vhost.client().await;
    let sum = tasks::add::call(1, 1).send(&client).await.expect("sent");
    assert_eq!(sum.result().timeout(secs(10)).await.expect("a sum"), 2);

    let consumers = shown("five consumers", || {
        let consumers = vhost.shows("consumers");
        (consumers.as_array()?.len() == 5).then_some(consumers)
    })
    .await;
    let tags = texts(&consumers, |consumer| &consumer["consumer_tag"]);
    assert!(
        tags.iter()
            .any(|tag| tag.contains("kitchen@home") && tag.contains("fast")),
        "{tags:?}"
    );
    for word in [
        "replies",
        "kitchen@home revocations",
        "kitchen@home control",
    ] {
        assert!(tags.iter().any(|tag| tag.contains(word)), "{tags:?}");
    }

    let connections = shown("named connections", || {
        let connections = vhost
            .management
            .get(&format!("vhosts/{}/connections", vhost.name));
        let names = texts(&connections, |c| &c["client_properties"]["connection_name"]);
        (names.len() >= 4).then_some(names)
    })
    .await;
    let pid = std::process::id().to_string();
    for role in ["worker", "client", "publisher"] {
        let wanted = format!("coney {} {role} ", env!("CARGO_PKG_VERSION"));
        let named = connections
            .iter()
            .any(|name| name.starts_with(&wanted) && name.ends_with(&pid));
        assert!(named, "{wanted}: {connections:?}");
    }

    let queues = vhost.shows("queues");
    let names = texts(&queues, |queue| &queue["name"]);
    for queue in ["fast", "fast.dead", "slow", "slow.dead"] {
        assert!(names.contains(&queue.to_owned()), "{names:?}");
    }
    let bindings = vhost.shows("bindings");
    let bound = bindings.as_array().into_iter().flatten().any(|binding| {
        binding["source"] == "coney.tasks"
            && binding["destination"] == "fast"
            && binding["routing_key"] == "fast"
    });
    assert!(bound, "{bindings}");
    worker.stop().await.expect("a clean stop");
}
