//! Which attempts run now, and whose they are.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use lovage_core::{Grant, Job, JobNumber, Receipt, TaskId, TaskName, TenantId};

/// The attempts that run now. It is asked when a guest calls the host, and when a lease is lost.
#[derive(Debug, Default)]
pub(crate) struct Running {
    next: AtomicU64,
    attempts: Mutex<HashMap<JobNumber, Attempt>>,
}

/// What a host call needs to know of the attempt that makes it.
#[derive(Debug, Clone)]
pub(crate) struct Attempt {
    pub(crate) receipt: Receipt,
    pub(crate) tenant: TenantId,
    pub(crate) task: TaskName,
    pub(crate) task_id: TaskId,
    pub(crate) group: Option<TaskId>,
    pub(crate) parent_id: Option<TaskId>,
    pub(crate) key: Box<str>,
    /// The right to run it; `None` where there is no ledger.
    pub(crate) grant: Option<Grant>,
}

impl Running {
    /// Registers an attempt for as long as the guard lives.
    pub(crate) fn enter(&self, job: &Job, grant: Option<Grant>) -> Guard<'_> {
        let number = JobNumber(self.next.fetch_add(1, Ordering::Relaxed));
        let invocation = &job.invocation;
        let attempt = Attempt {
            receipt: invocation.delivery.receipt,
            tenant: job.tenant.id.clone(),
            task: invocation.task.clone(),
            task_id: invocation.id.clone(),
            group: invocation.group.clone(),
            parent_id: invocation.parent_id.clone(),
            key: job.key.clone(),
            grant,
        };
        self.attempts().insert(number, attempt);
        Guard { running: self, number }
    }

    /// The attempt of this number, if it still runs.
    pub(crate) fn get(&self, number: JobNumber) -> Option<Attempt> {
        self.attempts().get(&number).cloned()
    }

    /// The numbers of the attempts that are wanted.
    pub(crate) fn numbers(&self, wanted: impl Fn(&Attempt) -> bool) -> Vec<JobNumber> {
        let attempts = self.attempts();
        attempts.iter().filter(|(_, it)| wanted(it)).map(|(number, _)| *number).collect()
    }

    fn attempts(&self) -> MutexGuard<'_, HashMap<JobNumber, Attempt>> {
        self.attempts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An attempt's place among the running ones.
pub(crate) struct Guard<'a> {
    running: &'a Running,
    pub(crate) number: JobNumber,
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        self.running.attempts().remove(&self.number);
    }
}
