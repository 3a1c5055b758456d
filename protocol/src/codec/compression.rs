//! From the bytes that travelled to plain JSON: content type, character set, compression, size.

use bytes::Bytes;
use flate2::{Decompress, FlushDecompress, Status};

use crate::codec::{JSON, Limits};
use crate::error::DecodeError;
use crate::message::Body;

/// What kombu calls zlib (RFC 1950) in the `compression` header, and its aliases for it; none of them means gzip.
const ZLIB: [&str; 3] = ["application/x-gzip", "gzip", "zlib"];

impl Body {
    /// The plain JSON text, decompressed if it was compressed, and not copied if it was not.
    ///
    /// JSON is always UTF-8, and kombu does not look at the character set of a JSON body either; one that names another
    /// set is refused here all the same, for its text would be misread.
    ///
    /// # Errors
    ///
    /// - [`DecodeError::ContentType`] for a body that does not say that it is JSON.
    /// - [`DecodeError::Compression`] for a compression other than zlib, [`DecodeError::Compressed`] for bytes that are
    ///   not that.
    /// - [`DecodeError::TooLarge`] beyond `limits`, without ever holding more than that.
    pub fn plain(&self, limits: &Limits) -> Result<Bytes, DecodeError> {
        self.check_json()?;
        let limit = limits.body;
        match self.compression.as_deref() {
            None if self.bytes.len() > limit => Err(DecodeError::TooLarge { limit }),
            None => Ok(self.bytes.clone()),
            Some(name) if ZLIB.contains(&name) => inflate(&self.bytes, limit).map(Bytes::from),
            Some(name) => Err(DecodeError::Compression {
                found: name.to_owned(),
            }),
        }
    }

    /// Refuses what does not say that it is JSON in UTF-8.
    fn check_json(&self) -> Result<(), DecodeError> {
        let media_type = self.content_type.as_deref().unwrap_or_default();
        let charset = self.content_encoding.as_deref().unwrap_or_default();
        let is_accepted = if media_type.is_empty() {
            charset.is_empty() || is_utf_8(charset)
        } else {
            is_json(media_type) && is_charset_of_json(charset)
        };
        if is_accepted {
            return Ok(());
        }
        let found = match (media_type, charset) {
            ("", charset) => format!("none, {charset}"),
            (media_type, charset) if is_json(media_type) => format!("{media_type}, {charset}"),
            (media_type, _) => media_type.to_owned(),
        };
        Err(DecodeError::ContentType { found })
    }
}

/// True for JSON with any parameters, as long as a `charset` among them is one that JSON can have.
fn is_json(media_type: &str) -> bool {
    let mut parts = media_type.split(';').map(str::trim);
    parts
        .next()
        .is_some_and(|essence| essence.eq_ignore_ascii_case(JSON))
        && parts.all(|parameter| match parameter.split_once('=') {
            Some((name, charset)) if name.trim().eq_ignore_ascii_case("charset") => {
                is_charset_of_json(charset.trim().trim_matches('"'))
            }
            _ => true,
        })
}

fn is_utf_8(charset: &str) -> bool {
    ["utf-8", "utf8"]
        .iter()
        .any(|known| charset.eq_ignore_ascii_case(known))
}

/// UTF-8, its subset ASCII, and what says nothing about characters.
fn is_charset_of_json(charset: &str) -> bool {
    is_utf_8(charset)
        || ["", "us-ascii", "ascii", "binary"]
            .iter()
            .any(|known| charset.eq_ignore_ascii_case(known))
}

/// Decompresses a zlib stream, but no more than `limit` bytes of it.
fn inflate(bytes: &[u8], limit: usize) -> Result<Vec<u8>, DecodeError> {
    let invalid = |source| DecodeError::Compressed {
        encoding: "zlib",
        source,
    };
    // one byte more than allowed tells a body that is too large from one that just fits
    let most = limit.saturating_add(1);
    let mut stream = Decompress::new(true);
    let mut plain =
        Vec::with_capacity(bytes.len().saturating_mul(4).clamp(64, 64 * 1024).min(most));
    loop {
        let read = usize::try_from(stream.total_in()).unwrap_or(bytes.len());
        let rest = bytes.get(read..).unwrap_or_default();
        let status = stream
            .decompress_vec(rest, &mut plain, FlushDecompress::None)
            .map_err(|e| invalid(e.into()))?;
        if plain.len() > limit {
            return Err(DecodeError::TooLarge { limit });
        }
        if status == Status::StreamEnd {
            return Ok(plain);
        }
        if plain.len() < plain.capacity() {
            // there was room, so the input is used up
            return Err(invalid(std::io::ErrorKind::UnexpectedEof.into()));
        }
        let room = plain.capacity().min(most - plain.len());
        plain.reserve_exact(room.max(1));
    }
}
