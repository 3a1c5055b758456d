//! Tasks that tell what they see of their own message.

use coney::protocol::wire::time;
use coney::{Args, Kwargs, RawJson, TaskContext, Value, task};
use serde_json::{Value as Json, json};

#[task(name = "wire.ids", retry(max = 3), ack = "early")]
async fn ids(args: Args, ctx: TaskContext) -> Json {
    let header = ctx.header();
    json!({
        "id": ctx.id(),
        "root_id": ctx.root_id(),
        "parent_id": ctx.parent_id(),
        "group": header.group,
        "group_index": header.group_index,
        "args": args.0,
    })
}

#[task(name = "wire.context", retry(max = 3), ack = "early")]
async fn context(_args: Args<RawJson>, _kwargs: Kwargs<RawJson>, ctx: TaskContext) -> Json {
    let (header, delivery) = (ctx.header(), ctx.delivery());
    let limit =
        |limit: Option<std::time::Duration>| limit.map(|limit| seconds(limit.as_secs_f64()));
    json!({
        "id": ctx.id(),
        "retries": ctx.retries(),
        "reply_to": header.reply_to,
        "correlation_id": header.correlation(),
        "eta": header.eta.map(time::format),
        "expires": header.expires.map(time::format),
        "timelimit": [limit(header.time_limit.hard), limit(header.time_limit.soft)],
        "delivery_info": {
            "exchange": delivery.exchange,
            "routing_key": delivery.routing_key,
            "priority": delivery.priority,
            "redelivered": delivery.redelivered,
        },
        "headers": headers(&ctx),
        "stamps": ctx.stamps(),
        "stamped_headers": stamped(&ctx),
        "hostname": ctx.hostname(),
        "origin": header.origin,
        "replaced_task_nesting": header.replaced_task_nesting,
        "argsrepr": header.args_repr,
    })
}

/// A number of seconds as Python writes it, whole ones without a point.
fn seconds(seconds: f64) -> Json {
    match serde_json::from_str(&seconds.to_string()) {
        Ok(number) => number,
        Err(_) => seconds.into(),
    }
}

/// The caller's own headers, null without any.
pub(crate) fn headers(ctx: &TaskContext) -> Json {
    match ctx.headers().is_empty() {
        true => Json::Null,
        false => json!(ctx.headers()),
    }
}

fn stamped(ctx: &TaskContext) -> Option<Vec<Value>> {
    let names = &ctx.header().stamped_headers;
    (!names.is_empty()).then(|| names.iter().cloned().map(Value::from).collect())
}
