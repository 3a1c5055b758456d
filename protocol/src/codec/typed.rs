//! Celery's typed JSON values: an object with exactly the keys `__type__` and `__value__`.

use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

/// Reads a value from JSON.
///
/// # Errors
///
/// When the JSON is no `T`.
pub fn from_raw<T: DeserializeOwned>(raw: &RawValue) -> Result<T, serde_json::Error> {
    serde_json::from_str(raw.get())
}
