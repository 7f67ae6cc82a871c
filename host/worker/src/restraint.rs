//! What keeps a task that fails from being a load of its own: its breaker before an attempt, its
//! budget after one.

use std::time::Duration;

use lovage_core::{Job, Report, Timestamp, Verdict, decide};

use crate::breaker::Breakers;
use crate::budget::Budgets;

/// The breakers and the budgets of one worker.
#[derive(Debug, Default)]
pub(crate) struct Restraint {
    breakers: Breakers,
    budgets: Budgets,
}

impl Restraint {
    /// How long a call is held back; `None` when it may run now.
    pub(crate) fn wait(&self, job: &Job, now: Timestamp) -> Option<Duration> {
        self.breakers.wait(job, now)
    }

    /// Decides what becomes of a job, with what its task's other calls came to in mind.
    pub(crate) fn decide(&self, job: Job, report: Report, now: Timestamp) -> Verdict {
        self.breakers.record(&job, &report.outcome, now);
        let (budget, tenant) = (job.retry.budget, job.tenant.id.clone());
        let mut verdict = decide(job, report, now, fastrand::f64());
        self.budgets.enter(&tenant, budget, &mut verdict);
        verdict
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use lovage_core::{BreakerRequest, Failure, Outcome, Report, Settlement, Timestamp};

    use super::Restraint;
    use crate::samples;

    const NOW: Timestamp = Timestamp::from_micros(1_000_000_000);

    fn asks() -> Report {
        let failure = Failure::new("builtins", "ValueError", "no");
        Report::of(Outcome::Retry { failure, after: Some(Duration::ZERO), options: None })
    }

    #[test]
    fn a_retry_that_the_budget_cannot_pay_is_later_than_the_task_asked() {
        let restraint = Restraint::default();
        let at = |verdict: Settlement| match verdict {
            Settlement::Retry { at, .. } => at,
            other => panic!("{other:?}"),
        };
        let retry = || at(restraint.decide(samples::job(1), asks(), NOW).settlement);
        let waits: Vec<_> = (0..12).map(|_| retry().until(NOW).as_secs()).collect();
        assert_eq!(waits, [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2]);
    }

    #[test]
    fn a_task_that_fails_is_held_back_where_its_manifest_asks() {
        let restraint = Restraint::default();
        let mut job = samples::job(0);
        let breaker = BreakerRequest { min_calls: 1, ..BreakerRequest::default() };
        Arc::make_mut(&mut job.task).breaker = Some(breaker);
        assert_eq!(restraint.wait(&job, NOW), None);
        restraint.decide(job.clone(), asks(), NOW);
        assert_eq!(restraint.wait(&job, NOW), Some(Duration::from_secs(30)));
    }
}
