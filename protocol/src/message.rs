//! A task message: header and encoded body.

use std::borrow::Cow;

use bytes::Bytes;

use crate::codec::{self, words};
use crate::header::Header;

/// A task message between its two ends: header and encoded body.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Message {
    /// All that travels beside the body.
    pub header: Header,
    /// The body.
    pub body: Body,
}

impl Message {
    /// Makes a message of its parts.
    #[must_use]
    pub const fn new(header: Header, body: Body) -> Self {
        Self { header, body }
    }
}

/// The body as it travels, and what is needed to read it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Body {
    /// Media type of the plain body.
    pub content_type: Option<Cow<'static, str>>,
    /// Character set of the plain body.
    pub content_encoding: Option<Cow<'static, str>>,
    /// How the bytes are compressed, as Celery's header says it.
    pub compression: Option<Cow<'static, str>>,
    /// The bytes.
    pub bytes: Bytes,
}

impl Body {
    /// A plain JSON body, in which typed values for Python's bare words (`NaN`) are those words again.
    #[must_use]
    pub fn json(bytes: impl Into<Bytes>) -> Self {
        Self {
            content_type: Some(Cow::Borrowed(codec::JSON)),
            content_encoding: Some(Cow::Borrowed(codec::UTF_8)),
            compression: None,
            bytes: words::restore(bytes.into()),
        }
    }
}
