//! Result documents: what callers wait for.

use lovage_core::{
    Child, Failure, Json, JsonPart, ResultRecord, TaskId, TaskState, TenantId, write_json_string,
};

use crate::iso::{format_naive, push_timestamp};
use crate::{exception, opened};

/// Writes the document that every key-value backend keeps, with the fields in Celery's order.
pub fn result_document(record: &ResultRecord) -> String {
    let mut text = String::with_capacity(256);
    text.push_str("{\"status\": ");
    write_json_string(&mut text, record.state.name());
    text.push_str(", \"result\": ");
    push_result(&mut text, &record.state);
    text.push_str(", \"traceback\": ");
    push_text_or_null(&mut text, traceback(&record.state));
    text.push_str(", \"children\": ");
    push_children(&mut text, &record.children);
    text.push_str(", \"date_done\": ");
    if record.state.is_ready() {
        text.push('"');
        push_timestamp(&mut text, record.at);
        text.push('"');
    } else {
        text.push_str("null");
    }
    for (name, id) in [("group_id", &record.group), ("parent_id", &record.parent_id)] {
        if let Some(id) = id {
            push_name(&mut text, name);
            write_json_string(&mut text, id.as_str());
        }
    }
    push_extended(&mut text, record);
    if let Some(tenant) = &record.tenant {
        push_name(&mut text, TENANT);
        write_json_string(&mut text, tenant.as_str());
    }
    push_name(&mut text, "task_id");
    write_json_string(&mut text, record.task_id.as_str());
    text.push('}');
    text
}

/// The field of a document that says whose it is; without it, it is the default tenant's. In a
/// database it is a stamp, because there is no column for it.
const TENANT: &str = "lovage_tenant";

/// Whether a document is of a call of this tenant; for whoever reads results on somebody's behalf. A
/// revocation that names nobody is anybody's: whoever revokes a call that has not come knows no more.
pub fn is_result_of(document: &str, tenant: &TenantId) -> bool {
    let Ok(whole) = JsonPart::parse(document) else { return false };
    let text = |name| whole.member(name).and_then(JsonPart::as_text);
    text(TENANT).map_or_else(
        || tenant.is_default() || text("status").as_deref() == Some("REVOKED"),
        |named| named == tenant.as_str(),
    )
}

/// A chord's member as backends that count keep it: `[1, id, state, result]`.
pub fn chord_entry(id: &TaskId, state: &TaskState) -> String {
    let mut text = String::from("[1, ");
    write_json_string(&mut text, id.as_str());
    text.push_str(", ");
    write_json_string(&mut text, state.name());
    text.push_str(", ");
    push_result(&mut text, state);
    text.push(']');
    text
}

fn push_extended(text: &mut String, record: &ResultRecord) {
    let Some(extended) = &record.extended else { return };
    push_name(text, "name");
    write_json_string(text, extended.name.as_str());
    push_name(text, "args");
    text.push_str(extended.args.as_str());
    push_name(text, "kwargs");
    text.push_str(extended.kwargs.as_str());
    push_name(text, "worker");
    write_json_string(text, &extended.worker);
    push_name(text, "retries");
    text.push_str(&extended.retries.to_string());
    push_name(text, "queue");
    write_json_string(text, extended.queue.as_str());
    extended.stamps.as_part().each_quoted_member(|name, value| {
        text.push_str(", ");
        text.push_str(name);
        text.push_str(": ");
        text.push_str(value.as_str());
    });
}

fn push_name(text: &mut String, name: &str) {
    text.push_str(", \"");
    text.push_str(name);
    text.push_str("\": ");
}

fn push_result(text: &mut String, state: &TaskState) {
    match state {
        TaskState::Started { process_id, hostname } => {
            text.push_str("{\"pid\": ");
            text.push_str(&process_id.to_string());
            text.push_str(", \"hostname\": ");
            write_json_string(text, hostname);
            text.push('}');
        }
        TaskState::Success(result) => text.push_str(result.as_str()),
        TaskState::Failure(failure) | TaskState::Retry(failure) => exception::push(text, failure),
        TaskState::Revoked(reason) => {
            let failure = Failure::new("celery.exceptions", "TaskRevokedError", reason);
            exception::push(text, &failure);
        }
        TaskState::Custom { meta, .. } => text.push_str(meta.as_str()),
    }
}

fn traceback(state: &TaskState) -> Option<&str> {
    match state {
        TaskState::Failure(failure) | TaskState::Retry(failure) => failure.traceback.as_deref(),
        _ => None,
    }
}

fn push_text_or_null(text: &mut String, value: Option<&str>) {
    match value {
        Some(value) => write_json_string(text, value),
        None => text.push_str("null"),
    }
}

/// Appends what the task sent: for each a tuple of `[id, parent]`, where Celery knows no parent, and
/// its members when it is a group.
fn push_children(text: &mut String, children: &[Child]) {
    text.push('[');
    for (place, child) in children.iter().enumerate() {
        if place > 0 {
            text.push_str(", ");
        }
        match child {
            Child::Task(id) => push_task(text, id),
            Child::Group { id, members } => {
                text.push_str("[[");
                write_json_string(text, id.as_str());
                text.push_str(", null], [");
                for (place, member) in members.iter().enumerate() {
                    if place > 0 {
                        text.push_str(", ");
                    }
                    push_task(text, member);
                }
                text.push_str("]]");
            }
        }
    }
    text.push(']');
}

fn push_task(text: &mut String, id: &TaskId) {
    text.push_str("[[");
    write_json_string(text, id.as_str());
    text.push_str(", null], null]");
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
    /// `stamps`: JSON text, `{"stamped_headers": […], "stamps": {…}}`; null when there are none.
    pub stamps: Option<String>,
}

/// The same as a row of the database backend.
pub fn database_row(record: &ResultRecord) -> DatabaseRow {
    let mut result = String::new();
    push_result(&mut result, &record.state);
    let mut children = String::new();
    push_children(&mut children, &record.children);
    let row = DatabaseRow {
        task_id: record.task_id.as_str().into(),
        status: record.state.name().into(),
        result,
        date_done: record.state.is_ready().then(|| format_naive(record.at)),
        traceback: traceback(&record.state).map(Into::into),
        children: (!record.children.is_empty()).then_some(children),
        stamps: stamps_column(&Json::empty_object(), record.tenant.as_ref()),
        ..DatabaseRow::default()
    };
    let Some(extended) = &record.extended else { return row };
    DatabaseRow {
        name: Some(extended.name.as_str().into()),
        args: Some(extended.args.as_str().into()),
        kwargs: Some(extended.kwargs.as_str().into()),
        worker: Some(extended.worker.clone()),
        retries: Some(extended.retries),
        queue: Some(extended.queue.as_str().into()),
        stamps: stamps_column(&extended.stamps, record.tenant.as_ref()),
        ..row
    }
}

fn stamps_column(stamps: &Json, tenant: Option<&TenantId>) -> Option<String> {
    let names = stamps.as_part().member("stamped_headers").map(JsonPart::as_str);
    if names.is_none() && tenant.is_none() {
        return None;
    }
    let names = names.unwrap_or("[]");
    let mut text = format!("{{\"stamped_headers\": {names}, \"stamps\": {{");
    let mut separator = "";
    if let Some(tenant) = tenant {
        write_json_string(&mut text, TENANT);
        text.push_str(": ");
        write_json_string(&mut text, tenant.as_str());
        separator = ", ";
    }
    stamps.as_part().each_quoted_member(|name, value| {
        if name != "\"stamped_headers\"" {
            text.push_str(separator);
            text.push_str(name);
            text.push_str(": ");
            text.push_str(value.as_str());
            separator = ", ";
        }
    });
    text.push_str("}}");
    Some(text)
}

/// The stamps of a message in the form that [`lovage_core::Extended`] has them: `stamped_headers`, and
/// beside it every stamp by its name.
pub(crate) fn stamps_of(headers: &Json) -> Json {
    let headers = headers.as_part();
    let names = headers.member("stamped_headers").filter(|names| names.as_str() != "[]");
    let Some(names) = names.filter(|names| names.is_array()) else { return Json::empty_object() };
    let mut text = format!("{{\"stamped_headers\": {}", names.as_str());
    if let Some(stamps) = headers.member("stamps") {
        stamps.each_quoted_member(|name, value| {
            text.push_str(", ");
            text.push_str(name);
            text.push_str(": ");
            text.push_str(value.as_str());
        });
    }
    text.push('}');
    opened::written(text)
}
