//! The broker of an example: the one at `CONEY_URL`, or a development broker in the example's own process.

#![allow(unreachable_pub, reason = "shared by examples")]

use anyhow::Context as _;
use coney::prelude::*;
use coney_devbroker::DevBroker;

/// The URL that the user chose.
fn chosen_url() -> Option<String> {
    std::env::var("CONEY_URL")
        .ok()
        .filter(|url| !url.is_empty())
}

/// A connected broker.
pub struct Place {
    /// To build clients and workers from.
    pub broker: Broker,
    /// The broker itself if it is in this process; it ends with this.
    embedded: Option<DevBroker>,
}

impl Place {
    /// Connects to the broker at `CONEY_URL`; without it, starts a development broker on this port of 127.0.0.1, a free
    /// one if it is 0. Says which it is and how to use another.
    pub async fn find(port: u16) -> anyhow::Result<Self> {
        if let Some(url) = chosen_url() {
            let broker = connect(&url).await?;
            println!("Broker: {}, from CONEY_URL.", broker.server());
            println!("Without CONEY_URL a development broker in this process is used.\n");
            return Ok(Self {
                broker,
                embedded: None,
            });
        }
        let embedded = DevBroker::builder().port(port).start().await?;
        let broker = connect(&embedded.url()).await?;
        println!(
            "Broker: a development broker in this process, at {}.",
            embedded.url()
        );
        println!(
            "Set CONEY_URL to use a RabbitMQ; `cargo xtask rabbitmq up` finds or starts one.\n"
        );
        Ok(Self {
            broker,
            embedded: Some(embedded),
        })
    }

    /// Closes the connections, and stops the broker if it is in this process.
    pub async fn close(self) {
        self.broker.close().await;
        if let Some(embedded) = self.embedded {
            embedded.stop().await;
        }
    }
}

async fn connect(url: &str) -> anyhow::Result<Broker> {
    let connecting = Broker::connect(url).await;
    connecting
        .context("no broker at CONEY_URL: correct it, or unset it to use a development broker")
}
