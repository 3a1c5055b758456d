//! One message to publish, checked and converted, with whom to tell about it.

use bytes::Bytes;
use lapin::BasicProperties;
use lapin::types::ShortString;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::error::{PublishError, PublishErrorKind};
use crate::ledger::Verdict;

/// One message, with everything checked and converted.
pub(crate) struct Job {
    pub(crate) exchange: ShortString,
    pub(crate) routing_key: ShortString,
    pub(crate) properties: BasicProperties,
    pub(crate) header_frame: usize,
    pub(crate) payload: Bytes,
    pub(crate) mandatory: bool,
    pub(crate) id: String,
    pub(crate) deadline: Instant,
    pub(crate) answer: oneshot::Sender<Result<(), PublishError>>,
}

impl Job {
    /// Tells the caller.
    pub(crate) fn answer(self, result: Result<(), PublishError>) {
        // nobody listening is fine: the receipt was dropped
        let _ = self.answer.send(result);
    }

    /// Tells the caller that it was not published.
    pub(crate) fn fail(self, kind: PublishErrorKind) {
        self.answer(Err(PublishError::new(kind)));
    }

    /// Tells the caller what the broker said.
    pub(crate) fn settle(self, verdict: Verdict) {
        let (exchange, routing_key) = (self.exchange.to_string(), self.routing_key.to_string());
        match verdict {
            Verdict::Stored => self.answer(Ok(())),
            Verdict::Unroutable => self.fail(PublishErrorKind::Unroutable {
                exchange,
                routing_key,
            }),
            Verdict::Rejected => self.fail(PublishErrorKind::Rejected {
                exchange,
                routing_key,
            }),
        }
    }
}
