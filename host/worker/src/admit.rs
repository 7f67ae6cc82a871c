//! Whether a call may run, and as what.

use std::sync::Arc;
use std::time::Duration;

use lovage_celery::{arguments_error, errback_arguments};
use lovage_core::ports::Resolved;
use lovage_core::{
    DropReason, Invocation, Job, LimitRequest, Limits, ParkReason, RetryPolicy, Settlement, Tenant,
    Timestamp, Verdict, render_key,
};

use crate::borders::names_another;
use crate::schemas::Schemas;

/// The circumstances in which a call is admitted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Terms<'a> {
    /// The operator's limits for the task.
    pub(crate) operator: Limits,
    /// What tasks ask of their arguments.
    pub(crate) schemas: &'a Schemas,
    /// Whether somebody revoked the call.
    pub(crate) revoked: bool,
    /// What time it is.
    pub(crate) now: Timestamp,
}

/// Admits a call as a job, or says what becomes of it instead.
///
/// Pure: what the registry answered, the queue's owner and the circumstances come in as arguments;
/// schemas are only remembered. The order is Celery's: a call that is no longer wanted is dropped
/// before anyone asks what it is.
pub(crate) fn admit(
    mut invocation: Invocation,
    resolved: Option<Resolved>,
    tenant: Arc<Tenant>,
    Terms { operator, schemas, revoked, now }: Terms<'_>,
) -> Result<Arc<Job>, Box<Verdict>> {
    let refused = if names_another(&invocation, &tenant) {
        Some(Settlement::Park(ParkReason::TenantMismatch))
    } else {
        refusal(&invocation, resolved.as_ref(), schemas, revoked, now)
    };
    let (module, task) = match (resolved, refused) {
        (Some(Resolved { module, task }), None) => (module, task),
        (resolved, refused) => {
            let settlement = refused.unwrap_or(Settlement::Park(ParkReason::UnknownTask));
            let digest = resolved.as_ref().map(|it| it.module.digest);
            let task = resolved.map(|it| it.task);
            return Err(Box::new(Verdict {
                invocation,
                task,
                digest,
                key_is_explicit: false,
                settlement,
                at: now,
            }));
        }
    };
    if let Some(args) = errback_arguments(&invocation, task.params.len()) {
        invocation.args = args;
    }
    let limits = requested(operator, task.limits).within(invocation.time_limit);
    let retry = RetryPolicy::requested(task.retry.as_ref()).tightened(&invocation.retry);
    let template = task.idempotency.as_ref().and_then(|idempotency| {
        render_key(&idempotency.key, &task.params, &invocation.args, &invocation.kwargs)
    });
    let explicit = invocation.idempotency_key.clone().or(template.map(Into::into));
    let key_is_explicit = explicit.is_some();
    let key = explicit.unwrap_or_else(|| invocation.id.as_str().into());
    Ok(Arc::new(Job { invocation, tenant, module, task, limits, retry, key, key_is_explicit }))
}

/// What becomes of a call that must not run now, `None` when nothing speaks against it.
fn refusal(
    invocation: &Invocation,
    resolved: Option<&Resolved>,
    schemas: &Schemas,
    revoked: bool,
    now: Timestamp,
) -> Option<Settlement> {
    if invocation.expires.is_some_and(|expires| expires <= now) {
        return Some(Settlement::Drop(DropReason::Expired));
    }
    if revoked {
        return Some(Settlement::Drop(DropReason::Revoked));
    }
    if let Some(eta) = invocation.eta.filter(|eta| *eta > now) {
        return Some(Settlement::Release(Some(eta)));
    }
    let resolved = resolved?;
    let failure = arguments_error(invocation).or_else(|| schemas.failure(invocation, resolved));
    failure.map(Settlement::Bury)
}

/// The operator's limits, tightened as far as the task asks.
pub(crate) fn requested(operator: Limits, task: LimitRequest) -> Limits {
    operator.tightened(Limits {
        time: task.time_ms.map_or(operator.time, Duration::from_millis),
        soft_time: task.soft_time_ms.map(Duration::from_millis),
        cpu_time: task.cpu_time_ms.map_or(operator.cpu_time, Duration::from_millis),
        memory_bytes: task.memory_bytes.unwrap_or(operator.memory_bytes),
        fuel: task.fuel.unwrap_or(operator.fuel),
        result_bytes: task.output_bytes.unwrap_or(operator.result_bytes),
        ..operator
    })
}
