//! Points in time, as brokers and callers name them.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A point in time: microseconds since the Unix epoch, in UTC.
///
/// Microseconds because that is what Celery writes. Leases never use it: they are durations by the
/// store's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The point this many microseconds after the Unix epoch.
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// Microseconds since the Unix epoch.
    pub const fn as_micros(self) -> i64 {
        self.0
    }

    /// Seconds since the Unix epoch, with the fraction, as Redis scores and Celery's events have it.
    #[expect(clippy::cast_precision_loss, reason = "microseconds of this age fit 53 bits")]
    pub fn as_seconds(self) -> f64 {
        self.0 as f64 / 1e6
    }

    /// This point moved `duration` into the future; the far end of time where that overflows.
    #[must_use]
    pub fn after(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)))
    }

    /// This point moved `duration` into the past; the far end of time where that overflows.
    #[must_use]
    pub fn before(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)))
    }

    /// How long from `now` until this point; zero when it has passed.
    pub fn until(self, now: Self) -> Duration {
        Duration::from_micros(u64::try_from(self.0.saturating_sub(now.0)).unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Timestamp;

    #[test]
    fn what_has_passed_is_due_at_once() {
        let now = Timestamp::from_micros(5_000_000);
        assert_eq!(Timestamp::from_micros(1).until(now), Duration::ZERO);
        assert_eq!(now.after(Duration::from_secs(2)).until(now), Duration::from_secs(2));
    }

    #[test]
    fn the_far_future_does_not_wrap_round() {
        assert_eq!(Timestamp::from_micros(1).after(Duration::MAX).as_micros(), i64::MAX);
    }
}
