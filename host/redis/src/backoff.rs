//! How long to wait before the next attempt at something that failed.

use std::time::Duration;

/// The first wait's upper end.
const FIRST: Duration = Duration::from_millis(50);

/// No wait is longer, in whatever state the server is: a lease of 30 s must survive a few of them.
const LONGEST: Duration = Duration::from_secs(5);

/// Exponential waits with *full* jitter: each is uniform between zero and a bound that doubles.
/// After an outage the workers of a fleet come back spread out, not all at once.
#[derive(Debug, Default)]
pub struct Backoff {
    failures: u32,
}

impl Backoff {
    /// Notes a failure and returns how long to wait; `chance` is uniform in `0.0..1.0`.
    pub fn failed(&mut self, chance: f64) -> Duration {
        let bound = FIRST.saturating_mul(1 << self.failures.min(10)).min(LONGEST);
        self.failures = self.failures.saturating_add(1);
        bound.mul_f64(chance.clamp(0.0, 1.0))
    }

    /// Notes a success: the next wait is a first one again.
    pub fn succeeded(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::{Backoff, FIRST, LONGEST};

    #[test]
    fn bounds_double_up_to_the_longest_and_start_again_after_a_success() {
        let mut backoff = Backoff::default();
        let waits: Vec<_> = (0..100).map(|_| backoff.failed(1.0)).collect();
        assert_eq!(waits[..3], [FIRST, FIRST * 2, FIRST * 4]);
        assert_eq!(waits[99], LONGEST);
        backoff.succeeded();
        assert_eq!(backoff.failed(0.5), FIRST / 2);
    }

    #[test]
    fn jitter_is_full() {
        assert!(Backoff::default().failed(0.0).is_zero());
    }
}
