//! The calls that are here: which wait, which run, which come again.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lovage_core::{Invocation, Job, JobNumber, Receipt, TaskId, TaskName, Timestamp};

/// What the worker has to do with calls now. It shares each job with the main path: nothing is
/// copied until somebody asks.
#[derive(Debug, Default)]
pub struct Roster {
    state: Mutex<State>,
    /// How many wait for their time, to be asked without the lock.
    waiting: AtomicUsize,
}

#[derive(Debug, Default)]
struct State {
    here: BTreeMap<Receipt, Entry>,
    active: usize,
    processed: u64,
    totals: HashMap<TaskName, u64>,
    scheduled: HashMap<TaskId, (Timestamp, Arc<Invocation>)>,
}

#[derive(Debug, Clone)]
struct Entry {
    job: Arc<Job>,
    begun: Option<Begun>,
}

/// Since when a call runs, and as what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Begun {
    /// Since when.
    pub at: Timestamp,
    /// The number of its attempt.
    pub number: JobNumber,
}

/// Calls that are remembered while they wait for their time; the store has them all.
const SCHEDULED_MAX: usize = 10_000;

/// Bytes of a message that waits for its time, above which it is not remembered.
const SCHEDULED_BYTES_MAX: usize = 64 << 10;

/// Task names that are counted apart.
const TOTALS_MAX: usize = 10_000;

impl Roster {
    /// Adds a call that waits to run, for as long as its seat lives.
    pub(crate) fn enter(&self, job: &Arc<Job>) -> Seat<'_> {
        let receipt = job.invocation.delivery.receipt;
        self.state().here.insert(receipt, Entry { job: Arc::clone(job), begun: None });
        Seat { roster: self, receipt }
    }

    /// Remembers a call that was given back until this moment.
    pub(crate) fn schedule(&self, invocation: Invocation, at: Timestamp, now: Timestamp) {
        if invocation.delivery.message.size() > SCHEDULED_BYTES_MAX {
            return;
        }
        let mut state = self.state();
        if state.scheduled.len() >= SCHEDULED_MAX {
            state.scheduled.retain(|_, (due, _)| *due > now);
        }
        if state.scheduled.len() < SCHEDULED_MAX {
            state.scheduled.insert(invocation.id.clone(), (at, Arc::new(invocation)));
        }
        self.waiting.store(state.scheduled.len(), Ordering::Release);
    }

    /// Forgets a call that waited for its time; whether it did.
    pub(crate) fn unschedule(&self, id: &TaskId) -> bool {
        if self.waiting.load(Ordering::Acquire) == 0 {
            return false;
        }
        let mut state = self.state();
        let waited = state.scheduled.remove(id).is_some();
        self.waiting.store(state.scheduled.len(), Ordering::Release);
        waited
    }

    /// The calls that run.
    pub fn active(&self) -> Vec<(Arc<Job>, Begun)> {
        let state = self.state();
        state.here.values().filter_map(|it| Some((Arc::clone(&it.job), it.begun?))).collect()
    }

    /// The calls that are here and have not begun.
    pub fn reserved(&self) -> Vec<Arc<Job>> {
        let state = self.state();
        let waiting = state.here.values().filter(|it| it.begun.is_none());
        waiting.map(|it| Arc::clone(&it.job)).collect()
    }

    /// The calls that were here and come again when their time has come, the next one first. Another
    /// worker may take them then.
    pub fn scheduled(&self, now: Timestamp) -> Vec<(Timestamp, Arc<Invocation>)> {
        let mut state = self.state();
        state.scheduled.retain(|_, (due, _)| *due > now);
        self.waiting.store(state.scheduled.len(), Ordering::Release);
        let mut all: Vec<_> = state.scheduled.values().cloned().collect();
        drop(state);
        all.sort_by_key(|(due, _)| *due);
        all
    }

    /// How many calls run.
    pub fn active_count(&self) -> usize {
        self.state().active
    }

    /// How many calls were begun since the start.
    pub fn processed(&self) -> u64 {
        self.state().processed
    }

    /// The same by task.
    pub fn totals(&self) -> Vec<(TaskName, u64)> {
        let totals = self.state().totals.clone();
        let mut totals: Vec<_> = totals.into_iter().collect();
        totals.sort();
        totals
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A call's place on the roster.
pub(crate) struct Seat<'a> {
    roster: &'a Roster,
    receipt: Receipt,
}

impl Roster {
    /// Notes that an attempt at the call of this receipt begins.
    pub(crate) fn begin(&self, receipt: Receipt, begun: Begun) {
        let mut state = self.state();
        let Some(entry) = state.here.get_mut(&receipt) else { return };
        let is_first = entry.begun.is_none();
        entry.begun = Some(Begun { at: entry.begun.map_or(begun.at, |it| it.at), ..begun });
        let task = entry.job.invocation.task.clone();
        if is_first {
            state.active += 1;
            state.processed += 1;
            if state.totals.len() < TOTALS_MAX || state.totals.contains_key(&task) {
                *state.totals.entry(task).or_default() += 1;
            }
        }
    }
}

impl Seat<'_> {
    /// Leaves the roster with the job, which is copied only if somebody looks at it at this moment.
    pub(crate) fn leave(self, job: Arc<Job>) -> Job {
        drop(self);
        Arc::unwrap_or_clone(job)
    }
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        let mut state = self.roster.state();
        let gone = state.here.remove(&self.receipt);
        state.active -= usize::from(gone.is_some_and(|entry| entry.begun.is_some()));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use lovage_core::{JobNumber, Receipt, Timestamp};

    use super::{Begun, Roster};
    use crate::samples;

    const NOW: Timestamp = Timestamp::from_micros(1_000_000);

    #[test]
    fn a_call_is_reserved_then_active_then_gone() {
        let (roster, job) = (Roster::default(), Arc::new(samples::job(0)));
        let seat = roster.enter(&job);
        assert_eq!((roster.reserved().len(), roster.active_count()), (1, 0));
        for number in [4, 5] {
            roster.begin(Receipt(1), Begun { at: NOW, number: JobNumber(number) });
        }
        assert_eq!(roster.active()[0].1.number, JobNumber(5), "the attempt that runs now");
        assert_eq!((roster.reserved().len(), roster.active_count()), (0, 1));
        drop(seat);
        assert_eq!((roster.active().len(), roster.active_count()), (0, 0));
        assert_eq!((roster.processed(), roster.totals()[0].1), (1, 1));
        assert_eq!(Arc::strong_count(&job), 1, "nobody else has it any more");
    }

    #[test]
    fn what_waits_for_its_time_is_shown_until_then_and_known_when_it_comes() {
        let roster = Roster::default();
        let invocation = samples::job(0).invocation;
        let id = invocation.id.clone();
        assert!(!roster.unschedule(&id));
        let later = Timestamp::from_micros(2_000_000);
        roster.schedule(invocation.clone(), later, NOW);
        assert_eq!(roster.scheduled(NOW).len(), 1);
        assert!(roster.unschedule(&id) && !roster.unschedule(&id));
        roster.schedule(invocation, later, NOW);
        assert_eq!(roster.scheduled(later).len(), 0, "another worker has it");
    }
}
