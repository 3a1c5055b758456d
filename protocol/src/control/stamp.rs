//! Stamps as names and values that can be compared: a task is revoked by one of its stamps.

use serde_json::Value as Json;

use crate::control::arguments::CommandError;
use crate::header::Header;
use crate::property::Value;

/// A stamp: its name and one of its values.
pub type Stamp = (String, String);

/// The stamps of a task; only those count that its header names.
#[must_use]
pub fn of_header(header: &Header) -> Vec<Stamp> {
    let mut stamps = Vec::new();
    for name in &header.stamped_headers {
        let Some(value) = header.stamps.get(name) else {
            continue;
        };
        let values = match value {
            Value::List(values) => &values[..],
            one => std::slice::from_ref(one),
        };
        let values = values.iter().filter_map(plain);
        stamps.extend(values.map(|value| (name.clone(), value)));
    }
    stamps
}

/// The stamps that a command names: an object of values or lists of them, or a list of `name=value`.
///
/// # Errors
///
/// When they are neither.
pub fn of_argument(argument: &Json) -> Result<Vec<Stamp>, CommandError> {
    match argument {
        Json::Object(members) => Ok(members
            .iter()
            .flat_map(|(name, values)| of_member(name, values))
            .collect()),
        Json::Array(pairs) => pairs.iter().map(pair).collect(),
        _ => Err(CommandError::argument(
            "headers must be a mapping or a list of name=value",
        )),
    }
}

fn of_member(name: &str, values: &Json) -> Vec<Stamp> {
    let values = match values {
        Json::Array(values) => &values[..],
        one => std::slice::from_ref(one),
    };
    let values = values.iter().filter_map(json);
    values.map(|value| (name.to_owned(), value)).collect()
}

fn pair(pair: &Json) -> Result<Stamp, CommandError> {
    let split = pair.as_str().and_then(|text| text.split_once('='));
    match split {
        Some((name, value)) => Ok((name.to_owned(), value.to_owned())),
        None => Err(CommandError::value("a header is written as name=value")),
    }
}

/// Texts and numbers of either side look the same; what has no such form is no stamp to revoke by.
fn plain(value: &Value) -> Option<String> {
    match value {
        Value::Text(text) => Some(text.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        value => match value.as_i64() {
            Some(number) => Some(number.to_string()),
            None => value.as_f64().map(|number| number.to_string()),
        },
    }
}

fn json(value: &Json) -> Option<String> {
    match value {
        Json::String(text) => Some(text.clone()),
        Json::Bool(flag) => Some(flag.to_string()),
        Json::Number(number) => match number.as_i64() {
            Some(number) => Some(number.to_string()),
            None => number.as_f64().map(|number| number.to_string()),
        },
        Json::Null | Json::Array(_) | Json::Object(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::id::TaskId;
    use crate::property::Table;

    #[test]
    fn a_command_and_a_task_write_the_same_stamp() {
        let mut header = Header::new("t", TaskId::from("1"));
        let list = Value::List(vec!["a".into(), Value::I32(7)]);
        header.stamps = Table::new()
            .with("tenant", "acme")
            .with("batch", list)
            .with("unnamed", "x");
        header.stamped_headers = vec!["tenant".to_owned(), "batch".to_owned(), "gone".to_owned()];
        let stamps = of_header(&header);
        let named = json!({"tenant": "acme", "batch": ["a", 7], "other": null});
        assert_eq!(stamps.len(), 3);
        for stamp in of_argument(&named).expect("stamps") {
            assert!(stamps.contains(&stamp), "{stamp:?}");
        }
        let pairs = of_argument(&json!(["tenant=acme"])).expect("stamps");
        assert!(stamps.contains(&pairs[0]));
        assert!(of_argument(&json!(["tenant"])).is_err());
        assert!(of_argument(&json!("tenant=acme")).is_err());
    }
}
