//! Applies a topology: declares it, or checks that it is there.

use coney_protocol::topology::{Binding, Exchange, ExchangeKind, Queue, Topology};
use lapin::Channel;
use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use tokio::time::timeout;

use crate::error::{DeclareError, DeclareErrorKind, Resource};
use crate::link::Link;
use crate::properties::{self, Unfit};
use crate::settings::Settings;

/// Declares or checks everything in `topology`, in order: exchanges, queues, bindings.
///
/// An error closes the channel, so it is a fresh one each time; the connection stays usable.
pub(crate) async fn apply(
    link: &Link,
    settings: &Settings,
    topology: &Topology,
) -> Result<(), DeclareError> {
    let work = async {
        let channel = link.channel().await.map_err(no_channel)?;
        let outcome = Hand {
            channel: &channel,
            may_declare: settings.declare,
        }
        .apply(topology)
        .await;
        if outcome.is_ok() {
            let _ = channel.close(200, "declared".into()).await;
        }
        outcome
    };
    let late = |_| DeclareError::new(DeclareErrorKind::Timeout);
    timeout(settings.connect_timeout, work)
        .await
        .map_err(late)?
}

fn no_channel(cause: lapin::Error) -> DeclareError {
    let reason = cause.to_string();
    DeclareError::new(DeclareErrorKind::Connection { reason }).caused_by(cause)
}

/// What declares on one channel.
struct Hand<'a> {
    channel: &'a Channel,
    may_declare: bool,
}

impl Hand<'_> {
    async fn apply(&self, topology: &Topology) -> Result<(), DeclareError> {
        for exchange in &topology.exchanges {
            self.exchange(exchange).await?;
        }
        for queue in &topology.queues {
            self.queue(queue).await?;
        }
        if self.may_declare {
            for binding in &topology.bindings {
                self.bind(binding).await?;
            }
        }
        Ok(())
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
        let resource = || Resource::Binding {
            exchange: binding.exchange.to_string(),
            queue: binding.queue.to_string(),
            key: binding.key.to_string(),
        };
        self.channel
            .queue_bind(
                properties::short(&binding.queue, "queue").map_err(unfit)?,
                properties::short(&binding.exchange, "exchange").map_err(unfit)?,
                properties::short(&binding.key, "binding key").map_err(unfit)?,
                QueueBindOptions::default(),
                FieldTable::default(),
            )
            .await
            .map_err(|cause| self.error(cause, resource()))
    }

    fn error(&self, cause: lapin::Error, resource: Resource) -> DeclareError {
        DeclareError::from_lapin(cause, resource, self.may_declare)
    }
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
