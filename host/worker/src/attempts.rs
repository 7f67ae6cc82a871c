//! Running a job, as often as it takes to know whose fault an executor's death was.

use std::sync::Arc;

use lovage_celery::started;
use lovage_core::{Death, Grant, Job, Outcome, Report};
use tracing::warn;

use crate::event::Event;
use crate::failpoint::Passage;
use crate::operations::Begun;
use crate::pipeline::Pipeline;

/// How often a call is run whose executor dies under it; the last time it has failed.
const CRASHES_MAX: u32 = 3;

/// After how many such deaths a call runs alone. One says nothing about it: executors are killed from
/// outside, too, with a thousand waiting calls in them that need not take turns. Who was there twice
/// is a suspect.
const ALONE_AFTER: u32 = 2;

impl Pipeline {
    /// Runs a job. When its executor dies, nobody knows whose fault it was: all that were in it are
    /// run again; who was in two that died, alone, so that only the one who fells executors can do it
    /// again.
    pub(crate) async fn run(&self, job: &Arc<Job>, grant: Option<Grant>) -> Report {
        self.observe(&Event::Started { job });
        self.tell_started(job).await;
        if self.builtins.has(job) {
            self.run_builtin(job).await
        } else {
            self.attempt(job, grant).await
        }
    }

    /// Tells callers that want to know.
    async fn tell_started(&self, job: &Job) {
        let (of, now) = ((std::process::id(), &job.tenant.id), self.clock.now());
        if let Some(told) = started(&job.invocation, &job.task, &self.close, of, now) {
            self.services.tell(told).await;
        }
    }

    /// The same for a part of a job, which nobody is told of.
    pub(crate) async fn attempt(&self, job: &Arc<Job>, grant: Option<Grant>) -> Report {
        let mut crashes = 0;
        loop {
            let attempt = self.services.enter(job, grant);
            let begun = Begun { at: self.clock.now(), number: attempt.number };
            self.operations.roster.begin(job.invocation.delivery.receipt, begun);
            let run = match crashes {
                ..ALONE_AFTER => self.sandbox.run(attempt.number, job),
                _ => self.sandbox.run_alone(attempt.number, job),
            };
            let report = self.failpoint.begin(Passage::Instantiated, run).await;
            let lost = matches!(report.outcome, Outcome::Killed { death: Death::ExecutorLost, .. });
            crashes += u32::from(lost);
            self.shares.used(job.invocation.delivery.receipt, &report.usage);
            if !lost || crashes == CRASHES_MAX {
                return report;
            }
            warn!(task.id = %job.invocation.id, task.name = %job.task.name, crashes,
                module.digest = %job.module.digest.short(), "An executor died under a task");
        }
    }
}
