//! Result documents: what callers wait for.
use lovage_core::ResultRecord;

/// Writes the document that every key-value backend keeps, with the fields in Celery's order.
pub fn result_document(record: &ResultRecord) -> String {
    let _ = record;
    String::new()
}

/// The columns of Celery's `celery_taskmeta` table; absent columns are null.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DatabaseRow {
    /// `task_id`.
    pub task_id: String,
    /// `status`.
    pub status: String,
    /// `result`: JSON text.
    pub result: String,
    /// `date_done`: UTC without offset, `2026-11-20 10:41:39.258428`; null until the task is over.
    pub date_done: Option<String>,
    /// `traceback`.
    pub traceback: Option<String>,
    /// `children`: JSON text; null when there are none.
    pub children: Option<String>,
    /// `name`; this and all below only with `result_extended`.
    pub name: Option<String>,
    /// `args`: JSON text.
    pub args: Option<String>,
    /// `kwargs`: JSON text.
    pub kwargs: Option<String>,
    /// `worker`.
    pub worker: Option<String>,
    /// `retries`.
    pub retries: Option<u32>,
    /// `queue`.
    pub queue: Option<String>,
    /// `stamps`: JSON text.
    pub stamps: Option<String>,
}

/// The same as a row of the database backend.
pub fn database_row(record: &ResultRecord) -> DatabaseRow {
    let _ = record;
    DatabaseRow::default()
}
