//! Bodies as Python compresses them.

use std::io::Write;

/// The zlib stream of some pieces.
pub(crate) fn deflate(pieces: &[&[u8]]) -> Vec<u8> {
    let mut stream = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
    for piece in pieces {
        stream.write_all(piece).expect("a vector takes all");
    }
    stream.finish().expect("a vector takes all")
}
