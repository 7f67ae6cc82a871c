//! A row as the document that the other backends keep.

use std::fmt::Write;

use lovage_core::{Json, JsonError};

use super::rows::Stored;

/// Why a row cannot be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum DocumentError {
    /// Celery before 5.7 wrote it.
    #[error("the value is a Python pickle, which is never read here")]
    Pickle,
    /// A value is not UTF-8.
    #[error("a value is no text")]
    Text(#[from] std::str::Utf8Error),
    /// A value is not JSON.
    #[error("a value is no JSON")]
    Json(#[from] JsonError),
}

/// The first byte of every pickle that Celery ever stored.
const PICKLE: u8 = 0x80;

/// Writes the row as Celery's JSON, with the fields in Celery's order.
pub(super) fn of_row(stored: &Stored) -> Result<String, DocumentError> {
    if stored.result.first() == Some(&PICKLE) {
        return Err(DocumentError::Pickle);
    }
    let row = &stored.row;
    let value = |text: &Option<String>, absent: &str| {
        Json::parse(text.as_deref().unwrap_or(absent)).map_err(DocumentError::from)
    };
    let text = |text: &Option<String>| match text {
        Some(text) => Json::string(text),
        None => Json::null(),
    };
    let done = row.date_done.as_ref().map(|done| format!("{}+00:00", done.replacen(' ', "T", 1)));
    let mut fields = vec![
        ("status", Json::string(&row.status)),
        ("result", Json::parse(std::str::from_utf8(&stored.result)?)?),
        ("traceback", text(&row.traceback)),
        ("children", value(&row.children, "[]")?),
        ("date_done", text(&done)),
    ];
    if row.name.is_some() {
        fields.push(("name", text(&row.name)));
        fields.push(("args", value(&row.args, "null")?));
        fields.push(("kwargs", value(&row.kwargs, "null")?));
        fields.push(("worker", text(&row.worker)));
        let retries = row.retries.map_or_else(|| "null".to_owned(), |retries| retries.to_string());
        fields.push(("retries", Json::parse(retries)?));
        fields.push(("queue", text(&row.queue)));
    }
    fields.push(("task_id", Json::string(&row.task_id)));
    let mut document = String::from("{");
    for (position, (name, value)) in fields.iter().enumerate() {
        let comma = if position > 0 { ", " } else { "" };
        // Writing to a string cannot fail.
        let _ = write!(document, "{comma}\"{name}\": {value}");
    }
    document.push('}');
    Ok(document)
}
