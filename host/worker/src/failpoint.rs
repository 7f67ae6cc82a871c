//! A worker that dies exactly where it is told to, so that every row of the crash table can be seen.
//!
//! Nothing is armed outside tests: what is not armed is one comparison with nothing.

use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use lovage_core::{Closing, Disposal};
use rustix::process::{Signal, getpid, kill_process};
use thiserror::Error;

/// A place that a call passes on its way, named for what has just become true.
///
/// Where settling is one step in one store, `Ended` to `RetryPublished` are inside it and are never
/// passed: the worker is told of all of them at once, at `Acked`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Passage {
    /// The broker handed a message over.
    Reserved,
    /// It was read, or found to be unreadable.
    Decoded,
    /// The right to run its call was got.
    Claimed,
    /// An executor was sent the job.
    Instantiated,
    /// The ledger knows that a step begins; nothing was sent yet.
    StepBegun,
    /// The receiver of a step's effect has it; the guest does not know.
    EffectSent,
    /// The ledger knows what came of a step.
    StepCommitted,
    /// The guest has returned; nobody else knows.
    GuestReturned,
    /// The ledger knows how the call ended.
    Ended,
    /// Its caller can read that.
    ResultStored,
    /// What follows it was published.
    SuccessorsPublished,
    /// The ledger knows that everybody knows.
    Settled,
    /// The broker has forgotten the message.
    Acked,
    /// The ledger knows that there will be another attempt.
    RetryRecorded,
    /// Its message was published.
    RetryPublished,
    /// The message was put among the dead letters, and out of its queue with the same step.
    DlqPublished,
}

impl Passage {
    /// What a delivery passes last, where it leaves the queue.
    pub(crate) fn last(closing: &Closing) -> Option<Self> {
        match closing.disposal {
            Disposal::Acknowledge => Some(Self::Acked),
            Disposal::Keep(_) => Some(Self::DlqPublished),
            Disposal::Release(_) => None,
        }
    }
}

/// Every passage with the name that a configuration gives it.
const NAMES: [(&str, Passage); 16] = [
    ("reserved", Passage::Reserved),
    ("decoded", Passage::Decoded),
    ("claimed", Passage::Claimed),
    ("instantiated", Passage::Instantiated),
    ("step_begun", Passage::StepBegun),
    ("effect_sent", Passage::EffectSent),
    ("step_committed", Passage::StepCommitted),
    ("guest_returned", Passage::GuestReturned),
    ("ended", Passage::Ended),
    ("result_stored", Passage::ResultStored),
    ("successors_published", Passage::SuccessorsPublished),
    ("settled", Passage::Settled),
    ("acked", Passage::Acked),
    ("retry_recorded", Passage::RetryRecorded),
    ("retry_published", Passage::RetryPublished),
    ("dlq_published", Passage::DlqPublished),
];

/// Kills this process the n-th time that it passes one place; by default, never. Clones count
/// together.
#[derive(Debug, Clone, Default)]
pub struct Failpoint(Option<Arc<Armed>>);

#[derive(Debug)]
struct Armed {
    passage: Passage,
    left: AtomicU32,
}

/// A text that is no failpoint.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("is no failpoint, such as claimed:3")]
pub struct NoFailpoint;

impl FromStr for Failpoint {
    type Err = NoFailpoint;

    /// Reads `NAME:N`, or nothing for no failpoint.
    fn from_str(text: &str) -> Result<Self, NoFailpoint> {
        if text.is_empty() {
            return Ok(Self::default());
        }
        let (name, count) = text.split_once(':').ok_or(NoFailpoint)?;
        let found = NAMES.iter().find(|(known, _)| *known == name);
        let (_, passage) = *found.ok_or(NoFailpoint)?;
        let left: u32 = count.parse().ok().filter(|count| *count > 0).ok_or(NoFailpoint)?;
        Ok(Self(Some(Arc::new(Armed { passage, left: left.into() }))))
    }
}

impl Failpoint {
    /// Says that a call passes a place.
    pub(crate) fn pass(&self, passage: Passage) {
        if self.is_armed_at(passage) && self.is_last() {
            // As by the kernel's own hand: nothing is closed, flushed or told.
            let _ = kill_process(getpid(), Signal::KILL);
        }
    }

    /// As [`Failpoint::pass`], as soon as a future has been begun.
    pub(crate) async fn begin<F: Future>(&self, passage: Passage, future: F) -> F::Output {
        if !self.is_armed_at(passage) {
            return future.await;
        }
        futures::join!(future, async { self.pass(passage) }).0
    }

    fn is_armed_at(&self, passage: Passage) -> bool {
        self.0.as_ref().is_some_and(|armed| armed.passage == passage)
    }

    fn is_last(&self) -> bool {
        self.0.as_ref().is_some_and(|armed| armed.left.fetch_sub(1, Ordering::Relaxed) == 1)
    }
}

#[cfg(test)]
mod tests {
    use super::{Failpoint, NAMES, NoFailpoint};

    #[test]
    fn a_failpoint_is_due_at_its_own_place_and_its_own_time() {
        for (name, passage) in NAMES {
            let failpoint: Failpoint = format!("{name}:2").parse().unwrap();
            let due = NAMES.map(|(_, other)| failpoint.is_armed_at(other));
            assert_eq!(due, NAMES.map(|(_, other)| other == passage), "{name}");
            assert_eq!([(); 3].map(|()| failpoint.is_last()), [false, true, false]);
        }
    }

    #[test]
    fn what_is_no_failpoint_is_refused_and_nothing_is_none() {
        assert!(Failpoint::default().0.is_none() && "".parse::<Failpoint>().unwrap().0.is_none());
        for text in ["claimed", "claimed:", "claimed:0", "claimed:-1", "claims:1", ":1"] {
            assert_eq!(text.parse::<Failpoint>().err(), Some(NoFailpoint), "{text}");
        }
    }
}
