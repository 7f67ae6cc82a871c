//! Calls that nobody wants any more.

use std::collections::{BTreeMap, HashSet};

use lovage_core::{Death, Json, ResultRecord, TaskId, TaskState};
use serde_json::{Map, Value};
use tracing::{info, warn};

use super::Control;
use super::answer::{error, ok, python_set, python_value};
use super::arguments::Arguments;
use crate::operations::{is_stamped, values};

/// States of a call that has not begun: others belong to whoever runs it, or are the last ones.
const NOT_BEGUN: [&str; 4] = ["PENDING", "RECEIVED", "RETRY", "REJECTED"];

/// Ids that one command may name.
const IDS_MAX: usize = 50_000;

/// Results that are looked at together, when many calls are revoked.
const BATCH_MAX: usize = 100;

impl Control {
    /// Revokes calls by their ids; with `terminate` those that run are ended.
    pub(super) async fn revoke(&self, arguments: Arguments<'_>, terminate: bool) -> Json {
        let Some(signal) = signal(arguments) else { return bad_signal(arguments) };
        let mut seen = HashSet::new();
        let ids = arguments.texts("task_id").into_iter().take(IDS_MAX);
        let ids: Vec<TaskId> = ids.filter(|id| seen.insert(*id)).map(Into::into).collect();
        let operations = &self.parts.operations;
        operations.revoked.add(ids.iter().cloned(), self.now());
        // Ending what runs comes first: every other step asks a server.
        let ended = if terminate { self.end(&ids, signal) } else { Vec::new() };
        let running: HashSet<TaskId> =
            operations.roster.active().iter().map(|(job, _)| job.invocation.id.clone()).collect();
        let idle: Vec<&TaskId> = ids.iter().filter(|id| !running.contains(*id)).collect();
        for batch in idle.chunks(BATCH_MAX) {
            futures::future::join_all(batch.iter().map(|id| self.tell_caller(id))).await;
        }
        if !terminate {
            info!(ids = ?ids, "Calls flagged as revoked");
            let set = python_set(ids.iter().map(TaskId::as_str));
            return ok(&format!("tasks {set} flagged as revoked"));
        }
        if ended.is_empty() {
            return ok("terminate: tasks unknown");
        }
        let ended: Vec<_> = ended.iter().map(TaskId::as_str).collect();
        ok(&format!("terminate: {}", ended.join(", ")))
    }

    /// Revokes calls by what they are stamped with; with `terminate` those that run are ended.
    pub(super) fn revoke_stamped(&self, arguments: Arguments<'_>) -> Json {
        let Some(signal) = signal(arguments) else { return bad_signal(arguments) };
        let headers = match arguments.value("headers") {
            Some(Value::Object(headers)) => headers.clone(),
            Some(Value::Array(pairs)) => pairs.iter().filter_map(pair).collect(),
            _ => Map::new(),
        };
        let operations = &self.parts.operations;
        operations.revoked.add_stamps(&headers);
        let shown = python_value(&Value::Object(headers.clone()));
        if !arguments.flag("terminate") {
            return ok(&format!("headers {shown} flagged as revoked, but not terminated"));
        }
        let wanted: BTreeMap<String, Vec<Value>> =
            headers.iter().map(|(name, value)| (name.clone(), values(value).to_vec())).collect();
        let active = operations.roster.active();
        let meant = active.iter().filter(|(job, _)| is_stamped(&job.invocation, &wanted));
        let ids: Vec<TaskId> = meant.map(|(job, _)| job.invocation.id.clone()).collect();
        if self.end(&ids, signal).is_empty() {
            return ok(&format!("headers {shown} were not terminated"));
        }
        ok(&format!("headers {shown} revoked"))
    }

    /// Ends those of the calls that run; returns all that are here. Those that have not begun will
    /// not, because they are revoked.
    fn end(&self, ids: &[TaskId], signal: i32) -> Vec<TaskId> {
        let operations = &self.parts.operations;
        let mut here = Vec::new();
        for (job, begun) in operations.roster.active() {
            let id = &job.invocation.id;
            if ids.contains(id) {
                info!(task.id = %id, task.name = %job.invocation.task, signal, "Ending a task");
                operations.revoked.end_with(id, signal);
                self.parts.sandbox.cancel(begun.number, Death::Revoked);
                here.push(id.clone());
            }
        }
        let waiting = operations.roster.reserved();
        let waiting = waiting.iter().map(|job| job.invocation.id.clone());
        let scheduled = operations.roster.scheduled(self.now());
        let scheduled = scheduled.iter().map(|(_, call)| call.id.clone());
        here.extend(waiting.chain(scheduled).filter(|id| ids.contains(id)));
        here
    }

    /// Tells the caller of a call that has not begun that it never will. A stored success is never
    /// overwritten, whatever was read before.
    async fn tell_caller(&self, id: &TaskId) {
        let results = &self.parts.results;
        let told = async {
            let document = results.load(id).await?;
            if !document.as_deref().is_none_or(has_not_begun) {
                return Ok(());
            }
            let record = ResultRecord {
                tenant: None,
                task_id: id.clone(),
                state: TaskState::Revoked("revoked"),
                at: self.now(),
                group: None,
                parent_id: None,
                children: Vec::new(),
                reply_to: None,
                correlation_id: None,
                extended: None,
                life: None,
            };
            results.store(&[record]).await.pop().unwrap_or(Ok(()))
        };
        if let Err(failed) = told.await {
            let error = &failed as &dyn std::error::Error;
            warn!(error, task.id = %id, "Cannot tell a caller that its call is revoked");
        }
    }
}

fn has_not_begun(document: &str) -> bool {
    let status = Json::parse(document)
        .ok()
        .and_then(|document| Some(document.as_part().member("status")?.as_text()?.into_owned()));
    status.is_some_and(|status| NOT_BEGUN.contains(&status.as_str()))
}

/// `name=value`, as the command line passes a stamp.
fn pair(pair: &Value) -> Option<(String, Value)> {
    let (name, value) = pair.as_str()?.split_once('=')?;
    Some((name.into(), value.into()))
}

/// The number of the signal that is to end a call. A guest is ended in one way only: the number is
/// what its event says.
fn signal(arguments: Arguments<'_>) -> Option<i32> {
    match arguments.value("signal") {
        None => Some(15),
        Some(Value::Number(number)) => number
            .as_i64()
            .and_then(|number| number.try_into().ok())
            .filter(|it| (1..65).contains(it)),
        Some(value) => {
            let text = value.as_str()?.to_ascii_uppercase();
            let name = text.strip_prefix("SIG").unwrap_or(&text);
            SIGNALS.iter().find(|(known, _)| *known == name).map(|(_, number)| *number)
        }
    }
}

fn bad_signal(arguments: Arguments<'_>) -> Json {
    let name = arguments.value("signal").map(python_value).unwrap_or_default();
    error(&format!("KeyError({name})"))
}

/// The signals that people end tasks with, by Linux's numbers.
const SIGNALS: [(&str, i32); 9] = [
    ("HUP", 1),
    ("INT", 2),
    ("QUIT", 3),
    ("ABRT", 6),
    ("KILL", 9),
    ("USR1", 10),
    ("USR2", 12),
    ("ALRM", 14),
    ("TERM", 15),
];

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Arguments, has_not_begun, pair, signal};

    #[test]
    fn signals_have_names_and_numbers() {
        let number = |value: serde_json::Value| {
            signal(Arguments(json!({"signal": value}).as_object().unwrap()))
        };
        assert_eq!(number(json!("SIGKILL")), Some(9));
        assert_eq!(number(json!("term")), Some(15));
        assert_eq!((number(json!(3)), number(json!(null))), (Some(3), Some(15)));
        assert_eq!((number(json!("SIGNO")), number(json!(0))), (None, None));
    }

    #[test]
    fn a_document_of_a_call_that_runs_or_is_over_is_left_alone() {
        for (status, expected) in [
            ("PENDING", true),
            ("RETRY", true),
            ("STARTED", false),
            ("SUCCESS", false),
            ("X", false),
        ] {
            assert_eq!(has_not_begun(&format!(r#"{{"status": "{status}"}}"#)), expected);
        }
        assert!(!has_not_begun("no document"));
    }

    #[test]
    fn a_stamp_may_be_written_as_a_pair() {
        assert_eq!(pair(&json!("tenant=t1")), Some(("tenant".into(), json!("t1"))));
        assert_eq!(pair(&json!("tenant")), None);
    }
}
