//! An open confirm channel, and what is on its way on it.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt};
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::{Channel, Confirmation};
use tokio::time::{Instant, timeout};
use tokio_util::sync::ReusableBoxFuture;

use crate::error::{BrokerReply, ConnectError, PublishErrorKind};
use crate::job::{Job, Wire};
use crate::ledger::{Answer, Ledger, Resolved, Verdict};
use crate::link::Link;
use crate::pool::Pool;
use crate::properties::Unfit;
use crate::ready::Ready;

/// How many messages may be on their way.
pub(crate) const WINDOW: usize = 512;

/// How many bytes may be on their way; one larger message is let through alone. lapin copies them.
const WINDOW_BYTES: usize = 16 * 1024 * 1024;

/// How many confirms come together as a rule, at most.
const TOGETHER: usize = 64;

/// How long the broker may take to agree to the end of a channel.
const GOODBYE: Duration = Duration::from_secs(1);

/// What became of a message.
type Confirmed = Result<Resolved, lapin::Error>;

/// The way to the confirm of one message. Its memory is used again for another: it is too large to be cheap.
struct Confirming(Option<ReusableBoxFuture<'static, Confirmed>>);

/// An open confirm channel, and what is on its way on it.
pub(crate) struct Window {
    link: Arc<Link>,
    channel: Arc<Channel>,
    confirms: FuturesUnordered<Confirming>,
    /// What was used, and is free again.
    spare: Vec<ReusableBoxFuture<'static, Confirmed>>,
    ledger: Ledger,
    /// By number; a message whose caller got tired of waiting is not here any more, but still in the ledger.
    jobs: BTreeMap<u64, Job>,
    bytes: usize,
    /// Messages on their way that nobody waits for any more.
    abandoned: usize,
    /// When the broker last confirmed anything.
    heard: Instant,
}

/// What was confirmed together.
#[derive(Default)]
pub(crate) struct Group {
    pub(crate) resolved: Vec<Resolved>,
    /// Why there will be no more confirms on this channel.
    pub(crate) error: Option<lapin::Error>,
}

impl Group {
    /// Notes an error; the first one, but the broker's words above lapin's ("the channel is closing").
    fn failed(&mut self, error: lapin::Error) {
        let said = |error: &lapin::Error| BrokerReply::of(error).is_some();
        if self
            .error
            .as_ref()
            .is_none_or(|known| !said(known) && said(&error))
        {
            self.error = Some(error);
        }
    }
}

impl Window {
    /// Opens a channel on a connection of the pool; an error says why not.
    pub(crate) async fn open(pool: Pool, limit: Duration) -> Result<Self, String> {
        let link = pool.link().await;
        let link = link.map_err(|error: ConnectError| error.to_string())?;
        let channel = async {
            let channel = link.channel().await?;
            let options = ConfirmSelectOptions::default();
            channel.confirm_select(options).await?;
            Ok::<_, lapin::Error>(channel)
        };
        let channel = tokio::select! {
            channel = timeout(limit, channel) => channel,
            // lapin does not always say so to who waits for a channel
            () = link.lost() => return Err(link.reason()),
        };
        let Ok(channel) = channel else {
            let reason = "the broker did not open a channel in time";
            link.cut(reason);
            return Err(reason.to_owned());
        };
        let channel = channel.map_err(|error| format!("no channel can be opened: {error}"))?;
        Ok(Self {
            link,
            channel: Arc::new(channel),
            confirms: FuturesUnordered::new(),
            spare: Vec::new(),
            ledger: Ledger::default(),
            jobs: BTreeMap::new(),
            bytes: 0,
            abandoned: 0,
            heard: Instant::now(),
        })
    }

    /// The connection.
    pub(crate) fn link(&self) -> &Link {
        &self.link
    }

    /// True if nobody waits for anything.
    pub(crate) fn is_idle(&self) -> bool {
        self.jobs.is_empty()
    }

    /// True if only one message can have caused what happens on the channel.
    pub(crate) fn has_one(&self) -> bool {
        self.jobs.len() == 1 && self.abandoned == 0
    }

    /// True if the broker confirmed nothing for so long, although there was something to confirm.
    pub(crate) fn is_mute(&self, limit: Duration, now: Instant) -> bool {
        now.duration_since(self.heard) >= limit
    }

    /// True if most of the window is taken by messages that were never confirmed.
    pub(crate) fn is_clogged(&self) -> bool {
        self.abandoned > WINDOW / 2
    }

    /// True if the message may be published now, as one of at most `limit`.
    pub(crate) fn has_room(&self, job: &Job, limit: usize) -> bool {
        let bytes = self.bytes + job.payload().len();
        self.jobs.len() < limit
            && self.jobs.len() + self.abandoned < WINDOW
            && (bytes <= WINDOW_BYTES || self.jobs.is_empty())
            // returns are told apart by id: the same one twice has to wait for the first
            && !self.ledger.contains(job.id())
    }

    /// Publishes a message; its place among the others is fixed when this returns.
    pub(crate) fn publish(&mut self, mut job: Job) {
        // a larger one would close the connection (501 FRAME_ERROR), and take everybody else's messages with it
        let limit = self.link.frame_max();
        if job.header_frame() > limit {
            let size = job.header_frame();
            let detail = format!("headers of {size} bytes, at most {limit} fit in a frame");
            return job.fail(PublishErrorKind::TooLarge { detail });
        }
        let wire = match job.take_wire() {
            Ok(wire) => wire,
            Err(Unfit(detail)) => return job.fail(PublishErrorKind::InvalidName { detail }),
        };
        if self.jobs.is_empty() {
            // while there was nothing to confirm, silence meant nothing
            self.heard = Instant::now();
        }
        let number = self.ledger.published(job.id());
        let confirm = confirm(Arc::clone(&self.channel), number, wire, &job);
        let mut confirm = match self.spare.pop() {
            Some(mut spare) => {
                spare.set(confirm);
                spare
            }
            None => ReusableBoxFuture::new(confirm),
        };
        // the first poll puts the frames in lapin's queue, which makes the order ours
        let first = confirm.poll(&mut Context::from_waker(Waker::noop()));
        if let Poll::Ready(confirmed) = first {
            confirm.set(std::future::ready(confirmed));
        }
        self.confirms.push(Confirming(Some(confirm)));
        self.bytes += job.payload().len();
        self.jobs.insert(number, job);
    }

    /// The next confirms; waits for ever if nothing is on its way.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost: the only wait is for the first confirm.
    pub(crate) async fn next(&mut self) -> Group {
        match self.confirms.next().await {
            Some((first, spare)) => {
                self.spare.push(spare);
                self.drain(Some(first))
            }
            None => std::future::pending().await,
        }
    }

    /// The confirms that have arrived already.
    pub(crate) fn last_words(&mut self) -> Group {
        self.drain(None)
    }

    /// Takes all confirms that are ready, `first` among them.
    ///
    /// lapin's I/O thread resolves confirms one after the other and wakes each at once, and the ready queue of
    /// `FuturesUnordered` is first in, first out: when a confirm is seen, those that resolved before it are in the
    /// queue. So what is taken until the queue is empty holds everything that resolved before any of it, which the
    /// ledger relies on.
    fn drain(&mut self, first: Option<Confirmed>) -> Group {
        let mut group = Group::default();
        group.resolved.reserve(self.confirms.len().min(TOGETHER));
        let ready = Ready::default();
        let rest = std::iter::from_fn(|| {
            let (confirmed, spare) = ready.next(&mut self.confirms)?;
            self.spare.push(spare);
            Some(confirmed)
        });
        for confirmed in first.into_iter().chain(rest) {
            match confirmed {
                Ok(resolved) => group.resolved.push(resolved),
                Err(error) => group.failed(error),
            }
        }
        group
    }

    /// The messages whose fate is certain after these confirms.
    pub(crate) fn settle(&mut self, resolved: &[Resolved]) -> Vec<(Job, Verdict)> {
        if !resolved.is_empty() {
            self.heard = Instant::now();
            self.link.pulse().heard();
        }
        let verdicts = self.ledger.resolved(resolved);
        let mut settled = Vec::with_capacity(verdicts.len());
        for (number, verdict) in verdicts {
            match self.jobs.remove(&number) {
                Some(job) => {
                    self.bytes -= job.payload().len();
                    settled.push((job, verdict));
                }
                None => self.abandoned -= 1,
            }
        }
        settled
    }

    /// Takes the messages whose time is up; they stay on their way, but nobody waits for them any more.
    pub(crate) fn take_expired(&mut self, now: Instant) -> Vec<Job> {
        if self.jobs.values().all(|job| job.deadline() > now) {
            return Vec::new();
        }
        let jobs = std::mem::take(&mut self.jobs).into_iter();
        let (late, early): (BTreeMap<_, _>, _) = jobs.partition(|(_, job)| job.deadline() <= now);
        self.jobs = early;
        let late: Vec<_> = late.into_values().collect();
        for job in &late {
            self.bytes -= job.payload().len();
        }
        self.abandoned += late.len();
        late
    }

    /// Gives up the channel; returns what was not confirmed on it, in order.
    pub(crate) fn into_jobs(self) -> Vec<Job> {
        self.jobs.into_values().collect()
    }

    /// Closes the channel.
    pub(crate) async fn close(self) {
        let _ = timeout(GOODBYE, self.channel.close(200, "goodbye".into())).await;
    }
}

/// Publishes, and waits for the confirm.
fn confirm(
    channel: Arc<Channel>,
    number: u64,
    wire: Wire,
    job: &Job,
) -> impl Future<Output = Confirmed> + Send + use<> {
    let options = BasicPublishOptions {
        mandatory: job.is_mandatory(),
        immediate: false,
    };
    let payload = job.payload().clone();
    async move {
        let Wire {
            exchange,
            routing_key,
            properties,
        } = wire;
        let written = channel.basic_publish(exchange, routing_key, options, &payload, properties);
        let confirmation = written.await?.await?;
        Ok(resolved(number, confirmation))
    }
}

impl Future for Confirming {
    /// With the memory that is free again.
    type Output = (Confirmed, ReusableBoxFuture<'static, Confirmed>);

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(confirm) = &mut self.0 else {
            // it was told already
            return Poll::Pending;
        };
        let confirmed = ready!(confirm.poll(context));
        match self.0.take() {
            Some(spare) => Poll::Ready((confirmed, spare)),
            None => Poll::Pending,
        }
    }
}

fn resolved(number: u64, confirmation: Confirmation) -> Resolved {
    let answer = match confirmation.is_nack() {
        true => Answer::Nack,
        false => Answer::Ack,
    };
    let returned = confirmation.take_message().map(|message| {
        let id = message.delivery.properties.message_id().as_ref();
        id.map(ToString::to_string).unwrap_or_default()
    });
    Resolved {
        number,
        answer,
        returned,
    }
}

#[cfg(test)]
mod tests {
    use lapin::protocol::{AMQPErrorKind, AMQPSoftError};
    use lapin::{ChannelState, ErrorKind};

    use super::*;

    #[test]
    fn what_the_broker_said_is_kept_and_what_lapin_said_is_not() {
        let closing: lapin::Error =
            ErrorKind::InvalidChannelState(ChannelState::Closing, "basic.publish").into();
        let missing = |name: &str| -> lapin::Error {
            let kind = AMQPErrorKind::Soft(AMQPSoftError::NOTFOUND);
            let text = format!("NOT_FOUND - no exchange '{name}' in vhost '/'");
            ErrorKind::ProtocolError(lapin::protocol::AMQPError::new(kind, text.into())).into()
        };
        let mut group = Group::default();
        for error in [closing.clone(), missing("a"), closing, missing("b")] {
            group.failed(error);
        }
        let error = group.error.expect("one of them");
        let reply = BrokerReply::of(&error).expect("the broker's");
        assert!(reply.text.contains("'a'"), "{}", reply.text);
    }
}
