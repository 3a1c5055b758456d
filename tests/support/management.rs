//! The little of RabbitMQ's HTTP API that tests need: virtual hosts, users, what the management UI shows.
//!
//! Shared: the tests of `coney-amqp` and of the fault suite include this file too.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::place::place;

/// A management API and its login.
#[derive(Clone, Debug)]
pub struct Management {
    host: String,
    authorization: String,
}

impl Management {
    /// The API of the broker that the tests use.
    pub fn new() -> Self {
        Self {
            host: place().management.clone(),
            authorization: STANDARD.encode("guest:guest"),
        }
    }

    /// Sends a request and returns the body as JSON (null without a body).
    pub fn request(&self, method: &str, path: &str, body: &Value) -> Value {
        let (status, answer) = self.send(method, path, body).unwrap_or_else(|e| {
            panic!(
                "no management API at {}: unset CONEY_URL to use the development broker, run `cargo xtask test`, or \
                 `cargo xtask rabbitmq up` and set CONEY_MANAGEMENT_URL ({e})",
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
