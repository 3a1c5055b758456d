//! The little of RabbitMQ's HTTP API that tests need: virtual hosts, users, what the management UI shows.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

/// A management API and its login.
#[derive(Clone, Debug)]
pub struct Management {
    host: String,
    authorization: String,
}

impl Management {
    /// The API beside the broker that the tests use.
    pub fn new() -> Self {
        let url = std::env::var("CONEY_MANAGEMENT_URL")
            .unwrap_or_else(|_| "http://127.0.0.1:15672".to_owned());
        let host = url.trim_start_matches("http://").trim_end_matches('/');
        Self {
            host: host.to_owned(),
            authorization: STANDARD.encode("guest:guest"),
        }
    }

    /// Sends a request and returns the body as JSON (null without a body).
    pub fn request(&self, method: &str, path: &str, body: &Value) -> Value {
        let answer = self
            .exchange(method, path, body)
            .unwrap_or_else(|e| {
                panic!(
                    "no RabbitMQ management API at {}: run `cargo xtask test`, or `cargo xtask rabbitmq up` and set \
                     CONEY_MANAGEMENT_URL ({e})",
                    self.host
                )
            });
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        let status = head.split(' ').nth(1).unwrap_or("");
        assert!(
            status.starts_with('2') || (method == "DELETE" && status == "404"),
            "{method} {path}: {answer}"
        );
        serde_json::from_str(body).unwrap_or(Value::Null)
    }

    /// HTTP 1.0, so that the answer is whole and not in chunks.
    fn exchange(&self, method: &str, path: &str, body: &Value) -> std::io::Result<String> {
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
        Ok(answer)
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
