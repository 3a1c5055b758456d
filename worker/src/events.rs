//! Events of tasks and workers, as Celery's monitors read them.

use std::time::Duration;

use coney_protocol::outcome::ErrorReport;
use serde_json::value::RawValue;

use crate::card::Card;

/// Tells monitors what happens; cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Events;

impl Events {
    pub(crate) fn is_on(&self) -> bool {
        false
    }
    pub(crate) fn received(&self, _card: &Card) {}
    pub(crate) fn started(&self, _card: &Card) {}
    pub(crate) fn succeeded(&self, _card: &Card, _result: &RawValue, _runtime: Duration) {}
    pub(crate) fn failed(&self, _card: &Card, _report: &ErrorReport) {}
    pub(crate) fn retried(&self, _card: &Card, _report: &ErrorReport) {}
    pub(crate) fn revoked(
        &self,
        _card: &Card,
        _terminated: bool,
        _signum: Option<&str>,
        _expired: bool,
    ) {
    }
}
