//! Tasks that pass values through, fail, or send others.

use std::time::{SystemTime, UNIX_EPOCH};

use coney::{
    Args, Client, DynamicCall, Exception, Failure, Kwargs, RawJson, Result, State, TaskContext,
    task,
};
use serde::Serialize;
use serde_json::value::to_raw_value;
use serde_json::{Value as Json, json};

#[task(name = "wire.identity", retry(max = 3), ack = "early")]
async fn identity(x: RawJson) -> RawJson {
    x
}

#[derive(Serialize)]
struct Echo<'a> {
    args: &'a [RawJson],
    kwargs: &'a std::collections::BTreeMap<String, RawJson>,
}

#[task(name = "wire.echo", retry(max = 3), ack = "early")]
async fn echo(args: Args<RawJson>, kwargs: Kwargs<RawJson>) -> Result<RawJson> {
    Ok(to_raw_value(&Echo {
        args: &args.0,
        kwargs: &kwargs.0,
    })?)
}

#[task(name = "wire.noop", retry(max = 3), ack = "early")]
async fn noop(_args: Args<RawJson>, _kwargs: Kwargs<RawJson>) {}

#[task(name = "wire.quiet", retry(max = 3), ignore_result, ack = "early")]
async fn quiet(_args: Args<RawJson>) -> bool {
    true
}

#[task(name = "wire.fail", retry(max = 3), ack = "early")]
async fn fail(
    message: Option<Json>,
    _further: Args<RawJson>,
    _named: Kwargs<RawJson>,
) -> Result<()> {
    let message = message.unwrap_or_else(|| "boom".into());
    Err(Failure::discard(
        Exception::builtin("ValueError").arg(message),
    ))
}

#[task(name = "wire.fail_custom", retry(max = 3), ack = "early")]
async fn fail_custom(args: Args) -> Result<()> {
    let error = Exception::new("wire_tasks", "WireError").args(args.0);
    Err(Failure::discard(error))
}

#[task(name = "wire.ignore", retry(max = 3), ack = "early")]
async fn ignore() -> Result<()> {
    Err(Failure::ignore("nobody needs to know"))
}

#[task(name = "wire.big", retry(max = 3), ack = "early")]
async fn big(size: usize) -> String {
    "x".repeat(size)
}

#[task(name = "wire.length", retry(max = 3), ack = "early")]
async fn length(text: String) -> usize {
    text.chars().count()
}

#[task(name = "wire.now", retry(max = 3), ack = "early")]
async fn now(_args: Args<RawJson>, _kwargs: Kwargs<RawJson>) -> Result<f64> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs_f64())
}

#[task(name = "wire.errback", retry(max = 3), ack = "early")]
async fn errback(task_id: String) -> String {
    format!("failed:{task_id}")
}

#[task(name = "wire.errback_tag", retry(max = 3), ack = "early")]
async fn errback_tag(task_id: String, tag: String) -> String {
    format!("failed:{task_id}:{tag}")
}

#[task(name = "wire.replace", retry(max = 3), ack = "early")]
async fn replace(x: Json, ctx: TaskContext) -> Result<()> {
    Ok(ctx.replace(DynamicCall::new("wire.add", json!([x, 10])))?)
}

#[task(name = "wire.spawn", retry(max = 3), ack = "early")]
async fn spawn(x: Json, y: Json, State(client): State<Client>, ctx: TaskContext) -> Result<String> {
    let child = client
        .call_by_name("wire.add", json!([x, y]))
        .queue_spec(coney_interop::queue())
        .child_of(&ctx)
        .send(&client)
        .await?;
    Ok(child.id().to_string())
}
