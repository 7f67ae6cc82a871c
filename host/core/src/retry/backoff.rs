//! How long to wait, and how chance enters.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How the waiting time grows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Backoff {
    /// Always the same.
    Fixed {
        /// The delay.
        delay: Duration,
    },
    /// `base × factor^retries`, at most `cap`, then jittered, at least `floor`.
    Exponential {
        /// The first delay.
        base: Duration,
        /// What each further one is multiplied by.
        factor: f64,
        /// No delay is longer.
        cap: Duration,
        /// No delay is shorter.
        floor: Duration,
        /// How chance enters.
        jitter: Jitter,
    },
    /// Anything from `base` to three times the delay before, at most `cap`, at least `floor`: it
    /// grows like the other, and those who failed together drift apart with every retry.
    Decorrelated {
        /// The shortest delay, and what counts as the one before the first.
        base: Duration,
        /// No delay is longer.
        cap: Duration,
        /// No delay is shorter.
        floor: Duration,
    },
}

/// How chance enters a delay, so that those who failed together do not return together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Jitter {
    /// Not at all.
    None,
    /// Anything from zero to the delay.
    Full,
    /// Half of the delay, and up to the other half more.
    Equal,
    /// Celery's own: whole seconds from zero to the delay, both included.
    Celery,
}

impl Backoff {
    /// How long to wait before retry number `retries + 1`, when `previous` was the wait before the
    /// last one. `chance` is uniform in `0.0..1.0`.
    pub fn delay(&self, retries: u32, previous: Option<Duration>, chance: f64) -> Duration {
        match *self {
            Self::Fixed { delay } => delay,
            Self::Exponential { base, factor, cap, floor, jitter } => {
                let cap_s = cap.as_secs_f64();
                // Nothing times infinity is no number.
                let exponent = i32::try_from(retries).unwrap_or(i32::MAX);
                let grown = base.as_secs_f64() * factor.max(1.0).powi(exponent).min(f64::MAX);
                jitter.apply(grown.min(cap_s), chance).max(floor.min(cap))
            }
            Self::Decorrelated { base, cap, floor } => {
                let most = previous.unwrap_or(base).max(base).as_secs_f64() * 3.0;
                let base_s = base.as_secs_f64();
                seconds(base_s + (most - base_s) * chance).min(cap).max(floor.min(cap))
            }
        }
    }

    /// The longest delay that a guest may ask for; `None` where the policy is Celery's, whose
    /// `retry(countdown=…)` has no bound.
    pub(super) fn cap(&self) -> Option<Duration> {
        match self {
            Self::Fixed { .. } | Self::Exponential { jitter: Jitter::Celery, .. } => None,
            Self::Exponential { cap, .. } | Self::Decorrelated { cap, .. } => Some(*cap),
        }
    }
}

impl Jitter {
    fn apply(self, delay_s: f64, chance: f64) -> Duration {
        seconds(match self {
            Self::None => delay_s,
            Self::Full => delay_s * chance,
            Self::Equal => delay_s / 2.0 * (1.0 + chance),
            // `random.randrange(delay + 1)`.
            Self::Celery => ((delay_s.trunc() + 1.0) * chance).trunc(),
        })
    }
}

/// Seconds as a duration: zero for what is none, and at most as long as any delay may be.
pub(super) fn seconds(number: f64) -> Duration {
    Duration::try_from_secs_f64(number.min(super::LONGEST_S)).unwrap_or_default()
}
