//! From the bytes that travelled to plain JSON: what is taken, and what is refused without being unpacked.

mod zlib;

use coney_protocol::codec::body::RawCall;
use coney_protocol::codec::compression::Compression;
use coney_protocol::codec::{Limits, typed};
use coney_protocol::error::DecodeError;
use coney_protocol::message::Body;
use coney_protocol::reply::{Reply, Status};
use zlib::deflate;

#[test]
fn the_bare_words_of_python_are_floats_and_are_passed_on_as_they_came() {
    for (word, float) in [
        ("NaN", f64::NAN),
        ("Infinity", f64::INFINITY),
        ("-Infinity", f64::NEG_INFINITY),
    ] {
        let text = format!("[[{word},\"NaN\"],{{}},{{}}]");
        let plain = Body::json(text.clone()).plain(&Limits::default());
        let plain = plain.expect("JSON");
        let call = RawCall::cut(&plain).expect("a good body");
        let read: f64 = typed::from_raw(call.args[0]).expect("a float");
        assert_eq!(read.total_cmp(&float), std::cmp::Ordering::Equal);
        assert_eq!(Body::json(plain.clone()).bytes, text);
        let json: serde_json::Value = typed::from_raw(call.args[0]).expect("any JSON");
        let reply = Reply::new(
            "t".into(),
            Status::Success,
            serde_json::value::to_raw_value(&json).expect("JSON"),
        );
        let body = reply.encode();
        assert!(String::from_utf8_lossy(&body).contains(&format!("\"result\":{word}")));
        let back = Reply::decode(&body).expect("a reply");
        assert_eq!(
            typed::from_raw::<serde_json::Value>(&back.result).expect("JSON"),
            json
        );
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
    for name in ["application/x-lzma", "application/x-brotli", "x", ""] {
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

#[test]
fn what_is_compressed_here_is_read_here_and_bounded() {
    let all = [
        Compression::Zlib,
        #[cfg(feature = "bzip2")]
        Compression::Bzip2,
        #[cfg(feature = "zstd")]
        Compression::Zstd,
    ];
    for compression in all {
        let zeros = " ".repeat(1_000_000);
        let text = format!("[[{zeros}],{{}},{{}}]");
        let mut body = Body::json(text.clone()).compressed(compression);
        assert!(body.bytes.len() < 10_000, "{compression:?}");
        let plain = body.plain(&Limits::default()).expect("plain JSON");
        assert_eq!(plain, text, "{compression:?}");
        let short = Limits::default().body(999_999);
        let error = body.plain(&short).expect_err("too large");
        assert!(matches!(error, DecodeError::TooLarge { limit: 999_999 }));
        for end in [body.bytes.len() - 1, 3, 0] {
            body.bytes.truncate(end);
            let error = body.plain(&Limits::default()).expect_err("cut off");
            assert!(
                matches!(error, DecodeError::Compressed { .. }),
                "{compression:?} {end}: {error}"
            );
        }
    }
}
