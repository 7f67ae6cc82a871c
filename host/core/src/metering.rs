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
}

/// What a worker may do for a tenant until it asks again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowance {
    /// Calls that it may begin.
    pub begin: u64,
    /// Calls that it may have in work at once.
    pub running: u32,
}

/// Counts what tenants use of their quotas, over all workers of one store.
///
/// Use is told after it happened: several workers together may begin a few calls too many, or use
/// more fuel than was left. That is a debt, and is paid off before anything else begins, so that
/// over time no tenant has more than its quota.
#[async_trait]
pub trait TenantMeter: Send + Sync {
    /// Notes what was spent and says what is allowed next, in the same order. Called about ten times
    /// a second with the tenants that have calls. Not to be repeated: what was told twice is counted
    /// twice.
    ///
    /// # Errors
    /// When the store cannot be reached; it may have been noted.
    async fn spend(&self, spent: &[Spent]) -> Result<Vec<Allowance>, PortError>;
}
