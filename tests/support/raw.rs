//! A publisher that checks nothing: for messages that no client library would send.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use super::place::place;

/// A connection with channel 1 open.
pub struct RawPublisher(TcpStream);

impl RawPublisher {
    pub fn connect(vhost: &str) -> Self {
        let stream = TcpStream::connect(&place().amqp).expect("a broker");
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .expect("a timeout");
        let mut publisher = Self(stream);
        publisher.write(b"AMQP\0\0\x09\x01");
        publisher.expect(10, 10);
        // no client properties; PLAIN; guest
        let start_ok = [
            &[0; 4][..],
            &short("PLAIN"),
            &long(b"\0guest\0guest"),
            &short("en_US"),
        ];
        publisher.method(0, 10, 11, &start_ok.concat());
        publisher.expect(10, 30);
        // as many channels as there may be, frames of 128 KiB, no heartbeat
        publisher.method(0, 10, 31, &[0x07, 0xFF, 0, 2, 0, 0, 0, 0]);
        publisher.method(0, 10, 40, &[&short(vhost)[..], &[0, 0]].concat());
        publisher.expect(10, 41);
        publisher.method(1, 20, 10, &[0]);
        publisher.expect(20, 11);
        // confirms
        publisher.method(1, 85, 10, &[0]);
        publisher.expect(85, 11);
        publisher
    }

    /// Publishes a persistent JSON message to a queue and waits for the confirm. `flags` and `properties` are the
    /// content header's, as bytes.
    pub fn publish(&mut self, queue: &str, flags: u16, properties: &[u8], body: &[u8]) {
        let publish = [&[0, 0, 0][..], &short(queue), &[0]].concat();
        self.method(1, 60, 40, &publish);
        let mut header = vec![0, 60, 0, 0];
        header.extend((body.len() as u64).to_be_bytes());
        header.extend(flags.to_be_bytes());
        header.extend(properties);
        self.frame(2, 1, &header);
        self.frame(3, 1, body);
        self.expect(60, 80);
    }

    fn method(&mut self, channel: u16, class: u16, method: u16, arguments: &[u8]) {
        let mut payload = class.to_be_bytes().to_vec();
        payload.extend(method.to_be_bytes());
        payload.extend(arguments);
        self.frame(1, channel, &payload);
    }

    fn frame(&mut self, kind: u8, channel: u16, payload: &[u8]) {
        let mut frame = vec![kind];
        frame.extend(channel.to_be_bytes());
        frame.extend(long(payload));
        frame.push(0xCE);
        self.write(&frame);
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).expect("the broker listens");
    }

    /// Reads the next frame, which has to be this method.
    fn expect(&mut self, class: u16, method: u16) {
        let mut start = [0; 7];
        self.0.read_exact(&mut start).expect("the broker answers");
        let size = u32::from_be_bytes([start[3], start[4], start[5], start[6]]);
        let mut payload = vec![0; size as usize + 1];
        self.0.read_exact(&mut payload).expect("the broker answers");
        let found = [payload[0], payload[1], payload[2], payload[3]];
        let wanted = [class.to_be_bytes(), method.to_be_bytes()].concat();
        assert_eq!(found, wanted[..], "{:?}", String::from_utf8_lossy(&payload));
    }
}

/// A text of at most 255 bytes, with its length.
pub fn short(text: impl AsRef<[u8]>) -> Vec<u8> {
    let text = text.as_ref();
    let length = u8::try_from(text.len()).expect("short");
    [&[length], text].concat()
}

/// Bytes with their length in front.
pub fn long(bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(bytes.len()).expect("not that long");
    [&length.to_be_bytes(), bytes].concat()
}
