//! The little of the broker's HTTP API that the conductor needs.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// The management API of a broker.
#[derive(Debug)]
pub(crate) struct Management {
    place: String,
    login: String,
}

impl Management {
    /// `url` is `http://host:port`.
    pub(crate) fn new(url: &str, user: &str, password: &str) -> Self {
        let place = url.strip_prefix("http://").unwrap_or(url);
        Self {
            place: place.trim_end_matches('/').to_owned(),
            login: STANDARD.encode(format!("{user}:{password}")),
        }
    }

    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        let answer = self.ask("GET", path).await?;
        serde_json::from_str(&answer).with_context(|| format!("{path}: {answer}"))
    }

    /// `PUT` without parameters, or `DELETE`.
    pub(crate) async fn change(&self, method: &str, path: &str) -> Result<()> {
        self.ask(method, path).await.map(drop)
    }

    async fn ask(&self, method: &str, path: &str) -> Result<String> {
        let Self { place, login } = self;
        let answered = timeout(PATIENCE, async {
            let mut stream = TcpStream::connect(place).await?;
            // HTTP 1.0, so that the answer is whole and not in chunks
            let request = format!(
                "{method} /api/{path} HTTP/1.0\r\nHost: {place}\r\nAuthorization: Basic {login}\r\n\
                 Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{{}}"
            );
            stream.write_all(request.as_bytes()).await?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await?;
            anyhow::Ok(answer)
        });
        let answer = answered
            .await
            .context("no answer in time")
            .flatten()
            .with_context(|| format!("the management API at {place}"))?;
        let (head, body) = answer.split_once("\r\n\r\n").context("half an answer")?;
        let status = head.lines().next().unwrap_or_default();
        if !status.contains(" 20") {
            bail!("{method} {path}: {status}");
        }
        Ok(body.to_owned())
    }
}
