//! A ledger's record as the columns of a table, the same in every database.

use bytes::Bytes;
use lovage_core::{End, Fence, NUMBER_MAX, Payload, Record, SessionNumber, State};

/// A row without its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Columns {
    /// 0 running, 1 to be retried, 2 done, 3 failed, 4 parked.
    pub(crate) state: i16,
    pub(crate) fence: i64,
    pub(crate) payload: Vec<u8>,
    pub(crate) attempt: i64,
    pub(crate) crashes: i64,
    pub(crate) owner: Option<i64>,
    pub(crate) ticket: i64,
    /// When it is due, or when it may be forgotten.
    pub(crate) moment_ms: Option<i64>,
    pub(crate) settled: bool,
    pub(crate) verdict: Option<Vec<u8>>,
}

impl From<&Record> for Columns {
    fn from(record: &Record) -> Self {
        let plain = Self {
            state: 0,
            fence: signed(record.fence.0),
            payload: record.payload.as_bytes().to_vec(),
            attempt: 0,
            crashes: 0,
            owner: None,
            ticket: 0,
            moment_ms: None,
            settled: false,
            verdict: None,
        };
        match &record.state {
            State::Running { attempt, crashes, owner, ticket } => Self {
                attempt: i64::from(*attempt),
                crashes: i64::from(*crashes),
                owner: owner.map(|owner| signed(owner.0)),
                ticket: signed(*ticket),
                ..plain
            },
            State::Retry { attempt, crashes, due_ms, settled, verdict } => Self {
                state: 1,
                attempt: i64::from(*attempt),
                crashes: i64::from(*crashes),
                moment_ms: Some(signed(*due_ms)),
                settled: *settled,
                verdict: verdict.as_ref().map(|verdict| verdict.to_vec()),
                ..plain
            },
            State::Over { end, settled, expires_ms, verdict } => Self {
                state: match end {
                    End::Done => 2,
                    End::Failed => 3,
                    End::Parked => 4,
                },
                moment_ms: expires_ms.map(signed),
                settled: *settled,
                verdict: verdict.as_ref().map(|verdict| verdict.to_vec()),
                ..plain
            },
        }
    }
}

impl Columns {
    /// The record; `None` when the row was not written by a ledger.
    pub(crate) fn record(self) -> Option<Record> {
        let (settled, verdict) = (self.settled, self.verdict.map(Bytes::from));
        let short = |number| u32::try_from(number).ok();
        let state = match self.state {
            0 => State::Running {
                attempt: short(self.attempt)?,
                crashes: short(self.crashes)?,
                owner: self.owner.map(|owner| SessionNumber(unsigned(owner))),
                ticket: unsigned(self.ticket),
            },
            1 => State::Retry {
                attempt: short(self.attempt)?,
                crashes: short(self.crashes)?,
                due_ms: unsigned(self.moment_ms?),
                settled,
                verdict,
            },
            state => State::Over {
                end: match state {
                    2 => End::Done,
                    3 => End::Failed,
                    4 => End::Parked,
                    _ => return None,
                },
                settled,
                expires_ms: self.moment_ms.map(unsigned),
                verdict,
            },
        };
        let payload = Payload::from_bytes(&self.payload)?;
        Some(Record { fence: Fence(unsigned(self.fence)), payload, state })
    }
}

/// A number as databases keep it.
pub(crate) fn signed(number: u64) -> i64 {
    i64::try_from(number.min(NUMBER_MAX)).unwrap_or(0)
}

/// A number that a database kept.
pub(crate) fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}
