//! Raw lapin with all that a framework needs: the honest ceiling for one.
//!
//! Messages have six properties, four headers and a JSON body, and are mandatory; each runs in a tokio task that decodes
//! its body; results are confirmed before the ack; acks go up to the last message before which all are finished. Who
//! publishes and consumes does so on two connections: RabbitMQ stops reading from one that publishes when it is short of
//! memory, and with it the acks.

use std::time::Duration;

use anyhow::{Context, Result};
use futures_util::stream::StreamExt;
use lapin::message::Delivery;
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{BasicProperties, Channel};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::sync::mpsc;
use tokio::time::sleep;
use uuid::Uuid;

use super::raw::{self, Link, Publisher, Watermark};
use super::{Marks, Part, marks::say};
use crate::role::{Arguments, Cues};

/// A second thread only passes tiny pieces of work to and fro: a fifth more CPU, and no more tasks.
pub const THREADS: usize = 1;

/// Messages that one ack settles.
const PER_ACK: u64 = 100;
/// How long finished messages wait for more before they are acknowledged.
const IDLE: Duration = Duration::from_millis(5);
/// Finished messages that are noted at once.
const BATCH: usize = 256;

/// The body of a task, in Celery's form: arguments by position, by name, and what follows.
type Body<'a> = ((u64, u64), &'a RawValue, &'a RawValue);

/// The body of a result.
#[derive(Serialize, Deserialize)]
struct Outcome<'a> {
    task_id: &'a str,
    status: &'a str,
    result: u64,
}

/// Does the part.
pub(crate) async fn play(arguments: &Arguments, mut cues: Cues) -> Result<()> {
    let link = match arguments.part {
        Part::Declare | Part::Publish => Link::open(&arguments.url, "rich").await?,
        Part::Work | Part::Call => Link::open_apart(&arguments.url, "rich").await?,
    };
    match arguments.part {
        Part::Declare => raw::declare(&link, &arguments.queue, arguments.kind).await?,
        Part::Publish => publish(&link, arguments, &mut cues).await?,
        Part::Work => work(&link, arguments, &mut cues).await?,
        Part::Call => call(&link, arguments, &mut cues).await?,
    }
    link.close().await
}

/// A sender of tasks.
struct Sender {
    publisher: Publisher,
    queue: ShortString,
    reply_to: ShortString,
}

impl Sender {
    async fn new(link: &Link, queue: &str, reply_to: &str) -> Result<Self> {
        Ok(Self {
            publisher: Publisher::new(link, true).await?,
            queue: queue.into(),
            reply_to: reply_to.into(),
        })
    }

    async fn send(&self, number: u64) -> Result<()> {
        let id = Uuid::now_v7().to_string();
        let mut headers = FieldTable::default();
        headers.insert("lang".into(), text("rs"));
        headers.insert("task".into(), text("add"));
        headers.insert("id".into(), text(&id));
        headers.insert("retries".into(), AMQPValue::LongInt(0));
        let properties = BasicProperties::default()
            .with_delivery_mode(2)
            .with_content_type("application/json".into())
            .with_content_encoding("utf-8".into())
            .with_correlation_id(id.as_str().into())
            .with_message_id(Uuid::now_v7().to_string().into())
            .with_reply_to(self.reply_to.clone())
            .with_headers(headers);
        let body = format!(
            r#"[[{number},2],{{}},{{"callbacks":null,"errbacks":null,"chain":null,"chord":null}}]"#
        );
        let publish = self
            .publisher
            .publish(self.queue.clone(), body.as_bytes(), properties);
        publish.await
    }
}

fn text(text: &str) -> AMQPValue {
    AMQPValue::LongString(text.into())
}

async fn publish(link: &Link, arguments: &Arguments, cues: &mut Cues) -> Result<()> {
    let sender = Sender::new(link, &arguments.queue, "nobody").await?;
    sender.send(0).await?;
    raw::send_all(arguments, cues, |number| sender.send(number)).await
}

async fn work(link: &Link, arguments: &Arguments, cues: &mut Cues) -> Result<()> {
    let replies = Publisher::new(link, false).await?;
    let mut consumer = raw::consume(&link.channel, &arguments.queue, arguments.prefetch).await?;
    let (finished, to_settle) = mpsc::unbounded_channel();
    let settling = tokio::spawn(settle(link.channel.clone(), to_settle));
    let task = Task {
        marks: Marks::new(arguments.tasks),
        nap: arguments.nap(),
        replies: arguments.results.then_some(replies),
        finished,
    };
    say("ready");
    loop {
        tokio::select! {
            delivery = consumer.next() => {
                let delivery = delivery.context("the consumer has ended")??;
                tokio::spawn(task.clone().run(delivery));
            }
            () = cues.stop() => break,
        }
    }
    // when the last task is done, there is nothing more to settle
    drop(task);
    settling.await?
}

/// What a task needs beside its message.
#[derive(Clone)]
struct Task {
    marks: Marks,
    nap: Option<Duration>,
    replies: Option<Publisher>,
    finished: mpsc::UnboundedSender<u64>,
}

impl Task {
    async fn run(self, delivery: Delivery) {
        // a message that fails stays unsettled, and the conductor finds it
        match self.attempt(&delivery).await {
            Ok(()) => {
                let _the_worker_ends = self.finished.send(delivery.delivery_tag);
            }
            Err(error) => eprintln!("a task failed: {error:#}"),
        }
    }

    async fn attempt(&self, delivery: &Delivery) -> Result<()> {
        let ((a, b), _, _): Body<'_> = serde_json::from_slice(&delivery.data)?;
        self.marks.start();
        if let Some(nap) = self.nap {
            sleep(nap).await;
        }
        let sum = a + b;
        self.marks.end();
        match &self.replies {
            Some(replies) => reply(replies, delivery, sum).await,
            None => Ok(()),
        }
    }
}

async fn reply(replies: &Publisher, to: &Delivery, sum: u64) -> Result<()> {
    let given = &to.properties;
    let (Some(queue), Some(id)) = (given.reply_to(), given.correlation_id()) else {
        return Ok(());
    };
    let properties = BasicProperties::default()
        .with_delivery_mode(2)
        .with_content_type("application/json".into())
        .with_content_encoding("utf-8".into())
        .with_correlation_id(id.clone());
    let outcome = Outcome {
        task_id: id.as_str(),
        status: "SUCCESS",
        result: sum,
    };
    let body = serde_json::to_vec(&outcome)?;
    replies.publish(queue.clone(), &body, properties).await
}

/// Acknowledges what is finished: a hundred messages with one ack, or fewer when no more come.
async fn settle(channel: Channel, mut finished: mpsc::UnboundedReceiver<u64>) -> Result<()> {
    let mut mark = Watermark::default();
    let mut batch = Vec::with_capacity(BATCH);
    let mut acknowledged = 0;
    loop {
        let unsettled = mark.reached() - acknowledged;
        let ended = tokio::select! {
            count = finished.recv_many(&mut batch, BATCH) => count == 0,
            () = sleep(IDLE), if unsettled > 0 => false,
        };
        let more = !batch.is_empty();
        for tag in batch.drain(..) {
            mark.finish(tag);
        }
        let unsettled = mark.reached() - acknowledged;
        if unsettled >= PER_ACK || unsettled > 0 && !more {
            acknowledged = mark.reached();
            raw::ack(&channel, acknowledged).await?;
        }
        if ended {
            return Ok(());
        }
    }
}

async fn call(link: &Link, arguments: &Arguments, cues: &mut Cues) -> Result<()> {
    let results = format!("results.{}", Uuid::now_v7());
    raw::declare_for_results(link, &results).await?;
    let consumer = raw::consume(&link.channel, &results, arguments.prefetch).await?;
    let sender = Sender::new(link, &arguments.queue, &results).await?;
    let send = |number| sender.send(number);
    raw::call_all(&link.channel, consumer, arguments, cues, send, read).await
}

/// Reads a result.
fn read(delivery: &Delivery) -> Result<u64> {
    let outcome: Outcome<'_> = serde_json::from_slice(&delivery.data)?;
    Ok(outcome.result)
}
