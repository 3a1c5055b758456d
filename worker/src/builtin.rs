//! The tasks that every worker of Celery has: what `map`, `starmap` and `chunks` of Python send, and `celery.ping`.

use std::borrow::Cow;
use std::sync::Arc;

use coney_protocol::codec::body::{Embed, RawCall};
use coney_protocol::context::{BoxFuture, TaskContext};
use coney_protocol::error::ArgumentError;
use coney_protocol::outcome::{ErrorReport, Next};
use futures_util::FutureExt;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::handler::{Attempt, Handler};
use crate::outcome::{Outcome, message_of};
use crate::registry::Registry;

/// All of them. None stands in lists of tasks, and a program may have its own instead.
pub(crate) fn handlers() -> [Handler; 5] {
    [
        Handler::builtin("celery.map", map),
        Handler::builtin("celery.starmap", starmap),
        Handler::builtin("celery.accumulate", accumulate),
        Handler::builtin("celery.ping", |_, _| value(Ok(r#""pong""#.to_owned()))),
        // results that go through the broker expire there
        Handler::builtin("celery.backend_cleanup", |_, _| {
            value(Ok("null".to_owned()))
        }),
    ]
}

/// An attempt that ends at once.
fn value(json: Result<String, ErrorReport>) -> Result<Attempt, ArgumentError> {
    let outcome = match json.map(RawValue::from_string) {
        Ok(Ok(raw)) => Outcome::Success(raw),
        Ok(Err(error)) => dead(ErrorReport::of(&error)),
        Err(report) => dead(report),
    };
    Ok(Box::pin(std::future::ready(outcome)))
}

/// What fails here would fail again.
fn dead(report: ErrorReport) -> Outcome {
    Outcome::Failed {
        next: Next::Dead,
        report,
    }
}

fn python(class: &str, message: impl Into<String>) -> ErrorReport {
    ErrorReport::new(class, message).module("builtins")
}

/// An argument that is given by position or by name.
fn argument<'a>(call: &RawCall<'a>, at: usize, name: &str) -> Option<&'a RawValue> {
    let named = call.kwargs.iter().find(|(given, _)| given == name);
    let named = named.map(|(_, raw)| *raw);
    call.args.get(at).copied().or(named)
}

/// All arguments, or the one at `index`.
fn accumulate(call: &RawCall<'_>, _: &TaskContext) -> Result<Attempt, ArgumentError> {
    let items = || call.args.iter().map(|raw| raw.get());
    let index = argument(call, usize::MAX, "index").filter(|raw| raw.get() != "null");
    let Some(index) = index else {
        let items: Vec<_> = items().collect();
        return value(Ok(format!("[{}]", items.join(", "))));
    };
    let count = i64::try_from(call.args.len()).unwrap_or(i64::MAX);
    value(match serde_json::from_str::<i64>(index.get()) {
        Err(_) => Err(python("TypeError", "the index is not a whole number")),
        Ok(at) => {
            // as in Python: from the end if it is below 0
            let at = if at < 0 { at.saturating_add(count) } else { at };
            let item = usize::try_from(at).ok().and_then(|at| items().nth(at));
            item.map(ToOwned::to_owned)
                .ok_or_else(|| python("IndexError", "tuple index out of range"))
        }
    })
}

fn map(call: &RawCall<'_>, context: &TaskContext) -> Result<Attempt, ArgumentError> {
    each(call, context, |item| Some(vec![item]))
}

fn starmap(call: &RawCall<'_>, context: &TaskContext) -> Result<Attempt, ArgumentError> {
    each(call, context, |item| serde_json::from_str(item.get()).ok())
}

/// How an item becomes the arguments of one call, if it can.
type Arguments = fn(&RawValue) -> Option<Vec<&RawValue>>;

#[derive(Deserialize)]
struct Named<'a> {
    #[serde(borrow)]
    task: Cow<'a, str>,
}

/// Calls the named task in this worker for each item, one after the other, and returns the list of results.
fn each(
    call: &RawCall<'_>,
    context: &TaskContext,
    arguments: Arguments,
) -> Result<Attempt, ArgumentError> {
    let read = || {
        let missing = || {
            let report = python("TypeError", "takes a signature `task` and a list `it`");
            Box::new(report)
        };
        let task = argument(call, 0, "task").ok_or_else(missing)?;
        let it = argument(call, 1, "it").ok_or_else(missing)?;
        let named: Named<'_> = serde_json::from_str(task.get()).map_err(|_| missing())?;
        let items: Vec<Box<RawValue>> = serde_json::from_str(it.get()).map_err(|_| missing())?;
        let registry = context.states().get::<Arc<Registry>>();
        let handler = registry.and_then(|registry| registry.get(&named.task).cloned());
        let handler = handler.ok_or_else(|| {
            let report = ErrorReport::new("NotRegistered", &*named.task);
            Box::new(report.module("celery.exceptions"))
        })?;
        Ok::<_, Box<ErrorReport>>((handler, items))
    };
    match read() {
        Err(report) => value(Err(*report)),
        Ok((handler, items)) => Ok(run(handler, context.clone(), items, arguments)),
    }
}

fn run(
    handler: Arc<Handler>,
    context: TaskContext,
    items: Vec<Box<RawValue>>,
    arguments: Arguments,
) -> BoxFuture<'static, Outcome> {
    Box::pin(async move {
        let mut results = Vec::with_capacity(items.len());
        for item in &items {
            let Some(args) = arguments(item) else {
                return dead(python("TypeError", "takes a list of lists of arguments"));
            };
            match one(&handler, &context, args).await {
                Outcome::Success(result) => results.push(result),
                other => return other,
            }
        }
        let results: Vec<_> = results.iter().map(|raw| raw.get()).collect();
        match RawValue::from_string(format!("[{}]", results.join(", "))) {
            Ok(list) => Outcome::Success(list),
            Err(error) => dead(ErrorReport::of(&error)),
        }
    })
}

async fn one(handler: &Handler, context: &TaskContext, args: Vec<&RawValue>) -> Outcome {
    let call = RawCall {
        args,
        kwargs: Vec::new(),
        embed: Embed::default(),
    };
    let attempt = match handler.start(&call, context) {
        Ok(attempt) => attempt,
        Err(error) => return dead(python("TypeError", error.to_string())),
    };
    if !handler.spec().blocking {
        return attempt.await;
    }
    // it does all its work in its first poll
    let ended = tokio::task::spawn_blocking(move || attempt.now_or_never());
    match ended.await {
        Ok(Some(outcome)) => outcome,
        Ok(None) => Outcome::panicked("a blocking task cannot wait for a future"),
        Err(error) if error.is_panic() => Outcome::panicked(message_of(&*error.into_panic())),
        Err(_) => Outcome::Aborted,
    }
}

#[cfg(test)]
mod tests {
    use coney_protocol::context::Inner;
    use coney_protocol::id::TaskId;
    use coney_protocol::inject::States;
    use serde_json::{Value as Json, json};

    use super::*;

    /// Adds two numbers, or fails.
    fn add(call: &RawCall<'_>, _: &TaskContext) -> Result<Attempt, ArgumentError> {
        let numbers = call.args.iter().map(|raw| raw.get().parse::<i64>());
        let sum = numbers.sum::<Result<i64, _>>();
        value(match sum {
            Ok(sum) => Ok(sum.to_string()),
            Err(error) => Err(python("ValueError", error.to_string())),
        })
    }

    /// What a task of this name comes to: its value, or the kind of its error.
    async fn called(task: &str, args: Json, kwargs: Json) -> Result<Json, String> {
        let known = vec![Handler::builtin("add", add)];
        let registry = Arc::new(Registry::new(known, &mut Vec::new()));
        let mut states = States::default();
        states.insert(Arc::clone(&registry));
        let mut parts = Inner::new(task, TaskId::generate());
        parts.states = Arc::new(states);
        let body = json!([args, kwargs, {}]).to_string();
        let call = RawCall::cut(body.as_bytes()).expect("a body");
        let handler = registry.get(task).expect("built in");
        let attempt = handler.start(&call, &TaskContext::new(parts));
        match attempt.expect("takes anything").await {
            Outcome::Success(raw) => Ok(serde_json::from_str(raw.get()).expect("JSON")),
            Outcome::Failed { report, .. } => Err(report.kind),
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn map_and_starmap_call_the_named_task_for_each_item() {
        let with = |task: &str, it: Json| json!({"task": {"task": task, "args": [9]}, "it": it});
        let mapped = called("celery.map", json!([]), with("add", json!([1, 2]))).await;
        assert_eq!(mapped, Ok(json!([1, 2])));
        let pairs = json!([[1, 2], [3, 4]]);
        let mapped = called("celery.starmap", json!([]), with("add", pairs)).await;
        assert_eq!(mapped, Ok(json!([3, 7])));
        let by_position = json!([{"task": "add"}, [5]]);
        assert_eq!(
            called("celery.map", by_position, json!({})).await,
            Ok(json!([5]))
        );
        for (task, it, error) in [
            ("add", json!(["a"]), "ValueError"),
            ("gone", json!([1]), "NotRegistered"),
            ("add", json!(1), "TypeError"),
        ] {
            let failed = called("celery.map", json!([]), with(task, it)).await;
            assert_eq!(failed, Err(error.to_owned()));
        }
        let failed = called("celery.starmap", json!([]), with("add", json!([1]))).await;
        assert_eq!(failed, Err("TypeError".to_owned()));
    }

    #[tokio::test]
    async fn accumulate_returns_its_arguments_or_one_of_them() {
        let args = json!([1, "b", null]);
        for (kwargs, expected) in [
            (json!({}), Ok(args.clone())),
            (json!({"index": null}), Ok(args.clone())),
            (json!({"index": 1}), Ok(json!("b"))),
            (json!({"index": -3}), Ok(json!(1))),
            (json!({"index": 3}), Err("IndexError".to_owned())),
            (json!({"index": "x"}), Err("TypeError".to_owned())),
        ] {
            let got = called("celery.accumulate", args.clone(), kwargs).await;
            assert_eq!(got, expected);
        }
        assert_eq!(
            called("celery.accumulate", json!([]), json!({})).await,
            Ok(json!([]))
        );
    }

    #[tokio::test]
    async fn ping_is_answered() {
        assert_eq!(
            called("celery.ping", json!([]), json!({})).await,
            Ok(json!("pong"))
        );
    }
}
