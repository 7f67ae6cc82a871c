//! Which attempts run now, and whose they are.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lovage_core::{Grant, Job, JobNumber};

use crate::outbound::Requests;

/// The attempts that run now. It is asked when a guest calls the host, and when a lease is lost.
#[derive(Debug, Default)]
pub(crate) struct Running {
    next: AtomicU64,
    attempts: Mutex<HashMap<JobNumber, Arc<Attempt>>>,
}

/// What a host call needs to know of the attempt that makes it. It shares the job with the main
/// path: nothing is copied.
#[derive(Debug)]
pub(crate) struct Attempt {
    pub(crate) job: Arc<Job>,
    /// The right to run it; `None` where there is no ledger.
    pub(crate) grant: Option<Grant>,
    /// What it sends to other machines; `None` where its task asks for none.
    pub(crate) requests: Option<Requests>,
}

impl Running {
    /// Registers an attempt for as long as the guard lives.
    pub(crate) fn enter(&self, job: &Arc<Job>, grant: Option<Grant>) -> Guard<'_> {
        let number = JobNumber(self.next.fetch_add(1, Ordering::Relaxed));
        let attempt = Attempt { job: Arc::clone(job), grant, requests: Requests::of(job) };
        self.attempts().insert(number, Arc::new(attempt));
        Guard { running: self, number }
    }

    /// The attempt of this number, if it still runs.
    pub(crate) fn get(&self, number: JobNumber) -> Option<Arc<Attempt>> {
        self.attempts().get(&number).cloned()
    }

    /// The numbers of the attempts that are wanted.
    pub(crate) fn numbers(&self, wanted: impl Fn(&Attempt) -> bool) -> Vec<JobNumber> {
        let attempts = self.attempts();
        attempts.iter().filter(|(_, it)| wanted(it)).map(|(number, _)| *number).collect()
    }

    fn attempts(&self) -> MutexGuard<'_, HashMap<JobNumber, Arc<Attempt>>> {
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
        let attempt = self.running.attempts().remove(&self.number);
        if let Some(requests) = attempt.as_ref().and_then(|attempt| attempt.requests.as_ref()) {
            requests.end();
        }
    }
}
