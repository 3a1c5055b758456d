//! What the broker objects to, with the codes and words of RabbitMQ.

use std::fmt;

/// An objection, and what it ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Objection {
    pub(crate) code: u16,
    pub(crate) text: String,
    /// What ends: the connection, or only the channel.
    pub(crate) ends_connection: bool,
}

/// The outcome of a method.
pub(crate) type Outcome<T> = Result<T, Objection>;

impl Objection {
    fn new(code: u16, name: &str, text: impl fmt::Display, ends_connection: bool) -> Self {
        let mut text = format!("{name} - {text}");
        // it has to fit into a short string
        if text.len() > 255 {
            while text.len() > 252 {
                text.pop();
            }
            text.push_str("...");
        }
        Self {
            code,
            text,
            ends_connection,
        }
    }

    pub(crate) fn access_refused(text: impl fmt::Display) -> Self {
        Self::new(403, "ACCESS_REFUSED", text, false)
    }

    pub(crate) fn login_refused(text: impl fmt::Display) -> Self {
        Self::new(403, "ACCESS_REFUSED", text, true)
    }

    pub(crate) fn not_found(text: impl fmt::Display) -> Self {
        Self::new(404, "NOT_FOUND", text, false)
    }

    pub(crate) fn locked(text: impl fmt::Display) -> Self {
        Self::new(405, "RESOURCE_LOCKED", text, false)
    }

    pub(crate) fn precondition(text: impl fmt::Display) -> Self {
        Self::new(406, "PRECONDITION_FAILED", text, false)
    }

    pub(crate) fn forced(text: impl fmt::Display) -> Self {
        Self::new(320, "CONNECTION_FORCED", text, true)
    }

    pub(crate) fn frame(text: impl fmt::Display) -> Self {
        Self::new(501, "FRAME_ERROR", text, true)
    }

    pub(crate) fn syntax(text: impl fmt::Display) -> Self {
        Self::new(502, "SYNTAX_ERROR", text, true)
    }

    pub(crate) fn command_invalid(text: impl fmt::Display) -> Self {
        Self::new(503, "COMMAND_INVALID", text, true)
    }

    pub(crate) fn channel_error(text: impl fmt::Display) -> Self {
        Self::new(504, "CHANNEL_ERROR", text, true)
    }

    pub(crate) fn no_channel(number: u16) -> Self {
        Self::channel_error(format_args!("channel {number} is not open"))
    }

    pub(crate) fn unexpected_frame(text: impl fmt::Display) -> Self {
        Self::new(505, "UNEXPECTED_FRAME", text, true)
    }

    pub(crate) fn not_allowed(text: impl fmt::Display) -> Self {
        Self::new(530, "NOT_ALLOWED", text, true)
    }

    pub(crate) fn not_implemented(text: impl fmt::Display) -> Self {
        Self::new(540, "NOT_IMPLEMENTED", text, true)
    }
}
