//! What a tenant may use, over all workers together.

use serde::{Deserialize, Serialize};

/// What a tenant may use, over all workers together. Every bound is finite unless it says otherwise;
/// the largest number of a type means that there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Quotas {
    /// Calls in work at once.
    pub running: u32,
    /// Calls begun a second.
    pub rate_per_s: u32,
    /// Messages that wait in its queues; submissions beyond them are refused by the API.
    pub queued: u64,
    /// Modules that it keeps.
    pub modules: u32,
    /// Uploads a minute, refused ones included.
    pub uploads_per_minute: u32,
    /// Units of fuel a minute.
    pub fuel_per_minute: u64,
    /// Bytes of all module versions that it keeps.
    pub storage_bytes: u64,
}

impl Quotas {
    /// No bounds: what the default tenant has, whose machine it is.
    pub const fn unlimited() -> Self {
        Self {
            running: u32::MAX,
            rate_per_s: u32::MAX,
            queued: u64::MAX,
            modules: u32::MAX,
            uploads_per_minute: u32::MAX,
            fuel_per_minute: u64::MAX,
            storage_bytes: u64::MAX,
        }
    }

    /// Whether nothing bounds how its calls run: then nobody has to count them.
    pub const fn is_running_unlimited(&self) -> bool {
        self.running == u32::MAX && self.rate_per_s == u32::MAX && self.fuel_per_minute == u64::MAX
    }
}

impl Default for Quotas {
    /// What a tenant has that says nothing about its quotas.
    fn default() -> Self {
        Self {
            running: 32,
            rate_per_s: 1_000,
            queued: 100_000,
            modules: 100,
            uploads_per_minute: 10,
            fuel_per_minute: 1_000_000_000_000,
            storage_bytes: 1 << 30,
        }
    }
}
