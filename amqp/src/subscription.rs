//! The task behind a consumer: consumes, hands deliveries on, and starts over when something breaks.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{FutureExt, StreamExt};
use lapin::options::{BasicCancelOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::ShortString;
use lapin::{Channel, Consumer};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::acks::Epoch;
use crate::backoff::Backoff;
use crate::consumer::ConsumerSpec;
use crate::declare;
use crate::delivery::Delivery;
use crate::error::{ConsumeError, ConsumeErrorKind};
use crate::link::Link;
use crate::properties::{self, Unfit};
use crate::session::Shared;
use crate::watchdog::Watchdog;

/// How many deliveries are handed on in one go, before anything else is looked at.
const TOGETHER: usize = 64;

/// How long the broker may take to agree to the end of a consumer.
const CANCELLING: Duration = Duration::from_secs(3);

/// Where the first attempt is answered.
type First = Option<oneshot::Sender<Result<(), ConsumeError>>>;

/// One consumer of one queue.
pub(crate) struct Subscription {
    shared: Arc<Shared>,
    spec: ConsumerSpec,
    number: u64,
    deliveries: mpsc::Sender<Delivery>,
    /// How many messages may be delivered and not settled.
    prefetch: watch::Receiver<u16>,
    cancel: CancellationToken,
    backoff: Backoff,
    watchdog: Watchdog,
}

/// What lapin says next.
type Received = Option<Result<lapin::message::Delivery, lapin::Error>>;

/// Why no more is handed on.
enum Halt {
    /// Nobody takes it any more.
    Unwanted,
    /// The channel is gone.
    Lost(String),
    /// The broker ended the consumer.
    Ended,
}

/// A consumer that receives.
struct Stream {
    link: Arc<Link>,
    channel: Channel,
    consumer: Consumer,
    epoch: Arc<Epoch>,
}

/// Why a consumer does not receive any more.
enum End {
    /// It was told to.
    Cancelled,
    /// It starts over with another prefetch.
    Resized,
    /// Something broke.
    Broken(String),
    /// It should have received something, and did not.
    Neglected(String, Arc<Epoch>),
}

/// When to consume again.
enum Again {
    AtOnce,
    /// After a pause: something broke.
    After(String),
}

impl Subscription {
    pub(crate) fn new(
        shared: Arc<Shared>,
        spec: ConsumerSpec,
        number: u64,
        deliveries: mpsc::Sender<Delivery>,
        prefetch: watch::Receiver<u16>,
        cancel: CancellationToken,
    ) -> Self {
        Self {
            shared,
            spec,
            number,
            deliveries,
            prefetch,
            cancel,
            backoff: Backoff::default(),
            watchdog: Watchdog::default(),
        }
    }

    /// Consumes until cancelled; ends early if the first attempt fails.
    pub(crate) async fn run(mut self, first: oneshot::Sender<Result<(), ConsumeError>>) {
        let mut first = Some(first);
        self.not_consuming("about to consume");
        while let Some(again) = self.attempt(&mut first).await {
            let Again::After(reason) = again else {
                continue;
            };
            self.not_consuming(&reason);
            let wait = self.backoff.next();
            let _ = timeout(wait, self.cancel.cancelled()).await;
        }
        self.shared.board.remove(self.number);
    }

    /// One attempt, and receiving if it succeeds; returns when to try again, if at all.
    async fn attempt(&mut self, first: &mut First) -> Option<Again> {
        self.spec.prefetch = *self.prefetch.borrow();
        let opened = tokio::select! {
            opened = self.open(first.is_some()) => opened,
            () = self.cancel.cancelled() => return None,
        };
        let stream = match opened {
            Ok(stream) => stream,
            Err(error) => return self.failed(error, first).map(Again::After),
        };
        if !self.spec.optional {
            self.shared.board.consuming(self.number);
        }
        self.backoff.reset();
        if let Some(first) = first.take() {
            // if nobody waits for the answer, the consumer was dropped, and the token is cancelled
            let _ = first.send(Ok(()));
        }
        match self.receive(stream).await {
            End::Cancelled => None,
            End::Resized => Some(Again::AtOnce),
            End::Broken(reason) => Some(Again::After(self.ended(reason))),
            End::Neglected(reason, epoch) => {
                self.watchdog.barked(&epoch);
                Some(Again::After(self.ended(reason)))
            }
        }
    }

    fn ended(&self, reason: String) -> String {
        warn!(target: "coney::amqp", queue = self.spec.queue, reason, "consumer ended: starting over");
        reason
    }

    fn failed(&self, error: ConsumeError, first: &mut First) -> Option<String> {
        if let Some(first) = first.take() {
            let _ = first.send(Err(error));
            return None;
        }
        let mut reason = error.to_string();
        if let Some(cause) = std::error::Error::source(&error) {
            reason = format!("{reason}: {cause}");
        }
        let attempt = self.backoff.attempt() + 1;
        warn!(target: "coney::amqp", queue = self.spec.queue, attempt, reason, "cannot consume: trying again");
        Some(reason)
    }

    fn not_consuming(&self, reason: &str) {
        if self.spec.optional {
            return;
        }
        let reason = format!("queue `{}`: {reason}", self.spec.queue);
        let attempt = self.backoff.attempt();
        self.shared
            .board
            .not_consuming(self.number, attempt, reason);
    }

    async fn open(&self, is_first: bool) -> Result<Stream, ConsumeError> {
        let limit = self.shared.settings.connect_timeout;
        let link = match is_first {
            true => self.link_before(Instant::now() + limit).await?,
            false => self.link().await,
        };
        let queue = &self.spec.queue;
        let settings = &self.shared.settings;
        let may_declare = settings.declare || self.spec.own;
        declare::apply(&link, settings, &self.spec.topology, may_declare)
            .await
            .map_err(|cause| ConsumeError::from_declare(cause, queue))?;
        match timeout(limit, self.consume(&link)).await {
            Ok(stream) => stream,
            Err(_) => Err(ConsumeError::new(ConsumeErrorKind::Timeout, queue)),
        }
    }

    /// The connection, as soon as there is one.
    async fn link(&self) -> Arc<Link> {
        let mut links = self.shared.link.subscribe();
        loop {
            let link = links.borrow_and_update().clone();
            if let Some(link) = link.filter(|link| link.is_alive()) {
                return link;
            }
            if links.changed().await.is_err() {
                // the session is going, and the token with it
                std::future::pending::<()>().await;
            }
        }
    }

    async fn link_before(&self, deadline: Instant) -> Result<Arc<Link>, ConsumeError> {
        timeout_at(deadline, self.link()).await.map_err(|_| {
            let trouble = self.shared.board.connection_trouble();
            let reason = trouble.unwrap_or_else(|| "the connection is not ready".to_owned());
            ConsumeError::new(ConsumeErrorKind::Connection { reason }, &self.spec.queue)
        })
    }

    async fn consume(&self, link: &Arc<Link>) -> Result<Stream, ConsumeError> {
        let spec = &self.spec;
        let refused = |cause| ConsumeError::from_lapin(cause, &spec.queue);
        let unfit = |Unfit(detail)| {
            ConsumeError::new(ConsumeErrorKind::InvalidName { detail }, &spec.queue)
        };
        let queue = properties::short(&spec.queue, "queue").map_err(unfit)?;
        let tag = properties::short(&spec.tag, "consumer tag").map_err(unfit)?;
        let now = self.shared.settings.clock.now();
        let arguments = properties::table_to_lapin(&spec.all_arguments(now)).map_err(unfit)?;
        let options = BasicConsumeOptions {
            exclusive: spec.exclusive,
            ..BasicConsumeOptions::default()
        };
        // whatever the broker said there, it was not about this queue
        let channel = link.channel().await.map_err(|cause| {
            let reason = format!("no channel can be opened: {cause}");
            ConsumeError::new(ConsumeErrorKind::Connection { reason }, &spec.queue).caused_by(cause)
        })?;
        // per consumer: RabbitMQ's quorum queues have no other
        let qos = BasicQosOptions { global: false };
        channel
            .basic_qos(spec.limit(), qos)
            .await
            .map_err(refused)?;
        let consumer = channel
            .basic_consume(queue, tag, options, arguments)
            .await
            .map_err(refused)?;
        let (epoch, writer) = Epoch::start(
            channel.clone(),
            link.pulse().clone(),
            link.lost(),
            &self.shared.stale,
            spec.limit(),
            spec.replay.is_some(),
        );
        self.shared.register(&epoch);
        self.shared.writers.spawn(writer);
        Ok(Stream {
            link: Arc::clone(link),
            channel,
            consumer,
            epoch,
        })
    }

    /// Hands deliveries on until cancelled or something breaks.
    async fn receive(&self, mut stream: Stream) -> End {
        let (link, epoch) = (Arc::clone(&stream.link), Arc::clone(&stream.epoch));
        let settings = &self.shared.settings;
        let neglected = self.watchdog.bark(&link, settings, &self.spec, &epoch);
        let mut neglected = std::pin::pin!(neglected);
        let mut prefetch = self.prefetch.clone();
        loop {
            let delivery = tokio::select! {
                reason = &mut neglected => {
                    stream.cancel().await;
                    return End::Neglected(reason, Arc::clone(&epoch));
                }
                delivery = stream.consumer.next() => delivery,
                () = stream.link.lost() => return stream.over(stream.link.reason()),
                () = self.cancel.cancelled() => return stream.cancel().await,
                true = differs(&mut prefetch, self.spec.prefetch) => {
                    stream.cancel().await;
                    return End::Resized;
                }
            };
            match self.hand_on(&mut stream, delivery).await {
                Ok(()) => {}
                Err(Halt::Unwanted) => return stream.cancel().await,
                Err(Halt::Lost(reason)) => return stream.over(reason),
                // the channel lives on, so what was delivered can still be settled
                Err(Halt::Ended) => {
                    return End::Broken("the broker ended it: was the queue deleted?".to_owned());
                }
            }
        }
    }

    /// Hands a delivery on, and with it what has come together with it.
    async fn hand_on(&self, stream: &mut Stream, first: Received) -> Result<(), Halt> {
        let mut delivery = stream.read(first)?;
        stream.epoch.heard();
        for _ in 0..TOGETHER {
            match self.deliveries.try_send(delivery) {
                Ok(()) => {}
                Err(TrySendError::Closed(_)) => return Err(Halt::Unwanted),
                Err(TrySendError::Full(delivery)) => {
                    return self.wait_for_room(stream, delivery).await;
                }
            }
            let Some(next) = stream.consumer.next().now_or_never() else {
                return Ok(());
            };
            delivery = stream.read(next)?;
        }
        self.wait_for_room(stream, delivery).await
    }

    async fn wait_for_room(&self, stream: &Stream, delivery: Delivery) -> Result<(), Halt> {
        tokio::select! {
            sent = self.deliveries.send(delivery) => sent.map_err(|_| Halt::Unwanted),
            () = stream.link.lost() => Err(Halt::Lost(stream.link.reason())),
            () = self.cancel.cancelled() => Err(Halt::Unwanted),
        }
    }
}

/// Waits until the limit is another one; false if it stays for ever.
async fn differs(prefetch: &mut watch::Receiver<u16>, from: u16) -> bool {
    prefetch.wait_for(|now| *now != from).await.is_ok()
}

impl Stream {
    fn read(&self, received: Received) -> Result<Delivery, Halt> {
        match received {
            Some(Ok(delivery)) => Ok(Delivery::new(delivery, &self.epoch)),
            Some(Err(error)) => Err(Halt::Lost(error.to_string())),
            None => Err(Halt::Ended),
        }
    }

    /// Notes that the channel is gone.
    fn over(&self, reason: String) -> End {
        self.epoch.end();
        End::Broken(reason)
    }

    /// Asks the broker for no more, and hands back what has arrived and nobody took.
    async fn cancel(mut self) -> End {
        let tag: ShortString = self.consumer.tag();
        let end = async {
            let options = BasicCancelOptions::default();
            self.channel.basic_cancel(tag, options).await?;
            while let Some(delivery) = self.consumer.next().await {
                // dropped, and with it handed back
                drop(Delivery::new(delivery?, &self.epoch));
            }
            self.epoch.flush().await;
            Ok::<_, lapin::Error>(())
        };
        match timeout(CANCELLING, end).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => debug!(target: "coney::amqp", %error, "consumer not cancelled"),
            Err(_) => debug!(target: "coney::amqp", "consumer not cancelled in time"),
        }
        End::Cancelled
    }
}
