//! Events, and whether the worker is there at all.

use std::sync::Arc;

use coney_protocol::control::arguments::Arguments;
use serde_json::json;
use tracing::warn;

use super::{Answer, Said, done, say};
use crate::node::Node;

pub(super) fn ping() -> Said {
    done("pong")
}

pub(super) fn clock(node: &Node) -> Said {
    say(&json!({"clock": node.clock.now()}))
}

pub(super) fn enable_events(node: &Node) -> Said {
    done(match node.events.enable() {
        true => "task events enabled",
        false => "task events already enabled",
    })
}

pub(super) fn disable_events(node: &Node) -> Said {
    done(match node.events.disable() {
        true => "task events disabled",
        false => "task events already disabled",
    })
}

pub(super) fn heartbeat(node: &Node) -> Said {
    node.events.heartbeat_now();
    say(&())
}

/// There is nothing to elect: workers do not listen to each other. It kills a lone Python worker of Celery 5.7.
pub(super) fn election() -> Said {
    say(&())
}

pub(super) fn shutdown(node: &Arc<Node>, arguments: &Arguments) -> Answer {
    let reason = arguments.text("msg").ok().flatten();
    let reason = reason.unwrap_or("got shutdown from remote");
    warn!(target: "coney::worker", reason, "stopping, as remote control says");
    node.asked_to_stop.cancel();
    Answer::Never
}
