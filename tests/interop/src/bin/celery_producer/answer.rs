//! What is printed.

use std::time::Duration;

use coney::{RawJson, ResultError, ResultErrorKind, TaskId};
use serde::Serialize;
use serde_json::Value as Json;

use crate::workflow::{Sent, list};

/// The answer to a request.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Answer {
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<RawJson>,
    #[serde(skip_serializing_if = "Option::is_none")]
    exc_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    exc_module: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    exc_message: Option<Vec<Json>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    traceback: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

impl Answer {
    /// Something was sent, and nobody waits for its result.
    pub(crate) fn sent(id: &TaskId) -> Self {
        Self {
            id: id.to_string(),
            ..Self::default()
        }
    }

    /// What became of something that was sent.
    pub(crate) async fn of(sent: &Sent, limit: Duration) -> anyhow::Result<Self> {
        let answer = Self::sent(&sent.id);
        let mut results = Vec::with_capacity(sent.ends.len());
        for end in &sent.ends {
            match end.result().timeout(limit).await {
                Ok(result) => results.push(result),
                Err(error) => return Ok(answer.failed(&error)),
            }
        }
        let result = match sent.is_group {
            true => Some(list(&results)?),
            false => results.pop(),
        };
        Ok(Self {
            state: Some("SUCCESS"),
            result,
            ..answer
        })
    }

    fn failed(self, error: &ResultError<Json>) -> Self {
        let revoked = |reason: &str| Self {
            state: Some("REVOKED"),
            exc_type: Some("TaskRevokedError".to_owned()),
            exc_message: Some(vec![reason.into()]),
            ..Self::default()
        };
        let id = self.id;
        match error.kind() {
            ResultErrorKind::Failed(failure) => Self {
                id,
                state: Some("FAILURE"),
                exc_type: Some(failure.kind.clone()),
                exc_module: failure.module.clone(),
                exc_message: Some(failure.args.clone()),
                traceback: failure.traceback.clone(),
                ..Self::default()
            },
            ResultErrorKind::Cancelled { reason } => Self {
                id,
                ..revoked(reason)
            },
            ResultErrorKind::Expired => Self {
                id,
                ..revoked("expired")
            },
            _ => Self {
                id,
                state: Some("PENDING"),
                error: Some(error.to_string()),
                ..Self::default()
            },
        }
    }
}
