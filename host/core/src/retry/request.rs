//! What a manifest asks for, as it is written there, and the policy that it means.

use serde::{Deserialize, Serialize};

use super::{
    Backoff, Budget, CELERY_DELAY, Cause, Causes, Jitter, LONGEST_S, RetryPolicy, seconds,
};

/// The retry policy that a task asks for.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct RetryRequest {
    /// Retries, not counting the first attempt; null means without bound, absent means 3.
    #[serde(default, deserialize_with = "present")]
    pub max: Option<Option<u32>>,
    /// No retry starts later than this after the first attempt began, seconds.
    #[serde(default)]
    pub max_elapsed_s: Option<f64>,
    /// Whether plain failures are retried (absent: yes), or only what asks for it.
    #[serde(default)]
    pub on_failure: Option<bool>,
    /// What is retried, by the names of [`Cause`]; stands over `on_failure`.
    #[serde(default)]
    pub retry_on: Option<Vec<String>>,
    /// What is not, of those.
    #[serde(default)]
    pub never_on: Option<Vec<String>>,
    /// Whether the task may say how long to wait (absent: yes).
    #[serde(default)]
    pub honor_retry_after: Option<bool>,
    /// The kind of waiting: `fixed`, `exponential`, `celery`, `full_jitter`, `equal_jitter` or
    /// `decorrelated`.
    #[serde(default)]
    pub backoff: Option<String>,
    /// The first delay, seconds; not of `fixed` and `celery`.
    #[serde(default)]
    pub base_s: Option<f64>,
    /// What the delay is multiplied by; with `celery` its `retry_backoff`.
    #[serde(default)]
    pub factor: Option<f64>,
    /// The longest delay, seconds.
    #[serde(default)]
    pub cap_s: Option<f64>,
    /// The shortest delay, seconds.
    #[serde(default)]
    pub floor_s: Option<f64>,
    /// How chance enters, with `exponential` and `celery`.
    #[serde(default)]
    pub jitter: Option<Jitter>,
    /// The delay of `fixed`, seconds.
    #[serde(default)]
    pub delay_s: Option<f64>,
    /// How many retries there may be beside the calls.
    #[serde(default)]
    pub budget: Option<BudgetRequest>,
}

/// The retry budget that a task asks for.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct BudgetRequest {
    /// Retries for each call.
    #[serde(default)]
    pub ratio: Option<f64>,
    /// Retries per second that there may be in any case.
    #[serde(default)]
    pub floor_per_s: Option<f64>,
}

/// When calls of a task are held back because it fails. There is a breaker only where a manifest
/// asks for one, with `{}` for all the defaults.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct BreakerRequest {
    /// Calls in the window before anything is concluded.
    pub min_calls: u32,
    /// How far back failures count, seconds.
    pub window_s: f64,
    /// The share of failures that opens it, above 0 and at most 1.
    pub open_at: f64,
    /// How long it is open at first, seconds; twice as long after each probe that fails.
    pub open_for_s: f64,
    /// How long it is open at most, seconds.
    pub max_open_s: f64,
    /// Calls that are let through when that is over, and must all succeed.
    pub probes: u32,
}

impl Default for BreakerRequest {
    fn default() -> Self {
        Self {
            min_calls: 20,
            window_s: 30.0,
            open_at: 0.5,
            open_for_s: 30.0,
            max_open_s: 300.0,
            probes: 1,
        }
    }
}

/// Why a policy cannot be meant.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum PolicyError {
    /// A word is none of those that there are.
    #[error("`{field}` has {name:?}, which is unknown; did you mean {nearest:?}?")]
    Unknown {
        /// Where.
        field: &'static str,
        /// The word.
        name: String,
        /// The known one that is most like it.
        nearest: &'static str,
    },
    /// It names what would come to the same again.
    #[error("`retry_on` has {0:?}, which is never retried")]
    Never(&'static str),
    /// A number is too small or too large.
    #[error("`{field}` is {value}; it may be {least} to {most}")]
    Range {
        /// Where.
        field: &'static str,
        /// The number.
        value: f64,
        /// The smallest.
        least: f64,
        /// The largest.
        most: f64,
    },
}

/// The kinds of waiting.
pub(super) const BACKOFFS: [&str; 6] =
    ["fixed", "exponential", "celery", "full_jitter", "equal_jitter", "decorrelated"];

/// The shortest delay of the kinds that are named after their jitter, seconds.
const FLOOR_S: f64 = 0.1;

impl RetryRequest {
    /// Whether it can be meant.
    ///
    /// # Errors
    /// When it names what there is not, wants retried what never is, or has a number out of range.
    pub fn check(&self) -> Result<(), PolicyError> {
        for name in self.retry_on.iter().flatten() {
            let cause = Cause::named(name).ok_or_else(|| unknown_cause("retry_on", name))?;
            if !cause.is_retryable() {
                return Err(PolicyError::Never(cause.as_str()));
            }
        }
        for name in self.never_on.iter().flatten() {
            Cause::named(name).ok_or_else(|| unknown_cause("never_on", name))?;
        }
        if let Some(kind) = &self.backoff
            && !BACKOFFS.contains(&kind.as_str())
        {
            return Err(unknown("backoff", kind, BACKOFFS));
        }
        let budget = self.budget.unwrap_or_default();
        for (field, value, least, most) in [
            ("max_elapsed_s", self.max_elapsed_s, 1.0, LONGEST_S),
            ("base_s", self.base_s, 0.0, 3_600.0),
            ("factor", self.factor, 0.0, LONGEST_S),
            ("cap_s", self.cap_s, 0.0, LONGEST_S),
            ("floor_s", self.floor_s, 0.0, LONGEST_S),
            ("delay_s", self.delay_s, 0.0, LONGEST_S),
            ("ratio", budget.ratio, 0.0, 1_000.0),
            // Not zero: what is deferred has to have a turn.
            ("floor_per_s", budget.floor_per_s, 0.01, 1e6),
        ] {
            within(field, value, least, most)?;
        }
        Ok(())
    }

    fn causes(&self) -> Causes {
        let named = |names: &Vec<String>| {
            Causes::of(&names.iter().filter_map(|name| Cause::named(name)).collect::<Vec<_>>())
        };
        let wanted = match &self.retry_on {
            Some(names) => named(names),
            None if self.on_failure.unwrap_or(true) => Causes::USUAL,
            None => Causes::ASKED,
        };
        wanted.without(self.never_on.as_ref().map(named).unwrap_or_default())
    }

    fn backoff(&self) -> Backoff {
        let base = seconds(self.base_s.unwrap_or(1.0));
        let cap = seconds(self.cap_s.unwrap_or(600.0));
        let factor = self.factor.unwrap_or(2.0);
        let jitter = self.jitter.unwrap_or(Jitter::Full);
        let floor = |absent: f64| seconds(self.floor_s.unwrap_or(absent));
        let (plain, floor) = (floor(0.0), floor(FLOOR_S));
        match self.backoff.as_deref() {
            Some("exponential") => Backoff::Exponential { base, factor, cap, floor: plain, jitter },
            Some("full_jitter") => {
                Backoff::Exponential { base, factor, cap, floor, jitter: Jitter::Full }
            }
            Some("equal_jitter") => {
                Backoff::Exponential { base, factor, cap, floor, jitter: Jitter::Equal }
            }
            Some("decorrelated") => Backoff::Decorrelated { base, cap, floor },
            Some("celery") => Backoff::Exponential {
                base: seconds(self.factor.unwrap_or(1.0).max(1.0).trunc()),
                factor: 2.0,
                cap,
                floor: plain,
                jitter: if jitter == Jitter::None { Jitter::None } else { Jitter::Celery },
            },
            _ => {
                let delay = self.delay_s.map_or(CELERY_DELAY, seconds);
                Backoff::Fixed { delay: delay.max(plain) }
            }
        }
    }
}

impl RetryPolicy {
    /// The policy that a manifest asks for, `None` meaning that it says nothing.
    pub fn requested(request: Option<&RetryRequest>) -> Self {
        let Some(request) = request else { return Self::default() };
        let (budget, usual) = (request.budget.unwrap_or_default(), Budget::default());
        Self {
            max_retries: request.max.unwrap_or(Some(3)),
            max_elapsed: request.max_elapsed_s.map(seconds),
            causes: request.causes(),
            honors_guest: request.honor_retry_after.unwrap_or(true),
            backoff: request.backoff(),
            budget: Budget {
                ratio: budget.ratio.unwrap_or(usual.ratio),
                floor_per_s: budget.floor_per_s.unwrap_or(usual.floor_per_s),
            },
        }
    }
}

impl BreakerRequest {
    /// Whether it can be meant.
    ///
    /// # Errors
    /// When a number is out of range.
    pub fn check(&self) -> Result<(), PolicyError> {
        for (field, value, least, most) in [
            ("min_calls", f64::from(self.min_calls), 1.0, 1e6),
            ("window_s", self.window_s, 1.0, 3_600.0),
            ("open_at", self.open_at, 0.01, 1.0),
            ("open_for_s", self.open_for_s, 1.0, 3_600.0),
            ("max_open_s", self.max_open_s, 1.0, 86_400.0),
            ("probes", f64::from(self.probes), 1.0, 1_000.0),
        ] {
            within(field, Some(value), least, most)?;
        }
        Ok(())
    }
}

fn within(
    field: &'static str,
    value: Option<f64>,
    least: f64,
    most: f64,
) -> Result<(), PolicyError> {
    match value {
        Some(value) if !(least..=most).contains(&value) => {
            Err(PolicyError::Range { field, value, least, most })
        }
        _ => Ok(()),
    }
}

fn unknown_cause(field: &'static str, name: &str) -> PolicyError {
    unknown(field, name, Cause::ALL.iter().map(|cause| cause.as_str()))
}

fn unknown(
    field: &'static str,
    name: &str,
    known: impl IntoIterator<Item = &'static str>,
) -> PolicyError {
    // A name is a stranger's: no more of it is compared, or shown, than a known one could have.
    let name: String = name.chars().take(64).collect();
    let like = |known: &&str| strsim::damerau_levenshtein(known, &name);
    let nearest = known.into_iter().min_by_key(like).unwrap_or_default();
    PolicyError::Unknown { field, name, nearest }
}

/// Keeps "null" apart from "absent".
#[expect(clippy::option_option, reason = "the two are different wishes")]
fn present<'de, D>(deserializer: D) -> Result<Option<Option<u32>>, D::Error>
where
    D: serde::Deserializer<'de>,
{
    Option::deserialize(deserializer).map(Some)
}
