//! The slots that tasks run in: how many there are can change while the worker runs.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{Instant, sleep};
use tracing::info;

/// Slots for so many tasks at once; cheap to clone.
///
/// Either each queue has a pool of its own, or all queues of a worker share one.
#[derive(Clone, Debug)]
pub(crate) struct Pool(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    slots: Arc<Semaphore>,
    size: watch::Sender<usize>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Slots that are to go as soon as their tasks have ended.
    owed: usize,
    /// Between which sizes the pool follows its load, if it does.
    range: Option<Range>,
}

/// The sizes between which a pool follows its load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) min: usize,
    pub(crate) max: usize,
}

impl Range {
    pub(crate) fn new(min: u32, max: u32) -> Self {
        let as_size = |slots| usize::try_from(slots).unwrap_or(usize::MAX);
        Self {
            min: as_size(min),
            max: as_size(max),
        }
    }
}

/// How often a pool that follows its load looks at it.
const LOOK: Duration = Duration::from_millis(500);

/// How long slots stand empty before a pool that follows its load gives them up, as in Celery.
const KEPT: Duration = Duration::from_secs(30);

/// One slot that is taken until this is dropped.
#[derive(Debug)]
pub(crate) struct Slot {
    permit: Option<OwnedSemaphorePermit>,
    pool: Pool,
}

impl Pool {
    fn new(size: usize) -> Self {
        let size = size.min(Semaphore::MAX_PERMITS);
        Self(Arc::new(Inner {
            slots: Arc::new(Semaphore::new(size)),
            size: watch::Sender::new(size),
            state: Mutex::default(),
        }))
    }

    /// A pool of the least size of a range, which follows its load if the range has more than one.
    pub(crate) fn within(range: Range) -> Self {
        let pool = Self::new(range.min);
        pool.state().range = Some(range).filter(|range| range.min < range.max);
        pool
    }

    /// Waits for a slot.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe; the place among those who wait is lost.
    pub(crate) async fn acquire(&self) -> Slot {
        let permit = Arc::clone(&self.0.slots).acquire_owned().await;
        Slot {
            // the semaphore is never closed
            permit: permit.ok(),
            pool: self.clone(),
        }
    }

    /// How many tasks may run at once.
    pub(crate) fn size(&self) -> usize {
        *self.0.size.borrow()
    }

    /// The size, to be watched.
    pub(crate) fn sizes(&self) -> watch::Receiver<usize> {
        self.0.size.subscribe()
    }

    /// Adds slots.
    pub(crate) fn grow(&self, by: usize) {
        let mut state = self.state();
        let by = by.min(Semaphore::MAX_PERMITS - self.size());
        let repaid = by.min(state.owed);
        state.owed -= repaid;
        self.0.slots.add_permits(by - repaid);
        self.0.size.send_if_modified(|size| {
            *size += by;
            by > 0
        });
    }

    /// Takes slots away, free ones at once and others when their tasks end; at least one stays.
    pub(crate) fn shrink(&self, by: usize) {
        let mut state = self.state();
        let by = by.min(self.size().saturating_sub(1));
        let free = self.0.slots.forget_permits(by);
        state.owed += by - free;
        self.0.size.send_if_modified(|size| {
            *size -= by;
            by > 0
        });
    }

    /// The sizes between which it follows its load, if it does.
    pub(crate) fn range(&self) -> Option<Range> {
        self.state().range
    }

    /// Makes it follow its load between two sizes.
    pub(crate) fn follow(&self, range: Range) {
        self.state().range = Some(range);
        let size = self.size();
        self.grow(range.min.saturating_sub(size));
        self.shrink(size.saturating_sub(range.max.max(1)));
    }

    /// Follows the load for as long as it has a range: grows at once when tasks wait, shrinks when slots stand empty.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub(crate) async fn follow_load(&self, waiting: impl Fn() -> usize) {
        let mut busy_since = Instant::now();
        loop {
            sleep(LOOK).await;
            let Some(Range { min, max }) = self.range() else {
                continue;
            };
            // one slot stays, also between 0 and some
            let min = min.max(1);
            let (size, free, waiting) = (self.size(), self.0.slots.available_permits(), waiting());
            if free == 0 {
                busy_since = Instant::now();
            }
            if free == 0 && waiting > 0 && size < max {
                let by = waiting.min(max - size);
                self.grow(by);
                info!(target: "coney::worker", slots = size + by, "more slots: tasks wait");
            } else if free > 0 && size > min && busy_since.elapsed() >= KEPT {
                let by = free.min(size - min);
                self.shrink(by);
                info!(target: "coney::worker", slots = size - by, "fewer slots: they stood empty");
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // nothing can panic while it is held
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let Some(permit) = self.permit.take() else {
            return;
        };
        let mut state = self.pool.state();
        if state.owed > 0 {
            state.owed -= 1;
            permit.forget();
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn free(pool: &Pool) -> usize {
        let taken: Vec<_> = std::iter::from_fn(|| pool.acquire().now_or_never()).collect();
        taken.len()
    }

    #[test]
    fn a_pool_that_grows_has_more_slots_at_once() {
        let pool = Pool::new(2);
        pool.grow(3);
        assert_eq!((pool.size(), free(&pool)), (5, 5));
    }

    #[test]
    fn slots_that_are_taken_go_when_their_tasks_end() {
        let pool = Pool::new(3);
        let running: Vec<_> = (0..3)
            .filter_map(|_| pool.acquire().now_or_never())
            .collect();
        pool.shrink(2);
        assert_eq!((pool.size(), free(&pool)), (1, 0));
        drop(running);
        assert_eq!(free(&pool), 1);
    }

    #[test]
    fn one_slot_always_stays() {
        let pool = Pool::new(2);
        pool.shrink(10);
        assert_eq!((pool.size(), free(&pool)), (1, 1));
    }

    #[test]
    fn growing_takes_back_what_was_to_go() {
        let pool = Pool::new(2);
        let running: Vec<_> = (0..2)
            .filter_map(|_| pool.acquire().now_or_never())
            .collect();
        pool.shrink(1);
        pool.grow(2);
        assert_eq!((pool.size(), free(&pool)), (3, 1));
        drop(running);
        assert_eq!(free(&pool), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn a_pool_follows_its_load() {
        let pool = Pool::new(1);
        pool.follow(Range { min: 1, max: 3 });
        let running = pool.acquire().await;
        let waiting = |tasks| move || tasks;
        let mut sizes = pool.sizes();
        tokio::select! {
            () = pool.follow_load(waiting(9)) => {}
            size = sizes.wait_for(|size| *size == 3) => drop(size),
        }
        drop(running);
        let mut sizes = pool.sizes();
        tokio::select! {
            () = pool.follow_load(waiting(0)) => {}
            size = sizes.wait_for(|size| *size == 1) => drop(size),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_last_slot_is_not_given_up_again_and_again() {
        let pool = Pool::new(1);
        pool.follow(Range { min: 0, max: 3 });
        let mut sizes = pool.sizes();
        let following = pool.follow_load(|| 0);
        assert!(tokio::time::timeout(KEPT * 3, following).await.is_err());
        assert_eq!((pool.size(), free(&pool)), (1, 1));
        assert!(sizes.changed().now_or_never().is_none());
    }
}
