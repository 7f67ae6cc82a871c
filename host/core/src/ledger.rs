//! What a call's right to run, and its end, are checked against.
//!
//! A record has a key: tenant, task name, and either a key of the caller's (*explicit*) or the
//! call's id (*implicit*). It goes through these states:
//!
//! ```text
//!  (absent) ─claim→ Running ─┬→ Over: done, failed, parked ─settle→ settled ─kept long enough→ (absent)
//!                     ↑  ↑   └→ Retry ─settle→ settled
//!                     │  └────────── claim when due ┘
//!                     └ claim, once its session's lease is over: one crash more; too many: parked
//! ```
//!
//! * A **lease** belongs to a worker's *session*: one heartbeat keeps everything the session claimed.
//! * A **fence** is the number of one grant. It grows with every grant, and every write names it:
//!   whoever lost a record can write nothing to it.
//! * What has not been *settled* (result, follow-ups and broker have not heard of it) is kept without
//!   a time limit, together with its verdict, so that whoever is handed the delivery next can finish.
//!
//! The decisions are pure functions of a record, an operation and a moment, in one place:
//! [`claim`](decide_claim), [`write`](decide_write), [`begin_step`](decide_begin_step) and
//! [`end_step`](decide_end_step). Stores carry them out, each in one atomic step, by calling them or
//! by doing the same in their own language; the conformance suite compares the two.

mod identity;
mod machine;
mod step;

use std::time::Duration;

use bytes::Bytes;

pub use identity::{LedgerKey, Payload};
pub use machine::{Claimant, Decided, Hold, Record, State, decide_claim, decide_write};
pub use step::{
    STEP_NAME_BYTES_MAX, STEP_VALUE_BYTES_MAX, StepBegin, StepBegun, StepEnd, StepInput,
    StepRecord, decide_begin_step, decide_end_step,
};

/// The number of one grant of a record. Of two grants of one record the later has the larger number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fence(pub u64);

/// The number of a worker's session in a store; never used twice there, and never 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionNumber(pub u64);

/// The largest number that stores keep fences, sessions, tickets and moments in: 48 bits.
pub const NUMBER_MAX: u64 = (1 << 48) - 1;

/// The right to run a record's call, as the one it was given to keeps it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Grant {
    /// The record.
    pub key: LedgerKey,
    /// What tells this grant from every other.
    pub fence: Fence,
    /// The session whose lease it lasts as long as.
    pub session: SessionNumber,
}

/// A delivery that wants to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    /// The record it is about.
    pub key: LedgerKey,
    /// What it is called with.
    pub payload: Payload,
    /// How often the message says it was retried.
    pub attempt: u32,
    /// Tells deliveries of one session apart, at most [`NUMBER_MAX`]. A claim that is repeated,
    /// because its answer was lost, gets the same answer.
    pub ticket: u64,
}

/// What a claim is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claimed {
    /// Run it.
    Fresh {
        /// The right to.
        grant: Grant,
        /// How often it was retried.
        attempt: u32,
        /// How often a worker died under it.
        crashes: u32,
    },
    /// Somebody runs it. Come again; do not acknowledge, this may be the only copy left.
    Busy {
        /// How long its lease lasts, unless it is renewed.
        remaining: Duration,
    },
    /// It is to be retried, but not yet. Come again.
    NotYet {
        /// How long until then.
        remaining: Duration,
    },
    /// It has ended: acknowledge, after finishing what is unsettled.
    Over {
        /// How it ended.
        end: End,
        /// Whether everybody has heard of it. If not, tell them, and settle it with this grant.
        settled: bool,
        /// The grant under which it ended.
        grant: Grant,
        /// What was recorded as its verdict; an implicit key's is forgotten once it is settled.
        verdict: Option<Bytes>,
    },
    /// A later attempt than this one is on its way: acknowledge, after sending that one if it is
    /// unsettled.
    Stale {
        /// The later attempt.
        attempt: u32,
        /// How long until it is due.
        remaining: Duration,
        /// Whether it was sent. If not, send it, and settle with this grant.
        settled: bool,
        /// The grant under which it was recorded.
        grant: Grant,
        /// What was recorded as the verdict, until it is settled.
        verdict: Option<Bytes>,
    },
    /// The same key with another payload: never run, and nothing of the other is shown.
    Mismatch,
}

/// How a call can have ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum End {
    /// It succeeded.
    Done,
    /// It failed for good, or is not wanted any more.
    Failed,
    /// It waits for a person; without a verdict because it crashed too often.
    Parked,
}

/// What the holder of a grant does to its record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedgerWrite {
    /// The right to do so.
    pub grant: Grant,
    /// What is done.
    pub change: Change,
    /// How long the record is kept once it is over and settled.
    pub keep: Duration,
    /// What a later delivery needs to finish or repeat the settlement: an encoded
    /// [`Settlement`](crate::Settlement). Stores drop it where nobody can need it.
    pub verdict: Option<Bytes>,
}

/// A change of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// The call has ended.
    End(End),
    /// It will be run again.
    Retry {
        /// The retries its next message will count.
        attempt: u32,
        /// How long from now.
        delay: Duration,
    },
    /// It is handed back as if it had not been claimed: no attempt and no crash is counted.
    Release,
    /// Everybody has heard of what was recorded.
    Settle,
}

impl LedgerWrite {
    /// The write that marks this one as settled.
    #[must_use]
    pub fn settle(&self) -> Self {
        Self { grant: self.grant, change: Change::Settle, keep: self.keep, verdict: None }
    }
}

/// What a write is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recorded {
    /// It is recorded: now, or before by the same grant.
    Written,
    /// The grant is not the record's any more: nothing was written, and nothing may be settled.
    Lost,
}

/// What renewing a session's lease is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Renewed {
    /// Everything the session claimed is still its own.
    Held,
    /// The lease of this session was over, whoever noticed: its grants are worth nothing, whatever
    /// holds one must be stopped. Another session was begun.
    Lost(SessionNumber),
}
