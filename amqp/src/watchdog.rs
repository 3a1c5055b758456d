//! Notices a consumer that the broker has forgotten, or does not serve.
//!
//! Nothing in AMQP tells such a consumer from one whose queue is empty: after a partition of a cluster has healed, one
//! was seen to get nothing for half a minute while thousands of messages were ready. So a consumer that has received
//! nothing for a while, although it could take more, is compared with what the broker says of its queue.

use std::time::Duration;

use tokio::time::sleep;

use crate::acks::Epoch;
use crate::consumer::ConsumerSpec;
use crate::declare;
use crate::link::Link;
use crate::settings::Settings;

/// How many times in a row messages have to be waiting.
const STRIKES: u32 = 2;

/// How many times the pause doubles, for a consumer that starting over does not help.
const DOUBLINGS: u32 = 5;

/// Watches the consumers of one subscription, one after the other.
#[derive(Debug, Default)]
pub(crate) struct Watchdog {
    /// How many consumers in a row were given up and had received nothing.
    in_vain: u32,
}

impl Watchdog {
    /// Resolves with the reason when the consumer had better start over.
    pub(crate) async fn bark(
        &self,
        link: &Link,
        settings: &Settings,
        spec: &ConsumerSpec,
        epoch: &Epoch,
    ) -> String {
        if spec.replay.is_some() {
            // of a stream RabbitMQ 3.10 says that nobody consumes it
            return std::future::pending().await;
        }
        let pause = settings.watch * 2_u32.pow(self.in_vain.min(DOUBLINGS));
        // the others get nothing, and that is how it should be
        let may_starve = has_single_consumer(spec);
        let mut strikes = 0;
        loop {
            let received = epoch.received();
            wait(pause).await;
            let is_idle = || epoch.received() == received && epoch.held() < spec.limit().into();
            if !is_idle() {
                strikes = 0;
                continue;
            }
            match declare::queue_state(link, settings, &spec.queue).await {
                Ok(queue) if queue.consumers == 0 => {
                    return "the broker does not know this consumer any more".to_owned();
                }
                Ok(queue) if queue.ready > 0 && !may_starve && is_idle() => strikes += 1,
                // 4.3 tells nothing to a user without any right on the queue
                Ok(_) | Err(_) => strikes = 0,
            }
            if strikes == STRIKES {
                return "messages are waiting, and none is delivered".to_owned();
            }
        }
    }

    /// Notes that a consumer was given up.
    pub(crate) fn barked(&mut self, epoch: &Epoch) {
        match epoch.received() {
            0 => self.in_vain += 1,
            _ => self.in_vain = 0,
        }
    }
}

/// Zero means never.
async fn wait(pause: Duration) {
    match pause.is_zero() {
        true => std::future::pending().await,
        false => sleep(pause).await,
    }
}

fn has_single_consumer(spec: &ConsumerSpec) -> bool {
    let mut queues = spec.topology.queues.iter();
    queues.any(|queue| {
        queue.name == spec.queue && queue.arguments.get("x-single-active-consumer").is_some()
    })
}
