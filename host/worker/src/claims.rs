//! The right to run a call, and what becomes of those who do not get it.

use std::sync::Arc;
use std::time::Duration;

use lovage_core::ports::{Ledger, PortError};
use lovage_core::{
    Change, Claim, Claimed, Disposal, DropReason, End, Failure, Grant, Job, LedgerKey, LedgerWrite,
    ParkReason, Payload, Settlement, TaskId, Timestamp, Verdict, outbox_caller,
};
use tokio::sync::{Notify, mpsc, oneshot};
use tracing::{info, warn};

use crate::backoff::Backoff;

/// Claims that may wait for their turn; each holds a slot, so this is never the bound met first.
const QUEUE_MAX: usize = 10_000;

/// Claims that go in one round trip at most.
const BATCH_MAX: usize = 256;

/// How long an explicit key is remembered whose task says nothing: a day.
const KEEP_EXPLICIT: Duration = Duration::from_hours(24);

/// How long a call's id is remembered at least, once it is over.
const KEEP_IMPLICIT_MIN: Duration = Duration::from_mins(10);

/// How long a call that runs elsewhere is left alone before it is asked for again.
const BUSY_MAX: Duration = Duration::from_secs(1);

/// What a claim came to.
#[derive(Debug)]
pub(crate) enum Answer {
    /// Run it, and record with this what becomes of it.
    Run(Option<Right>),
    /// It was decided before, and not everybody has heard of it: finish that.
    Finish(Settlement, Right),
    /// Another call with its key has this result: tell its caller, too.
    Repeat(Settlement),
    /// It is over, and everybody has heard of it.
    Known,
    /// Come again after this long: somebody runs it, or it is not due. It may be the only copy.
    Later(Duration),
    /// Worker after worker died under it.
    CrashLoop(Right),
    /// The same key with other arguments.
    Mismatch,
    /// The ledger refuses this claim for good, and answers others.
    Refused(String),
    /// Somebody revoked it while it waited.
    Revoked,
}

/// The right to run a call and to record what becomes of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Right {
    pub(crate) grant: Grant,
    keep: Duration,
    is_explicit: bool,
}

impl Right {
    /// What the ledger is to record of a verdict that ends its delivery so. A delivery that goes back
    /// is not over, whatever was decided: its next claim must find the call free. What is settled as a
    /// `whole` nobody has to finish: then the verdict is kept for other calls with its key alone.
    pub(crate) fn write(&self, verdict: &Verdict, disposal: &Disposal, whole: bool) -> LedgerWrite {
        let change = match &verdict.settlement {
            _ if matches!(disposal, Disposal::Release(_)) => Change::Release,
            Settlement::Succeed { .. } | Settlement::Ignore { .. } | Settlement::Replace { .. } => {
                Change::End(End::Done)
            }
            Settlement::Bury(_) | Settlement::Drop(_) => Change::End(End::Failed),
            Settlement::Park(_) => Change::End(End::Parked),
            Settlement::Retry { at, .. } => {
                let attempt = verdict.invocation.retries.saturating_add(1);
                Change::Retry { attempt, delay: at.until(verdict.at) }
            }
            Settlement::Release(_) | Settlement::Forget => Change::Release,
        };
        let is_needed = change != Change::Release && (self.is_explicit || !whole);
        // What cannot be encoded cannot be repeated: the call is then run again, which is allowed.
        let recorded = || verdict.settlement.to_recorded(&verdict.invocation.id).ok();
        let verdict = is_needed.then(recorded).flatten();
        LedgerWrite { grant: self.grant, change, keep: self.keep, verdict }
    }
}

/// Claims calls in batches of whatever is ready, as the settler settles them.
#[derive(Clone)]
pub(crate) struct Claims {
    queue: Option<mpsc::Sender<Waiting>>,
    keep_implicit: Duration,
}

struct Waiting {
    claim: Claim,
    answer: oneshot::Sender<Result<Claimed, PortError>>,
}

impl Claims {
    /// Claims over this ledger, and the loop that does the work until the claims and their clones are
    /// gone, or the ledger refuses everything for good; it wakes the keeper when the session may have to
    /// be begun anew. Without a ledger everything may run.
    pub(crate) fn new(
        ledger: Option<Arc<dyn Ledger>>,
        lease: Duration,
        keeper: Arc<Notify>,
    ) -> (Self, impl Future<Output = Result<(), PortError>>) {
        let (queue, waiting) = mpsc::channel(QUEUE_MAX);
        let keep_implicit = KEEP_IMPLICIT_MIN.max(lease * 2);
        let queue = ledger.is_some().then_some(queue);
        let work = async move {
            match ledger {
                Some(ledger) => work(&*ledger, &keeper, waiting).await,
                None => Ok(()),
            }
        };
        (Self { queue, keep_implicit }, work)
    }

    /// Claims the right to run a job. `None` when the worker is stopping: nothing is to be done.
    pub(crate) async fn claim(&self, job: &Job) -> Option<Answer> {
        let Some(queue) = &self.queue else { return Some(Answer::Run(None)) };
        let claim = claim(job);
        let (answer, claimed) = oneshot::channel();
        queue.send(Waiting { claim, answer }).await.ok()?;
        Some(match claimed.await.ok()? {
            Ok(claimed) => self.answer(job, claimed),
            Err(refused) => Answer::Refused(refused.to_string()),
        })
    }

    fn answer(&self, job: &Job, claimed: Claimed) -> Answer {
        let right = |grant| Right { grant, keep: self.keep(job), is_explicit: job.key_is_explicit };
        match claimed {
            Claimed::Fresh { grant, .. } => Answer::Run(Some(right(grant))),
            // It may be over long before its lease would be: its twin's caller waits for that.
            Claimed::Busy { remaining } => Answer::Later(remaining.min(BUSY_MAX)),
            Claimed::NotYet { remaining } => Answer::Later(remaining),
            Claimed::Mismatch => Answer::Mismatch,
            // The ledger's own verdict has no words; of an explicit key it may be another call's.
            Claimed::Over { end: End::Parked, settled: true, verdict: None, .. }
                if job.key_is_explicit =>
            {
                Answer::Repeat(Settlement::Park(ParkReason::CrashLoop))
            }
            Claimed::Over { settled: true, verdict, .. } => {
                repeated(&job.invocation.id, verdict.as_deref())
            }
            Claimed::Over { end: End::Parked, verdict: None, grant, .. } => {
                Answer::CrashLoop(right(grant))
            }
            // Of an explicit key it may be another call's attempt: whose caller waits for its end.
            Claimed::Stale { settled: true, remaining, .. } if job.key_is_explicit => {
                Answer::Later(remaining.max(UNFINISHED))
            }
            Claimed::Stale { settled: true, .. } => Answer::Known,
            Claimed::Over { verdict, grant, .. } | Claimed::Stale { verdict, grant, .. } => {
                unfinished(&job.invocation.id, verdict.as_deref(), right(grant))
            }
        }
    }

    fn keep(&self, job: &Job) -> Duration {
        let asked = job.task.idempotency.as_ref().and_then(|idempotency| idempotency.ttl_s);
        match (job.key_is_explicit, asked) {
            (false, _) => self.keep_implicit,
            (true, None) => KEEP_EXPLICIT,
            (true, Some(seconds)) => Duration::from_secs(seconds).max(self.keep_implicit),
        }
    }
}

fn claim(job: &Job) -> Claim {
    let invocation = &job.invocation;
    let tenant = job.tenant.id.as_str();
    let (task, args, kwargs) = (&invocation.task, &invocation.args, &invocation.kwargs);
    let (key, payload) = if job.key_is_explicit {
        let key = LedgerKey::explicit(tenant, task, &job.key);
        (key, Payload::canonical(task, args, kwargs))
    } else {
        let id = outbox_caller(&invocation.id, invocation.replaced_task_nesting);
        (LedgerKey::implicit(tenant, task, &id), Payload::raw(args, kwargs))
    };
    Claim { key, payload, attempt: invocation.retries, ticket: invocation.delivery.receipt.0 }
}

/// A call that is over for everybody: its own redelivery is known, another call gets the result.
fn repeated(id: &TaskId, verdict: Option<&[u8]>) -> Answer {
    match verdict.and_then(Settlement::from_recorded) {
        Some((owner, settlement)) if owner != *id => Answer::Repeat(settlement),
        _ => Answer::Known,
    }
}

/// A call that was decided on, and whose decider may have died over telling. Only the call's own
/// delivery carries what is to follow it, so another call with its key waits for that.
fn unfinished(id: &TaskId, verdict: Option<&[u8]>, right: Right) -> Answer {
    match verdict.and_then(Settlement::from_recorded) {
        Some((owner, settlement)) if owner == *id => Answer::Finish(settlement, right),
        // A verdict that cannot be read is another version's: that version finishes it.
        _ if right.is_explicit => Answer::Later(UNFINISHED),
        _ => Answer::Known,
    }
}

/// When a call comes again that waits for another one's settlement to be finished.
const UNFINISHED: Duration = Duration::from_secs(1);

async fn work(
    ledger: &dyn Ledger,
    keeper: &Notify,
    mut queue: mpsc::Receiver<Waiting>,
) -> Result<(), PortError> {
    let mut waiting = Vec::with_capacity(BATCH_MAX);
    let mut claims = Vec::with_capacity(BATCH_MAX);
    while queue.recv_many(&mut waiting, BATCH_MAX).await > 0 {
        claims.clear();
        claims.extend(waiting.iter().map(|waiting| waiting.claim));
        match claim_until_answered(ledger, keeper, &claims).await {
            Ok(claimed) => {
                for (waiting, claimed) in waiting.drain(..).zip(claimed) {
                    // Whoever asked may be gone: a drain that ran out of time.
                    let _ = waiting.answer.send(Ok(claimed));
                }
            }
            Err(refused) => {
                warn!(error = &refused as &dyn std::error::Error, "The ledger refuses claims");
                one_by_one(ledger, keeper, &mut waiting).await?;
            }
        }
    }
    Ok(())
}

/// Claims, again and again while that may help.
///
/// # Errors
/// When the ledger refuses it for good.
async fn claim_until_answered(
    ledger: &dyn Ledger,
    keeper: &Notify,
    claims: &[Claim],
) -> Result<Vec<Claimed>, PortError> {
    let mut backoff = Backoff::new();
    loop {
        match ledger.claim(claims).await {
            Ok(claimed) => {
                if !backoff.is_first() {
                    info!("The ledger answers again");
                }
                return Ok(claimed);
            }
            Err(error) if error.is_transient() => again(keeper, &error, &mut backoff).await,
            Err(error) => return Err(error),
        }
    }
}

/// After a batch that was refused for good: whose fault it was is refused alone, and the others are not.
///
/// # Errors
/// When the ledger refuses everything: no call is to be blamed for that. The deliveries go back with the
/// worker's end.
async fn one_by_one(
    ledger: &dyn Ledger,
    keeper: &Notify,
    waiting: &mut Vec<Waiting>,
) -> Result<(), PortError> {
    for Waiting { claim, answer } in waiting.drain(..) {
        let claimed = match claim_until_answered(ledger, keeper, &[claim]).await {
            Ok(claimed) => claimed.into_iter().next().ok_or_else(|| PortError::Permanent {
                what: "the ledger gave no answer".into(),
                source: None,
            }),
            Err(refused) => Err(refused),
        };
        if claimed.is_err() {
            probe(ledger, keeper).await?;
        }
        let _ = answer.send(claimed);
    }
    Ok(())
}

/// Claims, for a moment, what is nobody's call.
///
/// # Errors
/// When that is refused, too.
async fn probe(ledger: &dyn Ledger, keeper: &Notify) -> Result<(), PortError> {
    // Tenants have names: this is nobody's.
    let key = LedgerKey::explicit("", &"lovage.probe".into(), "probe");
    let claim = Claim { key, payload: Payload::Canonical([0; 32]), attempt: 0, ticket: 0 };
    if let Some(Claimed::Fresh { grant, .. }) =
        claim_until_answered(ledger, keeper, &[claim]).await?.into_iter().next()
    {
        let (change, keep) = (Change::End(End::Done), Duration::from_millis(1));
        let write = LedgerWrite { grant, change, keep, verdict: None };
        // That it is forgotten soon is only tidy.
        let _ = ledger.record(std::slice::from_ref(&write)).await;
        let _ = ledger.settle(&[write.settle()]).await;
    }
    Ok(())
}

/// After a claim that failed: a session whose lease is over must be begun anew before it may claim,
/// which is the keeper's to do, because it also stops what that session had.
async fn again(keeper: &Notify, error: &PortError, backoff: &mut Backoff) {
    if backoff.is_first() {
        warn!(error = error as &dyn std::error::Error, "Cannot claim calls; trying again");
    }
    keeper.notify_one();
    tokio::time::sleep(backoff.next()).await;
}

/// What is done with a job that is not run.
pub(crate) enum Instead {
    /// This becomes of it, and is recorded with this right.
    Settle(Verdict, Option<Right>),
    /// Its caller is told this, and that is all: the call that it repeats was followed by whatever
    /// was to follow it.
    Tell(Verdict),
    /// Nothing: its caller was told.
    Acknowledge,
}

/// What to do with a job whose claim was answered so.
pub(crate) fn instead(job: Job, answer: Answer, now: Timestamp) -> Instead {
    let Job { invocation, module, task, key_is_explicit, .. } = job;
    let (task, digest) = (Some(task), Some(module.digest));
    let verdict =
        |settlement| Verdict { invocation, task, digest, key_is_explicit, settlement, at: now };
    match answer {
        Answer::Finish(settlement, right) => Instead::Settle(verdict(settlement), Some(right)),
        // Whoever waits for a person waits beside the first one: its caller has nothing to be told yet.
        Answer::Repeat(settlement @ Settlement::Park(_)) => {
            Instead::Settle(verdict(settlement), None)
        }
        Answer::Repeat(settlement) => Instead::Tell(verdict(settlement)),
        Answer::Later(wait) => {
            Instead::Settle(verdict(Settlement::Release(Some(now.after(spread(wait))))), None)
        }
        Answer::CrashLoop(right) => {
            Instead::Settle(verdict(Settlement::Park(ParkReason::CrashLoop)), Some(right))
        }
        Answer::Mismatch => Instead::Settle(verdict(Settlement::Park(ParkReason::Mismatch)), None),
        // Its caller is told, and the message kept: nobody is to wait for what can never be claimed.
        Answer::Refused(why) => {
            let failure = Failure::new("lovage.exceptions", "LedgerRefused", &why);
            Instead::Settle(verdict(Settlement::Bury(failure)), None)
        }
        Answer::Revoked => Instead::Settle(verdict(Settlement::Drop(DropReason::Revoked)), None),
        // Whoever may run does not come here.
        Answer::Run(_) | Answer::Known => Instead::Acknowledge,
    }
}

/// A wait and up to a tenth more, so that those who wait for the same do not come back together.
fn spread(wait: Duration) -> Duration {
    wait + Duration::from_millis(50) + wait.mul_f64(fastrand::f64() / 10.0)
}
