//! Where all happens: a virtual host of the benchmark's own on the broker, its queues, the broker's process.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use lapin::options::{QueueDeclareOptions, QueueDeleteOptions};
use lapin::types::FieldTable;
use lapin::{Connection, ConnectionProperties};
use serde::Deserialize;
use tokio::time::sleep;
use url::Url;

use super::management::Management;
use super::system;

/// How long the broker may take to notice that all connections are closed.
const LEAVING: Duration = Duration::from_secs(60);
/// How long the broker may take to know its own processes.
const LOOKING: Duration = Duration::from_secs(15);
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(50);

/// Where the broker is.
#[derive(Debug, clap::Args)]
pub(crate) struct Place {
    /// The broker.
    #[arg(long, env = "CONEY_URL", hide_env_values = true)]
    url: String,
    /// Its management API.
    #[arg(long, env = "CONEY_MANAGEMENT_URL")]
    management: String,
}

/// The benchmark's place on the broker.
#[derive(Debug)]
pub(crate) struct Stage {
    management: Management,
    vhost: String,
    /// The broker, with the virtual host.
    pub(crate) url: String,
    /// What the broker says it is.
    pub(crate) broker: String,
    connection: Connection,
    /// The broker's processes, if they run on this machine.
    processes: Vec<u32>,
}

#[derive(Deserialize)]
struct Overview {
    rabbitmq_version: String,
    #[serde(default)]
    erlang_version: Option<String>,
}

#[derive(Deserialize)]
struct Node {
    #[serde(default)]
    os_pid: Option<String>,
}

#[derive(Deserialize)]
struct Named {
    name: String,
}

impl Stage {
    /// Makes a virtual host on the broker.
    pub(crate) async fn build(place: &Place) -> Result<Self> {
        let mut url = Url::parse(&place.url).context("the broker's URL")?;
        let user = match url.username() {
            "" => "guest",
            user => user,
        };
        let password = url.password().unwrap_or("guest");
        let management = Management::new(&place.management, user, password);
        let vhost = format!("coney-bench-{}", std::process::id());
        management.change("PUT", &format!("vhosts/{vhost}")).await?;
        url.set_path(&vhost);
        let url = url.to_string();
        let properties =
            ConnectionProperties::default().with_connection_name("coney-benches".into());
        let connection = Connection::connect(&url, properties).await?;
        let overview: Overview = management.get("overview").await?;
        let broker = match overview.erlang_version {
            Some(erlang) => format!("RabbitMQ {}, Erlang {erlang}", overview.rabbitmq_version),
            None => overview.rabbitmq_version,
        };
        Ok(Self {
            processes: processes(&management).await,
            management,
            vhost,
            url,
            broker,
            connection,
        })
    }

    /// Processor time that the broker has used.
    pub(crate) fn cpu(&self) -> Option<Duration> {
        let times = self.processes.iter().map(|&pid| system::cpu(pid));
        times.sum::<Option<Duration>>().filter(|t| !t.is_zero())
    }

    /// Memory that the broker holds, in MiB.
    pub(crate) fn memory(&self) -> Option<f64> {
        let held = self.processes.iter().map(|&pid| system::memory(pid));
        held.sum::<Option<f64>>().filter(|&held| held > 0.0)
    }

    /// Expects a queue to hold so many messages.
    pub(crate) async fn expect(&self, queue: &str, messages: u64) -> Result<()> {
        let channel = self.connection.create_channel().await?;
        let options = QueueDeclareOptions {
            passive: true,
            ..QueueDeclareOptions::default()
        };
        let found = channel.queue_declare(queue.into(), options, FieldTable::default());
        let found = u64::from(found.await?.message_count());
        channel.close(200, "done".into()).await?;
        ensure!(
            found == messages,
            "{found} messages are in {queue} instead of {messages}"
        );
        Ok(())
    }

    /// Deletes all queues of the virtual host.
    pub(crate) async fn clear(&self) -> Result<()> {
        let path = format!("queues/{}?columns=name", self.vhost);
        let queues: Vec<Named> = self.management.get(&path).await?;
        let names: BTreeSet<_> = queues.into_iter().map(|queue| queue.name).collect();
        let channel = self.connection.create_channel().await?;
        for name in names {
            let options = QueueDeleteOptions::default();
            channel.queue_delete(name.as_str().into(), options).await?;
        }
        channel.close(200, "done".into()).await?;
        Ok(())
    }

    /// Deletes the virtual host once nobody is connected: taking it from under a connection harms RabbitMQ.
    pub(crate) async fn strike(self) -> Result<()> {
        self.connection.close(200, "done".into()).await?;
        let deadline = Instant::now() + LEAVING;
        let path = format!("vhosts/{}/connections", self.vhost);
        while !self.management.get::<Vec<Named>>(&path).await?.is_empty() {
            if Instant::now() > deadline {
                bail!("somebody is still connected to {}", self.vhost);
            }
            sleep(PAUSE).await;
        }
        let vhost = format!("vhosts/{}", self.vhost);
        self.management.change("DELETE", &vhost).await
    }
}

/// The processes of the broker's nodes that run here.
async fn processes(management: &Management) -> Vec<u32> {
    let deadline = Instant::now() + LOOKING;
    let known = loop {
        // a broker for development does not tell
        let nodes: Vec<Node> = management.get("nodes").await.unwrap_or_default();
        let known: Option<Vec<_>> = nodes.into_iter().map(|node| node.os_pid).collect();
        match known {
            Some(known) => break known,
            // one that has just started does not know yet
            None if Instant::now() < deadline => sleep(PAUSE).await,
            None => return Vec::new(),
        }
    };
    let pids = known.iter().filter_map(|pid| pid.parse().ok());
    pids.filter(|&pid| system::program(pid).is_some_and(|name| name.starts_with("beam")))
        .collect()
}
