//! The states of a record, and every way from one to another.

use std::time::Duration;

use bytes::Bytes;

use super::{
    Change, Claim, Claimed, End, Fence, Grant, LedgerWrite, Payload, Recorded, SessionNumber,
};

/// What a store keeps of a call.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Record {
    /// The last grant.
    pub fence: Fence,
    /// What it is called with.
    pub payload: Payload,
    /// Where it is.
    pub state: State,
}

/// Where a call is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum State {
    /// Somebody has the right to run it.
    Running {
        /// Retries so far.
        attempt: u32,
        /// Workers that died under it.
        crashes: u32,
        /// Who; `None` once it was handed back.
        owner: Option<SessionNumber>,
        /// Which of the owner's deliveries.
        ticket: u64,
    },
    /// It will be run again.
    Retry {
        /// The retries of the next attempt.
        attempt: u32,
        /// Workers that died under it.
        crashes: u32,
        /// When, in milliseconds by the store's clock.
        due_ms: u64,
        /// Whether the next attempt was sent.
        settled: bool,
        /// What is needed to send it, until that was done.
        verdict: Option<Bytes>,
    },
    /// It has ended.
    Over {
        /// How.
        end: End,
        /// Whether everybody has heard of it.
        settled: bool,
        /// When it may be forgotten, in milliseconds by the store's clock; `None` until it is settled.
        expires_ms: Option<u64>,
        /// What came of it.
        verdict: Option<Bytes>,
    },
}

/// Whether the session that owns a running record still has the right to it, by the store's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hold {
    /// It has, for this long unless it is renewed.
    Live(Duration),
    /// Its lease is over: its worker died, or was away too long.
    Over,
    /// It left, and handed back what it held.
    Left,
}

/// Who claims.
#[derive(Debug, Clone, Copy)]
pub struct Claimant {
    /// The session, whose lease is not over.
    pub session: SessionNumber,
    /// The fence of the grant, if there is to be one: larger than any before.
    pub fence: Fence,
    /// The store's clock, in milliseconds.
    pub now_ms: u64,
    /// How many workers may die under a call; with the last of them it is parked.
    pub crashes_max: u32,
}

/// What to write, if anything, and what to answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decided<R, A> {
    /// What takes the place of what was found; `None` leaves it as it is.
    pub write: Option<R>,
    /// The answer.
    pub answer: A,
}

impl<R, A> Decided<R, A> {
    pub(super) fn only(answer: A) -> Self {
        Self { write: None, answer }
    }
}

impl Record {
    /// Whether the record may be forgotten, and counts as absent.
    pub fn is_expired(&self, now_ms: u64) -> bool {
        matches!(self.state, State::Over { expires_ms: Some(at), .. } if at <= now_ms)
    }

    /// Whose lease decides about it.
    pub fn owner(&self) -> Option<SessionNumber> {
        match self.state {
            State::Running { owner, .. } => owner,
            _ => None,
        }
    }

    fn grant(&self, claim: &Claim, session: SessionNumber) -> Grant {
        Grant { key: claim.key, fence: self.fence, session }
    }
}

/// Decides a claim. `hold` says how the owner of a running record does, and nothing otherwise.
pub fn decide_claim(
    found: Option<&Record>,
    claim: &Claim,
    by: &Claimant,
    hold: Hold,
) -> Decided<Record, Claimed> {
    let Some(record) = found.filter(|record| !record.is_expired(by.now_ms)) else {
        return granted(claim, by, claim.attempt, 0);
    };
    // A message of a later attempt may carry other arguments: Celery lets a task retry itself so.
    let may_differ =
        matches!(record.state, State::Retry { attempt, .. } if claim.attempt >= attempt);
    if record.payload != claim.payload && !may_differ {
        return Decided::only(Claimed::Mismatch);
    }
    let grant = record.grant(claim, by.session);
    match &record.state {
        State::Running { attempt, crashes, owner, ticket } => {
            if *owner == Some(by.session) && *ticket == claim.ticket {
                // The answer to the same claim was lost on its way.
                let (attempt, crashes) = (*attempt, *crashes);
                return Decided::only(Claimed::Fresh { grant, attempt, crashes });
            }
            match if owner.is_none() { Hold::Left } else { hold } {
                Hold::Live(remaining) => Decided::only(Claimed::Busy { remaining }),
                Hold::Left => granted(claim, by, claim.attempt.max(*attempt), *crashes),
                Hold::Over if crashes + 1 >= by.crashes_max => parked(record, claim, by),
                Hold::Over => granted(claim, by, claim.attempt.max(*attempt), crashes + 1),
            }
        }
        State::Retry { attempt, crashes, due_ms, settled, verdict } => {
            let remaining = Duration::from_millis(due_ms.saturating_sub(by.now_ms));
            if claim.attempt < *attempt {
                let (attempt, settled, verdict) = (*attempt, *settled, verdict.clone());
                let stale = Claimed::Stale { attempt, remaining, settled, grant, verdict };
                Decided::only(stale)
            } else if remaining.is_zero() {
                granted(claim, by, claim.attempt, *crashes)
            } else {
                Decided::only(Claimed::NotYet { remaining })
            }
        }
        State::Over { end, settled, verdict, .. } => {
            let (end, settled, verdict) = (*end, *settled, verdict.clone());
            Decided::only(Claimed::Over { end, settled, grant, verdict })
        }
    }
}

fn granted(claim: &Claim, by: &Claimant, attempt: u32, crashes: u32) -> Decided<Record, Claimed> {
    let owner = Some(by.session);
    let state = State::Running { attempt, crashes, owner, ticket: claim.ticket };
    let record = Record { fence: by.fence, payload: claim.payload, state };
    let grant = record.grant(claim, by.session);
    Decided { write: Some(record), answer: Claimed::Fresh { grant, attempt, crashes } }
}

/// The fence is a new one, so that whoever had the record before cannot write to it any more.
fn parked(record: &Record, claim: &Claim, by: &Claimant) -> Decided<Record, Claimed> {
    let end = End::Parked;
    let state = State::Over { end, settled: false, expires_ms: None, verdict: None };
    let parked = Record { fence: by.fence, payload: record.payload, state };
    let grant = parked.grant(claim, by.session);
    let answer = Claimed::Over { end, settled: false, grant, verdict: None };
    Decided { write: Some(parked), answer }
}

/// Decides a write; `settled` when everybody hears of it in the same step.
///
/// A lease that is over does not matter here: as long as nobody else was granted the record, its
/// last holder's word is as good as any.
pub fn decide_write(
    found: Option<&Record>,
    write: &LedgerWrite,
    settled: bool,
    now_ms: u64,
) -> Decided<Record, Recorded> {
    let mine = |record: &&Record| record.fence == write.grant.fence && !record.is_expired(now_ms);
    let Some(record) = found.filter(mine) else {
        return Decided::only(Recorded::Lost);
    };
    let state = match (&record.state, write.change) {
        (State::Running { .. }, Change::Settle) => return Decided::only(Recorded::Lost),
        (State::Running { attempt, crashes, ticket, .. }, Change::Release) => {
            State::Running { attempt: *attempt, crashes: *crashes, owner: None, ticket: *ticket }
        }
        (State::Running { .. }, Change::End(end)) => State::Over {
            end,
            settled,
            expires_ms: settled.then(|| later(now_ms, write.keep)),
            verdict: kept(record, write.verdict.as_ref(), settled),
        },
        (State::Running { crashes, .. }, Change::Retry { attempt, delay }) => State::Retry {
            attempt,
            crashes: *crashes,
            due_ms: later(now_ms, delay),
            settled,
            verdict: write.verdict.clone().filter(|_| !settled),
        },
        // What is not held cannot be handed back, and nobody has heard of it by that.
        (_, Change::Release) => return Decided::only(Recorded::Written),
        (state, change) if settled || change == Change::Settle => {
            match marked(record, later(now_ms, write.keep)) {
                Some(marked) => marked,
                None => return Decided { write: None, answer: answer_of(state) },
            }
        }
        // The same grant has written already, and what it wrote stands.
        _ => return Decided::only(Recorded::Written),
    };
    let record = Record { fence: record.fence, payload: record.payload, state };
    Decided { write: Some(record), answer: Recorded::Written }
}

/// The state once everybody has heard of it; `None` when they had already.
fn marked(record: &Record, expires_ms: u64) -> Option<State> {
    match &record.state {
        State::Retry { attempt, crashes, due_ms, settled: false, .. } => Some(State::Retry {
            attempt: *attempt,
            crashes: *crashes,
            due_ms: *due_ms,
            settled: true,
            verdict: None,
        }),
        State::Over { end, settled: false, verdict, .. } => Some(State::Over {
            end: *end,
            settled: true,
            expires_ms: Some(expires_ms),
            verdict: kept(record, verdict.as_ref(), true),
        }),
        _ => None,
    }
}

fn answer_of(state: &State) -> Recorded {
    if matches!(state, State::Running { .. }) { Recorded::Lost } else { Recorded::Written }
}

/// A verdict is kept until it is settled, and that of an explicit key for whoever asks again.
fn kept(record: &Record, verdict: Option<&Bytes>, settled: bool) -> Option<Bytes> {
    verdict.filter(|_| !settled || record.payload.is_explicit()).cloned()
}

/// A moment by the store's clock this much later, bounded by what stores can keep.
fn later(now_ms: u64, by: Duration) -> u64 {
    let by = u64::try_from(by.as_millis()).unwrap_or(u64::MAX);
    now_ms.saturating_add(by).min(super::NUMBER_MAX)
}
