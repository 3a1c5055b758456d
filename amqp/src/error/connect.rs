//! Why there is no connection to the broker.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use super::{BrokerReply, Cause};
use crate::address::Address;

/// There is no connection to the broker.
#[derive(Debug)]
pub struct ConnectError {
    kind: ConnectErrorKind,
    message: String,
    source: Option<Cause>,
}

/// Why there is no connection to the broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConnectErrorKind {
    /// The URL or a setting cannot be used.
    Url,
    /// Nobody answers at this host and port.
    Unreachable,
    /// The connection was not ready in time.
    Timeout,
    /// The broker knows no such user, or the password is wrong.
    Authentication,
    /// The virtual host does not exist.
    VhostMissing,
    /// The user may not use the virtual host.
    VhostRefused,
    /// The broker and this program could not agree on TLS.
    Tls,
    /// What answers does not speak AMQP 0-9-1, or closed the connection during the handshake.
    Protocol,
    /// The broker handle was closed.
    Closed,
}

impl ConnectError {
    pub(crate) fn new(kind: ConnectErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            source: None,
        }
    }

    pub(crate) fn caused_by(mut self, cause: impl Into<Cause>) -> Self {
        self.source = Some(cause.into());
        self
    }

    pub(crate) fn url(message: impl Into<String>) -> Self {
        Self::new(ConnectErrorKind::Url, message)
    }

    pub(crate) fn closed() -> Self {
        Self::new(ConnectErrorKind::Closed, "the broker handle was closed")
    }

    pub(crate) fn unreachable(address: &Address, cause: std::io::Error) -> Self {
        let place = address.place();
        let advice = match cause.kind() {
            std::io::ErrorKind::ConnectionRefused => "is RabbitMQ running, and is this its port?",
            _ => "check the host name and the network",
        };
        Self::new(
            ConnectErrorKind::Unreachable,
            format!("cannot reach {place}: {advice}"),
        )
        .caused_by(cause)
    }

    pub(crate) fn timeout(address: &Address, limit: Duration, step: &str) -> Self {
        Self::new(
            ConnectErrorKind::Timeout,
            format!(
                "{} did not finish {step} within {limit:?}: is it a RabbitMQ server, and is nothing in between?",
                address.place()
            ),
        )
    }

    #[cfg_attr(
        not(feature = "tls"),
        expect(dead_code, reason = "no TLS, no TLS error")
    )]
    pub(crate) fn tls(address: &Address, cause: std::io::Error) -> Self {
        let place = address.place();
        let text = cause.to_string();
        let message = if text.contains(ALERT) {
            refused_by(&place)
        } else if text.contains("not valid for name") {
            format!("the TLS certificate of {place} was made for another host: use that name")
        } else if text.contains("UnknownIssuer") || text.contains("BadSignature") {
            format!(
                "the TLS certificate of {place} was not accepted: name its authority with Tls::ca_file"
            )
        } else if text.contains("certificate") {
            format!("the TLS certificate of {place} was not accepted")
        } else {
            not_tls(&place)
        };
        Self::new(ConnectErrorKind::Tls, message).caused_by(cause)
    }

    #[cfg_attr(
        not(feature = "tls"),
        expect(dead_code, reason = "no TLS, no TLS error")
    )]
    pub(crate) fn tls_timeout(address: &Address, limit: Duration) -> Self {
        Self::new(
            ConnectErrorKind::Tls,
            format!("{} (waited {limit:?})", not_tls(&address.place())),
        )
    }

    /// Says what an error of the AMQP handshake means.
    pub(crate) fn handshake(address: &Address, cause: lapin::Error) -> Self {
        let (place, user, vhost) = (address.place(), address.user(), address.vhost());
        let (kind, message) = match BrokerReply::of(&cause) {
            Some(reply) if reply.code == 403 => (
                ConnectErrorKind::Authentication,
                format!("{place} refused the login of user `{user}`: check user and password"),
            ),
            Some(reply) if reply.code == 530 && reply.text.contains("not found") => (
                ConnectErrorKind::VhostMissing,
                format!(
                    "{place} has no virtual host `{vhost}`: create it with `rabbitmqctl add_vhost {vhost}`"
                ),
            ),
            Some(reply) if reply.code == 530 => (
                ConnectErrorKind::VhostRefused,
                format!(
                    "{place} does not let user `{user}` into virtual host `{vhost}`: allow it with \
                     `rabbitmqctl set_permissions -p {vhost} {user} \".*\" \".*\" \".*\"` ({})",
                    reply.text
                ),
            ),
            Some(reply) => (
                ConnectErrorKind::Protocol,
                format!("{place} ended the handshake: {}", reply.text),
            ),
            // with TLS 1.3, a server checks the client's certificate when the client has begun to speak
            None if cause.to_string().contains(ALERT) => {
                (ConnectErrorKind::Tls, refused_by(&place))
            }
            None => (
                ConnectErrorKind::Protocol,
                format!(
                    "{place} ended the connection during the handshake: is it a plain AMQP 0-9-1 port?"
                ),
            ),
        };
        Self::new(kind, message).caused_by(cause)
    }

    /// What went wrong.
    #[must_use]
    pub fn kind(&self) -> ConnectErrorKind {
        self.kind
    }

    /// True if the same attempt may succeed later without anybody changing anything here.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(
            self.kind,
            ConnectErrorKind::Unreachable | ConnectErrorKind::Timeout | ConnectErrorKind::Protocol
        )
    }
}

/// How rustls says that the other side gave up.
const ALERT: &str = "received fatal alert";

fn refused_by(place: &str) -> String {
    format!(
        "{place} refused the TLS connection: if it asks for a client certificate, name one that it accepts with \
         Tls::client_certificate"
    )
}

fn not_tls(place: &str) -> String {
    format!(
        "{place} did not answer as a TLS server: is this the plain port? (RabbitMQ: 5671 for amqps, 5672 for amqp)"
    )
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for ConnectError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|cause| cause as _)
    }
}
