//! What everybody who writes lapin by hand needs, written once.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;

use anyhow::{Context, Result, bail};
use futures_util::stream::{FuturesUnordered, StreamExt};
use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions,
    ConfirmSelectOptions, QueueDeclareOptions,
};
use lapin::types::{FieldTable, ShortString};
use lapin::{BasicProperties, Channel, Confirmation, Connection, ConnectionProperties, Consumer};

use super::{Kind, marks::say};
use crate::role::{Arguments, Cues, Timer};

/// Results that a caller acknowledges together.
const RESULTS_PER_ACK: u64 = 100;

/// How long results that nobody reads are kept, in milliseconds: as coney keeps them.
const RESULTS_KEPT: i32 = 30 * 60 * 1000;

/// A channel to publish on and one for everything else.
#[derive(Debug)]
pub(crate) struct Link {
    connections: Vec<Connection>,
    pub(crate) publishing: Channel,
    pub(crate) channel: Channel,
}

impl Link {
    /// Both channels on one connection, with lapin's own settings.
    pub(crate) async fn open(url: &str, name: &str) -> Result<Self> {
        let connection = connect(url, name).await?;
        Ok(Self {
            publishing: connection.create_channel().await?,
            channel: connection.create_channel().await?,
            connections: vec![connection],
        })
    }

    /// Each on a connection of its own, so that a publisher that the broker blocks holds up no ack.
    pub(crate) async fn open_apart(url: &str, name: &str) -> Result<Self> {
        let (publishing, other) = (connect(url, name).await?, connect(url, name).await?);
        Ok(Self {
            publishing: publishing.create_channel().await?,
            channel: other.create_channel().await?,
            connections: vec![publishing, other],
        })
    }

    /// Closes the connection while its channels are still there: a channel that is dropped closes itself, and the two
    /// must not cross.
    pub(crate) async fn close(self) -> Result<()> {
        for connection in self.connections {
            connection.close(200, "done".into()).await?;
        }
        Ok(())
    }
}

async fn connect(url: &str, name: &str) -> Result<Connection> {
    let properties = ConnectionProperties::default().with_connection_name(name.into());
    let connection = Connection::connect(url, properties);
    connection.await.context("no connection")
}

/// Declares a durable queue of a kind.
pub(crate) async fn declare(link: &Link, queue: &str, kind: Kind) -> Result<()> {
    let mut arguments = FieldTable::default();
    let kind = lapin::types::AMQPValue::LongString(kind.name().into());
    arguments.insert("x-queue-type".into(), kind);
    declare_with(link, queue, arguments).await
}

/// Declares a queue for the results of one caller, which outlives its connection.
pub(crate) async fn declare_for_results(link: &Link, queue: &str) -> Result<()> {
    let mut arguments = FieldTable::default();
    arguments.insert("x-expires".into(), RESULTS_KEPT.into());
    declare_with(link, queue, arguments).await
}

async fn declare_with(link: &Link, queue: &str, arguments: FieldTable) -> Result<()> {
    let options = QueueDeclareOptions::durable();
    let declared = link.channel.queue_declare(queue.into(), options, arguments);
    declared
        .await
        .with_context(|| format!("no queue {queue}"))?;
    Ok(())
}

/// Starts a consumer with acks.
pub(crate) async fn consume(channel: &Channel, queue: &str, prefetch: u16) -> Result<Consumer> {
    channel
        .basic_qos(prefetch, BasicQosOptions::default())
        .await?;
    let options = BasicConsumeOptions::default();
    let consumer = channel.basic_consume(queue.into(), "".into(), options, FieldTable::default());
    consumer
        .await
        .with_context(|| format!("no consumer of {queue}"))
}

/// Acknowledges all messages up to a tag.
pub(crate) async fn ack(channel: &Channel, tag: u64) -> Result<()> {
    let options = BasicAckOptions { multiple: true };
    channel.basic_ack(tag, options).await.context("no ack")
}

/// A channel with confirms, that many tasks may publish on.
#[derive(Clone, Debug)]
pub(crate) struct Publisher {
    channel: Channel,
    /// lapin takes the number of a message and queues its frames in one poll, but under two locks of its own: this one
    /// keeps two threads from doing it crosswise.
    order: Arc<Mutex<()>>,
    mandatory: bool,
}

impl Publisher {
    pub(crate) async fn new(link: &Link, mandatory: bool) -> Result<Self> {
        let channel = link.publishing.clone();
        channel
            .confirm_select(ConfirmSelectOptions::default())
            .await?;
        Ok(Self {
            channel,
            order: Arc::default(),
            mandatory,
        })
    }

    /// Publishes to a queue and waits for the confirm.
    pub(crate) async fn publish(
        &self,
        queue: ShortString,
        body: &[u8],
        properties: BasicProperties,
    ) -> Result<()> {
        let options = BasicPublishOptions {
            mandatory: self.mandatory,
            ..BasicPublishOptions::default()
        };
        let publish = self
            .channel
            .basic_publish("".into(), queue, options, body, properties);
        let mut publish = pin!(publish);
        let first = std::future::poll_fn(|context| {
            let _in_order = self.order.lock().unwrap_or_else(PoisonError::into_inner);
            Poll::Ready(publish.as_mut().poll(context))
        });
        let confirm = match first.await {
            Poll::Ready(confirm) => confirm?,
            Poll::Pending => publish.await?,
        };
        match confirm.await? {
            Confirmation::Ack(None) => Ok(()),
            other => bail!("not stored: {other:?}"),
        }
    }
}

/// A publisher: sends all tasks but the first, which was sent before, so many at once as the window lets through.
pub(crate) async fn send_all<F: Future<Output = Result<()>>>(
    arguments: &Arguments,
    cues: &mut Cues,
    send: impl Fn(u64) -> F,
) -> Result<()> {
    say("ready");
    cues.go().await?;
    let mut in_flight = FuturesUnordered::new();
    for number in 1..arguments.tasks {
        if in_flight.len() >= arguments.window
            && let Some(confirmed) = in_flight.next().await
        {
            confirmed?;
        }
        in_flight.push(send(number));
    }
    while let Some(confirmed) = in_flight.next().await {
        confirmed?;
    }
    say("done");
    cues.stop().await;
    Ok(())
}

/// A caller: sends all calls, at once or one after the other, and reads their results.
pub(crate) async fn call_all<F: Future<Output = Result<()>>, T>(
    channel: &Channel,
    mut consumer: Consumer,
    arguments: &Arguments,
    cues: &mut Cues,
    send: impl Fn(u64) -> F,
    read: impl Fn(&Delivery) -> Result<T>,
) -> Result<()> {
    say("ready");
    cues.go().await?;
    if arguments.one_by_one {
        let mut timer = Timer::new(arguments.tasks);
        for number in 0..arguments.tasks {
            timer.start();
            send(number).await?;
            let delivery = consumer.next().await.context("the consumer has ended")??;
            read(&delivery)?;
            timer.end();
            if (number + 1) % RESULTS_PER_ACK == 0 {
                ack(channel, delivery.delivery_tag).await?;
            }
        }
        say(&timer.done());
    } else {
        let mut in_flight = FuturesUnordered::new();
        let mut sent = 0;
        let mut received = 0;
        while received < arguments.tasks {
            while in_flight.len() < arguments.window && sent < arguments.tasks {
                in_flight.push(send(sent));
                sent += 1;
            }
            tokio::select! {
                biased;
                Some(confirmed) = in_flight.next() => confirmed?,
                delivery = consumer.next() => {
                    let delivery = delivery.context("the consumer has ended")??;
                    read(&delivery)?;
                    received += 1;
                    if received % RESULTS_PER_ACK == 0 || received == arguments.tasks {
                        ack(channel, delivery.delivery_tag).await?;
                    }
                }
            }
        }
        while let Some(confirmed) = in_flight.next().await {
            confirmed?;
        }
        say("done");
    }
    cues.stop().await;
    Ok(())
}

/// Up to where all messages are finished, when they finish in any order.
#[derive(Debug, Default)]
pub(crate) struct Watermark {
    reached: u64,
    /// Whether those behind it are finished.
    beyond: VecDeque<bool>,
}

impl Watermark {
    /// The message with this tag is finished.
    pub(crate) fn finish(&mut self, tag: u64) {
        let Some(place) = tag.checked_sub(self.reached + 1) else {
            return;
        };
        let place = usize::try_from(place).unwrap_or(usize::MAX);
        if self.beyond.len() <= place {
            self.beyond.resize(place + 1, false);
        }
        self.beyond[place] = true;
        while self.beyond.front() == Some(&true) {
            self.beyond.pop_front();
            self.reached += 1;
        }
    }

    /// The last message before which all are finished, and it too.
    pub(crate) const fn reached(&self) -> u64 {
        self.reached
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_watermark_stops_before_what_is_not_finished() {
        let mut mark = Watermark::default();
        let mut after = |tag| {
            mark.finish(tag);
            mark.reached()
        };
        assert_eq!([3, 2, 1, 2, 5, 4].map(&mut after), [0, 0, 3, 3, 3, 5]);
    }
}
