//! What becomes of a failure: run again, and when.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::RetryRequest;

/// When a failed task is run again.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RetryPolicy {
    /// How many retries there may be; `None` has no bound, as Celery's `max_retries=None`.
    pub max_retries: Option<u32>,
    /// Whether a failure that the guest did not call a retry is tried again, too. Celery's default
    /// is no: an exception that is not in `autoretry_for` is final.
    pub on_failure: bool,
    /// The waiting times.
    pub backoff: Backoff,
}

/// Celery's: three retries, 180 s apart, and only when the task asks.
impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            max_retries: Some(3),
            on_failure: false,
            backoff: Backoff::Fixed { delay: CELERY_DELAY },
        }
    }
}

/// Celery's `default_retry_delay`.
const CELERY_DELAY: Duration = Duration::from_mins(3);

/// How the waiting time grows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Backoff {
    /// Always the same.
    Fixed {
        /// The delay.
        delay: Duration,
    },
    /// `base × factor^retries`, at most `cap`, then jittered.
    Exponential {
        /// The first delay.
        base: Duration,
        /// What each further one is multiplied by.
        factor: f64,
        /// No delay is longer.
        cap: Duration,
        /// How chance enters.
        jitter: Jitter,
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

impl RetryPolicy {
    /// Whether a further retry is allowed after `retries` of them.
    pub fn allows(&self, retries: u32) -> bool {
        self.max_retries.is_none_or(|most| retries < most)
    }

    /// How long to wait before retry number `retries + 1`. `chance` is uniform in `0.0..1.0`.
    pub fn delay(&self, retries: u32, chance: f64) -> Duration {
        match self.backoff {
            Backoff::Fixed { delay } => delay,
            Backoff::Exponential { base, factor, cap, jitter } => {
                let exponent = i32::try_from(retries).unwrap_or(i32::MAX);
                let seconds = base.as_secs_f64() * factor.max(1.0).powi(exponent);
                jitter.apply(seconds.min(cap.as_secs_f64()), chance)
            }
        }
    }

    /// The policy that a manifest asks for, `None` meaning that it says nothing.
    pub fn requested(request: Option<&RetryRequest>) -> Self {
        let Some(request) = request else { return Self::default() };
        let delay = seconds(request.delay_s.unwrap_or(CELERY_DELAY.as_secs_f64()));
        let cap = seconds(request.cap_s.unwrap_or(600.0));
        let jitter = request.jitter.unwrap_or(Jitter::Full);
        let backoff = match request.backoff.as_deref() {
            Some("exponential") => Backoff::Exponential {
                base: seconds(request.base_s.unwrap_or(1.0)),
                factor: request.factor.unwrap_or(2.0),
                cap,
                jitter,
            },
            Some("celery") => Backoff::Exponential {
                base: seconds(request.factor.unwrap_or(1.0).max(1.0).trunc()),
                factor: 2.0,
                cap,
                jitter: if jitter == Jitter::None { Jitter::None } else { Jitter::Celery },
            },
            _ => Backoff::Fixed { delay },
        };
        Self {
            max_retries: request.max.unwrap_or(Some(3)),
            on_failure: request.on_failure.unwrap_or(true),
            backoff,
        }
    }
}

impl Jitter {
    fn apply(self, delay_s: f64, chance: f64) -> Duration {
        seconds(match self {
            Self::None => delay_s,
            Self::Full => delay_s * chance,
            Self::Equal => delay_s / 2.0 * (1.0 + chance),
            Self::Celery => ((delay_s.trunc() + 1.0) * chance).trunc(),
        })
    }
}

/// Seconds as a duration, zero for what is no duration, and at most a day.
fn seconds(number: f64) -> Duration {
    Duration::try_from_secs_f64(number.min(86_400.0)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Backoff, Jitter, RetryPolicy};

    fn exponential(jitter: Jitter) -> RetryPolicy {
        let base = Duration::from_secs(2);
        let cap = Duration::from_mins(1);
        RetryPolicy {
            max_retries: Some(3),
            on_failure: true,
            backoff: Backoff::Exponential { base, factor: 2.0, cap, jitter },
        }
    }

    #[test]
    fn the_first_retry_waits_the_base_and_the_cap_holds() {
        let policy = exponential(Jitter::None);
        let delays: Vec<u64> = (0..7).map(|n| policy.delay(n, 0.5).as_secs()).collect();
        assert_eq!(delays, [2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(policy.delay(u32::MAX, 0.5).as_secs(), 60);
    }

    #[test]
    fn jitter_stays_in_its_bounds() {
        for step in 0..100 {
            let chance = f64::from(step) / 100.0;
            assert!(exponential(Jitter::Full).delay(2, chance) <= Duration::from_secs(8));
            let equal = exponential(Jitter::Equal).delay(2, chance);
            assert!((4.0..=8.0).contains(&equal.as_secs_f64()));
            let celery = exponential(Jitter::Celery).delay(2, chance);
            assert!(celery.subsec_nanos() == 0 && celery.as_secs() <= 8);
        }
        assert_eq!(exponential(Jitter::Celery).delay(2, 0.999).as_secs(), 8, "both ends included");
    }

    #[test]
    fn retries_are_counted_from_zero() {
        let policy = exponential(Jitter::None);
        assert!(policy.allows(0) && policy.allows(2) && !policy.allows(3));
    }
}
