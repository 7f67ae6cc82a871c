//! Waiting between tries.

use std::time::Duration;

/// Delays with full jitter: anything from zero to a bound that doubles with each failure, so that
/// workers that lost the same broker do not return to it together.
#[derive(Debug)]
pub(crate) struct Backoff {
    failures: u32,
}

const BASE: Duration = Duration::from_millis(50);
const CAP: Duration = Duration::from_secs(5);

impl Backoff {
    pub(crate) fn new() -> Self {
        Self { failures: 0 }
    }

    /// How long to wait now, after one failure more.
    pub(crate) fn next(&mut self) -> Duration {
        let bound = BASE.saturating_mul(1 << self.failures.min(10)).min(CAP);
        self.failures = self.failures.saturating_add(1);
        bound.mul_f64(fastrand::f64())
    }

    /// Whether this is the first failure in a row: the one to be logged.
    pub(crate) fn is_first(&self) -> bool {
        self.failures == 0
    }

    /// It worked again.
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::{Backoff, CAP};

    #[test]
    fn delays_are_bounded_however_long_it_fails() {
        let mut backoff = Backoff::new();
        assert!(backoff.is_first());
        for _ in 0..1_000 {
            assert!(backoff.next() <= CAP);
        }
        assert!(!backoff.is_first());
    }
}
