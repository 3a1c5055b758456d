//! coney, as a user would write it who has many short tasks: late acks, the default settings but for the concurrency.

use std::time::Duration;

use anyhow::Result;
use coney::prelude::*;
use coney::protocol::topology::{Preset, Topology, revocations};
use coney::{Call, QueueSpec, Task};
use futures_util::stream::{self, StreamExt};

use super::{Kind, Marks, Part, marks::say};
use crate::role::{Arguments, Cues, Timer};

/// A second thread only passes tiny pieces of work to and fro: a fifth more CPU, and no more tasks.
pub const THREADS: usize = 1;

/// Calls that are encoded and sent as one batch: so many that they stay in the processor's cache.
const BATCH: u64 = 128;
/// Bytes of one batch, if tasks are large.
const BATCH_BYTES: u64 = 2_000_000;
/// Batches that are on their way at once.
const BATCHES: usize = 4;

/// Queues that are declared at once.
const DECLARED_AT_ONCE: usize = 8;
/// How long a declaration may take: the broker may still be busy with deleting a million messages.
const PATIENCE: Duration = Duration::from_secs(120);

/// The queue of all tasks here.
#[derive(Queue)]
#[queue(name = "bench")]
struct Bench;

#[task(queue = Bench, ignore_result)]
async fn nothing(a: u64, b: u64, State(marks): State<Marks>) {
    marks.start();
    let _ = (a, b);
    marks.end();
}

#[task(queue = Bench)]
async fn add(a: u64, b: u64, State(marks): State<Marks>) -> u64 {
    marks.start();
    marks.end();
    a + b
}

#[task(queue = Bench, ignore_result)]
async fn read(text: String, State(marks): State<Marks>) {
    marks.start();
    drop(text);
    marks.end();
}

#[task(queue = Bench, ignore_result)]
async fn nap(millis: u64, State(marks): State<Marks>) {
    marks.start();
    tokio::time::sleep(Duration::from_millis(millis)).await;
    marks.end();
}

/// Does the part.
pub(crate) async fn play(arguments: &Arguments, mut cues: Cues) -> Result<()> {
    let builder = Broker::builder(&arguments.url).program("coney");
    let builder = match arguments.part {
        Part::Declare => builder.connect_timeout(PATIENCE),
        // coney declares quorum queues only, and uses others that are there
        _ => builder.declare(arguments.kind == Kind::Quorum),
    };
    let broker = builder.connect().await?;
    match arguments.part {
        Part::Declare => declare(&broker, arguments).await?,
        Part::Publish => publish(&broker, arguments, &mut cues).await?,
        Part::Work => work(&broker, arguments, &mut cues).await?,
        Part::Call => call(&broker, arguments, &mut cues).await?,
    }
    broker.close().await;
    Ok(())
}

async fn declare(broker: &Broker, arguments: &Arguments) -> Result<()> {
    let names = stream::iter(arguments.queue_names());
    let declared = names.map(|name| async move {
        let spec = QueueSpec::from_name(name.into());
        broker.declare(&topology(&spec, arguments.kind)).await
    });
    let mut declared = declared.buffer_unordered(DECLARED_AT_ONCE);
    while let Some(outcome) = declared.next().await {
        outcome?;
    }
    Ok(())
}

/// All that coney needs, the queue itself of another kind if that is asked for.
fn topology(spec: &QueueSpec, kind: Kind) -> Topology {
    let mut topology = Preset::Native.topology(spec);
    topology.append(revocations());
    if kind == Kind::Classic {
        let queue = topology.queues.iter_mut().find(|q| q.name == spec.name);
        let arguments = queue.map(|queue| &mut queue.arguments);
        if let Some(arguments) = arguments {
            for quorum_only in ["x-queue-type", "x-dead-letter-strategy", "x-delivery-limit"] {
                arguments.remove(quorum_only);
            }
        }
    }
    topology
}

async fn publish(broker: &Broker, arguments: &Arguments, cues: &mut Cues) -> Result<()> {
    let client = Client::new(broker);
    match (arguments.sleep, arguments.body) {
        (Some(millis), _) => send_all(&client, arguments, cues, |_| nap::call(millis)).await?,
        (None, Some(bytes)) => {
            let text = "x".repeat(bytes);
            send_all(&client, arguments, cues, |_| read::call(text.clone())).await?;
        }
        (None, None) => send_all(&client, arguments, cues, |n| nothing::call(n, 2)).await?,
    }
    say("done");
    cues.stop().await;
    Ok(())
}

/// Sends one call, which opens what is needed, and on its cue the others: in batches, several at once.
async fn send_all<T: Task>(
    client: &Client,
    arguments: &Arguments,
    cues: &mut Cues,
    call: impl Fn(u64) -> Call<T>,
) -> Result<()> {
    let queues = arguments.queue_names();
    let call = |number: u64| {
        let queue = usize::try_from(number).unwrap_or_default() % queues.len();
        to_queue(call(number), &queues[queue])
    };
    call(0).send(client).await?;
    say("ready");
    cues.go().await?;
    let bytes = u64::try_from(arguments.body.unwrap_or_default())?;
    let batch = (BATCH_BYTES / bytes.max(1)).clamp(1, BATCH);
    let starts = (1..arguments.tasks).step_by(usize::try_from(batch)?);
    let batches = starts.map(|start| {
        let end = arguments.tasks.min(start + batch);
        client.send_all((start..end).map(&call))
    });
    let mut outcomes = stream::iter(batches).buffered(BATCHES);
    while let Some(batch) = outcomes.next().await {
        for sent in batch {
            sent?;
        }
    }
    Ok(())
}

/// The call, to another queue than that of its task if one is named.
fn to_queue<T: Task>(call: Call<T>, queue: &str) -> Call<T> {
    if queue == Bench::SPEC.name {
        call
    } else {
        call.queue_named(queue)
    }
}

async fn work(broker: &Broker, arguments: &Arguments, cues: &mut Cues) -> Result<()> {
    let mut builder = Worker::builder(broker)
        .state(Marks::telling(arguments.tasks, arguments.tell_every))
        .task::<nothing>()
        .task::<add>()
        .task::<nap>()
        .task::<read>();
    if arguments.queues.get() > 1 {
        builder = builder.concurrency(arguments.concurrency);
    }
    for name in arguments.queue_names() {
        let spec = QueueSpec::from_name(name.into());
        builder = builder.queue_spec(spec.concurrency(arguments.concurrency));
    }
    let worker = builder.build()?;
    let mut ready = worker.ready();
    let tell = async {
        ready.ready().await;
        say("ready");
        cues.stop().await;
    };
    worker.run_until(tell).await?;
    Ok(())
}

async fn call(broker: &Broker, arguments: &Arguments, cues: &mut Cues) -> Result<()> {
    let client = Client::new(broker);
    let call = |number| to_queue(add::call(number, 2), &arguments.queue);
    // the first call opens the way back
    call(0).send(&client).await?.result().await?;
    say("ready");
    cues.go().await?;
    if arguments.one_by_one {
        let mut timer = Timer::new(arguments.tasks);
        for number in 0..arguments.tasks {
            timer.start();
            call(number).send(&client).await?.result().await?;
            timer.end();
        }
        say(&timer.done());
    } else {
        let mut handles = Vec::new();
        for sent in client.send_all((0..arguments.tasks).map(call)).await {
            handles.push(sent?);
        }
        for handle in &handles {
            handle.result().await?;
        }
        say("done");
    }
    cues.stop().await;
    client.close().await;
    Ok(())
}
