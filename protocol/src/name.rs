//! Names that end up on the broker, checked before they get there.

use std::fmt;

/// The longest name of a queue, in bytes.
///
/// RabbitMQ allows 255 bytes for a queue name and for a routing key; a delayed message carries the queue's name
/// behind one digit and one dot for each level of the delay ladder, and a dead-letter queue adds `.dead`.
pub const MAX_QUEUE_NAME: usize = 170;

/// The longest wire name of a task, in bytes.
pub const MAX_TASK_NAME: usize = 255;

/// Says whether `name` can be the name of a queue.
///
/// A `const fn`, so that `#[derive(Queue)]` can check at compile time.
///
/// # Errors
///
/// [`NameError`] for an empty name, one longer than [`MAX_QUEUE_NAME`], a control character, the prefix `amq.`, which
/// RabbitMQ keeps for itself, or a `*` or `#`, which would make a pattern of the key that the queue is bound with.
pub const fn check_queue_name(name: &str) -> Result<(), NameError> {
    let bytes = name.as_bytes();
    if bytes.len() >= 4
        && bytes[0] == b'a'
        && bytes[1] == b'm'
        && bytes[2] == b'q'
        && bytes[3] == b'.'
    {
        return Err(NameError::Reserved);
    }
    let mut at = 0;
    while at < bytes.len() {
        if bytes[at] == b'*' || bytes[at] == b'#' {
            return Err(NameError::Pattern);
        }
        at += 1;
    }
    check_text(bytes, MAX_QUEUE_NAME)
}

/// Says whether `name` can be the wire name of a task.
///
/// # Errors
///
/// [`NameError`] for an empty name, one longer than [`MAX_TASK_NAME`], or a control character.
pub const fn check_task_name(name: &str) -> Result<(), NameError> {
    check_text(name.as_bytes(), MAX_TASK_NAME)
}

const fn check_text(bytes: &[u8], max: usize) -> Result<(), NameError> {
    if bytes.is_empty() {
        return Err(NameError::Empty);
    }
    if bytes.len() > max {
        return Err(NameError::TooLong {
            length: bytes.len(),
            max,
        });
    }
    let mut at = 0;
    while at < bytes.len() {
        if bytes[at].is_ascii_control() {
            return Err(NameError::Control);
        }
        at += 1;
    }
    Ok(())
}

/// Why a text cannot be a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NameError {
    /// The name has no characters.
    Empty,
    /// The name has more bytes than fit.
    TooLong {
        /// Length of the name, in bytes.
        length: usize,
        /// The longest name that fits, in bytes.
        max: usize,
    },
    /// The name contains a control character.
    Control,
    /// The name starts with `amq.`.
    Reserved,
    /// The name of a queue contains `*` or `#`: as a binding key it would be a pattern.
    Pattern,
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("a name cannot be empty"),
            Self::TooLong { length, max } => {
                write!(f, "the name has {length} bytes, at most {max} are possible")
            }
            Self::Control => f.write_str("a name cannot contain control characters"),
            Self::Reserved => {
                f.write_str("names that start with `amq.` belong to RabbitMQ: choose another")
            }
            Self::Pattern => {
                f.write_str("`*` and `#` make a pattern of a routing key: choose a name without")
            }
        }
    }
}

impl std::error::Error for NameError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_rabbitmq_would_refuse_are_refused_here() {
        assert_eq!(check_queue_name("emails"), Ok(()));
        assert_eq!(check_queue_name("größe.ü"), Ok(()));
        assert_eq!(check_queue_name(""), Err(NameError::Empty));
        assert_eq!(check_queue_name("amq.gen"), Err(NameError::Reserved));
        assert_eq!(check_queue_name("a\nb"), Err(NameError::Control));
        assert_eq!(check_queue_name("a.*.b"), Err(NameError::Pattern));
        assert_eq!(check_queue_name("all.#"), Err(NameError::Pattern));
        let long = "x".repeat(MAX_QUEUE_NAME + 1);
        assert!(matches!(
            check_queue_name(&long),
            Err(NameError::TooLong { .. })
        ));
    }
}
