//! The first frames of an AMQP 0-9-1 connection: enough to know that a broker answers, its version and that it knows the login.

use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::address::Address;

/// How long one read or write may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// The connection class and its methods, from the AMQP 0-9-1 specification.
const START: [u8; 4] = [0, 10, 0, 10];
const START_OK: [u8; 4] = [0, 10, 0, 11];
const TUNE: [u8; 4] = [0, 10, 0, 30];
/// The largest `connection.start` that is believed.
const LARGEST: usize = 64 * 1024;

/// What a broker says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Greeting {
    /// `RabbitMQ`, mostly.
    pub(crate) product: String,
    /// Such as `4.1.0`.
    pub(crate) version: String,
}

/// Connects, reads the broker's greeting and logs in.
///
/// With TLS nothing but the TCP connection is tried, and the answer is `None`.
///
/// # Errors
/// If nothing listens there, if it does not speak AMQP 0-9-1 or refuses the login. The text names host and port only.
pub(crate) fn greet(address: &Address) -> Result<Option<Greeting>> {
    let mut stream = connect(address)?;
    if address.tls {
        return Ok(None);
    }
    let greeting =
        read_start(&mut stream).with_context(|| format!("{address} does not speak AMQP 0-9-1"))?;
    log_in(&mut stream, address).with_context(|| {
        format!(
            "the broker at {address} refuses the login of user {:?}",
            address.user
        )
    })?;
    Ok(Some(greeting))
}

/// Opens a TCP connection, trying each address of the host.
fn connect(address: &Address) -> Result<TcpStream> {
    let places = (address.host.as_str(), address.port)
        .to_socket_addrs()
        .with_context(|| format!("cannot find the host of {address}"))?;
    let mut last = None;
    for place in places {
        match TcpStream::connect_timeout(&place, PATIENCE) {
            Ok(stream) => {
                stream.set_read_timeout(Some(PATIENCE))?;
                stream.set_write_timeout(Some(PATIENCE))?;
                return Ok(stream);
            }
            Err(error) => last = Some(error),
        }
    }
    match last {
        Some(error) => Err(error).with_context(|| format!("no broker can be reached at {address}")),
        None => bail!("the host of {address} has no address"),
    }
}

fn read_start(stream: &mut TcpStream) -> Result<Greeting> {
    stream.write_all(b"AMQP\0\0\x09\x01")?;
    let payload = read_method(stream)?;
    if payload.get(..4) != Some(&START) {
        bail!("it does not begin with connection.start");
    }
    Ok(Greeting {
        product: text_property(&payload, "product").unwrap_or_else(|| "AMQP broker".to_owned()),
        version: text_property(&payload, "version").unwrap_or_else(|| "?".to_owned()),
    })
}

fn log_in(stream: &mut TcpStream, address: &Address) -> Result<()> {
    stream.write_all(&start_ok(&address.user, &address.password))?;
    // a broker that refuses either sends connection.close or just hangs up
    let payload = read_method(stream).context("it closed the connection")?;
    if payload.get(..4) != Some(&TUNE) {
        bail!("it did not go on with connection.tune");
    }
    Ok(())
}

/// Reads one frame and returns its payload, if it is a method frame.
fn read_method(stream: &mut impl Read) -> Result<Vec<u8>> {
    let mut head = [0; 7];
    stream.read_exact(&mut head)?;
    let [kind, _, _, size @ ..] = head;
    let size = u32::from_be_bytes(size) as usize;
    if kind != 1 || size > LARGEST {
        bail!("its first bytes are no method frame");
    }
    let mut payload = vec![0; size + 1];
    stream.read_exact(&mut payload)?;
    if payload.pop() != Some(0xCE) {
        bail!("the frame has no end mark");
    }
    Ok(payload)
}

/// Finds a long string in the table of server properties: `<length>name` `S` `<u32 length>` `text`.
fn text_property(payload: &[u8], name: &str) -> Option<String> {
    let mut key = vec![u8::try_from(name.len()).ok()?];
    key.extend(name.as_bytes());
    key.push(b'S');
    let start = payload.windows(key.len()).position(|part| part == key)? + key.len();
    let length: [u8; 4] = payload.get(start..start + 4)?.try_into().ok()?;
    let length = u32::from_be_bytes(length) as usize;
    let text = payload.get(start + 4..)?.get(..length)?;
    Some(String::from_utf8_lossy(text).into_owned())
}

fn start_ok(user: &str, password: &str) -> Vec<u8> {
    let response = format!("\0{user}\0{password}");
    let mut payload = START_OK.to_vec();
    payload.extend(0u32.to_be_bytes()); // no client properties
    payload.extend(b"\x05PLAIN");
    payload.extend(length_of(&response));
    payload.extend(response.as_bytes());
    payload.extend(b"\x05en_US");
    let mut frame = vec![1, 0, 0]; // a method, on channel 0
    frame.extend((payload.len() as u32).to_be_bytes());
    frame.extend(payload);
    frame.push(0xCE);
    frame
}

fn length_of(text: &str) -> [u8; 4] {
    (text.len() as u32).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_property_is_found_in_a_table() {
        let table = b"\x00\x0a\x00\x0a\x00\x09\x07productS\x00\x00\x00\x08RabbitMQ\x07versionS\x00\x00\x00\x063.13.7";
        assert_eq!(text_property(table, "version").as_deref(), Some("3.13.7"));
        assert_eq!(text_property(table, "product").as_deref(), Some("RabbitMQ"));
        assert_eq!(text_property(table, "platform"), None);
        assert_eq!(
            text_property(b"\x07versionS\x00\x00\x00\x09x", "version"),
            None
        );
    }

    #[test]
    fn a_login_frame_reads_back() {
        let frame = start_ok("guest", "guest");
        let payload = read_method(&mut frame.as_slice()).unwrap();
        assert_eq!(payload.get(..4), Some(&START_OK[..]));
        assert!(payload.ends_with(b"\0guest\0guest\x05en_US"));
    }

    #[test]
    fn a_web_server_is_no_broker() {
        let answer = b"HTTP/1.1 400 Bad Request\r\n\r\n";
        assert!(read_method(&mut answer.as_slice()).is_err());
    }
}
