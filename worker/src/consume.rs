//! Stage one: a permit, then a delivery, then a task of the runtime for it.

use std::sync::Arc;

use coney_amqp::Consumer;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::activity::Meter;
use crate::pipeline::Pipeline;

/// Takes deliveries of one queue until `stop` fires, at most `slots` at once.
///
/// The permit comes first, so that a message is taken only when it can run at once; the others wait in the prefetch,
/// unacknowledged, and go back to the queue when the worker stops.
pub(crate) async fn consume(
    mut consumer: Consumer,
    slots: usize,
    pipeline: Arc<Pipeline>,
    running: TaskTracker,
    meter: Meter,
    stop: CancellationToken,
) {
    let slots = Arc::new(Semaphore::new(slots));
    let next = async |consumer: &mut Consumer| {
        let permit = Arc::clone(&slots).acquire_owned().await.ok()?;
        Some((permit, consumer.next().await?))
    };
    while let Some(Some((permit, delivery))) = stop.run_until_cancelled(next(&mut consumer)).await {
        let pipeline = Arc::clone(&pipeline);
        // before anything of it can be acknowledged
        let counted = meter.enter();
        running.spawn(pipeline.run(delivery, permit, counted));
    }
    consumer.cancel().await;
}
