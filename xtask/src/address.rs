//! The parts of an AMQP URL that are needed to see whether a broker answers there.

use std::fmt;

use anyhow::{Context, Result, bail};

/// Host, port and login of an AMQP URL. `Display` is `host:port`: never the password.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) tls: bool,
    pub(crate) user: String,
    pub(crate) password: String,
}

impl Address {
    /// Reads `amqp[s]://[user[:password]@]host[:port][/vhost][?options]`.
    ///
    /// # Errors
    /// If it is no AMQP URL. The text never repeats the URL, which may hold a password.
    pub(crate) fn parse(url: &str) -> Result<Self> {
        let (scheme, rest) = url
            .split_once("://")
            .context("it does not start with amqp:// or amqps://")?;
        let tls = match scheme {
            "amqp" => false,
            "amqps" => true,
            _ => bail!("it does not start with amqp:// or amqps://"),
        };
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let (login, place) = authority.rsplit_once('@').unwrap_or(("", authority));
        let (host, port) = host_and_port(place, if tls { 5671 } else { 5672 })?;
        let (user, password) = match login {
            "" => ("guest", "guest"),
            login => login.split_once(':').unwrap_or((login, "")),
        };
        Ok(Self {
            host,
            port,
            tls,
            user: percent_decoded(user),
            password: percent_decoded(password),
        })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

fn host_and_port(place: &str, default: u16) -> Result<(String, u16)> {
    let (host, port) = match place.strip_prefix('[') {
        Some(v6) => {
            let (host, rest) = v6.split_once(']').context("the host has no closing ]")?;
            (host, rest.strip_prefix(':'))
        }
        None => place
            .split_once(':')
            .map_or((place, None), |(host, port)| (host, Some(port))),
    };
    let port = match port {
        None | Some("") => default,
        Some(digits) => digits.parse().context("the port is no number")?,
    };
    let host = if host.is_empty() { "localhost" } else { host };
    Ok((host.to_owned(), port))
}

fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let hex = tail
            .get(..2)
            .filter(|_| first == b'%')
            .and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok());
        bytes.push(hex.unwrap_or(first));
        rest = if hex.is_some() { &tail[2..] } else { tail };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_split_into_its_parts() {
        let cases = [
            ("amqp://localhost", "localhost:5672", "guest", "guest"),
            ("amqps://h", "h:5671", "guest", "guest"),
            ("amqp://u:p@h:1/v?heartbeat=5", "h:1", "u", "p"),
            ("amqp://u:a%40b%@h/%2f", "h:5672", "u", "a@b%"),
            ("amqp://u@[::1]:7", "[::1]:7", "u", ""),
            ("amqp://", "localhost:5672", "guest", "guest"),
        ];
        for (url, place, user, password) in cases {
            let address = Address::parse(url).unwrap();
            assert_eq!(address.to_string(), place, "{url}");
            assert_eq!((&*address.user, &*address.password), (user, password));
        }
    }

    #[test]
    fn an_error_does_not_repeat_the_password() {
        for url in ["http://u:secret@h", "secret", "amqp://u:secret@h:x"] {
            let error = Address::parse(url).err().unwrap();
            assert!(!format!("{error:#}").contains("secret"), "{error:#}");
        }
    }
}
