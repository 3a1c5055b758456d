//! The management HTTP API, as far as the tests need it: a few lines of HTTP/1.1.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use coney_amqp::Address;

/// Sends a request as `guest` and returns status and body.
pub(crate) fn call(method: &str, path: &str, body: &str) -> (u16, String) {
    let place = place();
    try_call(&place, method, path, body).unwrap_or_else(|error| {
        panic!(
            "no RabbitMQ management API at {place} ({error}): run `cargo xtask rabbitmq up`, then `cargo xtask test`"
        )
    })
}

/// Deletes something that may not be there, quietly: a test that failed has more to say.
pub(crate) fn delete(path: &str) {
    let _ = try_call(&place(), "DELETE", path, "");
}

fn try_call(
    place: &str,
    method: &str,
    path: &str,
    body: &str,
) -> Result<(u16, String), std::io::Error> {
    let mut stream = TcpStream::connect(place)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let length = body.len();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: {place}\r\nAuthorization: Basic Z3Vlc3Q6Z3Vlc3Q=\r\n\
         Content-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let status = answer.split(' ').nth(1).and_then(|code| code.parse().ok());
    let body = answer
        .split_once("\r\n\r\n")
        .map(|(_, body)| body.to_owned());
    Ok((status.unwrap_or_default(), body.unwrap_or_default()))
}

fn place() -> String {
    if let Ok(url) = std::env::var("CONEY_MANAGEMENT_URL") {
        let place = url.trim_start_matches("http://").trim_end_matches('/');
        return place.rsplit('@').next().unwrap_or(place).to_owned();
    }
    let address = Address::parse(&super::support::url()).expect("CONEY_URL");
    format!("{}:15672", address.host())
}

/// Asserts that a request was accepted.
pub(crate) fn must(method: &str, path: &str, body: &str) {
    let (status, answer) = call(method, path, body);
    assert!(
        (200..300).contains(&status),
        "{method} {path}: {status} {answer}"
    );
}
