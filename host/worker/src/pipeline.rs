//! The main path: the whole life of a message, top to bottom.
//!
//! ```text
//! Delivery ─decode→ Invocation ─admit→ Job ─run→ Report ─decide→ Verdict ─settle→ acknowledged
//! ```
//!
//! `decode`, `admit`, `decide` and `close` are pure; `run` and `settle` are the two ports in between.
//! An error of a port settles nothing: the delivery stays ours until it works, or until the lease
//! runs out and it is somebody else's.

use std::sync::Arc;

use lovage_celery::{Accept, CloseSettings, decode, quarantine};
use lovage_core::ports::{Clock, Registry, Sandbox};
use lovage_core::{
    Closing, Delivery, Disposal, Job, Kept, KeptKind, Limits, TenantTable, Usage, Verdict,
};
use tracing::error;

use crate::admit::{Terms, admit};
use crate::builtins::Builtins;
use crate::chords::Counting;
use crate::claims::{Answer, Claims, Instead, Right, instead};
use crate::event::{Event, Observer, tell_logs};
use crate::failpoint::{Failpoint, Passage};
use crate::operations::Operations;
use crate::restraint::Restraint;
use crate::schemas::Schemas;
use crate::services::Services;
use crate::settler::Settler;
use crate::shares::Shares;

/// What every message of a worker passes through.
pub(crate) struct Pipeline {
    pub(crate) accept: Accept,
    pub(crate) close: CloseSettings,
    pub(crate) limits: Limits,
    pub(crate) registry: Arc<dyn Registry>,
    pub(crate) builtins: Builtins,
    pub(crate) tenants: Arc<TenantTable>,
    pub(crate) shares: Shares,
    pub(crate) schemas: Schemas,
    pub(crate) sandbox: Arc<dyn Sandbox>,
    pub(crate) services: Arc<Services>,
    pub(crate) counting: Counting,
    pub(crate) claims: Claims,
    pub(crate) restraint: Restraint,
    pub(crate) settler: Settler,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) operations: Arc<Operations>,
    pub(crate) observers: Vec<Arc<dyn Observer>>,
    pub(crate) failpoint: Failpoint,
}

impl Pipeline {
    /// Takes a delivery through its life. When this returns, it is settled or no longer ours.
    pub(crate) async fn live(&self, delivery: Delivery) {
        self.failpoint.pass(Passage::Reserved);
        let decoded = decode(delivery, &self.accept);
        self.failpoint.pass(Passage::Decoded);
        let invocation = match decoded {
            Ok(invocation) => invocation,
            Err(undecoded) => {
                let (queue, code) = (undecoded.delivery.queue.as_str(), undecoded.error.code());
                self.observe(&Event::Quarantined { queue, code });
                return self.settle(quarantine(&undecoded, self.clock.now())).await;
            }
        };
        let now = self.clock.now();
        let revoked = self.greet(&invocation, now);
        let tenant = self.tenants.owner(invocation.queue());
        let resolved = self.resolve(&tenant.id, &invocation).await;
        let operator = self.operations.limits(&invocation.task, &self.limits);
        let terms = Terms { operator, schemas: &self.schemas, revoked, now };
        let job = match admit(invocation, resolved, tenant, terms) {
            Ok(job) => job,
            Err(verdict) => return self.conclude(*verdict, Usage::default(), None).await,
        };
        let seat = self.operations.roster.enter(&job);
        let answer = match self.hold_back(&job).await {
            Some(answer) => Some(answer),
            None => self.claims.claim(&job).await,
        };
        match answer {
            Some(Answer::Run(right)) => {
                self.failpoint.pass(Passage::Claimed);
                let report = self.run(&job, right.map(|right| right.grant)).await;
                self.failpoint.pass(Passage::GuestReturned);
                tell_logs(&job, &report);
                let usage = report.usage;
                let verdict = self.restraint.decide(seat.leave(job), report, self.clock.now());
                self.conclude(verdict, usage, right).await;
            }
            Some(answer) => self.do_instead(seat.leave(job), answer).await,
            // The worker is stopping: the delivery goes back with its session.
            None => {}
        }
    }

    /// Makes a verdict true.
    async fn conclude(&self, mut verdict: Verdict, usage: Usage, right: Option<Right>) {
        let mut closing = self.closing(&mut verdict);
        let ended = self.count(&verdict, &mut closing).await;
        let write = right.map(|it| it.write(&verdict, &closing.disposal, self.settler.is_one_step));
        self.counting.hold(&ended, self.settle(closing.recorded(write))).await;
        self.counting.end(ended).await;
        self.observe(&Event::Settled { verdict: &verdict, usage: &usage });
        self.remember(verdict);
    }

    /// Does with a job what its claim was answered, if it is not to be run.
    async fn do_instead(&self, job: Job, answer: Answer) {
        let invocation = job.invocation.clone();
        let known = Closing::only(invocation.delivery.receipt, Disposal::Acknowledge);
        match instead(job, answer, self.clock.now()) {
            Instead::Settle(verdict, right) => {
                return self.conclude(verdict, Usage::default(), right).await;
            }
            Instead::Tell(mut verdict) => {
                let results = self.closing(&mut verdict).results;
                self.settle(Closing { results, ..known }).await;
            }
            Instead::Acknowledge => self.settle(known).await,
        }
        self.observe(&Event::Known { invocation: &invocation });
    }

    async fn settle(&self, closing: Closing) {
        let (receipt, end) = (closing.receipt, Passage::last(&closing));
        let Err(refused) = self.settler.settle(closing).await else {
            return end.into_iter().for_each(|end| self.failpoint.pass(end));
        };
        if refused.is_transient() {
            // The worker is stopping: the lease, or its end, gives the delivery back.
            return;
        }
        error!(error = &refused as &dyn std::error::Error, "A task cannot be settled");
        let (queue, now) = (self.close.default_queue.clone(), self.clock.now());
        let kept = Kept::unread(KeptKind::Dead, "unsettleable", refused.to_string(), queue, now);
        let kept = Closing::only(receipt, Disposal::Keep(Box::new(kept)));
        if let Err(again) = self.settler.settle(kept).await {
            error!(error = &again as &dyn std::error::Error, "Nor can its message be kept");
        }
    }

    pub(crate) fn observe(&self, event: &Event<'_>) {
        event.log();
        self.observers.iter().for_each(|observer| observer.observe(event));
    }
}
