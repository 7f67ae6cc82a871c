//! The ledger of the stage: scripted answers to claims, and everything written into the story.

use async_trait::async_trait;
use lovage_core::ports::{Ledger, PortError};
use lovage_core::{
    Change, Claim, Claimed, End, Fence, Grant, LedgerKey, LedgerWrite, Record, Recorded, Renewed,
    SessionNumber, StepBegin, StepBegun, StepEnd,
};

use crate::stage::{Refused, World};

#[async_trait]
impl Ledger for World {
    async fn claim(&self, batch: &[Claim]) -> Result<Vec<Claimed>, PortError> {
        let one = LedgerKey::implicit("default", &"demo.add".into(), &"refused".into());
        if match *self.refused.lock().unwrap() {
            Refused::Nobody => false,
            Refused::One => batch.iter().any(|claim| claim.key == one),
            Refused::Everybody => true,
        } {
            self.tell(format!("refuse {}", batch.len()));
            return Err(PortError::Permanent { what: "a wrong type".into(), source: None });
        }
        let mut claimed = self.claimed.lock().unwrap();
        let answer = |claim: &Claim| {
            self.tell("claim");
            let fresh = Claimed::Fresh { grant: grant(claim.key), attempt: 0, crashes: 0 };
            claimed.pop_front().unwrap_or(fresh)
        };
        Ok(batch.iter().map(answer).collect())
    }

    async fn record(&self, batch: &[LedgerWrite]) -> Vec<Result<Recorded, PortError>> {
        let lost = *self.grants_lost.lock().unwrap();
        let record = |write: &LedgerWrite| {
            self.tell(format!("record {}", name(&write.change)));
            Ok(if lost { Recorded::Lost } else { Recorded::Written })
        };
        batch.iter().map(record).collect()
    }

    async fn settle(&self, batch: &[LedgerWrite]) -> Vec<Result<Recorded, PortError>> {
        self.tell("close");
        batch.iter().map(|_| Ok(Recorded::Written)).collect()
    }

    async fn begin_step(&self, _: &Grant, _: &StepBegin) -> Result<StepBegun, PortError> {
        Ok(StepBegun::Run)
    }

    async fn end_step(&self, _: &Grant, _: &str, _: &StepEnd) -> Result<Recorded, PortError> {
        Ok(Recorded::Written)
    }

    async fn renew(&self) -> Result<Renewed, PortError> {
        *self.renewals.lock().unwrap() += 1;
        self.told.notify_waiters();
        let lost = std::mem::take(&mut *self.grants_lost.lock().unwrap());
        Ok(if lost { Renewed::Lost(SessionNumber(1)) } else { Renewed::Held })
    }

    async fn get(&self, _: &LedgerKey) -> Result<Option<Record>, PortError> {
        Ok(None)
    }

    async fn purge(&self, _: &[LedgerKey], _: bool) -> Result<usize, PortError> {
        Ok(0)
    }

    async fn leave(&self) -> Result<(), PortError> {
        self.tell("free");
        Ok(())
    }
}

fn name(change: &Change) -> &'static str {
    match change {
        Change::End(End::Done) => "done",
        Change::End(End::Failed) => "failed",
        Change::End(End::Parked) => "parked",
        Change::Retry { .. } => "retry",
        Change::Release => "release",
        Change::Settle => "settle",
    }
}

/// A right to this record, of the one session there is.
pub(crate) fn grant(key: LedgerKey) -> Grant {
    Grant { key, fence: Fence(1), session: SessionNumber(1) }
}
