//! Python's times, decimals, UUIDs and bytes, read as what a Rust type expects in their place.

use std::collections::HashMap;
use std::fmt;

use coney_protocol::codec::typed::from_raw;
use jiff::Timestamp;
use jiff::civil;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_bytes::ByteBuf;
use serde_json::value::RawValue;
use serde_json::{Error, Value as Json};
use uuid::Uuid;

fn read<T: DeserializeOwned>(json: &str) -> Result<T, Error> {
    from_raw(&RawValue::from_string(json.to_owned()).expect("the test has JSON"))
}

#[track_caller]
#[expect(
    clippy::needless_pass_by_value,
    reason = "values are easier to write in a table"
)]
fn reads<T: DeserializeOwned + PartialEq + fmt::Debug>(json: &str, expected: T) {
    assert_eq!(read::<T>(json).expect(json), expected);
}

const DATETIME: &str =
    r#"{"__type__": "datetime", "__value__": "2026-11-20T12:30:00.000001+00:00"}"#;
const NAIVE: &str = r#"{"__value__": "2026-11-20T12:30:00", "__type__": "datetime"}"#;
const DATE: &str = r#"{"__type__": "date", "__value__": "2026-11-20"}"#;
const TIME: &str = r#"{"__type__": "time", "__value__": "12:30:00"}"#;
const DECIMAL: &str = r#"{"__type__": "decimal", "__value__": "1.10"}"#;
const UUID: &str =
    r#"{"__type__": "uuid", "__value__": {"hex": "12345678123456781234567812345678"}}"#;
const BYTES: &str = r#"{"__type__": "bytes", "__value__": "h\u00e9"}"#;
const BASE64: &str = r#"{"__type__": "base64", "__value__": "/wCA"}"#;

#[test]
fn typed_values_become_what_the_type_expects() {
    reads::<Timestamp>(
        DATETIME,
        "2026-11-20T12:30:00.000001Z".parse().expect("a time"),
    );
    reads(NAIVE, civil::date(2026, 11, 20).at(12, 30, 0, 0));
    reads(DATE, civil::date(2026, 11, 20));
    reads(TIME, civil::time(12, 30, 0, 0));
    reads(DECIMAL, rust_decimal::Decimal::new(110, 2));
    reads(DECIMAL, "1.10".to_owned());
    let uuid = Uuid::from_u128(0x1234_5678_1234_5678_1234_5678_1234_5678);
    reads(UUID, uuid);
    reads(UUID, uuid.to_string());
    reads(BYTES, "hé".to_owned());
    reads(BYTES, "hé".as_bytes().to_vec());
    reads(BYTES, ByteBuf::from("hé".as_bytes()));
    reads(BASE64, vec![0xff, 0, 0x80]);
    reads(BASE64, [0xff, 0, 0x80]);
    reads(BASE64, ByteBuf::from([0xff, 0, 0x80]));
    assert!(read::<String>(BASE64).is_err());
    assert!(read::<u32>(DECIMAL).is_err());
}

#[derive(Debug, PartialEq, Deserialize)]
struct Deep {
    at: Timestamp,
    #[serde(default)]
    more: Option<Box<Deep>>,
    big: u128,
    ids: Vec<Uuid>,
    by_name: HashMap<String, ByteBuf>,
    kind: Kind,
    any: Json,
    raw: Box<RawValueText>,
    nothing: (),
}

#[derive(Debug, PartialEq, Deserialize)]
enum Kind {
    Plain,
    New(civil::Date),
    Pair(civil::Time, u8),
    Named { id: Uuid },
}

/// A raw value that can be compared.
#[derive(Debug, Deserialize)]
struct RawValueText(Box<RawValue>);

impl PartialEq for RawValueText {
    fn eq(&self, other: &Self) -> bool {
        self.0.get() == other.0.get()
    }
}

#[test]
fn typed_values_are_found_at_any_depth_and_all_else_stays() {
    let leaf = |kind: &str, more: &str| {
        format!(
            r#"{{"at": {DATETIME}, "more": {more}, "big": 340282366920938463463374607431768211455,
            "ids": [{UUID}], "by_name": {{"a": {BASE64}}}, "kind": {kind}, "unknown": {UUID},
            "any": [1, null, {DATE}, -0.5], "raw": {DATE}, "nothing": null}}"#
        )
    };
    let kinds = [
        (r#""Plain""#.to_owned(), Kind::Plain),
        (
            format!(r#"{{"New": {DATE}}}"#),
            Kind::New(civil::date(2026, 11, 20)),
        ),
        (
            format!(r#"{{"Pair": [{TIME}, 7]}}"#),
            Kind::Pair(civil::time(12, 30, 0, 0), 7),
        ),
        (
            format!(r#"{{"Named": {{"id": {UUID}}}}}"#),
            Kind::Named {
                id: Uuid::from_u128(0x1234_5678_1234_5678_1234_5678_1234_5678),
            },
        ),
    ];
    for (json, kind) in kinds {
        let read: Deep = read(&leaf(&json, &leaf(r#""Plain""#, "null"))).expect("it is typed");
        assert_eq!(read.kind, kind);
        assert_eq!(read.big, u128::MAX);
        assert_eq!(read.by_name["a"], [0xff, 0, 0x80]);
        assert_eq!(read.any, serde_json::json!([1, null, "2026-11-20", -0.5]));
        assert_eq!(read.raw.0.get(), DATE);
        assert!(read.more.is_some_and(|more| more.kind == Kind::Plain));
    }
}

#[test]
fn options_and_lists_of_typed_values() {
    reads(DATE, Some(civil::date(2026, 11, 20)));
    reads::<Option<civil::Date>>("null", None);
    reads(
        &format!("[{DATE}, null]"),
        vec![Some(civil::date(2026, 11, 20)), None],
    );
    reads(
        &format!("[{BASE64}, 5]"),
        (ByteBuf::from([0xff, 0, 0x80]), 5_u8),
    );
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(untagged)]
enum Loose {
    Number(f64),
    At(Timestamp),
    Bytes(Vec<u8>),
}

#[test]
fn typed_values_are_seen_through_untagged_enums() {
    reads("1.5", Loose::Number(1.5));
    reads::<Loose>(
        DATETIME,
        Loose::At("2026-11-20T12:30:00.000001Z".parse().expect("a time")),
    );
    reads(BASE64, Loose::Bytes(vec![0xff, 0, 0x80]));
    reads(BYTES, Loose::Bytes("hé".as_bytes().to_vec()));
}

#[test]
fn what_takes_any_json_gets_the_object_as_it_is() {
    for json in [DATETIME, UUID, BASE64] {
        reads::<Json>(json, serde_json::from_str(json).expect("JSON"));
        assert_eq!(read::<Box<RawValue>>(json).expect("JSON").get(), json);
    }
}

#[test]
fn only_exactly_the_two_keys_make_a_typed_value() {
    for json in [
        r#"{"__type__": "date"}"#,
        r#"{"__value__": "2026-11-20", "__typed__": "date"}"#,
        r#"{"__type__": "date", "__value__": "2026-11-20", "x": 1}"#,
    ] {
        assert!(read::<civil::Date>(json).is_err(), "{json}");
    }
    let twice =
        r#"{"__type__": "time", "__value__": 1, "__type__": "date", "__value__": "2026-11-20"}"#;
    reads(twice, civil::date(2026, 11, 20));
}

#[test]
fn an_error_says_what_is_wrong_with_the_typed_value() {
    let error = |json| read::<String>(json).expect_err(json).to_string();
    assert!(error(r#"{"__type__": "color", "__value__": 1}"#).contains("`color`"));
    assert!(error(r#"{"__type__": 5, "__value__": 1}"#).contains("`5`"));
    assert!(error(r#"{"__type__": "uuid", "__value__": {"hex": "12"}}"#).contains("`uuid`"));
    assert!(error(r#"{"__type__": "uuid", "__value__": {"int": 12}}"#).contains("`hex`"));
    assert!(error(r#"{"__type__": "base64", "__value__": "?"}"#).contains("`base64`"));
    assert!(error(r#"{"__type__": "date", "__value__": 5}"#).contains("`date`"));
    let plain = read::<u8>(r#""__type__""#).expect_err("a text is no number");
    assert!(plain.to_string().contains("line 1 column"), "{plain}");
}

#[test]
fn depth_is_limited() {
    #[derive(Debug, Deserialize)]
    struct Nest(#[expect(dead_code, reason = "only read")] Vec<Nest>);
    for (depth, is_read) in [(100, true), (129, false), (100_000, false)] {
        let json = format!("[{}{}, {DATE}]", "[".repeat(depth), "]".repeat(depth));
        let outcome = read::<(Nest, civil::Date)>(&json);
        assert_eq!(outcome.is_ok(), is_read, "{depth}: {outcome:?}");
    }
}
