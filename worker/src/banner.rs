//! What a worker says of itself when it starts: one readable text.

use std::fmt::Write as _;

use crate::handler::Handler;
use crate::worker::{Parts, QueuePlan};

/// Name, broker, state, queues and tasks, a line each.
pub(crate) fn text(parts: &Parts) -> String {
    let broker = &parts.broker;
    let mut text = format!(
        "coney {} worker {} on {} at {}",
        env!("CARGO_PKG_VERSION"),
        parts.name,
        broker.server(),
        broker.address(),
    );
    if !parts.state_names.is_empty() {
        line(&mut text, "state", &parts.state_names.join(", "));
    }
    let handlers = parts.registry.sorted();
    for plan in &parts.queues {
        line(&mut text, "queue", &queue(plan));
        for handler in &handlers {
            if handler.queue().name == plan.spec.name {
                line(&mut text, "task", &task(handler));
            }
        }
    }
    text
}

fn line(text: &mut String, what: &str, value: &str) {
    // writing to a String cannot fail
    let _ = write!(text, "\n  {what:<6} {value}");
}

fn queue(plan: &QueuePlan) -> String {
    format!(
        "{} (concurrency {}, prefetch {})",
        plan.spec.name, plan.concurrency, plan.prefetch
    )
}

fn task(handler: &Handler) -> String {
    let spec = handler.spec();
    let mut notes = Vec::new();
    if spec.blocking {
        notes.push("blocking".to_owned());
    }
    if let Some(limit) = spec.timeout {
        notes.push(format!("timeout {limit:?}"));
    }
    if spec.ignore_result {
        notes.push("result ignored".to_owned());
    }
    if notes.is_empty() {
        return format!("  {}", spec.name);
    }
    format!("  {} ({})", spec.name, notes.join(", "))
}
