//! Tasks that take time, tell states on their way, or try again.

use std::time::Duration;

use coney::{Args, Exception, Failure, Kwargs, RawJson, Result, TaskContext, task};
use serde_json::{Value as Json, json};

use crate::request::headers;

/// Sleeps; false if the soft time limit came first.
async fn sleeps(seconds: f64, ctx: &TaskContext) -> bool {
    let sleep = tokio::time::sleep(Duration::from_secs_f64(seconds.max(0.0)));
    ctx.soft_limit().run_until_cancelled(sleep).await.is_some()
}

#[task(name = "wire.sleep", retry(max = 0), ack = "early")]
async fn sleep(
    seconds: RawJson,
    _further: Args<RawJson>,
    _named: Kwargs<RawJson>,
    ctx: TaskContext,
) -> Result<RawJson> {
    match sleeps(serde_json::from_str(seconds.get())?, &ctx).await {
        true => Ok(seconds),
        false => Err(Failure::discard(Exception::soft_time_limit())),
    }
}

#[task(name = "wire.late", retry(max = 0), ack = "late")]
async fn late(seconds: RawJson, ctx: TaskContext) -> Result<RawJson> {
    match sleeps(serde_json::from_str(seconds.get())?, &ctx).await {
        true => Ok(seconds),
        false => Err(Failure::discard(Exception::soft_time_limit())),
    }
}

#[task(name = "wire.soft", retry(max = 0), ack = "early")]
async fn soft(seconds: f64, ctx: TaskContext) -> String {
    match sleeps(seconds, &ctx).await {
        true => "finished".to_owned(),
        false => "soft".to_owned(),
    }
}

#[task(name = "wire.retry_n", retry(max = 0), ack = "early")]
async fn retry_n(n: u32, countdown: Option<f64>, ctx: TaskContext) -> Result<Json> {
    let retries = ctx.retries();
    if retries < n {
        let cause = Exception::builtin("ValueError").arg(format!("attempt {retries}"));
        let wait = Duration::from_secs_f64(countdown.unwrap_or(0.2));
        return Err(Failure::retry(cause).after(wait).unlimited());
    }
    Ok(json!({
        "retries": retries,
        "id": ctx.id(),
        "headers": headers(&ctx),
        "priority": ctx.delivery().priority,
        "stamps": ctx.stamps(),
        "root_id": ctx.root_id(),
        "parent_id": ctx.parent_id(),
    }))
}

#[task(name = "wire.retry_limited", retry(max = 0), ack = "early")]
async fn retry_limited(max_retries: Option<u32>, countdown: Option<f64>) -> Result<()> {
    let cause = Exception::builtin("ValueError").arg("out of retries");
    let wait = Duration::from_secs_f64(countdown.unwrap_or(0.1));
    Err(Failure::retry(cause)
        .after(wait)
        .at_most(max_retries.unwrap_or(1)))
}

#[task(name = "wire.progress", retry(max = 0), ack = "early")]
async fn progress(steps: Option<u32>, pause: Option<f64>, ctx: TaskContext) -> Result<u32> {
    let steps = steps.unwrap_or(2);
    for current in 1..=steps {
        let state = json!({"current": current, "total": steps});
        ctx.update_state("PROGRESS", &state).await?;
        tokio::time::sleep(Duration::from_secs_f64(pause.unwrap_or(0.3))).await;
    }
    Ok(steps)
}

#[task(name = "wire.tracked", retry(max = 0), track_started, ack = "early")]
async fn tracked(pause: Option<f64>) -> String {
    tokio::time::sleep(Duration::from_secs_f64(pause.unwrap_or(0.3))).await;
    "tracked".to_owned()
}
