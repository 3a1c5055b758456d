//! Where requests arrive and replies leave.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use coney_amqp::{Broker, ConsumeError, Consumer, ConsumerSpec, Delivery, Outbox, Publication};
use coney_protocol::context::BoxFuture;
use coney_protocol::control::arguments::CommandError;
use coney_protocol::control::request::{ReplyTo, Request};
use coney_protocol::control::{clock_of, mailbox, reply};
use coney_protocol::event::LamportClock;
use coney_protocol::topology::Route;
use futures_util::FutureExt;
use futures_util::stream::{FuturesUnordered, StreamExt};
use serde_json::value::RawValue;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tracing::{debug, info, warn};

use super::{Answer, Said, carry_out, spoken};
use crate::node::Node;

/// Requests that the broker may send ahead of their acks.
const PREFETCH: u16 = 64;

/// How long a worker that starts waits for its queue.
const PATIENCE: Duration = Duration::from_secs(1);

/// Time until the second attempt to consume the queue, which doubles with every further one: the last connection's queue
/// may still be there for a moment.
const SOON: Duration = Duration::from_secs(1);

/// The longest time between attempts: another worker of the same name may have the queue for ever.
const LATER: Duration = Duration::from_secs(60);

/// How long somebody may wait for a reply.
const REPLY_LIMIT: Duration = Duration::from_secs(30);

/// How many commands that take time may wait for each other; further ones are refused.
const MOST_LATER: usize = 100;

/// Receives requests and sends replies, on a connection of its own.
pub(crate) struct Mailbox {
    node: Arc<Node>,
    /// The clock of the messages: it has nothing to do with that of the events.
    clock: LamportClock,
    outbox: Outbox,
}

/// What is under way.
#[derive(Default)]
struct UnderWay {
    /// Commands that take time, one after the other.
    commands: VecDeque<(Option<ReplyTo>, BoxFuture<'static, Said>)>,
    /// Replies to exchanges that have to be declared first.
    replies: FuturesUnordered<BoxFuture<'static, ()>>,
}

impl Mailbox {
    pub(crate) fn new(node: &Arc<Node>) -> Self {
        let topology = mailbox::reply_exchange(mailbox::REPLY_EXCHANGE);
        let lost = |replies| debug!(target: "coney::worker", replies, "replies of remote control were not sent");
        Self {
            outbox: Outbox::new(&node.broker, topology, lost),
            node: Arc::clone(node),
            clock: LamportClock::new(),
        }
    }

    /// Answers requests for as long as the returned set lives. Waits a moment for the broker to be ready for them, as
    /// nobody sends a request again.
    pub(crate) async fn open(self) -> JoinSet<()> {
        let mut open = JoinSet::new();
        let outbox = self.outbox.clone();
        open.spawn(async move { outbox.run().await });
        let (tried, first) = oneshot::channel();
        open.spawn(self.run(tried));
        if timeout(PATIENCE, first).await.is_err() {
            warn!(target: "coney::worker", "starting without remote control for now: its queue is not there yet");
        }
        open
    }

    /// Answers requests until the broker handle is closed.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future ends the consumer, and with it the queue; requests in it are lost, as nobody waits long.
    async fn run(self, tried: oneshot::Sender<()>) {
        let mut consumer = self.consume(tried).await;
        let mut under_way = UnderWay::default();
        loop {
            tokio::select! {
                delivery = consumer.next() => match delivery {
                    Some(delivery) => self.take(delivery, &mut under_way),
                    None => return,
                },
                (reply_to, said) = under_way.command() => {
                    self.reply(reply_to, &spoken(said), &mut under_way);
                }
            }
        }
    }

    /// Consumes the queue; while that fails the worker works without, and says so once.
    async fn consume(&self, tried: oneshot::Sender<()>) -> Consumer {
        let name = &self.node.name;
        let mut first = Some(tried);
        let session = self.node.broker.session("control");
        let mut wait = SOON;
        loop {
            let spec = ConsumerSpec::new(mailbox::inbox_name(name))
                .own_topology(mailbox::inbox(name))
                .prefetch(PREFETCH)
                .tag(format!("{name} control"))
                .optional();
            let consumed = session.consume(spec).await;
            // dropped, and with that the worker starts
            let is_first = first.take().is_some();
            match consumed {
                Ok(consumer) => {
                    if !is_first {
                        info!(target: "coney::worker", "remote control works from now on");
                    }
                    return consumer;
                }
                Err(error) => {
                    tell(&error, is_first);
                    sleep(wait).await;
                    wait = LATER.min(wait * 2);
                }
            }
        }
    }

    fn take(&self, delivery: Delivery, under_way: &mut UnderWay) {
        self.node.clock.tick();
        self.clock.adjust(clock_of(&delivery.properties.headers));
        let request = Request::decode(&delivery.properties, &delivery.payload);
        delivery.acker.ack();
        let Request {
            method,
            arguments,
            to,
            reply_to,
            ..
        } = match request {
            Ok(request) => request,
            Err(error) => {
                debug!(target: "coney::worker", %error, "skipped a message of remote control");
                return;
            }
        };
        if !to.include(&self.node.name) {
            return;
        }
        debug!(target: "coney::worker", method, "remote control");
        // whatever a command does, the next one is answered
        let carry_out = AssertUnwindSafe(|| carry_out(&self.node, &method, arguments));
        let panicked = |_| Answer::Now(Err(CommandError::failed("the command panicked")));
        match catch_unwind(carry_out).unwrap_or_else(panicked) {
            Answer::Now(said) => self.reply(reply_to, &spoken(said), under_way),
            Answer::Later(mut said) => {
                // at once if it can and none waits before it
                let first = under_way
                    .commands
                    .is_empty()
                    .then(|| (&mut said).now_or_never());
                match first.flatten() {
                    Some(said) => self.reply(reply_to, &spoken(said), under_way),
                    None => under_way.commands.push_back((reply_to, said)),
                }
            }
            Answer::Never => {}
        }
        if under_way.commands.len() > MOST_LATER {
            warn!(target: "coney::worker", method, "too many commands of remote control wait: not carried out");
            under_way.commands.pop_back();
        }
    }

    fn reply(&self, reply_to: Option<ReplyTo>, value: &RawValue, under_way: &mut UnderWay) {
        let Some(ReplyTo {
            exchange,
            routing_key,
            ticket,
            ..
        }) = reply_to
        else {
            return;
        };
        let time = self.clock.tick();
        let (properties, body) = reply::encode(&self.node.name, value, ticket.as_deref(), time);
        let is_foreign = !exchange.is_empty() && exchange != mailbox::REPLY_EXCHANGE;
        let route = Route::new(exchange, routing_key);
        let publication = Publication::new(route, properties, body).optional();
        if !is_foreign {
            self.outbox.push_for(publication, 1, REPLY_LIMIT);
        } else if under_way.replies.len() < MOST_LATER {
            let reply = declared(self.node.broker.clone(), publication);
            under_way.replies.push(Box::pin(reply));
        }
    }
}

impl UnderWay {
    /// Waits for the first of the commands that take time, and lets replies leave meanwhile.
    async fn command(&mut self) -> (Option<ReplyTo>, Said) {
        let Self { commands, replies } = self;
        let command = async {
            match commands.front_mut() {
                Some((_, command)) => command.await,
                None => std::future::pending().await,
            }
        };
        let leave = async {
            while replies.next().await.is_some() {}
            std::future::pending().await
        };
        let said = tokio::select! {
            said = command => said,
            said = leave => said,
        };
        let reply_to = self.commands.pop_front().and_then(|(reply_to, _)| reply_to);
        (reply_to, said)
    }
}

/// Publishes a reply to an exchange of another name, which is declared first as kombu does: what is published to one that
/// does not exist closes the channel, and with it disturbs others.
async fn declared(broker: Broker, publication: Publication) {
    let topology = mailbox::reply_exchange(publication.exchange.clone());
    if let Err(error) = broker.declare(&topology).await {
        debug!(target: "coney::worker", %error, "no reply: its exchange cannot be declared");
        return;
    }
    if let Err(error) = broker.publisher().publish(publication).await {
        debug!(target: "coney::worker", %error, "a reply of remote control was not sent");
    }
}

fn tell(error: &ConsumeError, is_first: bool) {
    let cause = std::error::Error::source(error).map(ToString::to_string);
    if is_first {
        warn!(target: "coney::worker", %error, cause, "no remote control for now: is there another worker of this name, or may the user not declare the queue?");
    } else {
        debug!(target: "coney::worker", %error, cause, "still no remote control");
    }
}
