//! The lock around a virtual host, and who is told when something changed in it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use super::Vhost;
use crate::clock::Clock;
use crate::meter::Meter;

/// A virtual host that can be shared.
#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) name: Arc<str>,
    clock: Clock,
    vhost: Mutex<Vhost>,
    signals: Arc<Signals>,
    /// The agenda has something earlier.
    earlier: Notify,
    /// Cancelled when the virtual host is removed: its connections end.
    pub(crate) removed: CancellationToken,
}

impl Host {
    pub(crate) fn new(
        name: &str,
        clock: Clock,
        signals: Arc<Signals>,
        removed: CancellationToken,
    ) -> Self {
        let vhost = Vhost::new(name, clock.now());
        Self {
            name: name.into(),
            clock,
            vhost: Mutex::new(vhost),
            signals,
            earlier: Notify::new(),
            removed,
        }
    }

    /// Does something with it, and all that follows from that.
    pub(crate) fn with<T>(&self, act: impl FnOnce(&mut Vhost) -> T) -> T {
        let mut vhost = self.vhost.lock().unwrap_or_else(PoisonError::into_inner);
        let before = vhost.agenda.next();
        vhost.catch_up(self.clock.now(), self.clock.is_virtual());
        let done = act(&mut vhost);
        vhost.settle_down();
        let after = vhost.agenda.next();
        drop(vhost);
        if is_earlier(after, before) {
            self.earlier.notify_one();
        }
        self.signals.changed();
        done
    }

    /// Looks at it, and does no more than what is due.
    pub(crate) fn look<T>(&self, look: impl FnOnce(&Vhost) -> T) -> T {
        let mut vhost = self.vhost.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = vhost.catch_up(self.clock.now(), self.clock.is_virtual());
        let seen = look(&vhost);
        drop(vhost);
        if changed {
            self.signals.changed();
        }
        seen
    }

    /// Says that messages were freed without it.
    pub(crate) fn freed(&self) {
        self.signals.changed();
    }

    /// Does what queues do by themselves when their time has come, until the virtual host is removed.
    pub(crate) async fn keep_time(self: Arc<Self>) {
        loop {
            let due = self.look(|vhost| vhost.agenda.next());
            tokio::select! {
                () = self.clock.until(due) => self.with(|_| ()),
                () = self.earlier.notified() => {}
                () = self.removed.cancelled() => return,
            }
        }
    }
}

fn is_earlier(after: Option<SystemTime>, before: Option<SystemTime>) -> bool {
    match (after, before) {
        (Some(after), Some(before)) => after < before,
        (after, before) => after.is_some() && before.is_none(),
    }
}

/// What the parts of a broker tell each other.
#[derive(Debug)]
pub(crate) struct Signals {
    pub(crate) meter: Meter,
    /// The most that messages may take before publishers are blocked, in bytes.
    limit: usize,
    /// They take more than that.
    full: AtomicBool,
    changed: watch::Sender<()>,
    /// Why publishers are blocked, if they are.
    blocked: watch::Sender<Option<String>>,
    /// Why somebody wants them blocked, apart from memory.
    forced: Mutex<Option<String>>,
}

impl Signals {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            meter: Meter::default(),
            limit,
            full: AtomicBool::new(false),
            changed: watch::Sender::new(()),
            blocked: watch::Sender::new(None),
            forced: Mutex::new(None),
        }
    }

    /// Tells whoever waits for a change, and blocks or unblocks publishers.
    pub(crate) fn changed(&self) {
        self.check_memory();
        if self.changed.receiver_count() > 0 {
            self.changed.send_replace(());
        }
    }

    /// Blocks or unblocks publishers if the limit of memory was passed since the last time.
    pub(crate) fn check_memory(&self) {
        let full = self.meter.bytes() > self.limit;
        if self.full.swap(full, Ordering::SeqCst) != full {
            self.update(&self.forced());
        }
    }

    fn update(&self, forced: &Option<String>) {
        let full = self.full.load(Ordering::SeqCst);
        let reason = forced
            .clone()
            .or_else(|| full.then(|| "low on memory".to_owned()));
        self.blocked.send_if_modified(|now| {
            let changes = *now != reason;
            *now = reason;
            changes
        });
    }

    fn forced(&self) -> MutexGuard<'_, Option<String>> {
        self.forced.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Blocks publishers for a reason, or no longer.
    pub(crate) fn force(&self, reason: Option<String>) {
        let mut forced = self.forced();
        *forced = reason;
        self.update(&forced);
        drop(forced);
        self.changed();
    }

    pub(crate) fn blocked(&self) -> watch::Receiver<Option<String>> {
        self.blocked.subscribe()
    }

    pub(crate) fn is_blocked(&self) -> bool {
        self.blocked.borrow().is_some()
    }

    pub(crate) fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }
}
