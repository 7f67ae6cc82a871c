//! What callers are told of a call itself.

use lovage_core::{
    Child, Extended, Invocation, ResultRecord, TaskSpec, TaskState, TenantId, Timestamp,
};

use crate::CloseSettings;
use crate::result::stamps_of;

/// What callers are told when an attempt begins, if they are to be and want to know. `tenant` is whose
/// call it is.
pub fn started(
    invocation: &Invocation,
    task: &TaskSpec,
    settings: &CloseSettings,
    (process_id, tenant): (u32, &TenantId),
    at: Timestamp,
) -> Option<ResultRecord> {
    let tracked = settings.track_started || task.track_started;
    if !tracked || invocation.ignore_result.unwrap_or(task.ignore_result) {
        return None;
    }
    let state = TaskState::Started { process_id, hostname: settings.hostname.clone() };
    let told = record(invocation, settings, state, Vec::new(), at);
    Some(ResultRecord { tenant: Some(tenant.clone()).filter(|it| !it.is_default()), ..told })
}

/// The document of a call in this state.
pub(crate) fn record(
    invocation: &Invocation,
    settings: &CloseSettings,
    state: TaskState,
    children: Vec<Child>,
    at: Timestamp,
) -> ResultRecord {
    let correlation_id = invocation.correlation_id.clone();
    let extended = || {
        Box::new(Extended {
            name: invocation.task.clone(),
            args: invocation.args.clone(),
            kwargs: invocation.kwargs.clone(),
            worker: settings.hostname.clone(),
            retries: invocation.retries,
            queue: invocation.queue().clone(),
            stamps: stamps_of(&invocation.headers),
        })
    };
    ResultRecord {
        task_id: invocation.id.clone(),
        state,
        at,
        group: invocation.group.clone(),
        parent_id: invocation.parent_id.clone(),
        children,
        reply_to: invocation.reply_to.clone(),
        correlation_id: correlation_id.or_else(|| Some(invocation.id.as_str().into())),
        extended: settings.extended.then(extended),
        tenant: None,
        life: None,
    }
}
