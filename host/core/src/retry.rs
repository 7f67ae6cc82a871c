//! What becomes of a failure: run again, and when.
//!
//! A policy is made of what the task's manifest asks for, tightened by what the message says. Of one
//! failed attempt it is asked once: [`next`](RetryPolicy::next) says how long to wait, or that it
//! was the last.

mod backoff;
mod cause;
mod request;

use std::time::Duration;

pub use backoff::{Backoff, Jitter};
pub use cause::{Cause, Causes};
pub use request::{BreakerRequest, BudgetRequest, PolicyError, RetryRequest};

use crate::Timestamp;
use backoff::seconds;

/// The longest that anything about retries may last: 14 days, in seconds.
const LONGEST_S: f64 = 1_209_600.0;

/// When a failed task is run again.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RetryPolicy {
    /// How many retries there may be; `None` has no bound, as Celery's `max_retries=None`.
    pub max_retries: Option<u32>,
    /// No retry starts later than this after the first attempt began; `None` has no bound.
    pub max_elapsed: Option<Duration>,
    /// What is retried. Celery's default is only what asks for it: an exception that is not in
    /// `autoretry_for` is final.
    pub causes: Causes,
    /// Whether the task may say how long to wait.
    pub honors_guest: bool,
    /// The waiting times.
    pub backoff: Backoff,
    /// How many retries there may be beside the calls.
    pub budget: Budget,
}

/// Celery's: three retries, 180 s apart, and only when the task asks.
impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            max_retries: Some(3),
            max_elapsed: None,
            causes: Causes::ASKED,
            honors_guest: true,
            backoff: Backoff::Fixed { delay: CELERY_DELAY },
            budget: Budget::default(),
        }
    }
}

/// Celery's `default_retry_delay`.
const CELERY_DELAY: Duration = Duration::from_mins(3);

/// How many retries of a task there may be, so that they never become the load that they wait out.
/// Those beyond it are deferred, never dropped.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Budget {
    /// Retries for each call.
    pub ratio: f64,
    /// Retries per second that there may be in any case.
    pub floor_per_s: f64,
}

impl Default for Budget {
    fn default() -> Self {
        Self { ratio: 0.2, floor_per_s: 1.0 }
    }
}

/// What a message says of its retries: the caller's wishes, and what the attempts before left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RetryMarks {
    /// When the first attempt began: header `lovage-first-attempt`.
    pub first_attempt: Option<Timestamp>,
    /// The delay before this attempt, where the next one depends on it: header
    /// `lovage-retry-delay`, seconds.
    pub delay: Option<Duration>,
    /// No more retries than this: `max` in the header `lovage-retry`.
    pub max_retries: Option<u32>,
    /// No later than this: `max_elapsed_s` in the header `lovage-retry`.
    pub max_elapsed: Option<Duration>,
}

/// What a policy is asked about.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FailedAttempt {
    /// How often it was retried before.
    pub retries: u32,
    /// The delay that the task asks for.
    pub asked: Option<Duration>,
    /// When it ended.
    pub now: Timestamp,
    /// Uniform in `0.0..1.0`.
    pub chance: f64,
}

impl RetryPolicy {
    /// This policy as far as a message lets it: it may tighten what the task asks for, never loosen.
    #[must_use]
    pub fn tightened(self, marks: &RetryMarks) -> Self {
        Self {
            max_retries: least(self.max_retries, marks.max_retries),
            max_elapsed: least(self.max_elapsed, marks.max_elapsed),
            ..self
        }
    }

    /// How long to wait before the next attempt; `None` when there is none. Leaves in the marks what
    /// the next attempt needs to know.
    pub fn next(&self, attempt: &FailedAttempt, marks: &mut RetryMarks) -> Option<Duration> {
        let FailedAttempt { retries, asked, now, chance } = *attempt;
        if self.max_retries.is_some_and(|most| retries >= most) {
            return None;
        }
        let asked = asked.filter(|_| self.honors_guest);
        let wait = match asked {
            Some(asked) => asked.min(self.backoff.cap().unwrap_or(Duration::MAX)),
            None => self.backoff.delay(retries, marks.delay, chance),
        };
        // A first attempt in the future is another machine's clock, or a wish to have more time.
        let first = marks.first_attempt.map_or(now, |first| first.min(now));
        if self.max_elapsed.is_some_and(|most| now.after(wait) > first.after(most)) {
            return None;
        }
        marks.first_attempt = Some(first);
        marks.delay = matches!(self.backoff, Backoff::Decorrelated { .. }).then_some(wait);
        Some(wait)
    }
}

/// The smaller of two bounds, of which `None` is none.
fn least<T: Ord>(one: Option<T>, other: Option<T>) -> Option<T> {
    one.into_iter().chain(other).min()
}

#[cfg(test)]
mod tests;
