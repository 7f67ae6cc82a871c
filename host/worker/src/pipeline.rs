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

use lovage_celery::{Accept, CloseSettings, close, decode, quarantine};
use lovage_core::ports::{Clock, PortError, Registry, Sandbox};
use lovage_core::{
    Closing, Death, Delivery, Disposal, Job, Kept, KeptKind, Limits, Outcome, Report, Usage, decide,
};
use tracing::{error, warn};

use crate::admit::admit;
use crate::event::{Event, Observer};
use crate::services::Services;
use crate::settler::Settler;

/// What every message of a worker passes through.
pub(crate) struct Pipeline {
    pub(crate) accept: Accept,
    pub(crate) close: CloseSettings,
    pub(crate) limits: Limits,
    pub(crate) registry: Arc<dyn Registry>,
    pub(crate) sandbox: Arc<dyn Sandbox>,
    pub(crate) services: Arc<Services>,
    pub(crate) settler: Settler,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) observer: Option<Arc<dyn Observer>>,
}

/// How often a call is run whose executor dies under it; the last time it has failed.
const CRASHES_MAX: u32 = 3;

impl Pipeline {
    /// Takes a delivery through its life. When this returns, it is settled or no longer ours.
    pub(crate) async fn live(&self, delivery: Delivery) {
        let invocation = match decode(delivery, &self.accept) {
            Ok(invocation) => invocation,
            Err(undecoded) => {
                let (queue, code) = (undecoded.delivery.queue.as_str(), undecoded.error.code());
                self.observe(&Event::Quarantined { queue, code });
                return self.settle(quarantine(&undecoded, self.clock.now())).await;
            }
        };
        let resolved = self.registry.resolve(&invocation.task);
        let (verdict, usage) = match admit(invocation, resolved, &self.limits, self.clock.now()) {
            Ok(job) => {
                let report = self.run(&job).await;
                tell_logs(&job, &report);
                let usage = report.usage;
                (decide(*job, report, self.clock.now(), fastrand::f64()), usage)
            }
            Err(refused) => (*refused, Usage::default()),
        };
        if let Some(closing) = close(&verdict, &self.close) {
            self.settle(closing).await;
        }
        self.observe(&Event::Settled { verdict: &verdict, usage: &usage });
    }

    /// Runs a job. When its executor dies, nobody knows whose fault it was: the job is run again, in
    /// another one, until it has been there too often when that happened.
    async fn run(&self, job: &Job) -> Report {
        let mut crashes = 0;
        loop {
            let attempt = self.services.running.enter(&job.invocation);
            let report = self.sandbox.run(attempt.number, job).await;
            let lost = matches!(report.outcome, Outcome::Killed { death: Death::ExecutorLost, .. });
            crashes += u32::from(lost);
            if !lost || crashes == CRASHES_MAX {
                return report;
            }
            warn!(task.id = %job.invocation.id, task.name = %job.task.name, crashes,
                module.digest = %job.module.digest.short(), "An executor died under a task");
        }
    }

    async fn settle(&self, closing: Closing) {
        let receipt = closing.receipt;
        let Err(refused) = self.settler.settle(closing).await else { return };
        if refused.is_transient() {
            // The worker is stopping: the lease, or its end, gives the delivery back.
            return;
        }
        error!(error = &refused as &dyn std::error::Error, "A task cannot be settled");
        let kept = Closing::only(receipt, Disposal::Keep(Box::new(self.unsettleable(&refused))));
        if let Err(again) = self.settler.settle(kept).await {
            error!(error = &again as &dyn std::error::Error, "Nor can its message be kept");
        }
    }

    /// Why a message is kept whose verdict a store refuses for good.
    fn unsettleable(&self, refused: &PortError) -> Kept {
        Kept {
            kind: KeptKind::Dead,
            reason: "unsettleable".into(),
            detail: refused.to_string(),
            task_id: None,
            task: None,
            queue: self.close.default_queue.clone(),
            digest: None,
            traceback: None,
            retries: 0,
            deliveries: 1,
            at: self.clock.now(),
        }
    }

    fn observe(&self, event: &Event<'_>) {
        event.log();
        if let Some(observer) = &self.observer {
            observer.observe(event);
        }
    }
}

/// Writes what the guest logged, with everything a terminal could act on made harmless.
fn tell_logs(job: &Job, report: &Report) {
    for line in &report.logs {
        crate::event::log_guest_line(&job.invocation, line);
    }
    if report.logs_dropped > 0 {
        warn!(task.id = %job.invocation.id, dropped = report.logs_dropped,
            "A task logged more than it may; the rest is dropped");
    }
}
