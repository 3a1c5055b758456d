//! Whether a client works, and why not.

use std::fmt;

use coney_amqp::{PublisherStatus, SessionStatus};

/// Whether calls can be sent and results received, at the moment when it was asked for.
///
/// A client that is not ready repairs itself: calls wait for it until their deadline, results wait in the broker.
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
/// let client = coney_producer::Client::connect("amqp://localhost").await?;
/// let status = client.status();
/// if !status.is_ready() {
///     println!("{status}");
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClientStatus {
    /// Whether calls can be sent.
    pub sending: PublisherStatus,
    /// Whether results are received; `None` until the first call that wants one.
    pub results: Option<SessionStatus>,
}

impl ClientStatus {
    /// True if calls can be sent and, where any is expected, results received.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.sending == PublisherStatus::Ready
            && matches!(self.results, None | Some(SessionStatus::Ready))
    }
}

impl fmt::Display for ClientStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sending: {}", self.sending)?;
        match &self.results {
            Some(results) => write!(f, "; results: {results}"),
            None => Ok(()),
        }
    }
}
