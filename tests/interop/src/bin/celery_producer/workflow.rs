//! Chains, groups and links.

use anyhow::Context as _;
use coney::workflow::{Chain, DynamicStep, chain, group};
use coney::{Client, DynamicCall, QueueSpec, RawJson, TaskId};
use serde::Deserialize;
use serde_json::{Value as Json, json};

use crate::request::{Handle, Options};

/// A task of a workflow, as Celery writes signatures.
#[derive(Debug, Deserialize)]
pub(crate) struct Signature {
    task: String,
    args: Option<RawJson>,
    kwargs: Option<RawJson>,
    #[serde(default)]
    immutable: bool,
    options: Option<Own>,
}

/// What a signature says of itself alone.
#[derive(Debug, Deserialize)]
struct Own {
    queue: Option<String>,
    task_id: Option<String>,
}

/// Where the members of a workflow go.
pub(crate) struct Place<'a> {
    pub(crate) options: &'a Options,
    /// What follows each end.
    pub(crate) link: &'a [Signature],
    /// What follows a failure of any member.
    pub(crate) link_error: &'a [Signature],
    /// True to declare the queue: it is missing.
    pub(crate) declare: bool,
}

/// A workflow that was sent: its id, and the handles of its ends.
pub(crate) struct Sent {
    pub(crate) id: TaskId,
    pub(crate) ends: Vec<Handle>,
    pub(crate) is_group: bool,
}

impl Signature {
    fn call(&self, client: &Client) -> DynamicCall<RawJson> {
        let mut call = client.call_by_name(&self.task, json!([])).returning();
        if let Some(args) = &self.args {
            call = call.args(args);
        }
        if let Some(kwargs) = &self.kwargs {
            call = call.kwargs(kwargs);
        }
        if let Some(id) = self.options.as_ref().and_then(|own| own.task_id.as_deref()) {
            call = call.id(id);
        }
        let queue = self.options.as_ref().and_then(|own| own.queue.clone());
        call.queue_named(queue.unwrap_or_else(coney_interop::queue_name))
    }

    /// The call at the place that all members of the workflow go to, with what shall follow it.
    fn member(&self, client: &Client, place: &Place<'_>, is_end: bool) -> DynamicCall<RawJson> {
        let link = if is_end { place.link } else { &[] };
        let call = linked(self.call(client), client, link, place.link_error);
        match (place.options.queue(), place.declare) {
            (Some(queue), true) => call.queue_spec(QueueSpec::from_name(queue.to_owned().into())),
            (Some(queue), false) => call.queue_named(queue),
            (None, true) => call.queue_spec(coney_interop::queue()),
            (None, false) => call,
        }
    }
}

/// A call, or a step that takes the result of what it follows.
enum Next {
    Call(Box<DynamicCall<RawJson>>),
    Step(Box<DynamicStep<RawJson>>),
}

impl Next {
    fn of(call: DynamicCall<RawJson>, immutable: bool) -> Self {
        match immutable {
            true => Self::Call(Box::new(call)),
            false => Self::Step(Box::new(call.step())),
        }
    }

    fn after(self, chain: Chain<RawJson>) -> Chain<RawJson> {
        match self {
            Self::Call(call) => chain.then(*call),
            Self::Step(step) => chain.then(*step),
        }
    }
}

/// Adds what shall follow a call.
pub(crate) fn linked(
    mut call: DynamicCall<RawJson>,
    client: &Client,
    link: &[Signature],
    link_error: &[Signature],
) -> DynamicCall<RawJson> {
    for next in link {
        call = match Next::of(next.call(client), next.immutable) {
            Next::Call(next) => call.link(*next),
            Next::Step(step) => call.link(*step),
        };
    }
    for next in link_error {
        call = match Next::of(next.call(client), next.immutable) {
            Next::Call(next) => call.link_error(*next),
            Next::Step(step) => call.link_error(*step),
        };
    }
    call
}

/// Sends a chain.
pub(crate) async fn send_chain(
    client: &Client,
    steps: &[Signature],
    place: &Place<'_>,
) -> anyhow::Result<Sent> {
    let (first, later) = steps.split_first().context("an empty chain")?;
    // what is said of the whole is the first's alone, but for the queue
    let member = |step: &Signature, is_last: bool| {
        let call = step.member(client, place, is_last);
        match is_last {
            true => place.options.named(call),
            false => call,
        }
    };
    let mut all = chain(place.options.on(member(first, later.is_empty()))?);
    for (at, step) in later.iter().enumerate() {
        let call = member(step, at + 1 == later.len());
        all = Next::of(call, step.immutable).after(all);
    }
    let handle = all.send(client).await?;
    Ok(Sent {
        id: handle.id().clone(),
        ends: vec![handle],
        is_group: false,
    })
}

/// Sends a group.
pub(crate) async fn send_group(
    client: &Client,
    members: &[Signature],
    place: &Place<'_>,
) -> anyhow::Result<Sent> {
    let id = place.options.id().unwrap_or_else(TaskId::generate);
    let calls = members
        .iter()
        .map(|member| member.member(client, place, true));
    let members = calls.map(|call| place.options.on(call));
    let members = members.collect::<anyhow::Result<Vec<_>>>()?;
    Ok(Sent {
        ends: group(members).id(id.clone()).send(client).await?,
        id,
        is_group: true,
    })
}

/// A list of results as one.
pub(crate) fn list(results: &[RawJson]) -> anyhow::Result<RawJson> {
    let results: Result<Vec<Json>, _> = results.iter().map(serde_json::to_value).collect();
    Ok(serde_json::from_value(Json::Array(results?))?)
}
