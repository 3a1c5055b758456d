//! Commands to workers.

use std::collections::BTreeMap;
use std::time::Duration;

use coney::{Client, RawJson};
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

/// A command, whom it goes to, and how long replies are gathered; without that none are.
#[derive(Debug, Deserialize)]
pub(crate) struct Command {
    control: String,
    arguments: Option<Json>,
    destination: Option<Vec<String>>,
    timeout: Option<f64>,
}

/// What workers replied, each with its name.
#[derive(Debug, Serialize)]
pub(crate) struct Replies {
    replies: Vec<BTreeMap<String, RawJson>>,
}

impl Command {
    /// Sends the command and gathers replies.
    pub(crate) async fn perform(&self, client: &Client) -> anyhow::Result<Replies> {
        let arguments = self.arguments.clone().unwrap_or_else(|| json!({}));
        let mut broadcast = client.control().broadcast(&*self.control, arguments);
        if let Some(names) = &self.destination {
            broadcast = broadcast.destination(names);
        }
        let mut replies = Vec::new();
        match self.timeout {
            None => broadcast.send().await?,
            Some(seconds) => {
                let wait = Duration::from_secs_f64(seconds.max(0.0));
                for reply in broadcast.reply_within(wait).await? {
                    replies.push(BTreeMap::from([(reply.node, reply.value)]));
                }
            }
        }
        Ok(Replies { replies })
    }
}
