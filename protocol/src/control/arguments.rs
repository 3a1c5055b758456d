//! The arguments of a request, read as tolerantly as Python would; what is wrong is told in Python's words.

use std::fmt;

use serde_json::{Map, Value as Json};

use crate::control::python;

/// The arguments of a request; those that a command does not know are ignored.
#[derive(Clone, Debug, PartialEq)]
pub struct Arguments {
    command: String,
    given: Map<String, Json>,
}

/// Why a command was not carried out, shown as the exception that a Python worker would raise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandError {
    class: &'static str,
    message: String,
}

impl CommandError {
    /// Something has a value that is not possible.
    #[must_use]
    pub fn value(message: impl Into<String>) -> Self {
        Self::new("ValueError", message)
    }

    /// There is no such thing, or no such command.
    #[must_use]
    pub fn key(name: impl Into<String>) -> Self {
        Self::new("KeyError", name)
    }

    /// An argument is missing or of the wrong type.
    #[must_use]
    pub fn argument(message: impl Into<String>) -> Self {
        Self::new("TypeError", message)
    }

    /// Something outside the worker did not work.
    #[must_use]
    pub fn failed(message: impl Into<String>) -> Self {
        Self::new("RuntimeError", message)
    }

    fn new(class: &'static str, message: impl Into<String>) -> Self {
        Self {
            class,
            message: message.into(),
        }
    }
}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}({})", self.class, python::text(&self.message))
    }
}

impl std::error::Error for CommandError {}

impl Arguments {
    /// The arguments of a command.
    ///
    /// # Errors
    ///
    /// When they are no object, or one of `required` is missing.
    pub fn new(command: &str, given: Json, required: &[&str]) -> Result<Self, CommandError> {
        let given = match given {
            Json::Object(given) => given,
            other => {
                let kind = kind(&other);
                return Err(CommandError::argument(format!(
                    "{command}() argument after ** must be a mapping, not {kind}"
                )));
            }
        };
        let missing: Vec<_> = required
            .iter()
            .filter(|name| !given.contains_key(**name))
            .map(|name| python::text(name))
            .collect();
        let list = match &missing[..] {
            [] => {
                return Ok(Self {
                    command: command.to_owned(),
                    given,
                });
            }
            [one] => one.clone(),
            [first, second] => format!("{first} and {second}"),
            [all @ .., last] => format!("{}, and {last}", all.join(", ")),
        };
        let (count, plural) = (missing.len(), if missing.len() == 1 { "" } else { "s" });
        Err(CommandError::argument(format!(
            "{command}() missing {count} required positional argument{plural}: {list}"
        )))
    }

    /// An argument as it came; none if it is null or absent.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Json> {
        self.given.get(name).filter(|value| !value.is_null())
    }

    /// A text.
    ///
    /// # Errors
    ///
    /// When it is of another type.
    pub fn text(&self, name: &str) -> Result<Option<&str>, CommandError> {
        match self.get(name) {
            None => Ok(None),
            Some(Json::String(text)) => Ok(Some(text)),
            Some(other) => Err(self.wrong(name, "str", other)),
        }
    }

    /// A text that has to be there.
    ///
    /// # Errors
    ///
    /// When it is null or of another type.
    pub fn required_text(&self, name: &str) -> Result<&str, CommandError> {
        self.text(name)?
            .ok_or_else(|| self.wrong(name, "str", &Json::Null))
    }

    /// A number, or a text that is one.
    ///
    /// # Errors
    ///
    /// When it is of another type.
    pub fn number(&self, name: &str) -> Result<Option<f64>, CommandError> {
        let number = match self.get(name) {
            None => return Ok(None),
            Some(Json::Number(number)) => number.as_f64(),
            Some(Json::String(text)) => text.trim().parse().ok(),
            Some(_) => None,
        };
        match number.filter(|number| number.is_finite()) {
            Some(number) => Ok(Some(number)),
            None => Err(self.wrong(name, "float", self.get(name).unwrap_or(&Json::Null))),
        }
    }

    /// A whole number that is not negative, or a text that is one.
    ///
    /// # Errors
    ///
    /// When it is anything else.
    pub fn count(&self, name: &str) -> Result<Option<usize>, CommandError> {
        let count = match self.get(name) {
            None => return Ok(None),
            Some(Json::Number(number)) => number.as_u64(),
            Some(Json::String(text)) => text.trim().parse().ok(),
            Some(_) => None,
        };
        match count.and_then(|count| usize::try_from(count).ok()) {
            Some(count) => Ok(Some(count)),
            None => Err(self.wrong(name, "int", self.get(name).unwrap_or(&Json::Null))),
        }
    }

    /// Whether Python would take it for true.
    #[must_use]
    pub fn flag(&self, name: &str) -> bool {
        self.optional_flag(name).unwrap_or(false)
    }

    /// Whether Python would take it for true; none if it is null or absent.
    #[must_use]
    pub fn optional_flag(&self, name: &str) -> Option<bool> {
        Some(match self.get(name)? {
            Json::Null => false,
            Json::Bool(flag) => *flag,
            Json::Number(number) => number.as_f64() != Some(0.0),
            Json::String(text) => !text.is_empty(),
            Json::Array(items) => !items.is_empty(),
            Json::Object(members) => !members.is_empty(),
        })
    }

    /// A text or a list of them, each once.
    #[must_use]
    pub fn texts(&self, name: &str) -> Vec<String> {
        let items = match self.get(name) {
            None => &[],
            Some(Json::Array(items)) => &items[..],
            Some(one) => std::slice::from_ref(one),
        };
        let mut texts = Vec::with_capacity(items.len());
        let mut known = std::collections::HashSet::with_capacity(items.len());
        for item in items {
            let text = match item {
                Json::String(text) => text.clone(),
                other => other.to_string(),
            };
            if known.insert(text.clone()) {
                texts.push(text);
            }
        }
        texts
    }

    fn wrong(&self, name: &str, wanted: &str, given: &Json) -> CommandError {
        let kind = kind(given);
        CommandError::argument(format!(
            "{}() argument {} must be {wanted}, not {kind}",
            self.command,
            python::text(name)
        ))
    }
}

/// What Python calls the type of a value.
fn kind(json: &Json) -> &'static str {
    match json {
        Json::Null => "NoneType",
        Json::Bool(_) => "bool",
        Json::Number(number) if number.is_f64() => "float",
        Json::Number(_) => "int",
        Json::String(_) => "str",
        Json::Array(_) => "list",
        Json::Object(_) => "dict",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn error(given: Json, required: &[&str]) -> String {
        let error = Arguments::new("f", given, required).expect_err("wrong arguments");
        error.to_string()
    }

    #[test]
    fn missing_arguments_are_told_as_python_does() {
        for (required, told) in [
            (
                &["a"][..],
                r#"TypeError("f() missing 1 required positional argument: 'a'")"#,
            ),
            (
                &["a", "b"],
                r#"TypeError("f() missing 2 required positional arguments: 'a' and 'b'")"#,
            ),
            (
                &["a", "b", "c"],
                r#"TypeError("f() missing 3 required positional arguments: 'a', 'b', and 'c'")"#,
            ),
        ] {
            assert_eq!(error(json!({"x": 1}), required), told);
        }
        assert_eq!(
            error(json!([1]), &[]),
            "TypeError('f() argument after ** must be a mapping, not list')"
        );
    }

    #[test]
    fn values_are_taken_where_they_make_sense() {
        let given = json!({
            "text": "x", "number": 2.5, "digits": "3", "null": null, "list": ["a", 1, "a"], "no": 0, "negative": -1,
        });
        let arguments = Arguments::new("f", given, &["null"]).expect("arguments");
        assert_eq!(arguments.text("text"), Ok(Some("x")));
        assert_eq!(arguments.text("null"), Ok(None));
        assert_eq!(arguments.number("number"), Ok(Some(2.5)));
        assert_eq!(arguments.number("digits"), Ok(Some(3.0)));
        assert_eq!(arguments.count("digits"), Ok(Some(3)));
        assert_eq!(arguments.count("absent"), Ok(None));
        assert_eq!(arguments.texts("list"), ["a", "1"]);
        assert_eq!(arguments.texts("text"), ["x"]);
        assert!(arguments.texts("null").is_empty());
        assert!(arguments.flag("text") && !arguments.flag("no") && !arguments.flag("absent"));
        assert!(arguments.count("number").is_err() && arguments.count("negative").is_err());
        let error = arguments.text("number").expect_err("no text").to_string();
        assert_eq!(
            error,
            r#"TypeError("f() argument 'number' must be str, not float")"#
        );
    }
}
