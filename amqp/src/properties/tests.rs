use lapin::types::AMQPType;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::*;

fn name() -> impl Strategy<Value = String> {
    "\\PC{1,20}"
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i8>().prop_map(Value::I8),
        any::<u8>().prop_map(Value::U8),
        any::<i16>().prop_map(Value::I16),
        any::<u16>().prop_map(Value::U16),
        any::<i32>().prop_map(Value::I32),
        any::<u32>().prop_map(Value::U32),
        any::<i64>().prop_map(Value::I64),
        any::<f32>().prop_map(Value::F32),
        any::<f64>().prop_map(Value::F64),
        (any::<u8>(), any::<u32>()).prop_map(|(scale, value)| Value::Decimal { scale, value }),
        "\\PC{0,300}".prop_map(|text| Value::Text(text.into())),
        vec(any::<u8>(), 0..40)
            .prop_filter("not UTF-8", |bytes| std::str::from_utf8(bytes).is_err())
            .prop_map(Value::RawText),
        vec(any::<u8>(), 0..40).prop_map(Value::Bytes),
        any::<u64>().prop_map(Value::Timestamp),
    ];
    leaf.prop_recursive(4, 40, 6, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..6).prop_map(Value::List),
            table(inner).prop_map(Value::Table),
        ]
    })
}

/// A table sorted by name, as lapin returns it.
fn table(value: impl Strategy<Value = Value>) -> impl Strategy<Value = Table> {
    prop::collection::btree_map(name(), value, 0..6).prop_map(|entries| {
        entries
            .into_iter()
            .map(|(name, value)| (name.into(), value))
            .collect()
    })
}

fn properties() -> impl Strategy<Value = Properties> {
    let texts = vec(option::of("\\PC{0,60}"), 6);
    let rest = (any::<bool>(), any::<Option<u8>>(), any::<Option<u64>>());
    (texts, rest, table(value())).prop_map(
        |(mut texts, (persistent, priority, timestamp), headers)| {
            let mut text = || texts.pop().flatten();
            let mut properties = Properties::default();
            properties.content_type = text().map(Into::into);
            properties.content_encoding = text().map(Into::into);
            properties.correlation_id = text();
            properties.reply_to = text();
            properties.expiration = text();
            properties.message_id = text();
            properties.persistent = persistent;
            properties.priority = priority;
            properties.timestamp = timestamp;
            properties.headers = headers;
            properties
        },
    )
}

proptest! {
    #[test]
    fn nothing_is_lost_on_the_way(properties in properties()) {
        let lapin = to_lapin(&properties).expect("short enough");
        prop_assert_eq!(from_lapin(&lapin), (properties, None));
    }

    #[test]
    fn text_longer_than_a_short_string_is_an_error_not_a_panic(length in 200usize..400) {
        let text = "x".repeat(length);
        let mut properties = Properties::default();
        properties.message_id = Some(text.clone());
        prop_assert_eq!(to_lapin(&properties).is_ok(), length <= 255);
        let headers = Table::new().with(text.clone(), 1i32);
        prop_assert_eq!(table_to_lapin(&headers).is_ok(), length <= 255);
        prop_assert_eq!(short(&text, "queue").is_ok(), length <= 255);
    }
}

#[test]
fn each_value_has_its_own_type_on_the_wire() {
    let cases = [
        (Value::Null, AMQPType::Void),
        (Value::Bool(true), AMQPType::Boolean),
        (Value::I8(-1), AMQPType::ShortShortInt),
        (Value::U8(1), AMQPType::ShortShortUInt),
        (Value::I16(-1), AMQPType::ShortInt),
        (Value::U16(1), AMQPType::ShortUInt),
        (Value::I32(-1), AMQPType::LongInt),
        (Value::U32(1), AMQPType::LongUInt),
        (Value::I64(-1), AMQPType::LongLongInt),
        (Value::F32(0.5), AMQPType::Float),
        (Value::F64(0.5), AMQPType::Double),
        (Value::Text("t".into()), AMQPType::LongString),
        (Value::RawText(vec![0xff]), AMQPType::LongString),
        (Value::Bytes(vec![1]), AMQPType::ByteArray),
        (Value::Timestamp(7), AMQPType::Timestamp),
        (Value::List(vec![]), AMQPType::FieldArray),
        (Value::Table(Table::new()), AMQPType::FieldTable),
    ];
    for (value, expected) in cases {
        let lapin = value_to_lapin(&value, 0).expect("fits");
        assert_eq!(lapin.get_type(), expected, "{value:?}");
    }
}

#[test]
fn tables_that_would_overflow_a_readers_stack_are_refused() {
    let nested = |levels| (0..levels).fold(Value::Null, |inner, _| Value::List(vec![inner]));
    assert!(value_to_lapin(&nested(DEEPEST), 0).is_ok());
    assert!(value_to_lapin(&nested(DEEPEST + 1), 0).is_err());
}
