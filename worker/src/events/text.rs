//! Ids, results and errors as the texts that people see in a monitor.

use std::borrow::Cow;

use coney_protocol::id::TaskId;
use coney_protocol::outcome::ErrorReport;
use coney_protocol::repr;
use serde_json::value::RawValue;

/// What a task that nobody knows fails with; Celery tells no traceback of that.
const UNKNOWN_TASK: &str = "NotRegistered";

pub(crate) fn id(id: &TaskId) -> Cow<'static, str> {
    id.to_string().into()
}

pub(crate) fn result(result: &RawValue) -> String {
    repr::value(result)
}

/// The error as Python would show it: `ValueError('boom')`.
pub(crate) fn exception(report: &ErrorReport) -> String {
    report.repr()
}

/// The account that the caller gets, too.
pub(crate) fn traceback(report: &ErrorReport) -> Option<String> {
    (report.kind != UNKNOWN_TASK).then(|| report.account())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_told_as_python_would() {
        let mut report = ErrorReport::new("ValueError", "boom");
        assert_eq!(exception(&report), "ValueError('boom')");
        assert_eq!(traceback(&report).as_deref(), Some("ValueError: boom\n"));
        report.chain.push("no disk".to_owned());
        let told = traceback(&report);
        assert_eq!(
            told.as_deref(),
            Some("ValueError: boom\ncaused by: no disk\n")
        );
        let unknown = ErrorReport::new("NotRegistered", "shop.nope");
        assert_eq!(traceback(&unknown), None);
        let report = report.traceback("in full");
        assert_eq!(traceback(&report).as_deref(), Some("in full"));
    }
}
