//! Instances that are kept for another attempt, where a task's manifest asks for that (`reuse`).
//!
//! An instance of its own for each attempt is the rule, because nothing is left then for the next to
//! meet. An instance that is kept has its globals, its heap and the state of its generators: so it is
//! kept for attempts of the same module and tenant only, for so many, and only after an attempt that
//! came to its own end and left it no larger than it may be. What waits too long is dropped.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use lovage_core::frames::{ModuleNumber, Share};
use wasmtime::Store;
use wasmtime::component::Instance;

use crate::guest::Guest;

/// Instances that are kept in an executor; each takes a place in the pool.
pub(crate) const KEPT_MAX: u32 = 16;

/// How long one is kept that nobody asks for.
const KEPT_TIME: Duration = Duration::from_secs(10);

/// An instance after an attempt.
pub(crate) struct Kept {
    pub(crate) store: Store<Guest>,
    pub(crate) instance: Instance,
    /// How many attempts were in it.
    pub(crate) attempts: u32,
}

/// The instances that wait for another attempt, the oldest first.
#[derive(Default)]
pub(crate) struct Shelf(VecDeque<Place>);

struct Place {
    module: ModuleNumber,
    tenant: Box<str>,
    since: Instant,
    kept: Kept,
}

impl Shelf {
    /// An instance for an attempt that may share one and may use so much memory.
    pub(crate) fn take(
        &mut self,
        module: ModuleNumber,
        share: Share<'_>,
        memory_bytes: u64,
    ) -> Option<Kept> {
        let fits = |place: &Place| {
            place.module == module
                && *place.tenant == *share.tenant
                && place.kept.attempts < share.attempts
                && place.kept.store.data().memory.fits(memory_bytes)
        };
        let index = self.0.iter().rposition(fits)?;
        self.0.remove(index).map(|place| place.kept)
    }

    /// Keeps an instance, if another attempt may be in it.
    pub(crate) fn put(&mut self, module: ModuleNumber, share: Share<'_>, kept: Kept) {
        if kept.attempts >= share.attempts || kept.store.data().memory.has_grown() {
            return;
        }
        if self.0.len() >= KEPT_MAX as usize {
            self.0.pop_front();
        }
        self.0.push_back(Place {
            module,
            tenant: share.tenant.into(),
            since: Instant::now(),
            kept,
        });
    }

    /// Drops the instances of a module that is no longer.
    pub(crate) fn forget(&mut self, module: ModuleNumber) {
        self.0.retain(|place| place.module != module);
    }

    /// Drops all.
    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    /// Drops those that waited too long.
    pub(crate) fn expire(&mut self, now: Instant) {
        while self.0.front().is_some_and(|place| place.since + KEPT_TIME <= now) {
            self.0.pop_front();
        }
    }

    /// When the next one is to be dropped.
    pub(crate) fn first_deadline(&self) -> Option<Instant> {
        self.0.front().map(|place| place.since + KEPT_TIME)
    }
}
