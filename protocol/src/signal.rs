//! A signal that costs next to nothing until somebody waits for it.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering, fence};

use tokio_util::sync::CancellationToken;

/// Fires once. The token that can be waited for is made when somebody asks for it: most tasks never do.
#[derive(Debug, Default)]
pub struct Signal {
    fired: AtomicBool,
    token: OnceLock<CancellationToken>,
}

impl Signal {
    /// Fires it.
    pub fn fire(&self) {
        self.fired.store(true, Ordering::Relaxed);
        // pairs with the one in `token`: either the token is seen here, or the mark is seen there
        fence(Ordering::SeqCst);
        if let Some(token) = self.token.get() {
            token.cancel();
        }
    }

    /// True once it has fired.
    #[must_use]
    pub fn has_fired(&self) -> bool {
        self.fired.load(Ordering::Relaxed)
    }

    /// The token that is cancelled when it fires.
    #[must_use]
    pub fn token(&self) -> &CancellationToken {
        let token = self.token.get_or_init(CancellationToken::new);
        fence(Ordering::SeqCst);
        if self.has_fired() {
            token.cancel();
        }
        token
    }

    /// Waits until it fires.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn fired(&self) {
        self.token().cancelled().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_cancelled_whether_it_is_asked_for_before_or_after_the_signal_fires() {
        let asked_before = Signal::default();
        let token = asked_before.token().clone();
        assert!(!token.is_cancelled() && !asked_before.has_fired());
        asked_before.fire();
        assert!(token.is_cancelled() && asked_before.has_fired());

        let asked_after = Signal::default();
        asked_after.fire();
        assert!(asked_after.token().is_cancelled());
    }

    #[test]
    fn no_race_between_firing_and_asking_loses_the_signal() {
        for _ in 0..2_000 {
            let signal = Signal::default();
            std::thread::scope(|scope| {
                let asked = scope.spawn(|| signal.token().clone());
                signal.fire();
                assert!(asked.join().expect("no panic").is_cancelled());
            });
        }
    }
}
