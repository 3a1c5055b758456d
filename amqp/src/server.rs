//! Which broker answers: product and version, as it introduces itself.

use std::fmt;

/// The broker's own name and version.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Server {
    /// Its name, such as `RabbitMQ`; empty if it does not say.
    pub product: String,
    /// Its version, such as `4.0.5`; empty if it does not say.
    pub version: String,
}

impl Server {
    /// True if the version is `major.minor` or later; false if the server does not say or says something else.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn f() -> Result<(), coney_amqp::ConnectError> {
    /// let broker = coney_amqp::Broker::connect("amqp://localhost").await?;
    /// if broker.server().at_least(4, 3) {
    ///     println!("quorum queues have 32 priorities");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn at_least(&self, major: u32, minor: u32) -> bool {
        let mut parts = self.version.split(|c: char| !c.is_ascii_digit());
        let mut part = || parts.next()?.parse::<u32>().ok();
        match (part(), part()) {
            (Some(has_major), Some(has_minor)) => (has_major, has_minor) >= (major, minor),
            _ => false,
        }
    }

    /// Reads the first frame of an AMQP server, `connection.start`.
    ///
    /// `None` means that the frame is not complete yet.
    pub(crate) fn from_greeting(bytes: &[u8]) -> Option<Self> {
        let mut bytes = Reader(bytes);
        let header = bytes.take(7)?;
        let size = u32::from_be_bytes([header[3], header[4], header[5], header[6]]);
        let payload = bytes.take(usize::try_from(size).ok()?)?;
        Some(Self::from_start(payload).unwrap_or_default())
    }

    /// Reads `connection.start` (class 10, method 10): two version bytes, then the server's property table.
    fn from_start(payload: &[u8]) -> Option<Self> {
        let mut payload = Reader(payload);
        if payload.take(4)? != [0, 10, 0, 10] {
            return None;
        }
        payload.take(2)?;
        let mut table = Reader(payload.long()?);
        let mut server = Self::default();
        while !table.0.is_empty() {
            let name = table.short()?;
            let value = table.value()?;
            match name {
                b"product" => server.product = String::from_utf8_lossy(value).into_owned(),
                b"version" => server.version = String::from_utf8_lossy(value).into_owned(),
                _ => {}
            }
        }
        Some(server)
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.product.as_str(), self.version.as_str()) {
            ("", _) => f.write_str("an AMQP server that does not say what it is"),
            (product, version) => write!(f, "{product} {version}"),
        }
    }
}

/// What is left to read.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn short(&mut self) -> Option<&'a [u8]> {
        let length = *self.take(1)?.first()?;
        self.take(length.into())
    }

    fn long(&mut self) -> Option<&'a [u8]> {
        let length = self.take(4)?;
        let length = u32::from_be_bytes([length[0], length[1], length[2], length[3]]);
        self.take(usize::try_from(length).ok()?)
    }

    /// The bytes of a text or a table; other values are skipped and read as nothing.
    fn value(&mut self) -> Option<&'a [u8]> {
        let fixed = match self.take(1)?.first()? {
            b'S' | b'F' | b'A' | b'x' => return self.long(),
            b'V' => 0,
            b't' | b'b' | b'B' => 1,
            b's' | b'u' | b'U' => 2,
            b'I' | b'i' | b'f' => 4,
            b'D' => 5,
            b'l' | b'L' | b'd' | b'T' => 8,
            _ => return None,
        };
        self.take(fixed).map(|_| &[][..])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(name: &str, value: &str) -> Vec<u8> {
        let mut bytes = vec![u8::try_from(name.len()).expect("short")];
        bytes.extend(name.as_bytes());
        bytes.push(b'S');
        bytes.extend(u32::try_from(value.len()).expect("short").to_be_bytes());
        bytes.extend(value.as_bytes());
        bytes
    }

    fn greeting() -> Vec<u8> {
        let capabilities = [&b"\x0ccapabilitiesF\0\0\0\x05\x02ok"[..], b"t\x01"].concat();
        let table = [
            capabilities,
            text("product", "RabbitMQ"),
            text("version", "3.10.8"),
        ]
        .concat();
        let mut payload = vec![0, 10, 0, 10, 0, 9];
        payload.extend(u32::try_from(table.len()).expect("short").to_be_bytes());
        payload.extend(table);
        payload.extend(b"\0\0\0\x05PLAIN\0\0\0\x05en_US");
        let mut frame = vec![1, 0, 0];
        frame.extend(u32::try_from(payload.len()).expect("short").to_be_bytes());
        frame.extend(payload);
        frame.push(0xCE);
        frame
    }

    #[test]
    fn product_and_version_are_read_from_the_greeting() {
        let greeting = greeting();
        let server = Server::from_greeting(&greeting).expect("complete");
        assert_eq!(server.to_string(), "RabbitMQ 3.10.8");
        for cut in 0..greeting.len() - 1 {
            assert_eq!(Server::from_greeting(&greeting[..cut]), None, "{cut}");
        }
    }

    #[test]
    fn versions_are_compared_as_numbers() {
        let server = |version: &str| Server {
            product: "RabbitMQ".into(),
            version: version.into(),
        };
        assert!(server("3.10.8").at_least(3, 9));
        assert!(server("3.10.8").at_least(3, 10));
        assert!(!server("3.10.8").at_least(3, 12));
        assert!(!server("3.10.8").at_least(4, 0));
        assert!(server("4.3.0-rc.1").at_least(4, 3));
        assert!(!server("").at_least(0, 0));
        assert!(!server("unknown").at_least(0, 0));
    }
}
