//! What the worker says of itself.

use std::sync::Arc;

use coney_protocol::control::answer::{PoolInfo, Stats};
use coney_protocol::control::arguments::Arguments;
use coney_protocol::control::python;
use serde_json::{Value as Json, json};

use super::inspect::settings;
use super::{Said, done, process, say};
use crate::node::Node;

pub(super) fn stats(node: &Arc<Node>) -> Said {
    let total = node.roster.totals();
    let tasks = total.values().sum();
    let busy = node.roster.running();
    let pid = std::process::id();
    let mut stats = Stats::default();
    stats.total = total;
    stats.pid = pid;
    stats.clock = node.clock.now().to_string();
    stats.uptime = node.started.elapsed().as_secs();
    stats.pool = PoolInfo::new(node.queues.slots(), busy, pid, tasks);
    stats.broker = broker(node);
    stats.prefetch_count = node.queues.prefetch();
    stats.rusage = process::usage().unwrap_or_else(|| json!("N/A"));
    say(&stats)
}

fn broker(node: &Node) -> Json {
    let address = node.broker.address();
    json!({
        "hostname": address.host(),
        "userid": address.user(),
        "virtual_host": address.vhost(),
        "port": address.port(),
        "insist": false,
        "ssl": address.is_tls(),
        "transport": "amqp",
        "connect_timeout": node.broker.connect_timeout().as_secs(),
        "transport_options": {},
        "login_method": "PLAIN",
        "uri_prefix": null,
        "heartbeat": node.broker.heartbeat().as_secs_f64(),
        "failover_strategy": "round-robin",
        "alternates": [],
        "credential_provider": null,
    })
}

pub(super) fn conf(node: &Arc<Node>, arguments: &Arguments) -> Said {
    say(&settings(node, arguments.flag("with_defaults")))
}

pub(super) fn report(node: &Arc<Node>) -> Said {
    let (os, arch) = (std::env::consts::OS, std::env::consts::ARCH);
    let version = env!("CARGO_PKG_VERSION");
    let server = node.broker.server();
    let mut text = format!(
        "\nsoftware -> coney:{version} broker:{server}\nplatform -> system:{os} arch:{arch}\n\
         settings -> transport:amqp results:rpc://\n\n"
    );
    for (name, value) in settings(node, false) {
        text.push_str(&format!("{name}: {}\n", python::value(&value)));
    }
    done(text)
}

pub(super) fn memsample() -> Said {
    say(&process::memory())
}
