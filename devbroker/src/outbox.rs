//! What waits to be written to one client: bounded, because nobody delivers to a client that does not read.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use amq_protocol::protocol::{AMQPClass, basic};
use tokio::sync::Notify;

use crate::frame::Out;

/// How much may wait before deliveries stop, in bytes.
const ROOM: usize = 512 * 1024;

/// The frames for one client, in their order.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    waiting: Mutex<Vec<Out>>,
    /// What waits or is being written, in bytes.
    bytes: AtomicUsize,
    /// Somebody found no room and wants to hear when there is.
    wanted: AtomicBool,
    filled: Notify,
    drained: Notify,
    /// Whether the client understands `basic.cancel` from a broker.
    pub(crate) hears_cancel: bool,
}

impl Outbox {
    pub(crate) fn new(hears_cancel: bool) -> Self {
        Self {
            hears_cancel,
            ..Self::default()
        }
    }

    pub(crate) fn push(&self, out: Out) {
        self.bytes.fetch_add(out.size(), Ordering::SeqCst);
        let mut waiting = self.lock();
        let was_empty = waiting.is_empty();
        waiting.push(out);
        drop(waiting);
        if was_empty {
            self.filled.notify_one();
        }
    }

    pub(crate) fn method(&self, channel: u16, method: AMQPClass) {
        self.push(Out::Method(channel, method));
    }

    /// Confirms one publication; one that follows another directly is told together with it. Confirms of a channel
    /// come in their order, so that all before are answered.
    pub(crate) fn confirm(&self, channel: u16, tag: u64) {
        let mut waiting = self.lock();
        if let Some(Out::Method(of, AMQPClass::Basic(basic::AMQPMethod::Ack(ack)))) =
            waiting.last_mut()
            && (*of, ack.delivery_tag + 1) == (channel, tag)
        {
            ack.delivery_tag = tag;
            ack.multiple = true;
            return;
        }
        drop(waiting);
        let ack = basic::Ack {
            delivery_tag: tag,
            multiple: false,
        };
        self.method(channel, AMQPClass::Basic(basic::AMQPMethod::Ack(ack)));
    }

    /// Whether a delivery still fits; if not, `written` will tell when one does.
    pub(crate) fn has_room(&self) -> bool {
        if self.bytes.load(Ordering::SeqCst) < ROOM {
            return true;
        }
        self.wanted.store(true, Ordering::SeqCst);
        // what was written in between would not be told
        self.bytes.load(Ordering::SeqCst) < ROOM
    }

    /// Waits until there is room for an answer.
    pub(crate) async fn room(&self) {
        while self.bytes.load(Ordering::SeqCst) >= ROOM {
            self.drained.notified().await;
        }
    }

    /// All that waits; waits until there is something.
    pub(crate) async fn take(&self) -> Vec<Out> {
        loop {
            let waiting = std::mem::take(&mut *self.lock());
            if !waiting.is_empty() {
                return waiting;
            }
            self.filled.notified().await;
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    /// Says that so many bytes are written. True if somebody wanted to hear that there is room.
    pub(crate) fn written(&self, bytes: usize) -> bool {
        let before = self.bytes.fetch_sub(bytes, Ordering::SeqCst);
        self.drained.notify_one();
        before - bytes < ROOM && self.wanted.swap(false, Ordering::SeqCst)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Out>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
