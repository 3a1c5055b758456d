//! Bodies: Celery's JSON layout, its typed values, its compression.

pub mod absent;
pub mod body;
pub mod compression;
pub mod typed;

/// Any JSON as it travelled, byte for byte: for arguments and outputs that are passed on as they are.
///
/// Integers of any length keep their digits, and Python's typed values their type.
pub type RawJson = Box<serde_json::value::RawValue>;

/// The media type of JSON bodies, the only one that this version reads and writes.
pub const JSON: &str = "application/json";

/// The character set of JSON bodies.
pub const UTF_8: &str = "utf-8";

/// How much of a message this program takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// The most bytes a body may have, counted after decompression.
    pub body: usize,
}

impl Limits {
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
        }
    }
}
