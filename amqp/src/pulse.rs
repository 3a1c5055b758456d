//! Whether a connection answers: noticed long before it is lost.
//!
//! A connection that carries nothing any more is given up after two heartbeats. Whatever is published or acknowledged on
//! it until then may or may not have arrived, and is repeated afterwards; and what was delivered on it another worker may
//! be running already. So its users say here that they use it or rely on it, the broker is then asked for an answer, and
//! while that is overdue nothing is begun and nothing goes on.

use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use lapin::Channel;
use lapin::options::BasicQosOptions;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, timeout};

use crate::link::Link;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_millis(300);

/// The shortest time between an answer and the next question; who does not use the connection asks nothing.
const PAUSE: Duration = Duration::from_millis(150);

/// The longest time between an answer and the next question while somebody relies on the connection.
const BEAT: Duration = Duration::from_secs(1);

/// For how long an answer holds. More than any two are apart, unless this process was stopped in between.
const FRESH: Duration = Duration::from_secs(2);

/// The pulse of one connection; cheap to clone, and keeps nothing alive.
#[derive(Clone, Debug)]
pub(crate) struct Pulse(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    used: Notify,
    overdue: watch::Sender<bool>,
    heard: Mutex<Instant>,
    relied_on: AtomicUsize,
}

/// Somebody relies on the connection until this is dropped.
#[derive(Debug)]
pub(crate) struct Reliance(Pulse);

impl Default for Pulse {
    fn default() -> Self {
        Self(Arc::new(Inner {
            used: Notify::new(),
            overdue: watch::Sender::new(false),
            heard: Mutex::new(Instant::now()),
            relied_on: AtomicUsize::new(0),
        }))
    }
}

impl Pulse {
    /// Notes that something was sent whose arrival matters.
    pub(crate) fn used(&self) {
        self.0.used.notify_one();
    }

    /// Notes that something came from the broker.
    pub(crate) fn heard(&self) {
        *self.0.heard.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// Has the broker asked again and again, so that [`is_fresh`](Self::is_fresh) can be relied on.
    pub(crate) fn rely(&self) -> Reliance {
        self.0.relied_on.fetch_add(1, Ordering::Relaxed);
        self.used();
        Reliance(self.clone())
    }

    /// True while an answer is overdue.
    pub(crate) fn is_overdue(&self) -> bool {
        *self.0.overdue.borrow()
    }

    /// True if the broker has answered just now.
    pub(crate) fn is_fresh(&self) -> bool {
        let heard = *self.0.heard.lock().unwrap_or_else(PoisonError::into_inner);
        !self.is_overdue() && heard.elapsed() < FRESH
    }

    /// Waits until no answer is overdue, or the connection is lost.
    pub(crate) async fn answers(&self) {
        if !self.is_overdue() {
            return;
        }
        let mut overdue = self.0.overdue.subscribe();
        // `self` holds the sender, so that there is always an end; what is returned is a lock, not to be kept
        drop(overdue.wait_for(|overdue| !overdue).await);
    }

    /// Waits for the next answer, or the end of the connection.
    pub(crate) async fn next_answer(&self) {
        let mut overdue = self.0.overdue.subscribe();
        self.used();
        while overdue.changed().await.is_ok() && *overdue.borrow_and_update() {}
    }

    /// Asks whenever the connection is used or relied on, until it is lost.
    pub(crate) async fn feel(self, link: Weak<Link>, lost: impl Future<Output = ()> + Send) {
        let overdue = &self.0.overdue;
        let questions = async {
            let mut channel = None;
            loop {
                self.wait_for_use().await;
                let mut answer = std::pin::pin!(ask(&link, &mut channel));
                if timeout(PATIENCE, &mut answer).await.is_err() {
                    overdue.send_replace(true);
                    answer.await;
                }
                self.heard();
                overdue.send_replace(false);
                sleep(PAUSE).await;
            }
        };
        tokio::select! {
            () = questions => {}
            () = lost => {}
        }
        overdue.send_replace(false);
    }

    async fn wait_for_use(&self) {
        let used = self.0.used.notified();
        match self.0.relied_on.load(Ordering::Relaxed) {
            0 => used.await,
            _ => drop(timeout(BEAT, used).await),
        }
    }
}

impl Drop for Reliance {
    fn drop(&mut self) {
        self.0.0.relied_on.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Asks for what changes nothing, on a channel of its own: methods are answered in their order on a connection, so what
/// was acknowledged before has arrived as well.
async fn ask(link: &Weak<Link>, channel: &mut Option<Channel>) {
    if channel.is_none() {
        let Some(link) = link.upgrade() else {
            return;
        };
        *channel = link.channel().await.ok();
    }
    if let Some(open) = channel {
        let options = BasicQosOptions { global: false };
        if open.basic_qos(1, options).await.is_err() {
            *channel = None;
        }
    }
}
