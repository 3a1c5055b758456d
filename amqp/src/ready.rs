//! Everything that is ready in a set of futures, and nothing less.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use futures_util::stream::{FuturesUnordered, StreamExt};

/// Takes what is ready from a set of futures, without waiting.
///
/// `now_or_never` ends too early: `FuturesUnordered` says "pending" not only when its queue of ready futures is empty
/// but also to let others run, and only its waking the waker at once tells the two apart.
#[derive(Debug, Default)]
pub(crate) struct Ready(Arc<Again>);

/// A waker that remembers having been woken.
#[derive(Debug, Default)]
struct Again(AtomicBool);

impl Wake for Again {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

impl Ready {
    /// The next one; `None` means that none is ready.
    pub(crate) fn next<F: Future>(&self, futures: &mut FuturesUnordered<F>) -> Option<F::Output> {
        let waker = Waker::from(Arc::clone(&self.0));
        let mut context = Context::from_waker(&waker);
        loop {
            self.0.0.store(false, Ordering::SeqCst);
            match futures.poll_next_unpin(&mut context) {
                Poll::Ready(next) => return next,
                Poll::Pending if self.0.0.load(Ordering::SeqCst) => {}
                Poll::Pending => return None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, poll_fn, ready};

    use futures_util::FutureExt;
    use futures_util::future::BoxFuture;

    use super::*;

    /// Ready at the second poll, and woken during the first: as a confirm that arrives at that moment.
    fn woken_while_polled(number: usize) -> BoxFuture<'static, usize> {
        let mut polled = false;
        poll_fn(move |cx| {
            if std::mem::replace(&mut polled, true) {
                return Poll::Ready(number);
            }
            cx.waker().wake_by_ref();
            Poll::Pending
        })
        .boxed()
    }

    fn futures() -> FuturesUnordered<BoxFuture<'static, usize>> {
        let futures = FuturesUnordered::new();
        for number in 0..4 {
            futures.push(woken_while_polled(number));
        }
        futures.push(ready(4).boxed());
        futures.push(pending().boxed());
        futures
    }

    #[test]
    fn everything_that_is_ready_is_taken_although_futures_are_woken_while_polled() {
        // the reason for all this: something is ready, and nobody would know
        assert_eq!(futures().next().now_or_never(), None);
        let mut futures = futures();
        let ready = Ready::default();
        let mut all: Vec<_> = std::iter::from_fn(|| ready.next(&mut futures)).collect();
        all.sort_unstable();
        assert_eq!(all, [0, 1, 2, 3, 4]);
        assert_eq!(futures.len(), 1);
    }

    #[test]
    fn an_empty_set_has_nothing_ready() {
        let mut none = FuturesUnordered::<BoxFuture<'static, ()>>::new();
        assert_eq!(Ready::default().next(&mut none), None);
    }
}
