//! Records that tests tell apart by their numbers, and one question to a ledger each.

use std::time::Duration;

use bytes::Bytes;
use lovage_core::frames::OnDoubt;
use lovage_core::ports::Ledger;
use lovage_core::{
    Change, Claim, Claimed, End, Grant, LedgerKey, LedgerWrite, Payload, Recorded, StepBegin,
    StepBegun, StepEnd, StepInput,
};

use super::KEEP;

/// The record of a number, with an implicit key if it is even and an explicit one if it is odd.
pub fn key(number: u64) -> LedgerKey {
    LedgerKey::implicit("tenant", &"task".into(), &number.to_string().into())
}

/// A claim of that record.
pub fn claim(number: u64, attempt: u32, ticket: u64) -> Claim {
    Claim { key: key(number), payload: payload(number, 0), attempt, ticket }
}

/// The payload of that record's kind.
pub fn payload(number: u64, which: u8) -> Payload {
    if number.is_multiple_of(2) {
        Payload::Raw([which; 4])
    } else {
        Payload::Canonical([which; 32])
    }
}

/// A write that ends a call.
pub fn ends(grant: Grant, end: End) -> LedgerWrite {
    let verdict = Some(Bytes::from_static(b"\0verdict\xff\r\n"));
    LedgerWrite { grant, change: Change::End(end), keep: KEEP, verdict }
}

/// A write that has the call run again.
pub fn retries(grant: Grant, attempt: u32, delay: Duration) -> LedgerWrite {
    LedgerWrite { change: Change::Retry { attempt, delay }, ..ends(grant, End::Failed) }
}

pub(super) async fn one(ledger: &dyn Ledger, claim: Claim) -> Claimed {
    ledger.claim(&[claim]).await.expect("an answer").pop().expect("one answer")
}

pub(super) async fn granted(ledger: &dyn Ledger, claim: Claim) -> Grant {
    match one(ledger, claim).await {
        Claimed::Fresh { grant, .. } => grant,
        other => panic!("not granted: {other:?}"),
    }
}

pub(super) async fn recorded(ledger: &dyn Ledger, write: &LedgerWrite) -> Recorded {
    let mut answers = ledger.record(std::slice::from_ref(write)).await;
    answers.pop().expect("one answer").expect("an answer")
}

pub(super) async fn settled(ledger: &dyn Ledger, write: &LedgerWrite) -> Recorded {
    let mut answers = ledger.settle(std::slice::from_ref(write)).await;
    answers.pop().expect("one answer").expect("an answer")
}

pub(super) async fn begun(ledger: &dyn Ledger, grant: &Grant, doubt: OnDoubt) -> StepBegun {
    let input = StepInput([1; 16]);
    let ticket = fastrand::u64(..1 << 48);
    let step = StepBegin { name: "charge".into(), input, doubt, ticket };
    ledger.begin_step(grant, &step).await.expect("an answer")
}

pub(super) async fn ended(ledger: &dyn Ledger, grant: &Grant, value: &'static [u8]) -> Recorded {
    let end = StepEnd::Commit(Bytes::from_static(value));
    ledger.end_step(grant, "charge", &end).await.expect("an answer")
}
