//! What becomes of a call, and what has to be made true for it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::frames::FrameError;
use crate::{
    Cause, ChordWork, Death, Digest, FailedAttempt, Failure, Invocation, Job, Json, JsonPart, Kept,
    LedgerWrite, OutboxItem, Outcome, Parts, Receipt, Report, ResultRecord, TaskId, TaskSpec,
    Timestamp,
};

/// A call, and what becomes of it.
#[derive(Debug, Clone)]
pub struct Verdict {
    /// The call.
    pub invocation: Invocation,
    /// The task it was resolved to; `None` when no module implements it.
    pub task: Option<Arc<TaskSpec>>,
    /// The module that ran it, if one did.
    pub digest: Option<Digest>,
    /// Whether its key is one that the caller or the task gave.
    pub key_is_explicit: bool,
    /// What becomes of it.
    pub settlement: Settlement,
    /// When that was decided.
    pub at: Timestamp,
}

/// What becomes of a call.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Settlement {
    /// Failed for good: the caller is told, and the message is kept as a dead letter.
    Bury(Failure),
    /// Not wanted any more: the caller is told, the message goes.
    Drop(DropReason),
    /// Not ours to decide: the right to it was lost, or this worker is stopping. Nothing is told to
    /// anyone, and its message goes back if we still have it.
    Forget,
    /// No module implements it (yet): kept until one does.
    Park(ParkReason),
    /// Handed back untouched, to be delivered again at this moment, or at once.
    Release(Option<Timestamp>),
    /// Run again at this moment, with one retry more.
    Retry {
        /// Why.
        failure: Failure,
        /// When.
        at: Timestamp,
        /// What the next attempt has other than this one: a JSON object.
        options: Option<Json>,
    },
    /// Over, and nobody is told; what it sent leaves.
    Ignore {
        /// What it sent.
        calls: Vec<OutboxItem>,
    },
    /// Another signature takes its id and everything that was to follow it.
    Replace {
        /// The signature, as the task gave it.
        signature: Json,
        /// What it sent.
        calls: Vec<OutboxItem>,
    },
    /// Done.
    Succeed {
        /// What the task returned.
        result: Json,
        /// The calls that leave with its success.
        calls: Vec<OutboxItem>,
    },
}

/// Why a call is not wanted any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum DropReason {
    /// Its `expires` has passed.
    Expired,
    /// Somebody revoked it before it ran.
    Revoked,
    /// Somebody revoked it while it ran.
    Terminated,
}

impl DropReason {
    /// The text in Celery's `TaskRevokedError`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::Revoked => "revoked",
            Self::Terminated => "terminated",
        }
    }
}

/// Why a call waits for a person or a module.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ParkReason {
    /// No module has a task of that name.
    UnknownTask,
    /// A step was begun before and its author wants nobody to guess.
    AmbiguousStep(String),
    /// Worker after worker died under it.
    CrashLoop,
    /// Its key was used before, with other arguments.
    Mismatch,
    /// What follows it is of a form that this version cannot send; the text says which. It was not
    /// run, because a call whose links are lost would be done by halves.
    Unsupported(String),
    /// Its message names another tenant than the one that owns its queue.
    TenantMismatch,
}

/// The form in which a ledger keeps settlements.
const RECORDED_VERSION: u8 = 2;

impl Settlement {
    /// The settlement as a ledger keeps it, with the call it was made for: another call may have the
    /// same key.
    ///
    /// # Errors
    /// Never with the settlements there are; the encoder could fail in principle.
    pub fn to_recorded(&self, call: &TaskId) -> Result<Bytes, FrameError> {
        let mut bytes = vec![RECORDED_VERSION];
        postcard::to_io(&(call, self), &mut bytes)?;
        Ok(bytes.into())
    }

    /// The settlement that a ledger kept, and the call it was made for; `None` when another version
    /// of Lovage wrote it otherwise.
    pub fn from_recorded(bytes: &[u8]) -> Option<(TaskId, Self)> {
        let (version, rest) = bytes.split_first()?;
        (*version == RECORDED_VERSION).then(|| postcard::from_bytes(rest).ok()).flatten()
    }
}

/// How long a call rests that the host could not start.
const NOT_STARTED_DELAY: Duration = Duration::from_secs(1);

/// Decides what becomes of a job after an attempt. `chance` is uniform in `0.0..1.0`.
///
/// Pure: it reads no clock and draws no lot, so that every row of it is a test.
pub fn decide(job: Job, report: Report, now: Timestamp, chance: f64) -> Verdict {
    let Job { mut invocation, module, task, mut retry, key_is_explicit, .. } = job;
    let mut options = None;
    if let Outcome::Retry { options: Some(asked), .. } = &report.outcome {
        options = Some(asked.clone());
        if let Some(most) = asked.as_part().member("max_retries").and_then(JsonPart::as_number) {
            retry.max_retries = Some(most_retries(most, invocation.retry.max_retries));
        }
    }
    let wanted = Cause::of(&report.outcome).is_some_and(|cause| retry.causes.contains(cause));
    let mut again = |failure: Failure, asked: Option<Duration>| {
        let mut marks = invocation.retry;
        marks.first_attempt.get_or_insert(now.before(report.usage.wall));
        let attempt = FailedAttempt { retries: invocation.retries, asked, now, chance };
        let next = || retry.next(&attempt, &mut marks);
        let Some(wait) = wanted.then(next).flatten() else { return Settlement::Bury(failure) };
        invocation.retry = marks;
        Settlement::Retry { failure, at: now.after(wait), options: options.take() }
    };
    let settlement = match report.outcome {
        Outcome::Succeed(result) => Settlement::Succeed { result, calls: report.outbox },
        Outcome::Retry { failure, after, .. } => again(failure, after),
        Outcome::Ignore => Settlement::Ignore { calls: report.outbox },
        Outcome::Replace(signature) => Settlement::Replace { signature, calls: report.outbox },
        Outcome::Requeue(_) => Settlement::Release(Some(now)),
        Outcome::Fail(failure) | Outcome::Reject(failure) => again(failure, None),
        Outcome::Ambiguous { step } => Settlement::Park(ParkReason::AmbiguousStep(step)),
        Outcome::Killed { death, failure } => match death {
            Death::LeaseLost => Settlement::Forget,
            Death::NotStarted => Settlement::Release(Some(now.after(NOT_STARTED_DELAY))),
            Death::Revoked => Settlement::Drop(DropReason::Terminated),
            _ => again(failure, None),
        },
    };
    let (task, digest) = (Some(task), Some(module.digest));
    Verdict { invocation, task, digest, key_is_explicit, settlement, at: now }
}

/// As many retries as a task asks for, and no more than its caller allows.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the cast saturates")]
fn most_retries(asked: f64, allowed: Option<u32>) -> u32 {
    (asked as u32).min(allowed.unwrap_or(u32::MAX))
}

/// All that settling one delivery has to make true, ready for adapters.
///
/// The order is fixed: ledger, results, publications, then the delivery itself. Each may be repeated.
#[derive(Debug, Clone)]
pub struct Closing {
    /// The delivery.
    pub receipt: Receipt,
    /// What the ledger records. When it answers that the grant is lost, nothing else is done.
    pub ledger: Option<LedgerWrite>,
    /// What others are told: the call's own state, and where a chain ends early that of each of its
    /// later links, for whose results somebody may be waiting.
    pub results: Vec<ResultRecord>,
    /// What leaves: the next attempt, or calls to other tasks.
    pub publications: Vec<Publication>,
    /// What chords have to hear, before anything of this is made true; `None` for nearly every call.
    pub chords: Option<Box<ChordWork>>,
    /// What the broker does with the delivery.
    pub disposal: Disposal,
}

impl Closing {
    /// A closing that only disposes of the delivery.
    pub fn only(receipt: Receipt, disposal: Disposal) -> Self {
        let (results, publications) = (Vec::new(), Vec::new());
        Self { receipt, ledger: None, results, publications, chords: None, disposal }
    }

    /// The same with what the ledger records, if anything. A message that is kept knows its record:
    /// whoever has it run again must have that forgotten first.
    #[must_use]
    pub fn recorded(mut self, write: Option<LedgerWrite>) -> Self {
        if let (Disposal::Keep(kept), Some(write)) = (&mut self.disposal, &write) {
            kept.ledger_key = Some(write.grant.key);
        }
        self.ledger = write;
        self
    }

    /// Whether nothing is left to do, once it is recorded and its results are stored, but to
    /// acknowledge: nothing leaves, and the message is not kept.
    pub fn ends_with_its_results(&self) -> bool {
        self.publications.is_empty() && self.disposal == Disposal::Acknowledge
    }
}

/// What a broker does with a delivery that is over.
#[derive(Debug, Clone, PartialEq)]
pub enum Disposal {
    /// It goes.
    Acknowledge,
    /// It goes back to its queue: now, to be the next one delivered, or when this moment comes.
    Release(Option<Timestamp>),
    /// It leaves the queue and is kept, original bytes and all, with the reason.
    Keep(Box<Kept>),
}

/// A message to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publication {
    /// The exchange; empty for the default one, which routes to the queue of the key's name.
    pub exchange: String,
    /// The routing key.
    pub routing_key: String,
    /// 0 to 255, in the broker's own meaning.
    pub priority: u8,
    /// Not to be delivered before, where the broker or its store can keep it until then; the same
    /// moment is in the message's `eta` for everybody else.
    pub not_before: Option<Timestamp>,
    /// The message.
    pub parts: Parts,
}

#[cfg(test)]
mod tests;
