//! How long calls wait in a worker, from coming in to beginning.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use lovage_core::{Receipt, Timestamp};

/// Calls that are waited with at most; how long others wait is not known.
const WAITING_MAX: usize = 100_000;

/// The calls that wait, and since when.
#[derive(Debug, Default)]
pub(super) struct Waits(Mutex<HashMap<Receipt, Timestamp>>);

impl Waits {
    /// A call has come in.
    pub(super) fn begin(&self, receipt: Receipt, now: Timestamp) {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() < WAITING_MAX {
            waiting.insert(receipt, now);
        }
    }

    /// It begins, or is over without: how long it waited, the first time that this is asked.
    pub(super) fn end(&self, receipt: Receipt, now: Timestamp) -> Option<Duration> {
        let begun = self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&receipt)?;
        Some(now.until(begun))
    }
}
