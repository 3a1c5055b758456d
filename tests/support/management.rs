//! The little of RabbitMQ's HTTP API that tests need: virtual hosts, users, what the management UI shows.
//!
//! Shared: the tests of `coney-amqp` over a real broker include this file too.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

/// Host and port of the broker that the tests use.
pub fn authority() -> String {
    let url = std::env::var("CONEY_URL").unwrap_or_else(|_| "amqp://127.0.0.1:5672".to_owned());
    let rest = url.split_once("://").map_or(url.as_str(), |(_, rest)| rest);
    let authority = rest.split(['/', '?']).next().unwrap_or(rest);
    let host = authority.rsplit('@').next().unwrap_or(authority);
    match host.rsplit_once(':') {
        // not a colon within an IPv6 address
        Some((_, port)) if !port.ends_with(']') => host.to_owned(),
        _ => format!("{host}:5672"),
    }
}

/// A management API and its login.
#[derive(Clone, Debug)]
pub struct Management {
    host: String,
    authorization: String,
}

impl Management {
    /// The API at `CONEY_MANAGEMENT_URL`; on port 15672 of the broker's host if that is not set.
    pub fn new() -> Self {
        let place = match std::env::var("CONEY_MANAGEMENT_URL") {
            Ok(url) => url.trim_start_matches("http://").to_owned(),
            Err(_) => {
                let broker = authority();
                let host = broker.rsplit_once(':').map_or(&*broker, |(host, _)| host);
                format!("{host}:15672")
            }
        };
        let place = place.trim_end_matches('/');
        let host = place.rsplit('@').next().unwrap_or(place);
        Self {
            host: host.to_owned(),
            authorization: STANDARD.encode("guest:guest"),
        }
    }

    /// Sends a request and returns the body as JSON (null without a body).
    pub fn request(&self, method: &str, path: &str, body: &Value) -> Value {
        let (status, answer) = self.send(method, path, body).unwrap_or_else(|e| {
            panic!(
                "no RabbitMQ management API at {}: run `cargo xtask test`, or `cargo xtask rabbitmq up` and set \
                 CONEY_MANAGEMENT_URL ({e})",
                self.host
            )
        });
        assert!(
            (200..300).contains(&status) || (method == "DELETE" && status == 404),
            "{method} {path}: {status} {answer}"
        );
        serde_json::from_str(&answer).unwrap_or(Value::Null)
    }

    /// Sends a request and returns the status and the body, whatever they are.
    ///
    /// HTTP 1.0, so that the answer is whole and not in chunks.
    pub fn send(&self, method: &str, path: &str, body: &Value) -> io::Result<(u16, String)> {
        let mut stream = TcpStream::connect(&self.host)?;
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        write!(
            stream,
            "{method} /api/{path} HTTP/1.0\r\nHost: {}\r\nAuthorization: Basic {}\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            self.host,
            self.authorization,
            body.len()
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
        Ok((status.unwrap_or_default(), body.to_owned()))
    }

    /// What a path shows.
    pub fn get(&self, path: &str) -> Value {
        self.request("GET", path, &Value::Null)
    }

    /// Removes what a path names, if it is there.
    pub fn delete(&self, path: &str) {
        self.request("DELETE", path, &Value::Null);
    }
}
