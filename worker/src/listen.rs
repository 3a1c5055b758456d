//! Reads the stream of revocations: what was revoked before the worker started, and what is revoked while it runs.

use std::sync::Arc;
use std::time::Duration;

use coney_amqp::{
    Broker, ConsumeError, Consumer, ConsumerSpec, Delivery, Publication, PublishError, Session,
};
use coney_protocol::revoke::Notice;
use coney_protocol::topology;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tracing::{debug, info, warn};
use uuid::Uuid;

use crate::revocations::Revocations;

/// How long a worker that starts waits for the next word about the stream. Without one it works without.
const PATIENCE: Duration = Duration::from_secs(1);

/// The same for a worker that may not put its mark into the stream, and so cannot know where its end is.
const QUIET: Duration = Duration::from_millis(200);

/// How long reading what was revoked before may hold up the start.
const CATCHING_UP: Duration = Duration::from_secs(10);

/// Time between attempts to read a stream that is not there, or that the worker may not read.
const NEXT_ATTEMPT: Duration = Duration::from_secs(60);

/// Entries that the broker may send ahead of their acks.
const PREFETCH: u16 = 1000;

/// How far the listener is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    /// It asks for the stream.
    Opening,
    /// It reads what was there before.
    CatchingUp,
    /// It has read that, or cannot.
    Listening,
}

/// Listens for as long as the session goes on.
#[derive(Debug)]
pub(crate) struct Listener {
    pub(crate) broker: Broker,
    pub(crate) session: Session,
    pub(crate) revocations: Arc<Revocations>,
    pub(crate) worker: String,
}

/// Waits until a listener knows what was revoked before, or will not soon.
pub(crate) async fn caught_up(mut stage: watch::Receiver<Stage>) {
    let opened = stage.wait_for(|stage| *stage > Stage::Opening);
    if !matches!(timeout(PATIENCE, opened).await, Ok(Ok(_))) {
        warn!(target: "coney::worker", "the stream of revocations does not answer: starting without what was revoked before");
        return;
    }
    let read = stage.wait_for(|stage| *stage > Stage::CatchingUp);
    if timeout(CATCHING_UP, read).await.is_err() {
        warn!(target: "coney::worker", "there are too many revocations to wait for: starting before all are read");
    }
}

impl Listener {
    /// Reads until the session is closed.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future ends the consumer; the stream keeps what it has.
    pub(crate) async fn run(self, stage: watch::Sender<Stage>) {
        let mut consumer = self.open(&stage).await;
        stage.send_replace(Stage::CatchingUp);
        self.catch_up(&mut consumer).await;
        stage.send_replace(Stage::Listening);
        while let Some(delivery) = consumer.next().await {
            self.take(delivery);
        }
    }

    /// Consumes the stream; while that fails the worker works without, and says so once.
    async fn open(&self, stage: &watch::Sender<Stage>) -> Consumer {
        let mut is_first = true;
        loop {
            match self.session.consume(self.spec()).await {
                Ok(consumer) => {
                    if !is_first {
                        info!(target: "coney::worker", "cancelling works from now on");
                    }
                    return consumer;
                }
                Err(error) => {
                    // told before the worker starts, which does not wait for what does not come
                    tell(&error, is_first);
                    stage.send_replace(Stage::Listening);
                    let wait = if error.is_transient() {
                        PATIENCE
                    } else {
                        NEXT_ATTEMPT
                    };
                    sleep(wait).await;
                }
            }
            is_first = false;
        }
    }

    fn spec(&self) -> ConsumerSpec {
        ConsumerSpec::new(topology::REVOKED_STREAM)
            .topology(topology::revocations())
            .replay(self.revocations.memory())
            .prefetch(PREFETCH)
            .tag(format!("{} revocations", self.worker))
            .optional()
    }

    /// Reads what is there already: up to a mark of its own, which it puts at the end.
    ///
    /// AMQP 0-9-1 does not say where a stream ends at the moment.
    async fn catch_up(&self, consumer: &mut Consumer) {
        let mark = Uuid::now_v7().to_string();
        let mut marking = std::pin::pin!(self.put(Notice::Mark(mark.clone())));
        let (mut marked, mut patience) = (false, PATIENCE);
        loop {
            let delivery = tokio::select! {
                put = &mut marking, if !marked => {
                    marked = true;
                    if let Err(error) = put {
                        debug!(target: "coney::worker", %error, "no mark in the stream of revocations");
                        patience = QUIET;
                    }
                    continue;
                }
                next = timeout(patience, consumer.next()) => match next {
                    Ok(Some(delivery)) => delivery,
                    Ok(None) | Err(_) => return,
                },
            };
            if self.take(delivery) == Some(Notice::Mark(mark.clone())) {
                return;
            }
        }
    }

    async fn put(&self, notice: Notice) -> Result<(), PublishError> {
        let (properties, body) = notice.encode();
        let publication = Publication::new(topology::revoke_route(), properties, body);
        self.broker.publisher().publish(publication).await
    }

    fn take(&self, delivery: Delivery) -> Option<Notice> {
        let notice = Notice::decode(&delivery.payload);
        delivery.acker.ack();
        match &notice {
            Ok(Notice::Revoke(revocation)) => {
                let id = revocation.id.clone();
                if self.revocations.revoke(id, self.broker.clock().instant()) {
                    info!(target: "coney::worker", id = %revocation.id, "a running task is cancelled");
                }
            }
            Ok(_) => {}
            Err(error) => {
                debug!(target: "coney::worker", %error, "skipped an entry in the stream of revocations");
            }
        }
        notice.ok()
    }
}

fn tell(error: &ConsumeError, is_first: bool) {
    if is_first {
        let cause = std::error::Error::source(error).map(ToString::to_string);
        warn!(target: "coney::worker", %error, cause, "tasks cannot be cancelled here for now: the stream of revocations is not readable");
    } else {
        debug!(target: "coney::worker", %error, "the stream of revocations is still not readable");
    }
}
