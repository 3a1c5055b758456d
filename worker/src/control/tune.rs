//! What can be turned while the worker runs: limits, slots, queues.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use coney_protocol::control::answer::kind_of;
use coney_protocol::control::arguments::{Arguments, CommandError};
use coney_protocol::control::consumer::queue_topology;
use coney_protocol::header::TimeLimit;
use coney_protocol::name::check_queue_name;
use coney_protocol::rate::{Rate, RateError};
use coney_protocol::spec::QueueSpec;
use serde_json::Value as Json;
use tracing::info;

use super::{Answer, Said, done, refused};
use crate::builder::DEFAULT_CONCURRENCY;
use crate::node::Node;
use crate::pool::{Pool, Range};
use crate::worker::QueuePlan;

/// The most slots that remote control gives a worker.
const MOST_SLOTS: usize = 65_535;

pub(super) fn rate_limit(node: &Arc<Node>, arguments: &Arguments) -> Said {
    let (rate, disables) = match arguments.get("rate_limit") {
        None => (Ok(None), true),
        Some(Json::String(text)) => (Rate::parse(text), text.is_empty()),
        Some(Json::Number(number)) => (
            Rate::parse(&number.to_string()),
            number.as_f64() == Some(0.0),
        ),
        Some(_) => {
            let wrong = "rate_limit() argument 'rate_limit' must be str or a number";
            return Err(CommandError::argument(wrong));
        }
    };
    let rate = match rate {
        Ok(rate) => rate,
        Err(RateError::Unit(unit)) => return Err(CommandError::key(unit)),
        Err(error) => {
            let error = CommandError::value(error.to_string());
            return refused(format!("Invalid rate limit string: {error}"));
        }
    };
    let Some(task) = known_task(node, arguments) else {
        return refused("unknown task");
    };
    node.task_limits.set_rate(task, rate);
    let shown = rate.map(|rate| rate.to_string());
    info!(target: "coney::worker", task, rate = shown, "the rate limit was set");
    done(match disables {
        true => "rate limit disabled successfully",
        false => "new rate limit set successfully",
    })
}

/// Counts for what starts from now on, unless its message says otherwise.
pub(super) fn time_limit(node: &Arc<Node>, arguments: &Arguments) -> Said {
    let Some(task) = known_task(node, arguments) else {
        return refused("unknown task");
    };
    let hard = seconds(arguments, "hard")?;
    let soft = seconds(arguments, "soft")?;
    node.task_limits.set_time(task, TimeLimit::new(hard, soft));
    info!(target: "coney::worker", task, ?hard, ?soft, "the time limits were set");
    done("time limits set successfully")
}

fn known_task<'a>(node: &'a Node, arguments: &Arguments) -> Option<&'a str> {
    let name = arguments.get("task_name")?.as_str()?;
    node.registry.get(name).map(|handler| handler.spec().name)
}

fn seconds(arguments: &Arguments, name: &str) -> Result<Option<Duration>, CommandError> {
    let Some(seconds) = arguments.number(name)? else {
        return Ok(None);
    };
    match Duration::try_from_secs_f64(seconds) {
        // zero is no limit, as in Celery
        Ok(limit) => Ok((!limit.is_zero()).then_some(limit)),
        Err(_) => Err(CommandError::value(format!("{name} must not be negative"))),
    }
}

pub(super) fn pool_grow(node: &Arc<Node>, arguments: &Arguments) -> Said {
    if follows_load(node) {
        return refused(
            "pool_grow is not supported with autoscale. Adjust autoscale range instead.",
        );
    }
    let by = arguments.count("n")?.unwrap_or(1);
    for pool in node.queues.pools() {
        if by > MOST_SLOTS.saturating_sub(pool.size()) {
            return Err(CommandError::value(format!("more than {MOST_SLOTS} slots")));
        }
        pool.grow(by);
    }
    info!(target: "coney::worker", slots = node.queues.slots(), "more slots, as remote control says");
    done("pool will grow")
}

pub(super) fn pool_shrink(node: &Arc<Node>, arguments: &Arguments) -> Said {
    if follows_load(node) {
        return refused(
            "pool_shrink is not supported with autoscale. Adjust autoscale range instead.",
        );
    }
    let by = arguments.count("n")?.unwrap_or(1);
    for pool in node.queues.pools() {
        pool.shrink(by);
    }
    info!(target: "coney::worker", slots = node.queues.slots(), "fewer slots, as remote control says");
    done("pool will shrink")
}

fn follows_load(node: &Node) -> bool {
    node.queues
        .shared()
        .is_some_and(|pool| pool.range().is_some())
}

pub(super) fn pool_restart() -> Said {
    Err(CommandError::value("Pool restarts not enabled"))
}

pub(super) fn autoscale(node: &Arc<Node>, arguments: &Arguments) -> Said {
    let pool = node.queues.shared();
    let Some((pool, range)) = pool.and_then(|pool| Some((pool, pool.range()?))) else {
        return Err(CommandError::value("Autoscale not enabled"));
    };
    let max = arguments.count("max")?.unwrap_or(range.max);
    let min = arguments.count("min")?.unwrap_or(range.min.min(max));
    if max == 0 || max > MOST_SLOTS || min > max {
        return Err(CommandError::value(format!(
            "max must be from 1 to {MOST_SLOTS}, and min not above it"
        )));
    }
    pool.follow(Range { min, max });
    info!(target: "coney::worker", max, min, "the slots follow the load between these numbers");
    done(format!("autoscale now max={max} min={min}"))
}

/// Answers when the queue is consumed, or cannot be.
pub(super) fn add_consumer(node: &Arc<Node>, arguments: &Arguments) -> Answer {
    match queue(node, arguments) {
        Ok((plan, topology)) => {
            let node = Arc::clone(node);
            let name = plan.spec.name.clone();
            Answer::Later(Box::pin(async move {
                match node.queues.open(plan, topology).await {
                    Ok(()) => {
                        info!(target: "coney::worker", queue = %name, "consuming a queue, as remote control says");
                        done(format!("add consumer {name}"))
                    }
                    Err(error) => {
                        let cause = std::error::Error::source(&error);
                        let cause = cause.map(|cause| format!(": {cause}")).unwrap_or_default();
                        Err(CommandError::failed(format!("{error}{cause}")))
                    }
                }
            }))
        }
        Err(error) => Answer::Now(Err(error)),
    }
}

type Opening = (QueuePlan, coney_protocol::topology::Topology);

fn queue(node: &Node, arguments: &Arguments) -> Result<Opening, CommandError> {
    let name = arguments.required_text("queue")?;
    check_queue_name(name).map_err(|error| CommandError::value(error.to_string()))?;
    let kind = arguments.text("exchange_type")?.unwrap_or("direct");
    let unknown = || CommandError::value(format!("unknown exchange type {kind}"));
    let kind = kind_of(kind).ok_or_else(unknown)?;
    let topology = queue_topology(name, kind, arguments)?;
    let spec = QueueSpec::from_name(Cow::Owned(name.to_owned()));
    let slots = node.queues.shared().map(Pool::size);
    let slots = slots.and_then(|slots| u32::try_from(slots).ok());
    Ok((
        QueuePlan::new(spec, slots.unwrap_or(DEFAULT_CONCURRENCY)),
        topology,
    ))
}

/// Answers after the commands before it: the queue may be about to be added.
pub(super) fn cancel_consumer(node: &Arc<Node>, arguments: &Arguments) -> Answer {
    let name = match arguments.required_text("queue") {
        Ok(name) => name.to_owned(),
        Err(error) => return Answer::Now(Err(error)),
    };
    let node = Arc::clone(node);
    Answer::Later(Box::pin(async move {
        if node.queues.cancel(&name) {
            info!(target: "coney::worker", queue = name, "no longer consuming a queue, as remote control says");
        }
        done(format!("no longer consuming from {name}"))
    }))
}
