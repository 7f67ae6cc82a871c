//! One total over everything that an attempt can make grow.

use wasmtime::ResourceLimiter;

/// Bytes of one table element, whatever it refers to.
const TABLE_ELEMENT_BYTES: u64 = 8;

/// Counts the bytes of all linear memories and tables of one attempt against one limit.
///
/// A refusal is no trap: the guest is told that there is no memory, and may cope. If it does not,
/// `denied` tells what it died of.
#[derive(Debug)]
pub(crate) struct MemoryMeter {
    limit: u64,
    used: u64,
    /// The most that was in use at once: nothing shrinks.
    pub(crate) peak: u64,
    /// Whether anything was refused.
    pub(crate) denied: bool,
    /// What was in use when the instance was there and nothing had run in it.
    born: u64,
}

impl MemoryMeter {
    pub(crate) fn new(limit: u64) -> Self {
        Self { limit, used: 0, peak: 0, denied: false, born: 0 }
    }

    /// The instance is there; what it uses now is what it needs to be there.
    pub(crate) fn is_born(&mut self) {
        self.born = self.used;
    }

    /// Whether it uses more than twice what it did when it was born.
    pub(crate) fn has_grown(&self) -> bool {
        self.used > self.born.saturating_mul(2)
    }

    /// Whether what is in use fits into another limit.
    pub(crate) fn fits(&self, limit: u64) -> bool {
        self.used <= limit
    }

    /// The next attempt in this instance begins, with a limit of its own.
    pub(crate) fn renew(&mut self, limit: u64) {
        self.limit = limit;
        self.peak = self.used;
        self.denied = false;
    }

    fn grow(&mut self, current: u64, desired: u64, maximum: Option<u64>) -> bool {
        let used = self.used.saturating_add(desired.saturating_sub(current));
        if used > self.limit {
            self.denied = true;
            return false;
        }
        // What is beyond its own declared maximum is refused to it in any case, and takes nothing.
        if maximum.is_none_or(|maximum| desired <= maximum) {
            self.used = used;
            self.peak = self.peak.max(used);
        }
        true
    }
}

impl ResourceLimiter for MemoryMeter {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let maximum = maximum.map(|maximum| maximum as u64);
        Ok(self.grow(current as u64, desired as u64, maximum))
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        // The pool has room for so many in a table, and names that as the maximum.
        self.denied |= desired > TABLE_ELEMENTS_MAX;
        let bytes = |elements: usize| (elements as u64).saturating_mul(TABLE_ELEMENT_BYTES);
        Ok(self.grow(bytes(current), bytes(desired), maximum.map(bytes)))
    }

    fn memories(&self) -> usize {
        MEMORIES_MAX as usize
    }

    fn tables(&self) -> usize {
        TABLES_MAX as usize
    }

    fn instances(&self) -> usize {
        INSTANCES_MAX as usize
    }
}

/// Linear memories of one attempt.
pub(crate) const MEMORIES_MAX: u32 = 8;
/// Tables of one attempt.
pub(crate) const TABLES_MAX: u32 = 16;
/// Elements of one table.
pub(crate) const TABLE_ELEMENTS_MAX: usize = 100_000;
/// Core instances of one attempt.
pub(crate) const INSTANCES_MAX: u32 = 64;

#[cfg(test)]
mod tests {
    use wasmtime::ResourceLimiter as _;

    use super::MemoryMeter;

    #[test]
    fn memories_and_tables_share_one_total() {
        let mut meter = MemoryMeter::new(1_000);
        assert!(meter.memory_growing(0, 400, None).unwrap());
        assert!(meter.memory_growing(0, 400, None).unwrap());
        assert!(meter.table_growing(0, 25, None).unwrap());
        assert!(!meter.denied);
        assert!(!meter.table_growing(25, 26, None).unwrap());
        assert_eq!((meter.denied, meter.peak), (true, 1_000));
    }

    #[test]
    fn a_guest_that_meets_its_own_maximum_was_not_denied_by_us() {
        let mut meter = MemoryMeter::new(1_000);
        let _ = meter.memory_growing(0, 600, Some(500)).unwrap();
        assert_eq!((meter.denied, meter.peak), (false, 0));
    }
}
