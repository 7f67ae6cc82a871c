//! Answers, in the words that Celery's tools print.

use lovage_celery::python_repr;
use lovage_core::Json;
use serde_json::{Value, json};

/// What a command comes to.
pub(super) enum Answer {
    /// This.
    Given(Json),
    /// Nothing is to be said.
    Nothing,
    /// There is no such command.
    Unknown,
}

/// A value as an answer.
pub(super) fn value(value: &Value) -> Json {
    // A tree of ours is well-formed and flat.
    Json::parse(value.to_string()).unwrap_or_else(|_| Json::null())
}

/// It was done.
pub(super) fn ok(text: &str) -> Json {
    value(&json!({ "ok": text }))
}

/// It was not.
pub(super) fn error(text: &str) -> Json {
    value(&json!({ "error": text }))
}

/// An exception as Python's `repr` shows it.
pub(super) fn raised(exception: &str, text: &str) -> String {
    format!("{exception}({})", python_text(text))
}

/// A text as Python's `repr` shows it.
pub(super) fn python_text(text: &str) -> String {
    python_repr(Json::string(text).as_part())
}

/// A value as Python's `repr` shows it.
pub(super) fn python_value(value: &Value) -> String {
    Json::parse(value.to_string()).map(|json| python_repr(json.as_part())).unwrap_or_default()
}

/// Texts as Python's `repr` shows a set of them.
pub(super) fn python_set<'a>(texts: impl IntoIterator<Item = &'a str>) -> String {
    let texts: Vec<_> = texts.into_iter().map(python_text).collect();
    if texts.is_empty() { "set()".into() } else { format!("{{{}}}", texts.join(", ")) }
}
