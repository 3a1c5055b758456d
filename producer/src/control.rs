//! Remote control: asking workers what they do, and telling them what to do, Celery's as well as coney's.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use coney_amqp::{
    Broker, ConsumeError, Consumer, ConsumerSpec, DeclareError, Publication, PublishError, Session,
};
use coney_protocol::control::address::{Addressees, Matcher};
use coney_protocol::control::answer::{QueueInfo, Scheduled, Stats};
use coney_protocol::control::mailbox;
use coney_protocol::control::reply::{NodeReply, ReplyError};
use coney_protocol::control::request::{ReplyTo, Request};
use coney_protocol::control::task_info::TaskInfo;
use coney_protocol::event::LamportClock;
use coney_protocol::property::Value;
use serde::de::DeserializeOwned;
use serde_json::{Value as Json, json};
use tokio::time::{Instant, timeout_at};
use tracing::debug;
use uuid::Uuid;

/// Replies that the broker may send ahead of their acks.
const PREFETCH: u16 = 100;

/// Tells workers what to do, and asks them; cheap to clone.
///
/// All replies of all clones come over one connection, which is opened with the first question.
///
/// ```no_run
/// # async fn example(client: &coney_producer::Client) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
/// use std::time::Duration;
/// use serde_json::json;
///
/// let control = client.control();
/// for (worker, tasks) in control.active(Duration::from_secs(1)).await? {
///     println!("{worker} runs {} tasks", tasks?.len());
/// }
/// let limit = json!({"task_name": "shop.pay", "rate_limit": "10/m"});
/// let replies = control.broadcast("rate_limit", limit).reply_within(Duration::from_secs(1)).await?;
/// for reply in replies {
///     println!("{}: {}", reply.node, reply.ok()?);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Control(Arc<Inner>);

struct Inner {
    broker: Broker,
    session: Session,
    clock: LamportClock,
}

/// What the workers that replied say, by their names.
pub type Answers<T> = BTreeMap<String, Result<T, ReplyError>>;

/// A command on its way to workers: to all unless it says otherwise.
#[derive(Clone, Debug)]
#[must_use = "nothing is sent before `send` or `reply_within`"]
pub struct Broadcast {
    control: Control,
    request: Request,
}

impl Control {
    pub(crate) fn new(broker: &Broker) -> Self {
        Self(Arc::new(Inner {
            broker: broker.clone(),
            session: broker.session("control replies"),
            clock: LamportClock::new(),
        }))
    }

    /// A command with its arguments, an object, for all workers.
    ///
    /// Those that workers know are listed in Celery's guide, among them `ping`, `revoke`, `terminate`, `rate_limit`,
    /// `time_limit`, `add_consumer`, `cancel_consumer`, `pool_grow`, `pool_shrink`, `autoscale`, `enable_events` and
    /// `shutdown`.
    pub fn broadcast(&self, method: impl Into<String>, arguments: Json) -> Broadcast {
        Broadcast {
            control: self.clone(),
            request: Request::new(method, arguments),
        }
    }

    /// Asks all workers, and reads their answers as `T`.
    ///
    /// # Errors
    ///
    /// [`ControlError`] if the question was not sent.
    ///
    /// # Delivery
    ///
    /// As [`Broadcast::reply_within`].
    ///
    /// # Cancel safety
    ///
    /// As [`Broadcast::reply_within`].
    pub async fn ask<T: DeserializeOwned>(
        &self,
        method: &str,
        arguments: Json,
        wait: Duration,
    ) -> Result<Answers<T>, ControlError> {
        let replies = self.broadcast(method, arguments).reply_within(wait).await?;
        let answers = replies.into_iter().map(|reply| {
            let answer = reply.read();
            (reply.node, answer)
        });
        Ok(answers.collect())
    }

    /// The names of the workers that are there.
    ///
    /// # Errors
    ///
    /// As [`ask`](Self::ask).
    ///
    /// # Delivery
    ///
    /// As [`ask`](Self::ask).
    ///
    /// # Cancel safety
    ///
    /// As [`ask`](Self::ask).
    pub async fn ping(&self, wait: Duration) -> Result<Vec<String>, ControlError> {
        let replies = self.broadcast("ping", json!({})).reply_within(wait).await?;
        let there = replies.into_iter().filter(|reply| reply.ok().is_ok());
        Ok(there.map(|reply| reply.node).collect())
    }

    /// The tasks that run.
    ///
    /// # Errors
    ///
    /// As [`ask`](Self::ask).
    ///
    /// # Delivery
    ///
    /// As [`ask`](Self::ask).
    ///
    /// # Cancel safety
    ///
    /// As [`ask`](Self::ask).
    pub async fn active(&self, wait: Duration) -> Result<Answers<Vec<TaskInfo>>, ControlError> {
        self.ask("active", json!({}), wait).await
    }

    /// The tasks that workers have received and not started.
    ///
    /// # Errors
    ///
    /// As [`ask`](Self::ask).
    ///
    /// # Delivery
    ///
    /// As [`ask`](Self::ask).
    ///
    /// # Cancel safety
    ///
    /// As [`ask`](Self::ask).
    pub async fn reserved(&self, wait: Duration) -> Result<Answers<Vec<TaskInfo>>, ControlError> {
        self.ask("reserved", json!({}), wait).await
    }

    /// The tasks that wait for their time, as far as workers know of them.
    ///
    /// # Errors
    ///
    /// As [`ask`](Self::ask).
    ///
    /// # Delivery
    ///
    /// As [`ask`](Self::ask).
    ///
    /// # Cancel safety
    ///
    /// As [`ask`](Self::ask).
    pub async fn scheduled(&self, wait: Duration) -> Result<Answers<Vec<Scheduled>>, ControlError> {
        self.ask("scheduled", json!({}), wait).await
    }

    /// The names of the tasks that workers know.
    ///
    /// # Errors
    ///
    /// As [`ask`](Self::ask).
    ///
    /// # Delivery
    ///
    /// As [`ask`](Self::ask).
    ///
    /// # Cancel safety
    ///
    /// As [`ask`](Self::ask).
    pub async fn registered(&self, wait: Duration) -> Result<Answers<Vec<String>>, ControlError> {
        // without attributes behind the names
        self.ask("registered", json!({"taskinfoitems": ["_"]}), wait)
            .await
    }

    /// The queues that workers consume.
    ///
    /// # Errors
    ///
    /// As [`ask`](Self::ask).
    ///
    /// # Delivery
    ///
    /// As [`ask`](Self::ask).
    ///
    /// # Cancel safety
    ///
    /// As [`ask`](Self::ask).
    pub async fn active_queues(
        &self,
        wait: Duration,
    ) -> Result<Answers<Vec<QueueInfo>>, ControlError> {
        self.ask("active_queues", json!({}), wait).await
    }

    /// What workers say of themselves.
    ///
    /// # Errors
    ///
    /// As [`ask`](Self::ask).
    ///
    /// # Delivery
    ///
    /// As [`ask`](Self::ask).
    ///
    /// # Cancel safety
    ///
    /// As [`ask`](Self::ask).
    pub async fn stats(&self, wait: Duration) -> Result<Answers<Stats>, ControlError> {
        self.ask("stats", json!({}), wait).await
    }
}

impl Broadcast {
    /// Sends it to the workers of these names only.
    pub fn destination<S: Into<String>>(mut self, names: impl IntoIterator<Item = S>) -> Self {
        self.request.to = Addressees::Named(names.into_iter().map(Into::into).collect());
        self
    }

    /// Sends it to the workers whose names match only.
    pub fn pattern(mut self, pattern: impl Into<String>, matcher: Matcher) -> Self {
        self.request.to = Addressees::matching(pattern, matcher);
        self
    }

    /// Sends it without waiting for what comes of it.
    ///
    /// # Errors
    ///
    /// [`ControlError`] if the broker did not confirm it.
    ///
    /// # Delivery
    ///
    /// Workers that are there receive it; nobody else will.
    ///
    /// # Cancel safety
    ///
    /// When the future is dropped, it may or may not have been sent.
    pub async fn send(self) -> Result<(), ControlError> {
        self.publish().await
    }

    /// Sends it, and collects what workers reply in this time.
    ///
    /// Returns early when all workers have replied that were named as its destination. Nobody knows how many there are
    /// otherwise.
    ///
    /// # Errors
    ///
    /// [`ControlError`] if replies cannot be received or the broker did not confirm it.
    ///
    /// # Delivery
    ///
    /// Workers that are there receive it; nobody else will. A reply that is lost is not sent again.
    ///
    /// # Cancel safety
    ///
    /// When the future is dropped, it may or may not have been sent, and replies are lost.
    pub async fn reply_within(mut self, wait: Duration) -> Result<Vec<NodeReply>, ControlError> {
        let key = Uuid::new_v4().to_string();
        let ticket = Uuid::new_v4().to_string();
        let spec = ConsumerSpec::new(mailbox::reply_queue_name(&key))
            .own_topology(mailbox::reply_queue(&key))
            .prefetch(PREFETCH)
            .tag("control replies")
            .optional();
        let session = &self.control.0.session;
        let consumer = session.consume(spec).await.map_err(ControlError::Replies)?;
        let reply_to = ReplyTo::new(mailbox::REPLY_EXCHANGE, key, Some(ticket.clone()));
        self.request.reply_to = Some(reply_to);
        self.publish().await?;
        let expected = match &self.request.to {
            Addressees::Named(names) => names.len(),
            _ => usize::MAX,
        };
        Ok(collect(consumer, &ticket, expected, Instant::now() + wait).await)
    }

    async fn publish(&self) -> Result<(), ControlError> {
        let Inner { broker, clock, .. } = &*self.control.0;
        // the exchange goes with the broker that restarts, and publishing to one that is not there closes a channel
        let declared = broker.declare(&mailbox::outbox()).await;
        declared.map_err(ControlError::Declare)?;
        let (properties, body) = self.request.encode(clock.tick(), None);
        let publication = Publication::new(mailbox::route(), properties, body).optional();
        let published = broker.publisher().publish(publication).await;
        published.map_err(ControlError::Publish)
    }
}

async fn collect(
    mut consumer: Consumer,
    ticket: &str,
    expected: usize,
    deadline: Instant,
) -> Vec<NodeReply> {
    let mut replies = Vec::new();
    while replies.len() < expected
        && let Ok(Some(delivery)) = timeout_at(deadline, consumer.next()).await
    {
        let is_ours = delivery
            .properties
            .headers
            .get("ticket")
            .and_then(Value::as_str);
        let is_ours = is_ours == Some(ticket);
        let decoded = NodeReply::decode(&delivery.payload);
        delivery.acker.ack();
        match decoded {
            Ok(nodes) if is_ours => replies.extend(nodes),
            Ok(_) => {}
            Err(error) => {
                debug!(target: "coney::client", %error, "skipped a reply of remote control");
            }
        }
    }
    replies
}

/// Why a command was not sent to workers, or may not have been.
#[derive(Debug)]
#[non_exhaustive]
pub enum ControlError {
    /// The exchange that commands go through could not be declared.
    Declare(DeclareError),
    /// Replies cannot be received.
    Replies(ConsumeError),
    /// The broker did not confirm it.
    Publish(PublishError),
}

impl ControlError {
    /// True if trying again later may work.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Declare(error) => error.is_transient(),
            Self::Replies(error) => error.is_transient(),
            Self::Publish(error) => error.is_transient(),
        }
    }
}

impl fmt::Display for ControlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Declare(_) => "no command was sent: the exchange of remote control is not ready",
            Self::Replies(_) => "no command was sent: replies cannot be received",
            Self::Publish(_) => "the broker did not confirm the command",
        })
    }
}

impl std::error::Error for ControlError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Declare(error) => Some(error),
            Self::Replies(error) => Some(error),
            Self::Publish(error) => Some(error),
        }
    }
}

impl fmt::Debug for Control {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Control")
            .field("broker", &self.0.broker)
            .field("session", &self.0.session)
            .finish_non_exhaustive()
    }
}
