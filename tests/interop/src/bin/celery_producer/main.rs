//! Sends what one JSON object on standard input asks for, and prints one JSON object about it.
//!
//! `{"task": "wire.add", "args": [2, 3], "wait": 10}` prints `{"id": "..", "state": "SUCCESS", "result": 5}`, and
//! `{"control": "ping", "timeout": 1}` prints `{"replies": [{"rust@wire": {"ok": "pong"}}]}`.

#![allow(clippy::print_stdout, reason = "the answer is what it is for")]

mod answer;
mod control;
mod request;
mod workflow;

use std::io::Read as _;

use anyhow::Context as _;
use coney::Client;

use crate::answer::Answer;
use crate::request::Request;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text)?;
    let request: Request = serde_json::from_str(&text).context("not a request")?;
    let broker = coney_interop::broker().await?;
    let client = Client::new(&broker);
    let answer = match &request.control {
        Some(control) => serde_json::to_string(&control.perform(&client).await?)?,
        None => serde_json::to_string(&perform(&client, &request).await?)?,
    };
    client.close().await;
    broker.close().await;
    println!("{answer}");
    Ok(())
}

async fn perform(client: &Client, request: &Request) -> anyhow::Result<Answer> {
    let sent = request.send(client).await?;
    match request.wait() {
        Some(limit) => Answer::of(&sent, limit).await,
        None => Ok(Answer::sent(&sent.id)),
    }
}
