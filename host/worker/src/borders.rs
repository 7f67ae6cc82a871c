//! Between tenants: what a message may not say, and where a call may not send.
//!
//! A queue says whose a call is, and nothing in the message can change that. A message that names
//! another tenant was sent to the wrong queue, or by somebody who tries: it is kept apart and never
//! run. And what follows a call leaves with the worker's own right to write anywhere, so it may go
//! only to queues that the call's tenant owns; if one would not, nothing leaves at all.

use lovage_celery::{CloseSettings, close};
use lovage_core::{Closing, Failure, Invocation, Settlement, Tenant, TenantId, Verdict};

use crate::pipeline::Pipeline;

/// The header in which a message may say whose it is.
pub(crate) const TENANT_HEADER: &str = "lovage-tenant";

/// Whether a message says that it is another tenant's.
pub(crate) fn names_another(invocation: &Invocation, tenant: &Tenant) -> bool {
    let headers = &invocation.headers;
    // Nearly no message says it, and a search is far cheaper than a walk.
    if !headers.as_str().contains(TENANT_HEADER) {
        return false;
    }
    let named = headers.as_part().member(TENANT_HEADER).filter(|named| !named.is_null());
    named.is_some_and(|named| named.as_text().as_deref() != Some(tenant.id.as_str()))
}

impl Pipeline {
    /// All that is to be made true for a verdict. Where there are tenants, a call that names no queue
    /// goes to its caller's; one that would go to a queue of another tenant fails its caller.
    pub(crate) fn closing(&self, verdict: &mut Verdict) -> Closing {
        let tenants = self.tenants.now();
        if tenants.is_alone() {
            return close(verdict, &self.close);
        }
        let queue = verdict.invocation.queue();
        let owner = &tenants.owner(queue).id;
        let settings = if owner.is_default() {
            self.close.clone()
        } else {
            CloseSettings { default_queue: queue.clone(), ..self.close.clone() }
        };
        let closing = close(verdict, &settings);
        let is_foreign = |id: &TenantId| id != owner;
        let mut queues = closing.publications.iter().map(|one| one.routing_key.as_str().into());
        let Some(foreign) = queues.find(|queue| is_foreign(&tenants.owner(queue).id)) else {
            return closing;
        };
        let text = format!("the queue {foreign} belongs to another tenant: nothing was sent");
        verdict.settlement =
            Settlement::Bury(Failure::new("lovage.exceptions", "TenantMismatch", &text));
        // What is to be told of a failure may be just as foreign: then it is told to nobody.
        let mut closing = close(verdict, &settings);
        closing
            .publications
            .retain(|one| !is_foreign(&tenants.owner(&one.routing_key.as_str().into()).id));
        closing
    }
}
