//! What the scripts answer, read.

use std::time::Duration;

use bytes::Bytes;
use lovage_core::frames::OnDoubt;
use lovage_core::ports::PortError;
use lovage_core::{
    Claim, Claimed, End, Fence, Grant, Payload, Record, Recorded, SessionNumber, State, StepBegun,
};
use lovage_redis::{Steps, Value};

use crate::failed;

/// The answers to claims.
pub(super) fn claimed(
    answer: Value,
    batch: &[Claim],
    session: SessionNumber,
) -> Result<Vec<Claimed>, PortError> {
    let all = match answer {
        Value::Array(all) if all.len() == batch.len() => all,
        Value::Int(-1) => {
            let what = "the session's lease in the ledger is over".into();
            return Err(PortError::Transient { what, source: None });
        }
        other => return Err(unexpected(&other)),
    };
    let grant = |claim: &Claim, fence| Grant { key: claim.key, fence: Fence(fence), session };
    let one = |claim: &Claim, answer: &Value| {
        let parts = match answer {
            Value::Int(_) => {
                let grant = grant(claim, number(answer)?);
                return Ok(Claimed::Fresh { grant, attempt: claim.attempt, crashes: 0 });
            }
            Value::Array(parts) => parts.as_slice(),
            other => return Err(unexpected(other)),
        };
        let at = |index: usize| parts.get(index).map_or_else(|| Err(unexpected(answer)), number);
        let short = |index| Ok::<_, PortError>(u32::try_from(at(index)?).unwrap_or(u32::MAX));
        let remaining = |index| at(index).map(Duration::from_millis);
        let verdict = |index: usize| match parts.get(index) {
            Some(Value::BulkString(bytes)) => Some(Bytes::from(bytes.clone())),
            _ => None,
        };
        Ok(match at(0)? {
            1 => Claimed::Fresh {
                grant: grant(claim, at(1)?),
                attempt: short(2)?,
                crashes: short(3)?,
            },
            2 => Claimed::Busy { remaining: remaining(1)? },
            3 => Claimed::NotYet { remaining: remaining(1)? },
            4 => Claimed::Over {
                end: end(at(1)?),
                settled: at(2)? == 1,
                grant: grant(claim, at(3)?),
                verdict: verdict(4),
            },
            5 => Claimed::Stale {
                attempt: short(1)?,
                remaining: remaining(2)?,
                settled: at(3)? == 1,
                grant: grant(claim, at(4)?),
                verdict: verdict(5),
            },
            _ => Claimed::Mismatch,
        })
    };
    batch.iter().zip(&all).map(|(claim, answer)| one(claim, answer)).collect()
}

/// The answers to writes, or the one error that all of them share.
pub(super) fn recorded(
    answer: Result<Value, PortError>,
    count: usize,
) -> Vec<Result<Recorded, PortError>> {
    let what = "recording in the ledger";
    let all = match answer {
        Ok(Value::Array(all)) if all.len() == count => all,
        Ok(other) => return (0..count).map(|_| Err(unexpected(&other))).collect(),
        Err(error) => return failed::each(what, &error, count),
    };
    let one = |answer: &Value| match answer {
        Value::Int(1) => Ok(Recorded::Written),
        Value::Int(_) => Ok(Recorded::Lost),
        other => Steps::answer(what, other).map(|()| Recorded::Lost),
    };
    all.iter().map(one).collect()
}

/// The answer to the begin of a step.
pub(super) fn begun(answer: Value) -> Result<StepBegun, PortError> {
    match answer {
        Value::Int(0) => Ok(StepBegun::Run),
        Value::Int(1) => Ok(StepBegun::Ambiguous),
        Value::Int(2) => Ok(StepBegun::Doubt),
        Value::Int(3) => Ok(StepBegun::Mismatch),
        Value::Int(4) => Ok(StepBegun::Lost),
        Value::Array(mut value) => match value.pop() {
            Some(Value::BulkString(value)) => Ok(StepBegun::Replay(value.into())),
            _ => Err(unexpected(&Value::Array(value))),
        },
        other => Err(unexpected(&other)),
    }
}

/// How `begin_step.lua` names what is to happen in doubt.
pub(super) fn doubt(doubt: OnDoubt) -> &'static [u8] {
    match doubt {
        OnDoubt::Retry => b"R",
        OnDoubt::Fail => b"F",
        OnDoubt::Ask => b"A",
    }
}

/// A record's text and the end of its time.
pub(super) fn record(answer: &Value) -> Result<Option<Record>, PortError> {
    let Value::Array(parts) = answer else { return Err(unexpected(answer)) };
    match parts.as_slice() {
        [] => Ok(None),
        [Value::BulkString(text), expires] => match read(text, number(expires).ok()) {
            Some(record) => Ok(Some(record)),
            None => Err(unexpected(answer)),
        },
        _ => Err(unexpected(answer)),
    }
}

/// Reads what `common.lua` describes.
fn read(text: &[u8], expires_ms: Option<u64>) -> Option<Record> {
    let (tag, rest) = text.split_first()?;
    let (fence, rest) = big_endian(rest, 6)?;
    let (payload, rest) = rest.split_at_checked(if tag & 16 == 0 { 4 } else { 32 })?;
    let settled = tag & 8 != 0;
    let verdict = |bytes: &[u8]| (!bytes.is_empty()).then(|| Bytes::copy_from_slice(bytes));
    let begun = || {
        let (attempt, rest) = big_endian(rest, 4)?;
        let (crashes, rest) = big_endian(rest, 1)?;
        let (moment_or_owner, rest) = big_endian(rest, 6)?;
        let short = |number: u64| u32::try_from(number).ok();
        Some((short(attempt)?, short(crashes)?, moment_or_owner, rest))
    };
    let state = match tag & 7 {
        0 => {
            let (attempt, crashes, owner, rest) = begun()?;
            let (ticket, _) = big_endian(rest, 6)?;
            let owner = (owner != 0).then_some(SessionNumber(owner));
            State::Running { attempt, crashes, owner, ticket }
        }
        1 => {
            let (attempt, crashes, due_ms, rest) = begun()?;
            State::Retry { attempt, crashes, due_ms, settled, verdict: verdict(rest) }
        }
        state => {
            State::Over { end: end(state.into()), settled, expires_ms, verdict: verdict(rest) }
        }
    };
    Some(Record { fence: Fence(fence), payload: Payload::from_bytes(payload)?, state })
}

fn big_endian(bytes: &[u8], length: usize) -> Option<(u64, &[u8])> {
    let (number, rest) = bytes.split_at_checked(length)?;
    Some((number.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte)), rest))
}

fn end(state: u64) -> End {
    match state {
        2 => End::Done,
        3 => End::Failed,
        _ => End::Parked,
    }
}

/// A number that is not negative.
pub(super) fn number(value: &Value) -> Result<u64, PortError> {
    match value {
        Value::Int(number) => u64::try_from(*number).map_err(|_| unexpected(value)),
        other => Err(unexpected(other)),
    }
}

fn unexpected(value: &Value) -> PortError {
    PortError::permanent("reading the ledger's answer failed", format!("unexpected {value:?}"))
}
