//! What is asked for.

use std::time::Duration;

use anyhow::{Context as _, bail};
use coney::{
    Client, Compression, DynamicCall, Priority, PublishErrorKind, RawJson, SendError,
    SendErrorKind, TaskHandle, TaskId,
};
use serde::Deserialize;
use serde_json::{Value as Json, json};

use crate::control::Command;
use crate::workflow::{self, Place, Sent, Signature};

/// One request.
#[derive(Debug, Deserialize)]
pub(crate) struct Request {
    #[serde(flatten)]
    pub(crate) control: Option<Command>,
    task: Option<String>,
    args: Option<RawJson>,
    kwargs: Option<RawJson>,
    wait: Option<f64>,
    chain: Option<Vec<Signature>>,
    group: Option<Vec<Signature>>,
    #[serde(default)]
    link: Vec<Signature>,
    #[serde(default)]
    link_error: Vec<Signature>,
    #[serde(flatten)]
    options: Options,
}

/// The options of all that is sent.
#[derive(Debug, Deserialize)]
pub(crate) struct Options {
    queue: Option<String>,
    exchange: Option<String>,
    routing_key: Option<String>,
    countdown: Option<f64>,
    expires: Option<f64>,
    priority: Option<u8>,
    time_limit: Option<f64>,
    soft_time_limit: Option<f64>,
    ignore_result: Option<bool>,
    task_id: Option<String>,
    compression: Option<String>,
}

/// The way to the result of what was sent, as it travels.
pub(crate) type Handle = TaskHandle<RawJson, Json>;

impl Request {
    /// How long to wait for the result, if it is wanted.
    pub(crate) fn wait(&self) -> Option<Duration> {
        self.wait.map(seconds)
    }

    /// Sends what is asked for; a queue that is not there is declared first.
    pub(crate) async fn send(&self, client: &Client) -> anyhow::Result<Sent> {
        match self.send_workflow(client, false).await {
            Some(Err(error)) if error.downcast_ref().is_some_and(is_missing) => {
                if let Some(sent) = self.send_workflow(client, true).await {
                    return sent;
                }
            }
            Some(sent) => return sent,
            None => {}
        }
        let handle = self.send_one(client).await?;
        Ok(Sent {
            id: handle.id().clone(),
            ends: vec![handle],
            is_group: false,
        })
    }

    /// Sends the chain or group that is asked for, if one is.
    async fn send_workflow(&self, client: &Client, declare: bool) -> Option<anyhow::Result<Sent>> {
        let place = Place {
            options: &self.options,
            link: &self.link,
            link_error: &self.link_error,
            declare,
        };
        match (&self.chain, &self.group) {
            (Some(steps), _) => Some(workflow::send_chain(client, steps, &place).await),
            (None, Some(members)) => Some(workflow::send_group(client, members, &place).await),
            (None, None) => None,
        }
    }

    async fn send_one(&self, client: &Client) -> anyhow::Result<Handle> {
        let queue = self.options.queue.clone();
        let queue = queue.unwrap_or_else(coney_interop::queue_name);
        match self
            .call(client)?
            .queue_or(&self.options, &queue)
            .send(client)
            .await
        {
            Err(error) if is_missing(&error) && self.options.exchange.is_none() => {
                let spec = coney::QueueSpec::from_name(queue.into());
                Ok(self.call(client)?.queue_spec(spec).send(client).await?)
            }
            sent => Ok(sent?),
        }
    }

    fn call(&self, client: &Client) -> anyhow::Result<DynamicCall<RawJson>> {
        let task = self.task.as_deref().context("no `task`")?;
        let mut call = client.call_by_name(task, json!([])).returning();
        if let Some(args) = &self.args {
            call = call.args(args);
        }
        if let Some(kwargs) = &self.kwargs {
            call = call.kwargs(kwargs);
        }
        let call = workflow::linked(call, client, &self.link, &self.link_error);
        self.options.on(self.options.named(call))
    }
}

impl Options {
    pub(crate) fn queue(&self) -> Option<&str> {
        self.queue.as_deref()
    }

    /// The id of what is sent, if it is given.
    pub(crate) fn id(&self) -> Option<TaskId> {
        self.task_id.as_deref().map(TaskId::from)
    }

    /// The call that has this id: of a chain the last one.
    pub(crate) fn named(&self, call: DynamicCall<RawJson>) -> DynamicCall<RawJson> {
        match self.id() {
            Some(id) => call.id(id),
            None => call,
        }
    }

    /// The call with all other options.
    pub(crate) fn on(
        &self,
        mut call: DynamicCall<RawJson>,
    ) -> anyhow::Result<DynamicCall<RawJson>> {
        if let Some(countdown) = self.countdown {
            call = call.delay(seconds(countdown));
        }
        if let Some(expires) = self.expires {
            call = call.expires(seconds(expires));
        }
        if let Some(priority) = self.priority {
            call = call.priority(Priority::Level(priority));
        }
        if let Some(limit) = self.time_limit {
            call = call.timeout(seconds(limit));
        }
        if let Some(limit) = self.soft_time_limit {
            call = call.soft_timeout(seconds(limit));
        }
        if let Some(ignore) = self.ignore_result {
            call = call.ignore_result(ignore);
        }
        if let Some(name) = &self.compression {
            call = call.compress(match name.as_str() {
                "zlib" | "gzip" => Compression::Zlib,
                "bzip2" => Compression::Bzip2,
                "zstd" => Compression::Zstd,
                other => bail!("no compression is called `{other}`"),
            });
        }
        Ok(call)
    }
}

/// Where a call goes.
trait Addressed {
    /// To the exchange that the options name, or else to the queue.
    fn queue_or(self, options: &Options, queue: &str) -> Self;
}

impl<O> Addressed for DynamicCall<O> {
    fn queue_or(self, options: &Options, queue: &str) -> Self {
        match &options.exchange {
            Some(exchange) => {
                let key = options.routing_key.as_deref();
                self.exchange(exchange, key.unwrap_or(queue))
            }
            None => self.queue_named(queue),
        }
    }
}

fn is_missing(error: &SendError) -> bool {
    match error.kind() {
        SendErrorKind::Publish(error) => matches!(
            error.kind(),
            PublishErrorKind::Unroutable { .. } | PublishErrorKind::NoExchange { .. }
        ),
        _ => false,
    }
}

fn seconds(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds.max(0.0))
}
