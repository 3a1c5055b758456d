//! Bodies: Celery's JSON layout, its typed values, its compression, MessagePack.

pub mod absent;
pub mod body;
pub mod compression;
#[cfg(feature = "msgpack")]
pub(crate) mod msgpack;
pub mod typed;
pub(crate) mod words;

/// Any JSON as it travelled, byte for byte: for arguments and outputs that are passed on as they are.
///
/// Integers of any length keep their digits, and Python's typed values their type.
pub type RawJson = Box<serde_json::value::RawValue>;

/// The media type of JSON bodies.
pub const JSON: &str = "application/json";

/// The character set of JSON bodies.
pub const UTF_8: &str = "utf-8";

/// The media type of MessagePack bodies, as Celery names it.
pub const MSGPACK: &str = "application/x-msgpack";

/// How a body is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Serializer {
    /// JSON, which every worker reads.
    #[default]
    Json,
    /// MessagePack, which a worker has to be told to accept.
    #[cfg(feature = "msgpack")]
    Msgpack,
}

/// What of a message this program takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// The most bytes a body may have, counted after decompression.
    pub body: usize,
    /// True if bodies may be MessagePack.
    #[cfg(feature = "msgpack")]
    pub msgpack: bool,
}

impl Limits {
    /// Sets whether bodies may be MessagePack.
    #[cfg(feature = "msgpack")]
    #[must_use]
    pub const fn msgpack(mut self, accepted: bool) -> Self {
        self.msgpack = accepted;
        self
    }

    /// Sets the most bytes a body may have, counted after decompression.
    #[must_use]
    pub const fn body(mut self, bytes: usize) -> Self {
        self.body = bytes;
        self
    }
}

impl Default for Limits {
    /// 16 MiB, RabbitMQ's own limit for a message since 4.0.
    ///
    /// See `max_message_size` in <https://www.rabbitmq.com/docs/configure>.
    fn default() -> Self {
        Self {
            body: 16 * 1024 * 1024,
            #[cfg(feature = "msgpack")]
            msgpack: false,
        }
    }
}
