//! How much memory messages take, all together.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A count of bytes, shared by all that adds to it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Meter(Arc<AtomicUsize>);

/// Bytes that count for as long as this lives.
#[derive(Debug)]
pub(crate) struct Charge {
    meter: Meter,
    bytes: usize,
}

impl Meter {
    /// What lives now, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn charge(&self, bytes: usize) -> Charge {
        self.0.fetch_add(bytes, Ordering::Relaxed);
        Charge {
            meter: self.clone(),
            bytes,
        }
    }
}

impl Charge {
    /// The meter that it counts on.
    pub(crate) fn meter(&self) -> &Meter {
        &self.meter
    }

    pub(crate) fn grow(&mut self, bytes: usize) {
        self.meter.0.fetch_add(bytes, Ordering::Relaxed);
        self.bytes += bytes;
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.meter.0.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}
