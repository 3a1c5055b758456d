//! From the bytes that travelled to plain JSON: what is taken, and what is refused without being unpacked.

mod zlib;

use coney_protocol::codec::Limits;
use coney_protocol::codec::body::RawCall;
use coney_protocol::error::DecodeError;
use coney_protocol::message::Body;
use zlib::deflate;

#[test]
fn the_bare_words_of_python_are_no_json() {
    for word in ["NaN", "Infinity", "-Infinity"] {
        let body = format!("[[{word}],{{}},{{}}]");
        assert!(matches!(
            RawCall::cut(body.as_bytes()),
            Err(DecodeError::Body(_))
        ));
    }
}

fn body(content_type: Option<&'static str>, content_encoding: Option<&'static str>) -> Body {
    let mut body = Body::json("[]");
    body.content_type = content_type.map(Into::into);
    body.content_encoding = content_encoding.map(Into::into);
    body
}

#[test]
fn a_body_is_json_if_it_says_so() {
    let plain = |body: &Body| body.plain(&Limits::default());
    for (content_type, content_encoding) in [
        (Some("application/json"), Some("utf-8")),
        (Some("application/json"), Some("UTF-8")),
        (Some("application/json"), Some("utf8")),
        (Some("application/json"), Some("us-ascii")),
        (Some("application/json"), Some("binary")),
        (Some("application/json"), Some("")),
        (Some("application/json"), None),
        (Some("Application/JSON; charset=utf-8"), None),
        (Some("application/json ; CHARSET=\"UTF-8\"; q=1"), None),
        (None, None),
        (None, Some("utf-8")),
        (Some(""), Some("utf-8")),
    ] {
        let body = body(content_type, content_encoding);
        assert!(plain(&body).is_ok(), "{body:?}");
    }
    for (content_type, content_encoding, named) in [
        (
            Some("application/json"),
            Some("utf-16"),
            "application/json, utf-16",
        ),
        (
            Some("application/json; charset=latin-1"),
            None,
            "charset=latin-1",
        ),
        (Some("application/jsonp"), None, "application/jsonp"),
        (Some("text/plain"), Some("utf-8"), "text/plain"),
        (
            Some("application/x-python-serialize"),
            Some("binary"),
            "python",
        ),
        (None, Some("binary"), "binary"),
    ] {
        let body = body(content_type, content_encoding);
        let error = plain(&body).expect_err("it does not say that it is JSON");
        assert!(matches!(error, DecodeError::ContentType { .. }));
        assert!(error.to_string().contains(named), "{error}");
    }
}

/// A zlib stream of the pieces.
fn compressed(bytes: Vec<u8>, name: &'static str) -> Body {
    let mut body = Body::json(bytes);
    body.compression = Some(name.into());
    body
}

#[test]
fn zlib_is_decompressed_to_the_byte_and_to_the_limit() {
    for length in [0, 1, 63, 64, 65, 1000, 70_000, 300_000] {
        let text: Vec<u8> = (0..length)
            .map(|n: u32| n.to_le_bytes()[n as usize % 2])
            .collect();
        for name in ["application/x-gzip", "zlib", "gzip"] {
            let body = compressed(deflate(&[&text]), name);
            let plain = |limit| body.plain(&Limits::default().body(limit));
            assert_eq!(plain(text.len()).expect("it just fits"), text);
            assert_eq!(plain(usize::MAX).expect("it fits"), text);
            if length > 0 {
                let error = plain(text.len() - 1).expect_err("one byte too many");
                assert!(matches!(error, DecodeError::TooLarge { .. }), "{error}");
            }
        }
    }
}

#[test]
fn a_broken_stream_or_another_compression_is_refused() {
    let whole = deflate(&[b"[[1, 2, 3], {}, {}]"]);
    for broken in [
        Vec::new(),
        whole[..1].to_vec(),
        whole[..whole.len() - 1].to_vec(),
        whole[1..].to_vec(),
        b"[[1, 2, 3], {}, {}]".to_vec(),
    ] {
        let error = compressed(broken, "application/x-gzip").plain(&Limits::default());
        let error = error.expect_err("no zlib stream");
        assert!(
            matches!(
                error,
                DecodeError::Compressed {
                    encoding: "zlib",
                    ..
                }
            ),
            "{error}"
        );
    }
    for name in ["application/zstd", "application/x-bz2", "x", ""] {
        let error = compressed(whole.clone(), name).plain(&Limits::default());
        assert!(matches!(error, Err(DecodeError::Compression { found }) if found == name));
    }
}

#[test]
fn a_large_body_is_refused_without_looking_at_it_and_a_small_one_is_not_copied() {
    let body = Body::json(vec![b' '; 100_000_000]);
    let error = body.plain(&Limits::default()).expect_err("too large");
    assert!(matches!(error, DecodeError::TooLarge { limit: 16_777_216 }));
    let body = Body::json("[[],{},{}]");
    let plain = body.plain(&Limits::default()).expect("plain JSON");
    assert_eq!(plain.as_ptr(), body.bytes.as_ptr());
}

#[test]
fn a_gigabyte_in_a_megabyte_is_refused_at_the_limit() {
    // one block of a megabyte, closed so that it can be repeated as it is
    let mut block = Vec::with_capacity(1 << 16);
    let mut stream = flate2::Compress::new(flate2::Compression::fast(), false);
    let zeros = vec![0; 1 << 20];
    stream
        .compress_vec(&zeros, &mut block, flate2::FlushCompress::Full)
        .expect("zeros can be compressed");
    assert_eq!(stream.total_in(), 1 << 20);
    let mut bomb = vec![0x78, 0x01];
    bomb.extend(block.repeat(1024));
    assert!(bomb.len() < 1 << 23);
    let body = compressed(bomb, "application/x-gzip");
    let error = body.plain(&Limits::default()).expect_err("too large");
    assert!(matches!(error, DecodeError::TooLarge { limit: 16_777_216 }));
}
