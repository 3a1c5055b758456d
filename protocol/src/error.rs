//! What can be wrong with a message, as typed errors.

use std::fmt;

/// Why a call could not be encoded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// An argument has no JSON form (a map with keys that are no text, a number that is not finite, an error of its own).
    #[error("task `{task}` cannot be encoded")]
    Argument {
        /// The task's wire name.
        task: String,
        /// Which argument, and why.
        #[source]
        source: ArgumentError,
    },
    /// A name of the caller's own (queue, task, header) cannot be used.
    #[error("{what} `{name}` cannot be used")]
    Name {
        /// What it names.
        what: &'static str,
        /// The name.
        name: String,
        /// Why not.
        #[source]
        source: crate::name::NameError,
    },
    /// The delay ends later than any clock can tell.
    #[error("a delay of {delay:?} ends later than any clock can tell")]
    Delay {
        /// The delay.
        delay: std::time::Duration,
    },
    /// A step of a workflow cannot be encoded.
    #[error("a step of the workflow cannot be encoded")]
    Step(#[source] std::sync::Arc<Self>),
    /// A chain or group stands where one call has to.
    #[error("only a single call can take the place of a task")]
    NotOne,
    /// A workflow has no tasks.
    #[error("the workflow has no tasks")]
    Empty,
    /// A header of the caller's own has a name that the protocol uses.
    #[error("the header `{name}` belongs to the protocol: choose another name")]
    ReservedHeader {
        /// The header's name.
        name: String,
    },
    /// The arguments given by name are not a JSON object, or those given by position not an array.
    #[error("arguments are a JSON array (by position) or an object (by name), not {found}")]
    Shape {
        /// What was given instead.
        found: &'static str,
    },
}

/// Why the arguments of a message do not fit the task.
#[derive(Debug)]
pub struct ArgumentError {
    task: String,
    argument: Option<(&'static str, &'static str)>,
    kind: ArgumentErrorKind,
}

/// What is wrong with the arguments.
#[derive(Debug)]
#[non_exhaustive]
pub enum ArgumentErrorKind {
    /// The argument is not there and is no `Option`.
    Missing,
    /// The argument has another type.
    Invalid(serde_json::Error),
    /// The argument is given by position and by name.
    Twice,
    /// There are more positional arguments than parameters.
    TooMany {
        /// The number of parameters.
        most: usize,
        /// The number of positional arguments.
        got: usize,
    },
    /// No parameter has this name.
    Unknown {
        /// The name in the message.
        name: String,
    },
    /// The argument has no JSON form.
    Unsent(serde_json::Error),
}

impl ArgumentError {
    pub(crate) fn new(
        task: &str,
        name: &'static str,
        ty: &'static str,
        kind: ArgumentErrorKind,
    ) -> Self {
        Self {
            task: task.to_owned(),
            argument: Some((name, ty)),
            kind,
        }
    }

    pub(crate) fn of_task(task: &str, kind: ArgumentErrorKind) -> Self {
        Self {
            task: task.to_owned(),
            argument: None,
            kind,
        }
    }

    /// What is wrong.
    #[must_use]
    pub fn kind(&self) -> &ArgumentErrorKind {
        &self.kind
    }

    /// The parameter it is about, if it is about one.
    #[must_use]
    pub fn argument(&self) -> Option<&'static str> {
        self.argument.map(|(name, _)| name)
    }
}

impl fmt::Display for ArgumentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.task.is_empty() {
            write!(f, "task `{}`", self.task)?;
            f.write_str(if self.argument.is_some() { ", " } else { ": " })?;
        }
        if let Some((name, _)) = self.argument {
            write!(f, "argument `{name}`: ")?;
        }
        let ty = self.argument.map_or("", |(_, ty)| ty);
        match &self.kind {
            ArgumentErrorKind::Missing => write!(f, "missing (expected `{ty}`)"),
            ArgumentErrorKind::Invalid(_) => write!(f, "not a `{ty}`"),
            ArgumentErrorKind::Twice => f.write_str("given by position and by name"),
            ArgumentErrorKind::TooMany { most, got } => {
                write!(f, "takes at most {most} positional arguments, got {got}")
            }
            ArgumentErrorKind::Unknown { name } => write!(f, "no parameter is called `{name}`"),
            ArgumentErrorKind::Unsent(_) => write!(f, "`{ty}` has no JSON form"),
        }
    }
}

impl std::error::Error for ArgumentError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.kind {
            ArgumentErrorKind::Invalid(source) | ArgumentErrorKind::Unsent(source) => Some(source),
            _ => None,
        }
    }
}

/// Why a message is no task that can be run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The message is neither of protocol 2 (header `task`) nor of protocol 1 (a body with `task`).
    #[error("not a task message: no header `task`, and no body of protocol 1")]
    NotATask,
    /// A header that every message needs is not there.
    #[error("the message has no `{name}`")]
    MissingHeader {
        /// The header's name.
        name: &'static str,
    },
    /// A header has another type or form than the protocol gives it.
    #[error("the header `{name}` is not {expected}")]
    Header {
        /// The header's name.
        name: &'static str,
        /// What it should be.
        expected: &'static str,
    },
    /// The content type is none that this program reads.
    #[error("content type `{found}` is not accepted: send `application/json`")]
    ContentType {
        /// The content type of the message.
        found: String,
    },
    /// The compression is none that this program reads.
    #[error(
        "compression `{found}` is not accepted: send zlib (`application/x-gzip`) or none, or add the feature `bzip2` or `zstd`"
    )]
    Compression {
        /// The compression of the message.
        found: String,
    },
    /// The body cannot be decompressed.
    #[error("the body is not valid {encoding} data")]
    Compressed {
        /// The compression of the message.
        encoding: &'static str,
        /// What is wrong with it.
        #[source]
        source: std::io::Error,
    },
    /// The body is larger than this program takes.
    #[error("the body has more than {limit} bytes")]
    TooLarge {
        /// The limit, in bytes.
        limit: usize,
    },
    /// The body is not what the protocol says.
    #[error("not a Celery body")]
    Body(#[source] serde_json::Error),
}
