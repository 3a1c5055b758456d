//! Where the broker is and who we are: a parsed and checked AMQP URL.

use std::fmt;
use std::time::Duration;

use url::Url;

use crate::error::ConnectError;

/// The longest user name and virtual host, in bytes.
const MAX_TEXT: usize = 255;

/// Where the broker is and who we are, from a URL such as `amqp://user:password@host:5672/vhost`.
///
/// * The scheme is `amqp` (port 5672) or `amqps` (port 5671; needs the feature `tls`).
/// * User and password are percent-decoded; both are `guest` if absent, and the password also if
///   it is empty, which RabbitMQ would refuse.
/// * The virtual host is the path, percent-decoded. An empty path and a single `/` both mean the default virtual
///   host `/`, as does `/%2f`. (The AMQP URI specification reads `amqp://host/` as the virtual host with the empty
///   name, which nobody has: a trailing slash is not a mistake worth an error.)
/// * The query may say `heartbeat` (seconds), `connection_timeout` (milliseconds), `frame_max` (bytes) and
///   `channel_max`. What it says wins over the [`BrokerBuilder`](crate::BrokerBuilder).
///
/// The password is never shown, neither by `Display` nor by `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Address {
    tls: bool,
    host: String,
    port: u16,
    user: String,
    password: String,
    vhost: String,
    query: Query,
}

/// What the URL says beside the place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Query {
    pub(crate) heartbeat: Option<Duration>,
    pub(crate) connection_timeout: Option<Duration>,
    pub(crate) frame_max: Option<u32>,
    pub(crate) channel_max: Option<u16>,
}

impl Address {
    /// Parses and checks an AMQP URL.
    ///
    /// # Errors
    ///
    /// [`ConnectErrorKind::Url`](crate::ConnectErrorKind::Url), with a text that says what is wrong with the URL and
    /// never repeats the password.
    pub fn parse(text: &str) -> Result<Self, ConnectError> {
        let url = Url::parse(text).map_err(|cause| {
            ConnectError::url(format!(
                "the AMQP URL cannot be read ({cause}): it looks like amqp://user:password@host:5672/vhost"
            ))
        })?;
        let tls = scheme(&url)?;
        whole(&url)?;
        let (user, password) = credentials(&url)?;
        Ok(Self {
            tls,
            host: host(&url)?,
            port: port(&url, tls)?,
            user,
            password,
            vhost: vhost(text)?,
            query: query(&url)?,
        })
    }

    /// The host name or IP address; an IPv6 address without its brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The TCP port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The virtual host.
    #[must_use]
    pub fn vhost(&self) -> &str {
        &self.vhost
    }

    /// The user name.
    #[must_use]
    pub fn user(&self) -> &str {
        &self.user
    }

    /// True if the connection is encrypted.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        self.tls
    }

    pub(crate) fn password(&self) -> &str {
        &self.password
    }

    pub(crate) fn query(&self) -> Query {
        self.query
    }

    /// Host and port, as error messages name them.
    pub(crate) fn place(&self) -> String {
        match self.host.contains(':') {
            true => format!("[{}]:{}", self.host, self.port),
            false => format!("{}:{}", self.host, self.port),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "amqps" } else { "amqp" };
        let vhost = match self.vhost.as_str() {
            "/" => "%2f",
            name => name,
        };
        write!(f, "{scheme}://{}@{}/{vhost}", self.user, self.place())
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({self})")
    }
}

fn scheme(url: &Url) -> Result<bool, ConnectError> {
    match url.scheme() {
        "amqp" => Ok(false),
        "amqps" if cfg!(feature = "tls") => Ok(true),
        "amqps" => Err(ConnectError::url(
            "amqps needs TLS, which this program was built without: enable the feature `tls` of coney",
        )),
        other => Err(ConnectError::url(format!(
            "`{other}` is not an AMQP scheme: use amqp:// or amqps://"
        ))),
    }
}

/// Refuses an `@` after the host: most likely a password with a `/`, `?` or `#` in it was cut short there, and what is
/// taken for virtual host or query, and shown, is the rest of it.
fn whole(url: &Url) -> Result<(), ConnectError> {
    let after = [Some(url.path()), url.query(), url.fragment()];
    match after.iter().flatten().any(|part| part.contains('@')) {
        true => Err(ConnectError::url(
            "there is an @ behind the host of the AMQP URL: percent-encode the password (/ is %2f, ? is %3f, # is %23), or write the @ as %40",
        )),
        false => Ok(()),
    }
}

fn host(url: &Url) -> Result<String, ConnectError> {
    let host = url.host_str().unwrap_or_default();
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let host = decode(host, "host")?;
    match host.is_empty() {
        true => Err(ConnectError::url(
            "the AMQP URL names no host: it looks like amqp://user:password@host:5672/vhost",
        )),
        false => Ok(host),
    }
}

fn port(url: &Url, tls: bool) -> Result<u16, ConnectError> {
    match url.port() {
        Some(0) => Err(ConnectError::url(
            "port 0 is not a port: RabbitMQ listens on 5672 (amqp) or 5671 (amqps)",
        )),
        Some(port) => Ok(port),
        None if tls => Ok(5671),
        None => Ok(5672),
    }
}

fn credentials(url: &Url) -> Result<(String, String), ConnectError> {
    let user = match url.username() {
        "" => "guest".to_owned(),
        user => decode(user, "user")?,
    };
    let password = match url.password() {
        None => "guest".to_owned(),
        Some(password) => decode(password, "password")?,
    };
    short(&user, "user")?;
    // RabbitMQ takes longer passwords, but none that contains the separator of the PLAIN mechanism
    if user.contains('\0') || password.contains('\0') {
        return Err(ConnectError::url(
            "user and password cannot contain a NUL byte",
        ));
    }
    Ok((user, password))
}

/// The virtual host, from the text of the URL: the url crate takes `.` and `..` for steps through folders, even escaped.
fn vhost(text: &str) -> Result<String, ConnectError> {
    let place = text.split_once("://").map_or("", |(_, place)| place);
    let before_query = place.split(['?', '#']).next().unwrap_or_default();
    let path = before_query.split_once('/').map_or("", |(_, path)| path);
    let path = path.trim_end();
    if path.is_empty() {
        return Ok("/".to_owned());
    }
    if path.contains('/') {
        return Err(ConnectError::url(
            "the virtual host in the AMQP URL has more than one part: write a slash within it as %2f",
        ));
    }
    let vhost = decode(path, "virtual host")?;
    short(&vhost, "virtual host")?;
    Ok(vhost)
}

fn query(url: &Url) -> Result<Query, ConnectError> {
    let mut query = Query::default();
    for (name, value) in url.query_pairs() {
        match &*name {
            "heartbeat" => {
                let seconds = number::<u16>(&name, &value)?;
                query.heartbeat = Some(Duration::from_secs(seconds.into()));
            }
            "connection_timeout" => {
                let millis = number(&name, &value)?;
                query.connection_timeout = Some(Duration::from_millis(millis));
            }
            "frame_max" => query.frame_max = Some(number(&name, &value)?),
            "channel_max" => query.channel_max = Some(number(&name, &value)?),
            other => {
                return Err(ConnectError::url(format!(
                    "`{other}` is not a parameter of an AMQP URL: known are heartbeat, connection_timeout, frame_max and channel_max"
                )));
            }
        }
    }
    Ok(query)
}

fn number<T: std::str::FromStr>(name: &str, value: &str) -> Result<T, ConnectError> {
    value.parse().map_err(|_| {
        ConnectError::url(format!(
            "`{name}` in the AMQP URL is `{value}`, which is not a number that fits"
        ))
    })
}

fn short(text: &str, what: &str) -> Result<(), ConnectError> {
    match text.len() {
        0..=MAX_TEXT => Ok(()),
        length => Err(ConnectError::url(format!(
            "the {what} in the AMQP URL has {length} bytes, at most {MAX_TEXT} are possible"
        ))),
    }
}

/// Decodes percent-escapes; the url crate has seen to it that a `%` without two digits after it stays as it is, which
/// is never what its author meant.
fn decode(text: &str, what: &str) -> Result<String, ConnectError> {
    let bad = || {
        ConnectError::url(format!(
            "the {what} in the AMQP URL is not percent-encoded UTF-8: write a percent sign as %25"
        ))
    };
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let (digits, after) = after.split_at_checked(2).ok_or_else(bad)?;
        if !digits.iter().all(u8::is_ascii_hexdigit) {
            return Err(bad());
        }
        let digits = String::from_utf8_lossy(digits);
        bytes.push(u8::from_str_radix(&digits, 16).map_err(|_| bad())?);
        rest = after;
    }
    String::from_utf8(bytes).map_err(|_| bad())
}

#[cfg(test)]
mod tests;
