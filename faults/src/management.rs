//! The little of the broker's HTTP API that the account needs.

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// What the broker says of a queue.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct QueueState {
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) messages: u64,
    #[serde(default)]
    pub(crate) consumers: usize,
}

/// All queues. `management` is `http://host:port`, with the login guest.
pub(crate) async fn queues(management: &str) -> Result<Vec<QueueState>> {
    let place = management
        .strip_prefix("http://")
        .unwrap_or(management)
        .trim_end_matches('/');
    let mut stream = TcpStream::connect(place).await?;
    // HTTP 1.0, so that the answer is whole and not in chunks; the login is guest:guest
    let request = format!(
        "GET /api/queues?columns=name,messages,consumers HTTP/1.0\r\nHost: {place}\r\n\
         Authorization: Basic Z3Vlc3Q6Z3Vlc3Q=\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let (head, body) = answer.split_once("\r\n\r\n").context("half an answer")?;
    if !head.lines().next().unwrap_or_default().contains(" 200 ") {
        bail!("{}", head.lines().next().unwrap_or_default());
    }
    serde_json::from_str(body).context("no list of queues")
}
