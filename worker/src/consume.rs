//! Stage one: deliveries are received and read as they come; each that can run waits for a slot, then gets a task of the
//! runtime.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::{Duration, Instant};

use coney_amqp::{Consumer, Delivery};
use tokio::sync::Notify;
use tokio::task::coop::consume_budget;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::error;

use crate::activity::{Counted, Meter};
use crate::pipeline::{Pipeline, Waiting};
use crate::pool::{Pool, Slot};
use crate::worker::QueuePlan;

/// How many deliveries are read in one go, before anything else is looked at.
const TOGETHER: usize = 64;

/// For how long a slot goes from one message to the next before it is free for other queues.
const KEPT: Duration = Duration::from_millis(5);

/// Takes deliveries of one queue.
#[derive(Debug)]
pub(crate) struct Intake {
    pub(crate) plan: QueuePlan,
    pub(crate) pool: Pool,
    pub(crate) running: TaskTracker,
    pub(crate) runner: Arc<Runner>,
}

impl Intake {
    /// Takes deliveries until `stop` fires; no more run at once than the pool has slots.
    ///
    /// What does not run, or not now, needs no slot. The others wait in line, unacknowledged, and go back to the queue
    /// when this ends.
    pub(crate) async fn run(self, mut consumer: Consumer, stop: CancellationToken) {
        tokio::select! {
            () = stop.cancelled() => {}
            () = self.receive(&mut consumer) => {}
            () = self.dispatch() => {}
        }
        self.runner.line.clear();
        consumer.cancel().await;
    }

    /// Reads what comes; ends with the consumer. Holds more or fewer messages as the pool grows or shrinks.
    async fn receive(&self, consumer: &mut Consumer) {
        let mut sizes = self.pool.sizes();
        // it may be another since the consumer began
        consumer.set_prefetch(self.plan.prefetch_for(*sizes.borrow_and_update()));
        loop {
            let delivery = tokio::select! {
                biased;
                Ok(()) = sizes.changed() => {
                    let size = *sizes.borrow_and_update();
                    consumer.set_prefetch(self.plan.prefetch_for(size));
                    continue;
                }
                delivery = consumer.next() => delivery,
            };
            let Some(delivery) = delivery else { return };
            // a repetition must not wait for one that never runs
            self.runner.line.drop_stale();
            self.read(delivery);
            // and what has come together with it
            for _ in 0..TOGETHER {
                match consumer.next_ready() {
                    Some(delivery) => self.read(delivery),
                    None => break,
                }
            }
        }
    }

    /// Puts a delivery in line, or settles it if it needs no slot.
    fn read(&self, delivery: Delivery) {
        // one that cannot even be read goes back, being dropped, and holds up no other
        let Runner {
            pipeline,
            meter,
            line,
            ..
        } = &*self.runner;
        let received = AssertUnwindSafe(|| pipeline.receive(delivery));
        let Ok(received) = catch_unwind(received) else {
            let queue = &self.plan.spec.name;
            error!(target: "coney::worker", %queue, "a panic while a message was read: please report it");
            return;
        };
        match received {
            Some(Ok(waiting)) => line.push(waiting),
            Some(Err(rest)) => {
                let settling = Arc::clone(pipeline).dismiss(rest, meter.enter());
                self.running.spawn(settling);
            }
            None => {}
        }
    }

    /// Starts the first in line whenever there is a slot.
    async fn dispatch(&self) {
        loop {
            self.runner.line.filled().await;
            // before there is a slot in hand: other queues may use it meanwhile
            self.runner.pipeline.settler.keeps_up().await;
            let slot = self.pool.acquire().await;
            if let Some(turn) = self.runner.next(slot) {
                // in memory of its own, which is aligned as the allocator likes it; the runtime's is not
                let run = Box::pin(Arc::clone(&self.runner).run(turn));
                self.running.spawn(run);
                if self.runner.is_brisk.load(Ordering::Relaxed) {
                    step_aside().await;
                }
            }
        }
    }
}

/// Lets others run that are ready: the runner that was just started, which may well be ready for the next message before
/// another is needed.
///
/// Not `yield_now`, which comes back when the thread has nothing else to do: with this another thread goes on at once if
/// the task keeps this one busy.
async fn step_aside() {
    let mut aside = false;
    poll_fn(|context| {
        if std::mem::replace(&mut aside, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Runs the messages of one queue.
#[derive(Debug)]
pub(crate) struct Runner {
    pipeline: Arc<Pipeline>,
    meter: Meter,
    line: Arc<Line>,
    /// True if the last message left its slot to the next.
    is_brisk: AtomicBool,
}

/// A message whose turn it is.
struct Turn {
    waiting: Box<Waiting>,
    slot: Slot,
    counted: Counted,
}

impl Runner {
    pub(crate) fn new(pipeline: Pipeline, meter: Meter, line: Arc<Line>) -> Arc<Self> {
        Arc::new(Self {
            pipeline: Arc::new(pipeline),
            meter,
            line,
            is_brisk: AtomicBool::default(),
        })
    }

    /// The first in line, counted before anything of it can be acknowledged.
    fn next(&self, slot: Slot) -> Option<Turn> {
        Some(Turn {
            waiting: self.line.pop()?,
            slot,
            counted: self.meter.enter(),
        })
    }

    /// Runs a message, and then others in line: a task of the runtime costs more than a short task of the user does.
    ///
    /// It ends with one that has to wait for a confirm, and gives its slot back after a while: others may wait for it.
    async fn run(self: Arc<Self>, first: Turn) {
        let end = Instant::now() + KEPT;
        let mut turn = Some(first);
        while let Some(Turn {
            waiting,
            slot,
            counted,
        }) = turn
        {
            let free = self.pipeline.run(waiting, slot).await;
            drop(counted);
            self.is_brisk.store(free.is_some(), Ordering::Relaxed);
            // those that never wait let others have the thread
            consume_budget().await;
            let goes_on = self.pipeline.settler.is_on_time() && Instant::now() < end;
            turn = free.filter(|_| goes_on).and_then(|slot| self.next(slot));
        }
    }
}

/// Messages of one queue that wait for a slot, no more than its prefetch.
#[derive(Debug, Default)]
pub(crate) struct Line {
    waiting: Mutex<VecDeque<Box<Waiting>>>,
    added: Notify,
}

impl Line {
    pub(crate) fn len(&self) -> usize {
        self.waiting().len()
    }

    fn push(&self, waiting: Box<Waiting>) {
        self.waiting().push_back(waiting);
        self.added.notify_one();
    }

    /// Drops those of a lost connection, which stand in front: the broker delivers them again.
    fn drop_stale(&self) {
        let mut line = self.waiting();
        while line.front().is_some_and(|waiting| waiting.is_stale()) {
            line.pop_front();
        }
    }

    /// The first that is not stale: those need no slot.
    fn pop(&self) -> Option<Box<Waiting>> {
        self.drop_stale();
        self.waiting().pop_front()
    }

    /// Waits until there is one.
    async fn filled(&self) {
        while self.len() == 0 {
            self.added.notified().await;
        }
    }

    /// Hands all back to their queue.
    fn clear(&self) {
        self.waiting().clear();
    }

    fn waiting(&self) -> MutexGuard<'_, VecDeque<Box<Waiting>>> {
        // nothing can panic while it is held
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
