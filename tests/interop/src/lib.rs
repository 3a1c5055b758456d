//! What the fixture worker and the fixture producer share: where the broker is, and which queue is theirs.

use coney::protocol::topology::Preset;
use coney::{Broker, ConnectError, QueueSpec};

/// The environment variable with the broker's address.
const BROKER: &str = "WIRE_BROKER";

/// The environment variable with the name of the task queue.
const QUEUE: &str = "WIRE_QUEUE";

/// Connects to the broker as Celery lays it out.
///
/// # Errors
///
/// When the broker cannot be reached or refuses the login.
pub async fn broker() -> Result<Broker, ConnectError> {
    let url = std::env::var(BROKER);
    let url = url.unwrap_or_else(|_| "amqp://guest:guest@127.0.0.1:5672/wire".to_owned());
    Broker::builder(&url).preset(Preset::Celery).connect().await
}

/// The name of the task queue.
#[must_use]
pub fn queue_name() -> String {
    std::env::var(QUEUE).unwrap_or_else(|_| "celery".to_owned())
}

/// The task queue.
#[must_use]
pub fn queue() -> QueueSpec {
    QueueSpec::from_name(queue_name().into())
}
