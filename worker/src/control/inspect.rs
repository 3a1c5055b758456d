//! What the worker has: tasks and queues.

use std::sync::Arc;

use coney_protocol::control::answer::{ExchangeInfo, QueueInfo, Scheduled};
use coney_protocol::control::arguments::Arguments;
use coney_protocol::control::task_info::{DeliveryInfo, Show, TaskInfo};
use coney_protocol::id::TaskId;
use coney_protocol::spec::AckMode;
use coney_protocol::topology::{ExchangeKind, Topology};
use coney_protocol::wire::time;
use serde_json::{Map, Value as Json, json};

use super::{Said, say};
use crate::card::Card;
use crate::handler::Handler;
use crate::node::Node;
use crate::queues::OpenQueue;
use crate::roster::{Active, Place};

/// What `registered` tells of a task unless it is asked for something else.
const USUAL_ITEMS: [&str; 3] = ["exchange", "routing_key", "rate_limit"];

pub(super) fn active(node: &Arc<Node>, arguments: &Arguments) -> Said {
    let show = match arguments.flag("safe") {
        true => Show::Texts,
        false => Show::Values,
    };
    let active = node.roster.active();
    let tasks: Vec<_> = active
        .iter()
        .map(|active| running(node, active, show))
        .collect();
    say(&tasks)
}

pub(super) fn reserved(node: &Arc<Node>) -> Said {
    let reserved = node.roster.reserved();
    let tasks: Vec<_> = reserved
        .iter()
        .map(|card| waiting(node, card, Show::Values))
        .collect();
    say(&tasks)
}

pub(super) fn scheduled(node: &Arc<Node>) -> Said {
    let scheduled = node.roster.scheduled(node.broker.clock().now());
    let tasks = scheduled.iter().map(|scheduled| {
        let eta = time::format(scheduled.eta);
        Scheduled::new(eta, waiting(node, &scheduled.card, Show::Values))
    });
    say(&tasks.collect::<Vec<_>>())
}

pub(super) fn query_task(node: &Arc<Node>, arguments: &Arguments) -> Said {
    let now = node.broker.clock().now();
    let found = arguments.texts("ids").into_iter().filter_map(|id| {
        let (place, task) = match node.roster.find(&TaskId::from(&*id), now)? {
            Place::Active(active) => ("active", running(node, &active, Show::Values)),
            Place::Reserved(card) => ("reserved", waiting(node, &card, Show::Values)),
            Place::Scheduled(scheduled) => {
                ("scheduled", waiting(node, &scheduled.card, Show::Values))
            }
        };
        Some((id, (place, task)))
    });
    say(&found.collect::<std::collections::BTreeMap<_, _>>())
}

fn waiting(node: &Node, card: &Card, show: Show) -> TaskInfo {
    let way = &card.delivery;
    let delivery = DeliveryInfo::new(&way.exchange, &way.routing_key, way.redelivered);
    TaskInfo::waiting(&card.message, &node.name, delivery, show)
}

fn running(node: &Node, active: &Active, show: Show) -> TaskInfo {
    let info = waiting(node, &active.card, show);
    info.running(active.started, std::process::id(), active.acknowledged)
}

pub(super) fn registered(node: &Arc<Node>, arguments: &Arguments) -> Said {
    let mut items = arguments.texts("taskinfoitems");
    if items.is_empty() {
        items = USUAL_ITEMS.map(str::to_owned).to_vec();
    }
    let shown = match arguments.flag("builtins") {
        true => node.registry.all(),
        false => node.registry.sorted(),
    };
    let tasks = shown.into_iter().map(|handler| {
        let known = items.iter().filter_map(|item| {
            let value = attribute(node, handler, item)?;
            Some(format!("{item}={value}"))
        });
        match known.collect::<Vec<_>>() {
            known if known.is_empty() => handler.spec().name.to_owned(),
            known => format!("{} [{}]", handler.spec().name, known.join(" ")),
        }
    });
    say(&tasks.collect::<Vec<_>>())
}

/// An attribute of a task as Python would print it, if it has it.
fn attribute(node: &Node, handler: &Handler, item: &str) -> Option<String> {
    let spec = handler.spec();
    let python = |flag| if flag { "True" } else { "False" }.to_owned();
    let set = node.task_limits.time(spec.name);
    Some(match item {
        "name" => spec.name.to_owned(),
        "queue" => handler.queue().name.to_string(),
        "rate_limit" => node.task_limits.rate(spec.name)?.to_string(),
        "max_retries" if spec.retry.max < u32::MAX => spec.retry.max.to_string(),
        "time_limit" => {
            let limit = set.map_or(spec.timeout, |set| set.hard);
            limit?.as_secs_f64().to_string()
        }
        "soft_time_limit" => {
            let limit = set.map_or(spec.soft_timeout, |set| set.soft);
            limit?.as_secs_f64().to_string()
        }
        "expires" => spec.expires?.as_secs_f64().to_string(),
        "ignore_result" => python(spec.ignore_result),
        "track_started" => python(spec.track_started),
        "acks_late" => python(spec.ack == AckMode::Late),
        _ => return None,
    })
}

pub(super) fn active_queues(node: &Arc<Node>) -> Said {
    let preset = node.broker.preset();
    let queues = node.queues.list();
    let queues = queues.iter().map(|queue| {
        let mut topology = queue.topology.clone();
        topology.append_missing(preset.topology(&queue.plan.spec));
        queue_info(queue, &topology)
    });
    say(&queues.collect::<Vec<_>>())
}

fn queue_info(queue: &OpenQueue, topology: &Topology) -> QueueInfo {
    let name = &queue.plan.spec.name;
    let binding = topology
        .bindings
        .iter()
        .find(|binding| binding.destination.name() == name);
    let (exchange, key) = binding.map_or(("", &**name), |b| (&*b.exchange, &*b.key));
    let declared = topology
        .exchanges
        .iter()
        .find(|known| known.name == exchange);
    let (kind, durable) = declared.map_or((ExchangeKind::Direct, true), |e| (e.kind, e.durable));
    let exchange = ExchangeInfo::new(exchange, kind, durable);
    let declared = topology.queues.iter().find(|known| known.name == *name);
    let arguments = declared.map(|queue| queue.arguments.clone());
    let mut info = QueueInfo::new(name, exchange, key, &arguments.unwrap_or_default());
    if let Some(declared) = declared {
        info.durable = declared.durable;
        info.auto_delete = declared.auto_delete;
    }
    info
}

/// The settings of the worker that have a name in Celery; the defaults only on request.
pub(super) fn settings(node: &Node, with_defaults: bool) -> Map<String, Json> {
    let address = node.broker.address();
    let scheme = if address.is_tls() { "amqps" } else { "amqp" };
    let url = format!(
        "{scheme}://{}:********@{}:{}/{}",
        address.user(),
        address.host(),
        address.port(),
        address.vhost()
    );
    let queues = node.queues.list();
    let first = queues.first().map(|queue| queue.plan.spec.name.to_string());
    let mut settings = Map::new();
    let mut set = |name: &str, value: Json| drop(settings.insert(name.to_owned(), value));
    set("broker_url", json!(url));
    set("result_backend", json!("rpc://"));
    set("task_default_queue", json!(first));
    set("worker_concurrency", json!(node.queues.slots()));
    if with_defaults {
        set("accept_content", json!(["json"]));
        set("control_exchange", json!("celery"));
        set("control_queue_exclusive", json!(true));
        set("enable_utc", json!(true));
        set("event_exchange", json!("celeryev"));
        set("result_persistent", json!(false));
        set("result_serializer", json!("json"));
        set("task_acks_late", json!(true));
        set("task_serializer", json!("json"));
        set("timezone", json!("UTC"));
        set("worker_enable_remote_control", json!(true));
        set("worker_pool_restarts", json!(false));
        set("worker_send_task_events", json!(node.events.is_on()));
    }
    settings
}
