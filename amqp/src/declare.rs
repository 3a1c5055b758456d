//! Applies a topology: declares it, or checks that it is there. Deletes a queue, or says how full it is.

use coney_protocol::topology::{Binding, Destination, Exchange, ExchangeKind, Queue, Topology};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesOrdered, StreamExt};
use lapin::Channel;
use lapin::options::{
    ExchangeBindOptions, ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions,
    QueueDeleteOptions,
};
use lapin::types::FieldTable;
use tokio::time::timeout;
use tracing::debug;

use crate::error::{DeclareError, DeclareErrorKind, Resource};
use crate::link::Link;
use crate::properties::{self, Unfit};
use crate::settings::Settings;

/// Declares everything in `topology`, in order: exchanges, queues, bindings; or checks that it is there.
pub(crate) async fn apply(
    link: &Link,
    settings: &Settings,
    topology: &Topology,
    may_declare: bool,
) -> Result<(), DeclareError> {
    let apply = async |channel: &Channel| {
        let hand = Hand {
            channel,
            may_declare,
        };
        hand.apply(topology).await
    };
    match on_channel(link, settings, apply).await {
        // RabbitMQ 4.3 lets nobody check what he may not touch: using it will tell
        Err(error) if !may_declare && is_forbidden(&error) => {
            debug!(target: "coney::amqp", %error, "what may not be declared cannot be checked either");
            Ok(())
        }
        outcome => outcome,
    }
}

fn is_forbidden(error: &DeclareError) -> bool {
    matches!(error.kind(), DeclareErrorKind::Permission { .. })
}

/// Deletes a queue and what is in it; one that is not there counts as deleted.
pub(crate) async fn delete_queue(
    link: &Link,
    settings: &Settings,
    queue: &str,
) -> Result<(), DeclareError> {
    let name = properties::short(queue, "queue").map_err(unfit)?;
    let delete = async |channel: &Channel| {
        let deleted = channel.queue_delete(name, QueueDeleteOptions::default());
        let resource = Resource::Queue(queue.to_owned());
        match deleted.await {
            Ok(_) => Ok(()),
            Err(cause) => Err(DeclareError::from_lapin(cause, resource, true)),
        }
    };
    on_channel(link, settings, delete).await
}

/// What the broker says of a queue.
#[derive(Clone, Copy, Debug)]
pub(crate) struct QueueState {
    /// Messages that wait to be delivered.
    pub(crate) ready: u32,
    pub(crate) consumers: u32,
}

/// Asks after a queue.
pub(crate) async fn queue_state(
    link: &Link,
    settings: &Settings,
    queue: &str,
) -> Result<QueueState, DeclareError> {
    let name = properties::short(queue, "queue").map_err(unfit)?;
    let look = async |channel: &Channel| {
        let options = QueueDeclareOptions {
            passive: true,
            ..QueueDeclareOptions::default()
        };
        let declared = channel.queue_declare(name, options, FieldTable::default());
        let resource = Resource::Queue(queue.to_owned());
        match declared.await {
            Ok(queue) => Ok(QueueState {
                ready: queue.message_count(),
                consumers: queue.consumer_count(),
            }),
            Err(cause) => Err(DeclareError::from_lapin(cause, resource, false)),
        }
    };
    on_channel(link, settings, look).await
}

/// Does `work` on a channel of its own and in time: an error closes the channel, and the connection stays usable.
async fn on_channel<T>(
    link: &Link,
    settings: &Settings,
    work: impl AsyncFnOnce(&Channel) -> Result<T, DeclareError>,
) -> Result<T, DeclareError> {
    let work = async {
        let channel = link.channel().await.map_err(no_channel)?;
        let done = work(&channel).await?;
        let _ = channel.close(200, "done".into()).await;
        Ok(done)
    };
    let late = |_| DeclareError::new(DeclareErrorKind::Timeout);
    timeout(settings.connect_timeout, work)
        .await
        .map_err(late)?
}

fn no_channel(cause: lapin::Error) -> DeclareError {
    let reason = format!("no channel can be opened: {cause}");
    DeclareError::new(DeclareErrorKind::Connection { reason }).caused_by(cause)
}

/// What declares on one channel.
struct Hand<'a> {
    channel: &'a Channel,
    may_declare: bool,
}

impl Hand<'_> {
    async fn apply(&self, topology: &Topology) -> Result<(), DeclareError> {
        let mut answers = FuturesOrdered::new();
        for exchange in &topology.exchanges {
            answers.push_back(self.exchange(exchange).boxed());
        }
        all(&mut answers).await?;
        for queue in &topology.queues {
            answers.push_back(self.queue(queue).boxed());
        }
        all(&mut answers).await?;
        if self.may_declare {
            for binding in &topology.bindings {
                answers.push_back(self.bind(binding).boxed());
            }
        }
        all(&mut answers).await
    }

    async fn exchange(&self, exchange: &Exchange) -> Result<(), DeclareError> {
        let options = ExchangeDeclareOptions {
            passive: !self.may_declare,
            durable: exchange.durable,
            ..ExchangeDeclareOptions::default()
        };
        self.channel
            .exchange_declare(
                properties::short(&exchange.name, "exchange").map_err(unfit)?,
                kind(exchange.kind),
                options,
                table(&exchange.arguments)?,
            )
            .await
            .map_err(|cause| self.error(cause, Resource::Exchange(exchange.name.to_string())))
    }

    async fn queue(&self, queue: &Queue) -> Result<(), DeclareError> {
        let options = QueueDeclareOptions {
            passive: !self.may_declare,
            durable: queue.durable,
            exclusive: queue.exclusive,
            auto_delete: queue.auto_delete,
            ..QueueDeclareOptions::default()
        };
        let name = properties::short(&queue.name, "queue").map_err(unfit)?;
        let declared = self
            .channel
            .queue_declare(name, options, table(&queue.arguments)?)
            .await;
        match declared {
            Ok(_) => Ok(()),
            Err(cause) => Err(self.error(cause, Resource::Queue(queue.name.to_string()))),
        }
    }

    async fn bind(&self, binding: &Binding) -> Result<(), DeclareError> {
        let source = properties::short(&binding.exchange, "exchange").map_err(unfit)?;
        let key = properties::short(&binding.key, "binding key").map_err(unfit)?;
        let none = FieldTable::default();
        let bound = match &binding.destination {
            Destination::Exchange(name) => {
                let name = properties::short(name, "exchange").map_err(unfit)?;
                let options = ExchangeBindOptions::default();
                self.channel
                    .exchange_bind(name, source, key, options, none)
                    .await
            }
            other => {
                let name = properties::short(other.name(), "queue").map_err(unfit)?;
                let options = QueueBindOptions::default();
                self.channel
                    .queue_bind(name, source, key, options, none)
                    .await
            }
        };
        bound.map_err(|cause| {
            let resource = Resource::Binding {
                exchange: binding.exchange.to_string(),
                queue: binding.destination.name().to_string(),
                key: binding.key.to_string(),
            };
            self.error(cause, resource)
        })
    }

    fn error(&self, cause: lapin::Error, resource: Resource) -> DeclareError {
        DeclareError::from_lapin(cause, resource, self.may_declare)
    }
}

/// Waits for all answers, asked for at once: the delay ladder alone is 152 round trips. None may need another.
///
/// The broker answers in turn and closes the channel at the first that it refuses, so the first error here is the error
/// of that one; those behind it end with it.
async fn all(
    answers: &mut FuturesOrdered<BoxFuture<'_, Result<(), DeclareError>>>,
) -> Result<(), DeclareError> {
    while let Some(answer) = answers.next().await {
        answer?;
    }
    Ok(())
}

fn kind(kind: ExchangeKind) -> lapin::ExchangeKind {
    match kind {
        ExchangeKind::Topic => lapin::ExchangeKind::Topic,
        ExchangeKind::Fanout => lapin::ExchangeKind::Fanout,
        _ => lapin::ExchangeKind::Direct,
    }
}

fn table(table: &coney_protocol::property::Table) -> Result<FieldTable, DeclareError> {
    properties::table_to_lapin(table).map_err(unfit)
}

fn unfit(Unfit(detail): Unfit) -> DeclareError {
    DeclareError::new(DeclareErrorKind::InvalidName { detail })
}
