//! The tasks of a module: found at link time, sorted by name, run by name.

use crate::{Ctx, TaskError, json::Reply};

/// A task as `#[lovage::task]` registers it.
#[derive(Clone, Copy, Debug)]
pub struct Task {
    /// The name that callers use.
    pub name: &'static str,
    /// Its entry in the manifest, a JSON object.
    pub manifest: &'static str,
    /// Binds the arguments, calls the function and writes its result.
    pub run: fn(&Ctx, &str, &str) -> Result<String, TaskError>,
}

inventory::collect!(Task);

/// The module's manifest: what its `describe` answers.
///
/// The order in which tasks are linked is not stable, and a manifest is compared: so it is sorted.
pub fn manifest(module: &str) -> String {
    let mut tasks: Vec<&Task> = inventory::iter::<Task>.into_iter().collect();
    tasks.sort_unstable_by_key(|task| task.name);
    let mut text = String::from("{\"v\":1,\"abi\":\"lovage:task@0.1.0\",\"module\":\"");
    text.push_str(module);
    text.push_str("\",\"language\":\"rust\",\"tasks\":[");
    for (index, task) in tasks.into_iter().enumerate() {
        if index > 0 {
            text.push(',');
        }
        text.push_str(task.manifest);
    }
    text.push_str("]}");
    text
}

/// Runs the task named `name`.
///
/// # Errors
/// What the task answers; `NotRegistered`, rejected, when there is none of that name.
pub(crate) fn run(name: &str, args: &str, kwargs: &str) -> Result<String, TaskError> {
    match inventory::iter::<Task>.into_iter().find(|task| task.name == name) {
        Some(task) => (task.run)(&Ctx::new(), args, kwargs),
        None => Err(TaskError::reject(name).exception("NotRegistered").module("celery.exceptions")),
    }
}

/// Writes what a task returned.
///
/// # Errors
/// When it has no JSON form.
pub fn reply(value: impl Reply) -> Result<String, TaskError> {
    value.into_json().map_err(|error| TaskError::reject(error).exception("EncodeError"))
}

/// Writes what a task that can fail returned.
///
/// # Errors
/// The task's own, or that its value has no JSON form.
pub fn reply_result<T: Reply, E: Into<TaskError>>(
    result: Result<T, E>,
) -> Result<String, TaskError> {
    result.map_err(Into::into).and_then(reply)
}
