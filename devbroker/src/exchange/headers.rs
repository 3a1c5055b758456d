//! Bindings of headers exchanges.

use amq_protocol::types::{AMQPValue, FieldTable};

use crate::table::{RawTable, integer, text};

/// What a message's headers must have.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Rule {
    /// One match is enough.
    any: bool,
    wanted: Vec<(String, AMQPValue)>,
}

impl Rule {
    pub(crate) fn new(arguments: &FieldTable) -> Self {
        let mode = arguments.inner().get("x-match").and_then(text);
        let mode = mode.as_deref().unwrap_or("all");
        let with_x = mode.ends_with("-with-x");
        let counts = |name: &str| name != "x-match" && (with_x || !name.starts_with("x-"));
        let wanted = arguments.inner().iter();
        Self {
            any: mode.starts_with("any"),
            wanted: wanted
                .filter(|(name, _)| counts(name.as_str()))
                .map(|(name, value)| (name.to_string(), value.clone()))
                .collect(),
        }
    }

    pub(crate) fn fits(&self, headers: &RawTable) -> bool {
        let mut each = self.wanted.iter().map(|(name, wanted)| {
            let found = headers.get(name);
            found.is_some_and(|found| *wanted == AMQPValue::Void || same(wanted, &found))
        });
        if self.any {
            each.any(|fits| fits)
        } else {
            each.all(|fits| fits)
        }
    }
}

/// Numbers and texts are compared by what they say, however they are typed.
fn same(one: &AMQPValue, other: &AMQPValue) -> bool {
    match (integer(one), integer(other)) {
        (Some(one), Some(other)) => one == other,
        _ => match (text(one), text(other)) {
            (Some(one), Some(other)) => one == other,
            _ => one == other,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(mode: &str) -> Rule {
        let mut arguments = FieldTable::default();
        arguments.insert("x-match".into(), AMQPValue::LongString(mode.into()));
        arguments.insert("a".into(), AMQPValue::LongInt(1));
        arguments.insert("b".into(), AMQPValue::Void);
        arguments.insert("x-c".into(), AMQPValue::Boolean(true));
        Rule::new(&arguments)
    }

    fn headers(names: &[&str]) -> RawTable {
        let mut headers = RawTable::default();
        for name in names {
            let value = match *name {
                "x-c" => AMQPValue::Boolean(true),
                _ => AMQPValue::LongLongInt(1),
            };
            headers.set(name, &value);
        }
        headers
    }

    #[test]
    fn all_any_and_their_forms_with_x_are_told_apart() {
        assert!(rule("all").fits(&headers(&["a", "b"])));
        assert!(!rule("all").fits(&headers(&["a"])));
        assert!(!rule("all-with-x").fits(&headers(&["a", "b"])));
        assert!(rule("all-with-x").fits(&headers(&["a", "b", "x-c"])));
        assert!(rule("any").fits(&headers(&["b"])));
        assert!(!rule("any").fits(&headers(&["x-c"])));
        assert!(rule("any-with-x").fits(&headers(&["x-c"])));
    }
}
