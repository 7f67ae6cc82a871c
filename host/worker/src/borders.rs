//! Between tenants: what a message may not say, and where a call may not send.
//!
//! A queue says whose a call is, and nothing in the message can change that. A message that names
//! another tenant was sent to the wrong queue, or by somebody who tries: it is kept apart and never
//! run. And what follows a call leaves with the worker's own right to write anywhere, so it may go
//! only to queues that the call's tenant owns; if one would not, nothing leaves at all.

use lovage_celery::{CloseSettings, close};
use lovage_core::{
    Closing, Failure, Invocation, OutboxItem, Publication, Settlement, Tenant, TenantId, Verdict,
};

use crate::chords::Ended;
use crate::event::Event;
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

/// Whether a call added members to its chord, which only a backend that counts them can take.
fn joins(settlement: &Settlement) -> bool {
    let (Settlement::Succeed { calls, .. }
    | Settlement::Ignore { calls }
    | Settlement::Replace { calls, .. }) = settlement
    else {
        return false;
    };
    calls.iter().any(|item| matches!(item, OutboxItem::Member(_)))
}

/// Has the documents of a closing say whose they are, unless they are the default tenant's, and has
/// them kept as long as that tenant says.
fn mark(closing: &mut Closing, owner: &Tenant) {
    let (tenant, life) = (Some(&owner.id).filter(|id| !id.is_default()), owner.retention());
    if tenant.is_some() || life.is_some() {
        for record in &mut closing.results {
            record.tenant = tenant.cloned();
            record.life = life;
        }
    }
}

fn of_tenant(mut closing: Closing, owner: &Tenant) -> Closing {
    mark(&mut closing, owner);
    closing
}

impl Pipeline {
    /// All that is to be made true for a verdict. Where there are tenants, a call that names no queue
    /// goes to its caller's; one that would go to a queue of another tenant fails its caller.
    pub(crate) fn closing(&self, verdict: &mut Verdict) -> Closing {
        if !self.close.chords_are_counted && joins(&verdict.settlement) {
            let text = "Backend does not support add_to_chord";
            verdict.settlement =
                Settlement::Bury(Failure::new("builtins", "NotImplementedError", text));
        }
        let tenants = self.tenants.now();
        let owner = tenants.owner(verdict.invocation.queue());
        if tenants.is_alone() {
            return of_tenant(close(verdict, &self.close), owner);
        }
        let settings = self.settings(verdict, &owner.id);
        let closing = of_tenant(close(verdict, &settings), owner);
        let is_foreign = |id: &TenantId| *id != owner.id;
        let mut queues = closing.publications.iter().map(|one| one.routing_key.as_str().into());
        let Some(foreign) = queues.find(|queue| is_foreign(&tenants.owner(queue).id)) else {
            return closing;
        };
        let text = format!("the queue {foreign} belongs to another tenant: nothing was sent");
        verdict.settlement =
            Settlement::Bury(Failure::new("lovage.exceptions", "TenantMismatch", &text));
        // What is to be told of a failure may be just as foreign: then it is told to nobody.
        let mut closing = of_tenant(close(verdict, &settings), owner);
        closing
            .publications
            .retain(|one| !is_foreign(&tenants.owner(&one.routing_key.as_str().into()).id));
        closing
    }

    /// Tells chords of a verdict. A body that would go to a queue of another tenant does not leave.
    pub(crate) async fn count(&self, verdict: &Verdict, closing: &mut Closing) -> Vec<Ended> {
        if closing.chords.is_none() {
            self.observe_sent(closing);
            return Vec::new();
        }
        let tenants = self.tenants.now();
        let owner = tenants.owner(verdict.invocation.queue());
        let settings = self.settings(verdict, &owner.id);
        let own = closing.publications.len();
        let ended = self.counting.prepare(verdict, &settings, closing).await;
        if !tenants.is_alone() {
            let bodies = closing.publications.split_off(own.min(closing.publications.len()));
            let is_own =
                |one: &Publication| tenants.owner(&one.routing_key.as_str().into()).id == owner.id;
            closing.publications.extend(bodies.into_iter().filter(is_own));
        }
        mark(closing, owner);
        self.observe_sent(closing);
        ended
    }

    fn observe_sent(&self, closing: &Closing) {
        if !closing.publications.is_empty() {
            self.observe(&Event::Sent { publications: &closing.publications });
        }
    }

    /// What settling a tenant's call depends on: where one goes that names no queue.
    fn settings(&self, verdict: &Verdict, owner: &TenantId) -> CloseSettings {
        if owner.is_default() {
            return self.close.clone();
        }
        CloseSettings { default_queue: verdict.invocation.queue().clone(), ..self.close.clone() }
    }
}
