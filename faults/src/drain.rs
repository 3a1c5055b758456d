//! The end of a run: wait until everything has come to rest, then look what is left in the queues.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use anyhow::Result;
use coney::Broker;
use coney::amqp::ConsumerSpec;
use coney::protocol::topology;
use tokio::time::{sleep, timeout};

use crate::faults::Stage;
use crate::management::{self, QueueState};
use crate::sender::Ledger;
use crate::tasks::QUEUES;

/// How long a queue is silent when nothing more is in it.
const SILENCE: Duration = Duration::from_secs(2);

/// Where messages of the suite can wait.
fn is_watched(queue: &str) -> bool {
    QUEUES.contains(&queue) || queue.starts_with("coney.delay.")
}

/// Waits until so many workers consume every queue; false if they do not in time.
pub(crate) async fn all_consume(management: &str, workers: usize, patience: Duration) -> bool {
    let deadline = Instant::now() + patience;
    while Instant::now() < deadline {
        if let Ok(queues) = management::queues(management).await
            && consumed(&queues, workers)
        {
            return true;
        }
        sleep(Duration::from_millis(300)).await;
    }
    false
}

fn consumed(queues: &[QueueState], workers: usize) -> bool {
    QUEUES.iter().all(|name| {
        let of = queues.iter().find(|queue| queue.name == *name);
        of.is_some_and(|queue| queue.consumers == workers)
    })
}

/// Waits until every result has come, every queue is empty and every worker is back; false if that takes too long.
pub(crate) async fn rest(
    stage: &Stage,
    management: &str,
    ledger: &Ledger,
    workers: usize,
    patience: Duration,
) -> bool {
    let deadline = Instant::now() + patience;
    let mut told = Instant::now();
    loop {
        let queues = management::queues(management).await.unwrap_or_default();
        let watched = || queues.iter().filter(|queue| is_watched(&queue.name));
        let waiting: u64 = watched().map(|queue| queue.messages).sum();
        let open = ledger.open();
        let back = consumed(&queues, workers);
        if open == 0 && waiting == 0 && back {
            stage.say("everything has come to rest");
            return true;
        }
        let over = Instant::now() > deadline;
        if over || told.elapsed() > Duration::from_secs(5) {
            told = Instant::now();
            let full: Vec<_> = watched()
                .filter(|queue| queue.messages > 0)
                .map(|queue| format!("{} {}", queue.messages, queue.name))
                .collect();
            stage.say(&format!(
                "{open} tasks open, {waiting} messages wait ({}), workers {}",
                full.join(", "),
                if back { "back" } else { "not all back" }
            ));
        }
        if over {
            if !back {
                stage.problem(format!("not all {workers} workers consume again"));
            }
            return false;
        }
        sleep(Duration::from_millis(500)).await;
    }
}

/// What is left in the queues, by task id.
#[derive(Debug, Default)]
pub(crate) struct Remains {
    /// In which queues of tasks and of the ladder.
    pub(crate) waiting: HashMap<String, Vec<String>>,
    /// The reasons of its dead letters.
    pub(crate) dead: HashMap<String, Vec<String>>,
}

/// Takes everything out of the queues. Workers have to be stopped.
pub(crate) async fn remains(url: &str, management: &str) -> Result<Remains> {
    let broker = Broker::connect(url).await?;
    let mut remains = Remains::default();
    for queue in QUEUES.map(topology::dead_queue) {
        for (id, reason) in contents(&broker, &queue).await? {
            remains.dead.entry(id).or_default().push(reason);
        }
    }
    let queues = management::queues(management).await?;
    for queue in queues.iter().filter(|queue| is_watched(&queue.name)) {
        if queue.messages == 0 && !QUEUES.contains(&&*queue.name) {
            continue;
        }
        for (id, _) in contents(&broker, &queue.name).await? {
            let places = remains.waiting.entry(id).or_default();
            places.push(queue.name.clone());
        }
    }
    broker.close().await;
    Ok(remains)
}

/// Ids and dead-letter reasons of all messages of a queue.
async fn contents(broker: &Broker, queue: &str) -> Result<Vec<(String, String)>> {
    let session = broker.session("account");
    let mut consumer = session.consume(ConsumerSpec::new(queue)).await?;
    let mut found = Vec::new();
    while let Ok(Some(letter)) = timeout(SILENCE, consumer.next()).await {
        let text = |name: &str| {
            let value = letter.properties.headers.get(name)?;
            value.as_str().map(str::to_owned)
        };
        let id = text("id").or_else(|| letter.properties.correlation_id.clone());
        // the broker's own reason, if no worker gave one
        let reason = text("coney-reason").or_else(|| text("x-first-death-reason"));
        found.push((id.unwrap_or_default(), reason.unwrap_or_default()));
        letter.acker.ack();
    }
    session.flush().await;
    session.close().await;
    Ok(found)
}
