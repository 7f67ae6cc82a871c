//! What becomes of a call, and what has to be made true for it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::frames::FrameError;
use crate::{
    Cause, Death, Digest, FailedAttempt, Failure, Invocation, Job, Json, Kept, LedgerWrite,
    OutboxCall, Outcome, Parts, Receipt, Report, ResultRecord, TaskId, TaskSpec, Timestamp,
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
    },
    /// Done.
    Succeed {
        /// What the task returned.
        result: Json,
        /// The calls that leave with its success.
        calls: Vec<OutboxCall>,
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
}

/// The form in which a ledger keeps settlements.
const RECORDED_VERSION: u8 = 1;

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
    let Job { mut invocation, module, task, retry, key_is_explicit, .. } = job;
    let wanted = Cause::of(&report.outcome).is_some_and(|cause| retry.causes.contains(cause));
    let mut again = |failure: Failure, asked: Option<Duration>| {
        let mut marks = invocation.retry;
        marks.first_attempt.get_or_insert(now.before(report.usage.wall));
        let attempt = FailedAttempt { retries: invocation.retries, asked, now, chance };
        let next = || retry.next(&attempt, &mut marks);
        let Some(wait) = wanted.then(next).flatten() else { return Settlement::Bury(failure) };
        invocation.retry = marks;
        Settlement::Retry { failure, at: now.after(wait) }
    };
    let settlement = match report.outcome {
        Outcome::Succeed(result) => Settlement::Succeed { result, calls: report.outbox },
        Outcome::Retry { failure, after } => again(failure, after),
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
    /// What the broker does with the delivery.
    pub disposal: Disposal,
}

impl Closing {
    /// A closing that only disposes of the delivery.
    pub fn only(receipt: Receipt, disposal: Disposal) -> Self {
        Self { receipt, ledger: None, results: Vec::new(), publications: Vec::new(), disposal }
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
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use bytes::Bytes;

    use super::{DropReason, ParkReason, Settlement, decide};
    use crate::{
        Backoff, Cause, Causes, Death, Delivery, Digest, Failure, Invocation, Job, Json, Limits,
        Links, Manifest, Message, Module, OutboxCall, Outcome, Receipt, Report, RetryMarks,
        RetryPolicy, TaskSpec, Tenant, TenantId, TimeLimit, Timestamp,
    };

    const NOW: Timestamp = Timestamp::from_micros(1_000_000);

    fn job(retries: u32, on_failure: bool) -> Job {
        let delivery = Delivery {
            queue: "celery".into(),
            receipt: Receipt(1),
            message: Message::Envelope(Bytes::new()),
            redelivered: false,
            deliveries: 1,
        };
        let invocation = Invocation {
            task: "demo.add".into(),
            id: "1".into(),
            root_id: None,
            parent_id: None,
            group: None,
            group_index: None,
            retries,
            eta: None,
            expires: None,
            time_limit: TimeLimit::default(),
            ignore_result: None,
            shadow: None,
            reply_to: None,
            correlation_id: None,
            priority: None,
            idempotency_key: None,
            retry: RetryMarks::default(),
            replaced_task_nesting: 0,
            args: Json::empty_array(),
            kwargs: Json::empty_object(),
            links: Links::default(),
            headers: Json::empty_object(),
            delivery,
        };
        let module = Module {
            digest: Digest::from_bytes([7; 32]),
            manifest: Manifest {
                v: 1,
                abi: String::new(),
                module: "demo".into(),
                language: String::new(),
                tasks: Vec::new(),
            },
            compiled: "/nowhere".into(),
        };
        let causes = if on_failure { Causes::USUAL } else { Causes::ASKED };
        Job {
            invocation,
            tenant: Arc::new(Tenant::new(TenantId::default())),
            module: Arc::new(module),
            task: Arc::new(TaskSpec::named("demo.add".into())),
            limits: Limits::default(),
            retry: RetryPolicy { causes, ..RetryPolicy::default() },
            key: "1".into(),
            key_is_explicit: false,
        }
    }

    fn failure() -> Failure {
        Failure::new("builtins", "ValueError", "no")
    }

    fn settled(job: Job, outcome: Outcome) -> Settlement {
        decide(job, Report::of(outcome), NOW, 0.5).settlement
    }

    fn died(job: Job, death: Death) -> Settlement {
        settled(job, Outcome::Killed { death, failure: failure() })
    }

    #[test]
    fn a_plain_failure_is_final_unless_the_task_wants_it_retried() {
        assert_eq!(settled(job(0, false), Outcome::Fail(failure())), Settlement::Bury(failure()));
        let after = NOW.after(Duration::from_mins(3));
        let retried = Settlement::Retry { failure: failure(), at: after };
        assert_eq!(settled(job(0, true), Outcome::Fail(failure())), retried);
        assert_eq!(settled(job(3, true), Outcome::Fail(failure())), Settlement::Bury(failure()));
        assert_eq!(settled(job(0, true), Outcome::Reject(failure())), Settlement::Bury(failure()));
    }

    #[test]
    fn a_guest_that_asks_for_a_time_gets_it_while_retries_are_left() {
        let asked = || Outcome::Retry { failure: failure(), after: Some(Duration::from_secs(7)) };
        let at = NOW.after(Duration::from_secs(7));
        assert_eq!(settled(job(2, false), asked()), Settlement::Retry { failure: failure(), at });
        assert_eq!(settled(job(3, false), asked()), Settlement::Bury(failure()));
    }

    #[test]
    fn what_a_ledger_keeps_is_read_back_and_what_another_version_kept_is_not() {
        let calls = vec![OutboxCall {
            id: "b".into(),
            task: "next".into(),
            args: Json::parse("[NaN]").unwrap(),
            kwargs: Json::empty_object(),
            queue: Some("q".into()),
            countdown: Some(Duration::from_secs(3)),
            expires: None,
            priority: Some(3),
            ignore_result: true,
            headers: None,
        }];
        for settlement in [
            Settlement::Succeed { result: Json::parse("12345678901234567890").unwrap(), calls },
            Settlement::Bury(failure()),
            Settlement::Park(ParkReason::AmbiguousStep("charge".into())),
            Settlement::Drop(DropReason::Terminated),
            Settlement::Retry { failure: failure(), at: NOW },
        ] {
            let kept = settlement.to_recorded(&"a".into()).unwrap();
            assert_eq!(Settlement::from_recorded(&kept), Some(("a".into(), settlement)));
            let later = [&[2], &kept[1..]].concat();
            assert_eq!(Settlement::from_recorded(&later), None);
        }
        assert_eq!(Settlement::from_recorded(b""), None);
    }

    #[test]
    fn what_would_come_to_the_same_again_is_never_retried() {
        let every = || {
            let mut job = job(0, true);
            job.retry.causes = Causes::of(Cause::ALL);
            job
        };
        for death in [
            Death::OutOfFuel,
            Death::OutOfMemory,
            Death::OutputTooLarge,
            Death::StackOverflow,
            Death::ArgumentsTooLarge,
            Death::TooManyHostCalls,
            Death::InvalidResult,
            Death::ExecutorLost,
        ] {
            assert_eq!(died(every(), death), Settlement::Bury(failure()), "{death:?}");
        }
        assert_eq!(settled(every(), Outcome::Reject(failure())), Settlement::Bury(failure()));
        for death in [Death::Trapped, Death::TimedOut, Death::Exited, Death::OutOfCpuTime] {
            assert!(matches!(died(every(), death), Settlement::Retry { .. }), "{death:?}");
        }
        let mut only_traps = job(0, true);
        only_traps.retry.causes = Causes::of(&[Cause::Trapped]);
        let asked = Outcome::Retry { failure: failure(), after: None };
        assert_eq!(settled(only_traps, asked), Settlement::Bury(failure()));
    }

    #[test]
    fn the_first_attempt_is_remembered_from_when_it_began() {
        let second = Duration::from_secs(1);
        let mut report = Report::of(Outcome::Fail(failure()));
        report.usage.wall = second;
        let verdict = decide(job(0, true), report.clone(), NOW, 0.5);
        assert_eq!(verdict.invocation.retry.first_attempt, Some(NOW.before(second)));
        let mut late = job(1, true);
        late.invocation.retry = verdict.invocation.retry;
        late.retry.max_elapsed = Some(Duration::from_mins(3));
        let settlement = decide(late.clone(), report.clone(), NOW, 0.5).settlement;
        assert_eq!(settlement, Settlement::Bury(failure()), "180 s after the end is too late");
        late.retry.backoff = Backoff::Fixed { delay: second };
        let settlement = decide(late, report, NOW, 0.5).settlement;
        assert!(matches!(settlement, Settlement::Retry { .. }));
    }

    #[test]
    fn each_death_has_its_end() {
        assert_eq!(died(job(0, true), Death::LeaseLost), Settlement::Forget);
        assert!(matches!(died(job(9, false), Death::NotStarted), Settlement::Release(Some(_))));
        let terminated = Settlement::Drop(DropReason::Terminated);
        assert_eq!(died(job(0, true), Death::Revoked), terminated);
        for death in [Death::OutOfFuel, Death::OutOfMemory, Death::OutputTooLarge] {
            assert_eq!(died(job(0, true), death), Settlement::Bury(failure()), "never retried");
        }
        for death in [Death::Trapped, Death::TimedOut, Death::Exited] {
            assert!(matches!(died(job(0, true), death), Settlement::Retry { .. }));
            assert_eq!(died(job(0, false), death), Settlement::Bury(failure()));
        }
        let step = Outcome::Ambiguous { step: "charge".into() };
        let parked = Settlement::Park(ParkReason::AmbiguousStep("charge".into()));
        assert_eq!(settled(job(0, true), step), parked);
    }
}
