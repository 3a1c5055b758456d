//! Raw lapin, the least that does the work with the guarantees: persistent, confirmed, acknowledged after the work.
//!
//! Messages are 16 bytes with a delivery mode and nothing else, not mandatory; one ack settles a hundred messages.

use std::time::Duration;

use anyhow::{Context, Result};
use futures_util::FutureExt;
use futures_util::stream::{FuturesOrdered, StreamExt};
use lapin::message::Delivery;
use lapin::types::ShortString;
use lapin::{BasicProperties, Channel, Consumer};
use tokio::time::sleep;

use super::raw::{self, Link, Publisher};
use super::{Marks, Part, marks::say};
use crate::role::{Arguments, Cues};

/// A second thread only passes tiny pieces of work to and fro: a fifth more CPU, and no more tasks.
pub const THREADS: usize = 1;

/// Messages that one ack settles.
const PER_ACK: u32 = 100;
/// How long finished messages wait for more before they are acknowledged.
const IDLE: Duration = Duration::from_millis(5);
/// A task, and a result.
const BODY: &[u8; 16] = b"0123456789abcdef";
/// Kept on disk.
const PERSISTENT: u8 = 2;

/// Does the part.
pub(crate) async fn play(arguments: &Arguments, mut cues: Cues) -> Result<()> {
    let link = Link::open(&arguments.url, "limit").await?;
    match arguments.part {
        Part::Declare => raw::declare(&link, &arguments.queue, arguments.kind).await?,
        Part::Publish => publish(&link, arguments, &mut cues).await?,
        Part::Work => {
            let worker = Worker::start(&link, arguments).await?;
            worker.run(&mut cues).await?;
        }
        Part::Call => call(&link, arguments, &mut cues).await?,
    }
    link.close().await
}

async fn publish(link: &Link, arguments: &Arguments, cues: &mut Cues) -> Result<()> {
    let publisher = Publisher::new(link, false).await?;
    let queue = ShortString::from(arguments.queue.as_str());
    let properties = BasicProperties::default().with_delivery_mode(PERSISTENT);
    let send = || publisher.publish(queue.clone(), BODY, properties.clone());
    send().await?;
    raw::send_all(arguments, cues, |_| send()).await
}

/// A worker: one loop.
struct Worker {
    channel: Channel,
    consumer: Consumer,
    replies: Publisher,
    marks: Marks,
    sleep: Option<Duration>,
    results: bool,
    /// The last message that is finished, and how many are since the last ack.
    finished: u64,
    unsettled: u32,
}

impl Worker {
    async fn start(link: &Link, arguments: &Arguments) -> Result<Self> {
        let replies = Publisher::new(link, false).await?;
        let consumer = raw::consume(&link.channel, &arguments.queue, arguments.prefetch).await?;
        say("ready");
        Ok(Self {
            channel: link.channel.clone(),
            consumer,
            replies,
            marks: Marks::new(arguments.tasks),
            sleep: arguments.nap(),
            results: arguments.results,
            finished: 0,
            unsettled: 0,
        })
    }

    async fn run(self, cues: &mut Cues) -> Result<()> {
        if self.results || self.sleep.is_some() {
            self.serve(cues).await
        } else {
            self.drain(cues).await
        }
    }

    /// Tasks that are done when they have arrived.
    async fn drain(mut self, cues: &mut Cues) -> Result<()> {
        loop {
            let delivery = match self.consumer.next().now_or_never() {
                Some(delivery) => delivery,
                None => tokio::select! {
                    delivery = self.consumer.next() => delivery,
                    () = sleep(IDLE), if self.unsettled > 0 => {
                        self.settle().await?;
                        continue;
                    }
                    () = cues.stop() => return self.settle().await,
                },
            };
            let delivery = delivery.context("the consumer has ended")??;
            self.marks.start();
            self.marks.end();
            self.finish(delivery.delivery_tag).await?;
        }
    }

    /// Tasks that take time or have a result, beside each other, settled in their order.
    async fn serve(mut self, cues: &mut Cues) -> Result<()> {
        let mut running = FuturesOrdered::new();
        loop {
            tokio::select! {
                biased;
                Some(tag) = running.next() => self.finish(tag?).await?,
                delivery = self.consumer.next() => {
                    let delivery = delivery.context("the consumer has ended")??;
                    running.push_back(self.work(delivery));
                }
                () = sleep(IDLE), if self.unsettled > 0 => self.settle().await?,
                () = cues.stop() => break,
            }
        }
        while let Some(tag) = running.next().await {
            self.finish(tag?).await?;
        }
        self.settle().await
    }

    /// One task; returns the tag of its message when its result is confirmed.
    fn work(&self, delivery: Delivery) -> impl Future<Output = Result<u64>> + use<> {
        let marks = self.marks.clone();
        let nap = self.sleep;
        let replies = self.results.then(|| self.replies.clone());
        marks.start();
        async move {
            if let Some(nap) = nap {
                sleep(nap).await;
            }
            marks.end();
            if let Some(replies) = replies {
                reply(&replies, &delivery).await?;
            }
            Ok(delivery.delivery_tag)
        }
    }

    async fn finish(&mut self, tag: u64) -> Result<()> {
        self.finished = tag;
        self.unsettled += 1;
        if self.unsettled >= PER_ACK {
            self.settle().await?;
        }
        Ok(())
    }

    async fn settle(&mut self) -> Result<()> {
        if self.unsettled > 0 {
            raw::ack(&self.channel, self.finished).await?;
            self.unsettled = 0;
        }
        Ok(())
    }
}

async fn reply(replies: &Publisher, to: &Delivery) -> Result<()> {
    let (Some(queue), Some(id)) = (to.properties.reply_to(), to.properties.correlation_id()) else {
        return Ok(());
    };
    let properties = BasicProperties::default()
        .with_delivery_mode(PERSISTENT)
        .with_correlation_id(id.clone());
    replies.publish(queue.clone(), BODY, properties).await
}

async fn call(link: &Link, arguments: &Arguments, cues: &mut Cues) -> Result<()> {
    let publisher = Publisher::new(link, false).await?;
    let results = format!("results.{}", uuid::Uuid::now_v7());
    raw::declare_for_results(link, &results).await?;
    let consumer = raw::consume(&link.channel, &results, arguments.prefetch).await?;
    let queue = ShortString::from(arguments.queue.as_str());
    let reply_to = ShortString::from(results.as_str());
    let send = |number: u64| {
        let properties = BasicProperties::default()
            .with_delivery_mode(PERSISTENT)
            .with_reply_to(reply_to.clone())
            .with_correlation_id(number.to_string().into());
        publisher.publish(queue.clone(), BODY, properties)
    };
    let read = |_: &Delivery| Ok(());
    raw::call_all(&link.channel, consumer, arguments, cues, send, read).await
}
