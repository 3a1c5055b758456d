//! What commands are answered with, where it is more than a word.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json, json};

use crate::control::task_info::TaskInfo;
use crate::property::{Table, Value};
use crate::topology::ExchangeKind;

/// Whether a command was carried out: `{"ok": "pong"}`, `{"error": "unknown task"}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Word {
    /// It was.
    Ok(String),
    /// It was not.
    Error(String),
}

/// A task that waits for its time.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Scheduled {
    /// When it shall start, ISO 8601.
    pub eta: Option<String>,
    /// The priority of Celery's timer.
    pub priority: u8,
    /// The task.
    pub request: TaskInfo,
}

impl Scheduled {
    /// A task that waits until `eta`.
    #[must_use]
    pub fn new(eta: String, request: TaskInfo) -> Self {
        Self {
            eta: Some(eta),
            priority: 6,
            request,
        }
    }
}

/// A queue that a worker consumes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct QueueInfo {
    /// Its name.
    pub name: String,
    /// The exchange that it is bound to.
    pub exchange: ExchangeInfo,
    /// With which key.
    pub routing_key: String,
    /// The arguments that it was declared with.
    pub queue_arguments: Option<Json>,
    /// True if it survives a restart of the broker.
    pub durable: bool,
    /// True if only one connection may use it.
    pub exclusive: bool,
    /// True if it goes with its last consumer.
    pub auto_delete: bool,
    /// Members that say nothing about a queue of coney.
    #[serde(flatten)]
    pub rest: Map<String, Json>,
}

/// An exchange that a queue is bound to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ExchangeInfo {
    /// Its name.
    pub name: String,
    /// How it routes.
    #[serde(rename = "type")]
    pub kind: String,
    /// True if it survives a restart of the broker.
    pub durable: bool,
    /// Members that say nothing about an exchange of coney.
    #[serde(flatten)]
    pub rest: Map<String, Json>,
}

impl ExchangeInfo {
    /// An exchange of this name.
    #[must_use]
    pub fn new(name: &str, kind: ExchangeKind, durable: bool) -> Self {
        let rest = json!({
            "arguments": null, "passive": false, "auto_delete": false, "delivery_mode": null, "no_declare": false,
        });
        Self {
            name: name.to_owned(),
            kind: kind_name(kind).to_owned(),
            durable,
            rest: members(rest),
        }
    }
}

impl QueueInfo {
    /// A durable queue of this name.
    #[must_use]
    pub fn new(name: &str, exchange: ExchangeInfo, routing_key: &str, arguments: &Table) -> Self {
        let rest = json!({
            "binding_arguments": null, "consumer_arguments": null, "no_ack": false, "alias": null, "bindings": [],
            "no_declare": null, "expires": null, "message_ttl": null, "max_length": null, "max_length_bytes": null,
            "max_priority": null,
        });
        Self {
            name: name.to_owned(),
            exchange,
            routing_key: routing_key.to_owned(),
            queue_arguments: (!arguments.is_empty()).then(|| json_of_table(arguments)),
            durable: true,
            exclusive: false,
            auto_delete: false,
            rest: members(rest),
        }
    }
}

/// What a kind of exchange is called on the wire.
#[must_use]
pub fn kind_name(kind: ExchangeKind) -> &'static str {
    match kind {
        ExchangeKind::Direct => "direct",
        ExchangeKind::Topic => "topic",
        ExchangeKind::Fanout => "fanout",
    }
}

/// The kind of exchange of this name.
#[must_use]
pub fn kind_of(name: &str) -> Option<ExchangeKind> {
    match name {
        "direct" => Some(ExchangeKind::Direct),
        "topic" => Some(ExchangeKind::Topic),
        "fanout" => Some(ExchangeKind::Fanout),
        _ => None,
    }
}

/// What a worker knows of another's revocations, and what time it is there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Hello {
    /// Revoked ids, the oldest first.
    pub revoked: Vec<String>,
    /// The worker's logical clock.
    pub clock: u64,
}

impl Hello {
    /// These revocations at this time.
    #[must_use]
    pub fn new(revoked: Vec<String>, clock: u64) -> Self {
        Self { revoked, clock }
    }
}

/// What a worker says of itself.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Stats {
    /// How many tasks of each name were started.
    pub total: BTreeMap<String, u64>,
    /// Its process.
    pub pid: u32,
    /// Its logical clock, as a text.
    pub clock: String,
    /// How long it runs, in seconds.
    pub uptime: u64,
    /// What its tasks run in.
    pub pool: PoolInfo,
    /// Where its broker is.
    pub broker: Json,
    /// How many messages it holds at most.
    pub prefetch_count: u32,
    /// What its process has used, if the system says so.
    pub rusage: Json,
}

/// What the tasks of a worker run in.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub struct PoolInfo {
    /// What it is made of.
    pub implementation: String,
    /// How many tasks run at once.
    pub max_concurrency: usize,
    /// The process of each slot.
    pub processes: Vec<u32>,
    /// After how many tasks a process ends.
    pub max_tasks_per_child: Json,
    /// Of Celery's own pool.
    pub put_guarded_by_semaphore: bool,
    /// Soft and hard time limits of all tasks.
    pub timeouts: Vec<Json>,
    /// What was given to each process.
    pub writes: Json,
}

impl PoolInfo {
    /// So many slots of one process, of which so many are busy, after so many tasks.
    #[must_use]
    pub fn new(slots: usize, busy: usize, pid: u32, tasks: u64) -> Self {
        Self {
            implementation: "coney:Pool".to_owned(),
            max_concurrency: slots,
            processes: vec![pid; slots],
            max_tasks_per_child: json!("N/A"),
            put_guarded_by_semaphore: false,
            timeouts: vec![json!(0), json!(0)],
            writes: json!({
                "total": tasks, "avg": "1.00", "all": "1.00", "raw": tasks.to_string(), "strategy": "fair",
                "inqueues": {"total": slots, "active": busy},
            }),
        }
    }
}

fn members(json: Json) -> Map<String, Json> {
    match json {
        Json::Object(members) => members,
        _ => Map::new(),
    }
}

/// Arguments of a declaration as JSON.
fn json_of_table(table: &Table) -> Json {
    Json::Object(
        table
            .iter()
            .map(|(name, value)| (name.to_owned(), json_of(value)))
            .collect(),
    )
}

fn json_of(value: &Value) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Bool(flag) => json!(flag),
        Value::Text(text) => json!(text),
        Value::List(items) => items.iter().map(json_of).collect(),
        Value::Table(table) => json_of_table(table),
        Value::Timestamp(seconds) => json!(seconds),
        other => match other.as_i64() {
            Some(number) => json!(number),
            None => json!(other.as_f64()),
        },
    }
}
