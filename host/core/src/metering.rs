//! Quotas of tenants that are counted while calls run: how many begin, what they use, how many there
//! are at once.

use async_trait::async_trait;

use crate::ports::PortError;
use crate::{Quotas, TenantId};

/// What one worker's calls of a tenant have used since it last said so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spent {
    /// The tenant.
    pub tenant: TenantId,
    /// What it may use over all workers.
    pub quotas: Quotas,
    /// Calls that have begun.
    pub begun: u64,
    /// Fuel that was used.
    pub fuel: u64,
    /// Calls that are in work there now.
    pub running: u32,
    /// Whether more of its calls wait, as far as that worker knows.
    pub waits: bool,
}

/// What a worker may do for a tenant until it asks again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowance {
    /// Calls that it may begin.
    pub begin: u64,
    /// Calls that it may have in work at once.
    pub running: u32,
}

impl Allowance {
    /// What a worker that has no calls of a tenant may do before it has asked: a part of what the
    /// tenant may have in work, so that workers that begin at the same moment do not exceed it.
    pub fn unasked(quotas: &Quotas) -> Self {
        let Quotas { running, rate_per_s, .. } = *quotas;
        if quotas.is_running_unlimited() {
            return Self { begin: u64::MAX, running };
        }
        Self { begin: rate_per_s.into(), running: (running / UNASKED_PART).max(1).min(running) }
    }
}

/// One call in so many that a tenant may have in work may begin before a worker has asked.
const UNASKED_PART: u32 = 8;

/// Counts what tenants use of their quotas, over all workers of one store.
///
/// Calls and fuel are told after they were used: several workers together may begin a few calls too
/// many, or use more fuel than was left. That is a debt, and is paid off before anything else begins,
/// so that over time no tenant has more than its quota. Calls in work are granted beforehand: what
/// all workers may have together is never more than the quota, unless there are more workers than that.
#[async_trait]
pub trait TenantMeter: Send + Sync {
    /// Notes what was spent and says what is allowed next, in the same order. Called about ten times
    /// a second with the tenants that have calls, and each second with none: whoever is silent for
    /// longer than three is taken to be gone. Not to be repeated: what was told twice is counted twice.
    ///
    /// # Errors
    /// When the store cannot be reached; it may have been noted.
    async fn spend(&self, spent: &[Spent]) -> Result<Vec<Allowance>, PortError>;
}
