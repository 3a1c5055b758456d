//! The little of the broker's HTTP API that the account needs.

use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long a node may take to answer: one that has lost its cluster takes for ever.
const PATIENCE: Duration = Duration::from_secs(5);

/// What the broker says of a queue.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct QueueState {
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) messages: u64,
    #[serde(default)]
    pub(crate) consumers: usize,
}

/// What the broker says of a consumer.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ConsumerState {
    #[serde(rename = "consumer_tag")]
    pub(crate) tag: String,
    #[serde(rename = "prefetch_count")]
    pub(crate) prefetch: u64,
}

/// All queues. `management` is `http://host:port` of one node or several, with commas; the login is guest.
pub(crate) async fn queues(management: &str) -> Result<Vec<QueueState>> {
    get(management, "queues?columns=name,messages,consumers").await
}

/// All consumers.
pub(crate) async fn consumers(management: &str) -> Result<Vec<ConsumerState>> {
    get(management, "consumers").await
}

/// Asks the nodes in turn until one answers.
async fn get<T: DeserializeOwned>(management: &str, path: &str) -> Result<T> {
    let mut answer = Err(anyhow!("no management API is given"));
    for node in management.split(',') {
        answer = get_at(node, path).await;
        if answer.is_ok() {
            break;
        }
    }
    let answer = answer?;
    serde_json::from_str(&answer).with_context(|| format!("an answer that is no list: {answer}"))
}

async fn get_at(management: &str, path: &str) -> Result<String> {
    let place = management
        .strip_prefix("http://")
        .unwrap_or(management)
        .trim_end_matches('/');
    let mut stream = TcpStream::connect(place).await?;
    // HTTP 1.0, so that the answer is whole and not in chunks; the login is guest:guest
    let request = format!(
        "GET /api/{path} HTTP/1.0\r\nHost: {place}\r\nAuthorization: Basic Z3Vlc3Q6Z3Vlc3Q=\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    timeout(PATIENCE, stream.read_to_string(&mut answer)).await??;
    let (head, body) = answer.split_once("\r\n\r\n").context("half an answer")?;
    if !head.lines().next().unwrap_or_default().contains(" 200 ") {
        bail!("{}", head.lines().next().unwrap_or_default());
    }
    Ok(body.to_owned())
}
