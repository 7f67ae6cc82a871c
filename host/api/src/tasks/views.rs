//! Calls as they are shown.

use lovage_core::TaskRow;
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::FINAL;
use crate::time;

/// A call, and its result when it was asked for.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TaskView {
    /// The call's id.
    id: String,
    task: String,
    queue: String,
    /// Celery's word: PENDING, RETRY, SUCCESS, FAILURE, REVOKED, or one of the task's own.
    state: String,
    sent_at: String,
    changed_at: String,
    /// The module version that it was admitted with last.
    digest: Option<String>,
    /// What it failed with, in one line.
    error: Option<String>,
    /// What it returned, or Celery's description of what it raised. Numbers keep all their digits.
    #[schema(value_type = Option<serde_json::Value>)]
    result: Option<Box<RawValue>>,
    traceback: Option<String>,
}

/// What of a result document is shown.
#[derive(Debug, serde::Deserialize)]
struct Document {
    status: String,
    #[serde(default)]
    result: Option<Box<RawValue>>,
    #[serde(default)]
    traceback: Option<String>,
}

impl TaskView {
    /// The call of this row, with its result document if there is one.
    pub(crate) fn of(row: TaskRow, document: Option<&str>) -> Self {
        let document = document.and_then(|text| serde_json::from_str::<Document>(text).ok());
        let (state, result, traceback) = match document {
            Some(document) => (document.status, document.result, document.traceback),
            None => (row.state, None, None),
        };
        Self {
            id: row.id.to_string(),
            task: row.task.to_string(),
            queue: row.queue.to_string(),
            state,
            sent_at: time::text(row.sent_at),
            changed_at: time::text(row.changed_at),
            digest: row.digest.map(|digest| digest.to_string()),
            error: row.error,
            result,
            traceback,
        }
    }

    /// Whether nothing comes any more.
    pub(crate) fn is_over(&self) -> bool {
        FINAL.contains(&&*self.state)
    }
}
