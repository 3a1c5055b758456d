//! From the bytes that travelled to plain JSON: content type, character set, compression, size.

use std::io::Write as _;

use bytes::Bytes;
use flate2::write::ZlibEncoder;
use flate2::{Decompress, FlushDecompress, Status};

use crate::codec::{JSON, Limits, Serializer, words};
use crate::error::DecodeError;
use crate::message::Body;

/// How a body can be compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Compression {
    /// zlib (RFC 1950), which Celery calls `gzip` as well: every worker reads it.
    Zlib,
    /// bzip2.
    #[cfg(feature = "bzip2")]
    Bzip2,
    /// Zstandard; a Celery worker needs a library for it.
    #[cfg(feature = "zstd")]
    Zstd,
}

impl Compression {
    /// The compression that the header `compression` names.
    fn of(name: &str) -> Option<Self> {
        match name {
            name if ZLIB.contains(&name) => Some(Self::Zlib),
            #[cfg(feature = "bzip2")]
            "application/x-bz2" | "bzip2" | "bzip" => Some(Self::Bzip2),
            #[cfg(feature = "zstd")]
            "application/zstd" | "zstd" | "zstandard" => Some(Self::Zstd),
            _ => None,
        }
    }

    /// The name in the header.
    fn name(self) -> &'static str {
        match self {
            Self::Zlib => ZLIB[0],
            #[cfg(feature = "bzip2")]
            Self::Bzip2 => "application/x-bz2",
            #[cfg(feature = "zstd")]
            Self::Zstd => "application/zstd",
        }
    }

    fn compress(self, plain: &[u8]) -> std::io::Result<Vec<u8>> {
        match self {
            Self::Zlib => {
                let mut encoder = ZlibEncoder::new(Vec::new(), flate2::Compression::default());
                encoder.write_all(plain)?;
                encoder.finish()
            }
            #[cfg(feature = "bzip2")]
            Self::Bzip2 => {
                let level = bzip2::Compression::default();
                let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), level);
                encoder.write_all(plain)?;
                encoder.finish()
            }
            #[cfg(feature = "zstd")]
            Self::Zstd => zstd::encode_all(plain, zstd::DEFAULT_COMPRESSION_LEVEL),
        }
    }

    fn decompress(self, bytes: &[u8], limit: usize) -> Result<Vec<u8>, DecodeError> {
        match self {
            Self::Zlib => inflate(bytes, limit),
            #[cfg(feature = "bzip2")]
            Self::Bzip2 => read_up_to(bzip2::read::BzDecoder::new(bytes), "bzip2", limit),
            #[cfg(feature = "zstd")]
            Self::Zstd => {
                let open = || {
                    let mut stream = zstd::Decoder::new(bytes)?;
                    // the window is memory: no more of it than the body may have, or than every decoder shall offer
                    // (8 MiB, RFC 8878, 3.1.1.1.2)
                    stream.window_log_max((limit.max(1).ilog2() + 1).clamp(23, 27))?;
                    Ok(stream)
                };
                let stream = open().map_err(|source| DecodeError::Compressed {
                    encoding: "zstd",
                    source,
                })?;
                read_up_to(stream, "zstd", limit)
            }
        }
    }
}

/// Reads a decompressed stream, but no more than `limit` bytes of it.
#[cfg(any(feature = "bzip2", feature = "zstd"))]
fn read_up_to(
    stream: impl std::io::Read,
    encoding: &'static str,
    limit: usize,
) -> Result<Vec<u8>, DecodeError> {
    use std::io::Read as _;

    let mut plain = Vec::new();
    let most = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    stream
        .take(most)
        .read_to_end(&mut plain)
        .map_err(|source| DecodeError::Compressed { encoding, source })?;
    if plain.len() > limit {
        return Err(DecodeError::TooLarge { limit });
    }
    Ok(plain)
}

/// What kombu calls zlib (RFC 1950) in the `compression` header, and its aliases for it; none of them means gzip.
const ZLIB: [&str; 3] = ["application/x-gzip", "gzip", "zlib"];

impl Body {
    /// The plain JSON text, decompressed if it was compressed, and not copied if it was not.
    ///
    /// Python's bare words `NaN`, `Infinity` and `-Infinity` are typed values in it: see [`typed`](crate::codec::typed).
    ///
    /// JSON is always UTF-8, and kombu does not look at the character set of a JSON body either; one that names another
    /// set is refused here all the same, for its text would be misread.
    ///
    /// # Errors
    ///
    /// - [`DecodeError::ContentType`] for a body that does not say that it is JSON.
    /// - [`DecodeError::Compression`] for a compression other than zlib and those that features add,
    ///   [`DecodeError::Compressed`] for bytes that are not that.
    /// - [`DecodeError::TooLarge`] beyond `limits`, without ever holding more than that.
    pub fn plain(&self, limits: &Limits) -> Result<Bytes, DecodeError> {
        let is_msgpack = self.is_msgpack(limits);
        if !is_msgpack {
            self.check_json()?;
        }
        let limit = limits.body;
        let plain = match self.compression.as_deref() {
            None if self.bytes.len() > limit => Err(DecodeError::TooLarge { limit }),
            None => Ok(self.bytes.clone()),
            Some(name) => match Compression::of(name) {
                Some(compression) => compression.decompress(&self.bytes, limit).map(Bytes::from),
                None => Err(DecodeError::Compression {
                    found: name.to_owned(),
                }),
            },
        };
        let plain = plain?;
        #[cfg(feature = "msgpack")]
        let plain = match is_msgpack {
            true => super::msgpack::to_json(&plain, limit)?.into(),
            false => plain,
        };
        words::escape(plain, limit).ok_or(DecodeError::TooLarge { limit })
    }

    #[cfg(feature = "msgpack")]
    fn is_msgpack(&self, limits: &Limits) -> bool {
        let media_type = self.content_type.as_deref().unwrap_or_default();
        limits.msgpack && media_type == super::MSGPACK
    }

    #[cfg(not(feature = "msgpack"))]
    #[allow(clippy::unused_self, reason = "the feature looks at both")]
    fn is_msgpack(&self, _: &Limits) -> bool {
        false
    }

    /// The same body, written otherwise.
    #[must_use]
    pub fn serialized(self, serializer: Serializer) -> Self {
        match serializer {
            Serializer::Json => self,
            #[cfg(feature = "msgpack")]
            Serializer::Msgpack => match super::msgpack::of_json(&self.bytes) {
                Some(bytes) => Self {
                    content_type: Some(super::MSGPACK.into()),
                    content_encoding: Some("binary".into()),
                    bytes: bytes.into(),
                    ..self
                },
                // it has Python's bare words
                None => self,
            },
        }
    }

    /// The same body, compressed.
    #[must_use]
    pub fn compressed(self, compression: Compression) -> Self {
        match compression.compress(&self.bytes) {
            Ok(bytes) => Self {
                compression: Some(compression.name().into()),
                bytes: bytes.into(),
                ..self
            },
            // memory does not refuse to be written to; if it did, the plain body says the same
            Err(_) => self,
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
        let before = (read, plain.len());
        let status = stream
            .decompress_vec(rest, &mut plain, FlushDecompress::None)
            .map_err(|e| invalid(e.into()))?;
        if plain.len() > limit {
            return Err(DecodeError::TooLarge { limit });
        }
        if status == Status::StreamEnd {
            return Ok(plain);
        }
        if plain.len() == plain.capacity() {
            let room = plain.capacity().min(most - plain.len());
            plain.reserve_exact(room.max(1));
        } else if before
            == (
                usize::try_from(stream.total_in()).unwrap_or(read),
                plain.len(),
            )
        {
            // there was room and nothing came; the last of the input alone can mean more than one call brings
            return Err(invalid(std::io::ErrorKind::UnexpectedEof.into()));
        }
    }
}
