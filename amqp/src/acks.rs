//! Settling deliveries: the fewest frames, none held back.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use lapin::options::{BasicAckOptions, BasicNackOptions, BasicRejectOptions};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::pulse::Pulse;

/// How many settlements are written together at most.
const BATCH: usize = 1024;

/// How many are enough to be written at once.
const ENOUGH: usize = 128;

/// How long fewer wait for others: one frame settles many, and each costs the broker as much as reading a message.
const GATHERING: Duration = Duration::from_millis(5);

/// What to do with a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Settlement {
    Ack,
    Requeue,
    Reject,
}

/// What the task behind a channel is told.
#[derive(Debug)]
pub(crate) enum Command {
    Settle(u64, Settlement),
    /// Answer when everything before is written.
    Flush(oneshot::Sender<()>),
}

/// One channel instance, from its opening to its end. Delivery tags mean nothing on any other.
#[derive(Debug)]
pub(crate) struct Epoch {
    /// Not bounded here: no more than the prefetch can be waiting to be settled.
    commands: mpsc::UnboundedSender<Command>,
    over: CancellationToken,
    stale: Arc<AtomicU64>,
    received: AtomicU64,
    settled: AtomicU64,
    pulse: Pulse,
    /// True if nothing can be handed back: the channel reads a stream.
    only_acks: bool,
}

impl Epoch {
    /// Makes an epoch and the task that writes its settlements to `channel`, until `lost` resolves.
    pub(crate) fn start(
        channel: lapin::Channel,
        pulse: Pulse,
        lost: impl Future<Output = ()> + Send + 'static,
        stale: &Arc<AtomicU64>,
        limit: u16,
        only_acks: bool,
    ) -> (Arc<Self>, impl Future<Output = ()> + Send + 'static) {
        let (epoch, waiting) = Self::open(pulse, stale, only_acks);
        let writer = Writer {
            channel,
            over: epoch.over.clone(),
            stale: Arc::clone(stale),
            book: AckBook::default(),
            // so few that the broker always has others to deliver
            enough: ENOUGH.min(usize::from(limit) / 8),
        };
        let over = epoch.over.clone();
        let run = async move {
            tokio::select! {
                () = writer.run(waiting) => {}
                () = lost => over.cancel(),
            }
        };
        (epoch, run)
    }

    /// Makes an epoch, and where its settlements come out.
    pub(crate) fn open(
        pulse: Pulse,
        stale: &Arc<AtomicU64>,
        only_acks: bool,
    ) -> (Arc<Self>, mpsc::UnboundedReceiver<Command>) {
        let (commands, waiting) = mpsc::unbounded_channel();
        let epoch = Arc::new(Self {
            commands,
            over: CancellationToken::new(),
            stale: Arc::clone(stale),
            received: AtomicU64::new(0),
            settled: AtomicU64::new(0),
            pulse,
            only_acks,
        });
        (epoch, waiting)
    }

    /// Notes a delivery.
    pub(crate) fn receive(&self) {
        self.received.fetch_add(1, Ordering::Relaxed);
    }

    /// Notes that deliveries have come, which are to be answered.
    pub(crate) fn heard(&self) {
        self.pulse.heard();
        self.pulse.used();
    }

    /// How many deliveries there were.
    pub(crate) fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    /// How many of them are not settled.
    pub(crate) fn held(&self) -> u64 {
        self.received()
            .saturating_sub(self.settled.load(Ordering::Relaxed))
    }

    /// Notes what to do with a delivery.
    pub(crate) fn settle(&self, tag: u64, settlement: Settlement) {
        self.settled.fetch_add(1, Ordering::Relaxed);
        let settlement = match self.only_acks {
            true => Settlement::Ack,
            false => settlement,
        };
        let sent = !self.is_over() && self.commands.send(Command::Settle(tag, settlement)).is_ok();
        if !sent {
            self.stale.fetch_add(1, Ordering::Relaxed);
        }
        self.pulse.used();
    }

    /// Whether the connection answers.
    pub(crate) fn pulse(&self) -> &Pulse {
        &self.pulse
    }

    /// Resolves when everything settled so far is written, or cannot be any more.
    pub(crate) async fn flush(&self) {
        let (written, answer) = oneshot::channel();
        if self.commands.send(Command::Flush(written)).is_ok() {
            let _ = answer.await;
        }
    }

    /// True if the channel is gone: the broker delivers what was not settled again.
    pub(crate) fn is_over(&self) -> bool {
        self.over.is_cancelled()
    }

    /// Waits until the channel is gone.
    pub(crate) async fn lost(&self) {
        self.over.cancelled().await;
    }

    /// Says that the channel is gone.
    pub(crate) fn end(&self) {
        self.over.cancel();
    }
}

/// Writes settlements to one channel, until it is gone or nobody can settle anything on it any more.
struct Writer {
    channel: lapin::Channel,
    over: CancellationToken,
    stale: Arc<AtomicU64>,
    book: AckBook,
    /// How many settlements are worth a frame of their own.
    enough: usize,
}

impl Writer {
    async fn run(mut self, mut waiting: mpsc::UnboundedReceiver<Command>) {
        let mut commands = Vec::new();
        while !self.over.is_cancelled() && waiting.recv_many(&mut commands, BATCH).await > 0 {
            if commands.len() < self.enough {
                let _ = timeout(GATHERING, self.gather(&mut waiting, &mut commands)).await;
            }
            let mut settled = Vec::with_capacity(commands.len());
            let mut flushes = Vec::new();
            for command in commands.drain(..) {
                match command {
                    Command::Settle(tag, settlement) => settled.push((tag, settlement)),
                    Command::Flush(written) => flushes.push(written),
                }
            }
            self.write(&settled).await;
            for written in flushes {
                let _ = written.send(());
            }
        }
    }

    /// Takes more until there are enough, or somebody waits for what is there.
    ///
    /// # Cancel safety
    ///
    /// What was taken is in `commands`.
    async fn gather(
        &self,
        waiting: &mut mpsc::UnboundedReceiver<Command>,
        commands: &mut Vec<Command>,
    ) {
        let is_urgent = |command: &Command| matches!(command, Command::Flush(_));
        while commands.len() < self.enough && !commands.iter().any(is_urgent) {
            if waiting.recv_many(commands, BATCH).await == 0 {
                return;
            }
        }
    }

    async fn write(&mut self, settled: &[(u64, Settlement)]) {
        let frames = self.book.settle(settled);
        // join_all polls them in order, and the first poll puts the frame in lapin's queue
        let writes = frames.into_iter().map(|frame| send(&self.channel, frame));
        let written = tokio::select! {
            written = join_all(writes) => written,
            () = self.over.cancelled() => vec![Err(lapin::ErrorKind::FutureCompleted.into())],
        };
        if let Some(error) = written.into_iter().find_map(Result::err) {
            let count = u64::try_from(settled.len()).unwrap_or(u64::MAX);
            debug!(target: "coney::amqp", %error, count, "settled on a channel that is gone");
            self.stale.fetch_add(count, Ordering::Relaxed);
        }
    }
}

async fn send(channel: &lapin::Channel, frame: Frame) -> Result<(), lapin::Error> {
    match frame {
        Frame::Ack { tag, multiple } => channel.basic_ack(tag, BasicAckOptions { multiple }).await,
        Frame::Requeue(tag) => {
            let options = BasicNackOptions {
                multiple: false,
                requeue: true,
            };
            channel.basic_nack(tag, options).await
        }
        Frame::Reject(tag) => {
            let options = BasicRejectOptions { requeue: false };
            channel.basic_reject(tag, options).await
        }
    }
}

/// A frame that settles one delivery, or all up to one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Frame {
    Ack { tag: u64, multiple: bool },
    Requeue(u64),
    Reject(u64),
}

/// Which deliveries of a channel are settled, and which frames settle more of them.
///
/// Tags count up from 1 on every channel. An ack with `multiple` covers everything up to its tag, so it may only be
/// used up to the first delivery that is still being worked on; and RabbitMQ closes the channel (406) if the tag it
/// names was settled before, so it must name one of the batch.
#[derive(Debug, Default)]
pub(crate) struct AckBook {
    /// Everything up to here is settled.
    low: u64,
    /// Which of those beyond are settled, from the first that is not to the last that is.
    beyond: VecDeque<bool>,
}

impl AckBook {
    /// The frames that settle this batch, in the order in which to send them.
    pub(crate) fn settle(&mut self, batch: &[(u64, Settlement)]) -> Vec<Frame> {
        let mut frames = Vec::new();
        for (tag, settlement) in batch {
            match settlement {
                Settlement::Ack => {}
                // before any ack that covers them
                Settlement::Requeue => frames.push(Frame::Requeue(*tag)),
                Settlement::Reject => frames.push(Frame::Reject(*tag)),
            }
            self.note(*tag);
        }
        while self.beyond.front() == Some(&true) {
            self.beyond.pop_front();
            self.low += 1;
        }
        let acks = batch.iter().filter(|(_, meant)| *meant == Settlement::Ack);
        let acks = acks.map(|(tag, _)| *tag);
        let together = acks.clone().filter(|tag| *tag <= self.low);
        if let Some(tag) = together.clone().max() {
            let multiple = together.count() > 1;
            frames.push(Frame::Ack { tag, multiple });
        }
        let alone = acks.filter(|tag| *tag > self.low).map(|tag| Frame::Ack {
            tag,
            multiple: false,
        });
        frames.extend(alone);
        frames
    }

    /// Notes that a delivery is settled.
    fn note(&mut self, tag: u64) {
        let place = tag.checked_sub(self.low + 1);
        let Some(place) = place.and_then(|place| usize::try_from(place).ok()) else {
            return;
        };
        if self.beyond.len() <= place {
            self.beyond.resize(place + 1, false);
        }
        self.beyond[place] = true;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    /// The broker's side of a channel.
    struct Channel {
        unsettled: BTreeSet<u64>,
    }

    impl Channel {
        /// Settles what a frame covers, and says what that was.
        fn receive(&mut self, frame: Frame) -> Vec<u64> {
            let (tag, multiple) = match frame {
                Frame::Ack { tag, multiple } => (tag, multiple),
                Frame::Requeue(tag) | Frame::Reject(tag) => (tag, false),
            };
            assert!(
                self.unsettled.contains(&tag),
                "406 unknown delivery tag {tag}"
            );
            let covered: Vec<_> = match multiple {
                true => self.unsettled.range(..=tag).copied().collect(),
                false => vec![tag],
            };
            for tag in &covered {
                self.unsettled.remove(tag);
            }
            covered
        }
    }

    fn settlement(kind: u8) -> Settlement {
        match kind {
            0..=7 => Settlement::Ack,
            8 => Settlement::Requeue,
            _ => Settlement::Reject,
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn every_delivery_is_settled_once_and_as_it_was_meant(
            kinds in prop::collection::vec(0u8..10, 1..80),
            order in prop::collection::vec(any::<prop::sample::Index>(), 80),
            sizes in prop::collection::vec(1usize..12, 80),
        ) {
            let mut channel = Channel { unsettled: (1..=kinds.len() as u64).collect() };
            let mut running: Vec<_> = (1..).zip(kinds.into_iter().map(settlement)).collect();
            let mut book = AckBook::default();
            let mut order = order.into_iter();
            for size in sizes {
                let mut batch = Vec::new();
                while batch.len() < size && !running.is_empty() {
                    let pick = order.next().map_or(0, |index| index.index(running.len()));
                    batch.push(running.remove(pick));
                }
                let mut expected: Vec<_> = batch.iter().map(|(tag, _)| *tag).collect();
                let mut covered = Vec::new();
                for frame in book.settle(&batch) {
                    let tags = channel.receive(frame);
                    for tag in &tags {
                        let meant = batch.iter().find(|(of, _)| of == tag).map(|(_, meant)| *meant);
                        let done = match frame {
                            Frame::Ack { .. } => Settlement::Ack,
                            Frame::Requeue(_) => Settlement::Requeue,
                            Frame::Reject(_) => Settlement::Reject,
                        };
                        prop_assert_eq!(meant, Some(done));
                    }
                    covered.extend(tags);
                }
                covered.sort_unstable();
                expected.sort_unstable();
                prop_assert_eq!(covered, expected);
            }
        }
    }

    #[test]
    fn a_finished_run_takes_one_frame() {
        let mut book = AckBook::default();
        let ack = |tag| (tag, Settlement::Ack);
        assert_eq!(
            book.settle(&[ack(1), ack(3), ack(2), ack(5)]),
            [
                Frame::Ack {
                    tag: 3,
                    multiple: true
                },
                Frame::Ack {
                    tag: 5,
                    multiple: false
                }
            ]
        );
        // 5 is settled already: the frame must not name it
        assert_eq!(
            book.settle(&[ack(4)]),
            [Frame::Ack {
                tag: 4,
                multiple: false
            }]
        );
        assert_eq!((book.low, book.beyond.len()), (5, 0));
    }
}
