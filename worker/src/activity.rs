//! What a worker is doing at this moment: for those who wait until it has nothing left to do.

use std::sync::Arc;

use tokio::sync::watch;

/// How much a worker has taken, and how much of it is not settled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Activity {
    /// Deliveries that were taken since the worker was built.
    pub taken: u64,
    /// Those of them that still run, or whose consequences are not confirmed.
    pub running: usize,
}

/// Counts deliveries in and out.
#[derive(Clone, Debug, Default)]
pub(crate) struct Meter(Arc<watch::Sender<Activity>>);

impl Meter {
    pub(crate) fn subscribe(&self) -> watch::Receiver<Activity> {
        self.0.subscribe()
    }

    /// Counts a delivery until the returned value is dropped.
    pub(crate) fn enter(&self) -> Counted {
        self.change(|activity| {
            activity.taken += 1;
            activity.running += 1;
        });
        Counted(self.clone())
    }

    /// Changes the counts, and wakes those who watch them: as a rule there is nobody.
    fn change(&self, change: impl FnOnce(&mut Activity)) {
        self.0.send_if_modified(|activity| {
            change(activity);
            // who subscribes later sees the change at the first look, which has to wait for the end of this
            self.0.receiver_count() > 0
        });
    }
}

/// A delivery that is being worked on.
#[derive(Debug)]
pub(crate) struct Counted(Meter);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.change(|activity| activity.running -= 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delivery_counts_as_running_until_it_is_settled() {
        let meter = Meter::default();
        let seen = meter.subscribe();
        let first = meter.enter();
        let second = meter.enter();
        drop(first);
        let (taken, running) = (2, 1);
        assert_eq!(*seen.borrow(), Activity { taken, running });
        drop(second);
        assert_eq!(seen.borrow().running, 0);
    }
}
