//! Tasks that shall not run, or not any more.

use std::sync::Arc;

use coney_protocol::control::answer::Hello;
use coney_protocol::control::arguments::{Arguments, CommandError};
use coney_protocol::control::python;
use coney_protocol::control::stamp::{self, Stamp};
use coney_protocol::id::TaskId;
use serde_json::{Map, Value as Json};
use tracing::info;

use super::{Said, done, say};
use crate::node::Node;

/// The signals that have a number on every Unix, and their numbers on Linux for the rest.
const SIGNALS: [(&str, i32); 14] = [
    ("HUP", 1),
    ("INT", 2),
    ("QUIT", 3),
    ("ILL", 4),
    ("TRAP", 5),
    ("ABRT", 6),
    ("FPE", 8),
    ("KILL", 9),
    ("USR1", 10),
    ("SEGV", 11),
    ("USR2", 12),
    ("PIPE", 13),
    ("ALRM", 14),
    ("TERM", 15),
];

pub(super) fn revoke(node: &Arc<Node>, arguments: &Arguments) -> Said {
    if arguments.flag("terminate") {
        return terminate(node, arguments);
    }
    let ids = arguments.texts("task_id");
    let now = node.broker.clock().instant();
    node.revocations
        .flag(ids.iter().map(|id| TaskId::from(&**id)), now);
    info!(target: "coney::worker", ?ids, "tasks are revoked");
    done(format!("tasks {} flagged as revoked", python::set(&ids)))
}

/// Every running task is told, a blocking one can only be asked; those that wait here are not started.
pub(super) fn terminate(node: &Arc<Node>, arguments: &Arguments) -> Said {
    let signal = signal(arguments)?;
    let ids = arguments.texts("task_id");
    let clock = node.broker.clock();
    let known = ids.iter().filter(|id| {
        let id = TaskId::from(&***id);
        let is_here = node.roster.find(&id, clock.now()).is_some();
        node.revocations.terminate(id, signal, clock.instant()) || is_here
    });
    let known: Vec<_> = known.cloned().collect();
    info!(target: "coney::worker", ?ids, signal, "tasks are terminated");
    done(match known.is_empty() {
        true => "terminate: tasks unknown".to_owned(),
        false => format!("terminate: {}", known.join(", ")),
    })
}

pub(super) fn revoke_by_stamped_headers(node: &Arc<Node>, arguments: &Arguments) -> Said {
    let signal = signal(arguments)?;
    let headers = arguments.get("headers").unwrap_or(&Json::Null);
    let stamps = stamp::of_argument(headers)?;
    let shown = python::value(&as_mapping(headers));
    let now = node.broker.clock().instant();
    node.revocations.flag_stamps(stamps.clone(), now);
    info!(target: "coney::worker", headers = shown, "tasks with these stamps are revoked");
    if !arguments.flag("terminate") {
        return done(format!(
            "headers {shown} flagged as revoked, but not terminated"
        ));
    }
    let found = node.revocations.terminate_stamped(&stamps, signal, now);
    done(match found.is_empty() {
        true => format!("headers {shown} were not terminated"),
        false => format!("headers {} revoked", python::value(&grouped(&found))),
    })
}

/// The stamps of `name=value` as what they mean.
fn as_mapping(headers: &Json) -> Json {
    let Json::Array(pairs) = headers else {
        return headers.clone();
    };
    let pairs = pairs
        .iter()
        .filter_map(|pair| pair.as_str()?.split_once('='));
    Json::Object(
        pairs
            .map(|(name, value)| (name.to_owned(), value.into()))
            .collect(),
    )
}

fn grouped(stamps: &[Stamp]) -> Json {
    let mut groups = Map::new();
    for (name, value) in stamps {
        let group = groups
            .entry(name)
            .or_insert_with(|| Json::Array(Vec::new()));
        if let Json::Array(values) = group {
            values.push(value.clone().into());
        }
    }
    Json::Object(groups)
}

pub(super) fn revoked(node: &Arc<Node>) -> Said {
    say(&ids(node))
}

/// Two workers tell each other what they know of revoked tasks, so that one that was not there when they were revoked
/// learns of them.
pub(super) fn hello(node: &Arc<Node>, arguments: &Arguments) -> Said {
    if arguments.required_text("from_node")? == node.name {
        return say(&());
    }
    let theirs = arguments.texts("revoked");
    let theirs = theirs.iter().map(|id| TaskId::from(&**id));
    node.revocations.flag(theirs, node.broker.clock().instant());
    say(&Hello::new(ids(node), node.clock.tick()))
}

fn ids(node: &Node) -> Vec<String> {
    let revoked = node.revocations.list(node.broker.clock().instant());
    revoked.iter().map(ToString::to_string).collect()
}

/// The number of a signal, which nobody is sent here but monitors are told of; SIGTERM unless it is said.
fn signal(arguments: &Arguments) -> Result<i32, CommandError> {
    let name = match arguments.get("signal") {
        None => return Ok(15),
        Some(Json::String(name)) => name,
        Some(other) => {
            let number = other.as_i64().and_then(|number| i32::try_from(number).ok());
            return number
                .ok_or_else(|| CommandError::argument("signal must be a name or a number"));
        }
    };
    let upper = name.to_ascii_uppercase();
    let short = upper.strip_prefix("SIG").unwrap_or(&upper);
    let known = SIGNALS.iter().find(|(known, _)| *known == short);
    let number = known
        .map(|(_, number)| *number)
        .or_else(|| short.parse().ok());
    number.ok_or_else(|| CommandError::key(name))
}
