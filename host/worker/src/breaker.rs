//! Calls that are held back while their task fails.
//!
//! ```text
//! closed ─too many failures→ open ─its time is over→ half open ─all probes succeed→ closed
//!                              ↑                         │
//!                              └── a probe fails, twice as long
//! ```
//!
//! A task has a breaker when its manifest asks for one, and each version of a module has its own: a
//! module that was put right is not held back for what the last one did. What is held back goes
//! back to its queue untouched: no attempt is spent, and nothing is recorded. Each worker keeps its
//! own breakers, in memory. A result counts whoever's it is: also that of a call which began before
//! the breaker opened.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use lovage_core::{BreakerRequest, Death, Digest, Job, Outcome, TaskName, TenantId, Timestamp};
use tracing::{info, warn};

/// The breakers of all tasks that asked for one.
#[derive(Debug, Default)]
pub(crate) struct Breakers {
    breakers: Mutex<HashMap<(TenantId, Digest, TaskName), State>>,
}

impl Breakers {
    /// How long a call has to wait before it may be tried; `None` when it may run now.
    pub(crate) fn wait(&self, job: &Job, now: Timestamp) -> Option<Duration> {
        let policy = job.task.breaker?;
        let mut breakers = self.breakers.lock().unwrap_or_else(PoisonError::into_inner);
        breakers.get_mut(&key(job))?.wait(&policy, now)
    }

    /// Counts how an attempt ended.
    pub(crate) fn record(&self, job: &Job, outcome: &Outcome, now: Timestamp) {
        let Some((policy, failed)) = job.task.breaker.zip(has_failed(outcome)) else { return };
        let mut breakers = self.breakers.lock().unwrap_or_else(PoisonError::into_inner);
        let state = breakers.entry(key(job)).or_insert_with(State::closed);
        let was_open = !matches!(state, State::Closed(_));
        state.record(failed, &policy, now);
        let (name, digest) = (&job.task.name, job.module.digest);
        match state {
            State::Open { open_for, .. } if !was_open || failed => {
                let open_ms = open_for.as_millis();
                warn!(task.name = %name, module.digest = %digest.short(), open_ms,
                    "A task fails too often: its calls wait");
            }
            State::Closed(_) if was_open => {
                info!(task.name = %name, module.digest = %digest.short(), "A task works again");
            }
            _ => {}
        }
    }
}

fn key(job: &Job) -> (TenantId, Digest, TaskName) {
    (job.tenant.id.clone(), job.module.digest, job.task.name.clone())
}

/// Whether an attempt speaks against its task; `None` when it says nothing of it: a call that the
/// task rejected is at fault itself, and what was revoked or never started shows nothing.
const fn has_failed(outcome: &Outcome) -> Option<bool> {
    match outcome {
        Outcome::Succeed(_) | Outcome::Ignore | Outcome::Replace(_) => Some(false),
        Outcome::Fail(_) | Outcome::Retry { .. } => Some(true),
        Outcome::Reject(_) | Outcome::Requeue(_) | Outcome::Ambiguous { .. } => None,
        Outcome::Killed {
            death: Death::Revoked | Death::LeaseLost | Death::NotStarted, ..
        } => None,
        Outcome::Killed { .. } => Some(true),
    }
}

/// One breaker.
#[derive(Debug)]
enum State {
    Closed(Window),
    Open { until: Timestamp, open_for: Duration },
    HalfOpen { let_through: u32, succeeded: u32, until: Timestamp, open_for: Duration },
}

impl State {
    fn closed() -> Self {
        Self::Closed(Window::default())
    }

    fn wait(&mut self, policy: &BreakerRequest, now: Timestamp) -> Option<Duration> {
        if let Self::Open { until, open_for } = *self {
            if now < until {
                return Some(until.until(now));
            }
            let until = now.after(open_for);
            *self = Self::HalfOpen { let_through: 0, succeeded: 0, until, open_for };
        }
        let Self::HalfOpen { let_through, until, open_for, .. } = self else { return None };
        if now >= *until {
            // A probe that is not heard of is given up: its worker's slot may have been lost.
            (*let_through, *until) = (0, now.after(*open_for));
        }
        if *let_through < policy.probes {
            *let_through += 1;
            return None;
        }
        Some(until.until(now).min((*open_for / 10).max(Duration::from_secs(1))))
    }

    fn record(&mut self, failed: bool, policy: &BreakerRequest, now: Timestamp) {
        let open = |open_for: Duration| Self::Open { until: now.after(open_for), open_for };
        let most = Duration::from_secs_f64(policy.max_open_s);
        match self {
            Self::Closed(window) => {
                let (calls, failures) = window.count(failed, policy, now);
                let share = f64::from(failures) / f64::from(calls.max(1));
                if calls >= policy.min_calls && share >= policy.open_at {
                    *self = open(Duration::from_secs_f64(policy.open_for_s).min(most));
                }
            }
            Self::Open { .. } => {}
            Self::HalfOpen { open_for, .. } if failed => *self = open((*open_for * 2).min(most)),
            Self::HalfOpen { succeeded, .. } => {
                *succeeded += 1;
                if *succeeded >= policy.probes {
                    *self = Self::closed();
                }
            }
        }
    }
}

/// Slots that a window is counted in: how finely it moves.
const SLOTS: usize = 10;

/// The calls of the last while, and how many of them failed.
#[derive(Debug, Default)]
struct Window {
    slots: [Slot; SLOTS],
}

#[derive(Debug, Default, Clone, Copy)]
struct Slot {
    number: u64,
    calls: u32,
    failures: u32,
}

impl Window {
    /// Counts a call, and says how many there were, and how many of them failed.
    fn count(&mut self, failed: bool, policy: &BreakerRequest, now: Timestamp) -> (u32, u32) {
        let length = Duration::from_secs_f64(policy.window_s) / 10;
        let micros = u64::try_from(now.as_micros()).unwrap_or(0);
        let number = micros / u64::try_from(length.as_micros()).unwrap_or(1).max(1);
        let place = usize::try_from(number % SLOTS as u64).unwrap_or(0);
        if let Some(slot) = self.slots.get_mut(place) {
            if slot.number != number {
                *slot = Slot { number, ..Slot::default() };
            }
            slot.calls = slot.calls.saturating_add(1);
            slot.failures = slot.failures.saturating_add(u32::from(failed));
        }
        let recent = |slot: &&Slot| slot.number.abs_diff(number) < SLOTS as u64;
        self.slots.iter().filter(recent).fold((0, 0), |(calls, failures), slot| {
            (slot.calls.saturating_add(calls), slot.failures.saturating_add(failures))
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use lovage_core::{
        BreakerRequest, Death, Digest, Failure, Job, Json, Module, Outcome, Timestamp,
    };

    use super::Breakers;
    use crate::samples;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros(seconds * 1_000_000)
    }

    fn guarded() -> Job {
        let mut job = samples::job(0);
        Arc::make_mut(&mut job.task).breaker = Some(BreakerRequest::default());
        job
    }

    fn failed() -> Outcome {
        Outcome::Fail(Failure::new("builtins", "ValueError", "no"))
    }

    fn succeeded() -> Outcome {
        Outcome::Succeed(Json::null())
    }

    /// A breaker that opened at second 100.
    fn opened(job: &Job) -> Breakers {
        let breakers = Breakers::default();
        for call in 0..20 {
            assert_eq!(breakers.wait(job, at(100)), None, "{call}");
            breakers.record(job, &if call % 2 == 0 { succeeded() } else { failed() }, at(100));
        }
        breakers
    }

    #[test]
    fn half_of_twenty_calls_failing_opens_it_and_fewer_do_not() {
        let job = guarded();
        assert_eq!(opened(&job).wait(&job, at(110)), Some(Duration::from_secs(20)));
        let breakers = Breakers::default();
        for call in 0..100 {
            breakers.record(&job, &if call % 9 < 5 { succeeded() } else { failed() }, at(100));
        }
        assert_eq!(breakers.wait(&job, at(100)), None);
        let breakers = Breakers::default();
        for seconds in 0..100 {
            breakers.record(&job, &failed(), at(seconds * 2));
        }
        assert_eq!(breakers.wait(&job, at(200)), None, "fifteen in thirty seconds are too few");
    }

    #[test]
    fn one_call_is_tried_when_its_time_is_over_and_a_success_closes_it() {
        let job = guarded();
        let breakers = opened(&job);
        assert_eq!(breakers.wait(&job, at(130)), None, "the probe");
        let others = breakers.wait(&job, at(130));
        assert_eq!(others, Some(Duration::from_secs(3)), "the others come back soon");
        breakers.record(&job, &succeeded(), at(131));
        assert_eq!(breakers.wait(&job, at(131)), None);
        breakers.record(&job, &failed(), at(131));
        assert_eq!(breakers.wait(&job, at(131)), None, "what was before is forgotten");
    }

    #[test]
    fn each_probe_that_fails_doubles_the_wait_up_to_the_longest() {
        let job = guarded();
        let breakers = opened(&job);
        let mut now = at(130);
        for seconds in [60, 120, 240, 300, 300] {
            assert_eq!(breakers.wait(&job, now), None);
            breakers.record(&job, &failed(), now);
            let open_for = Duration::from_secs(seconds);
            assert_eq!(breakers.wait(&job, now), Some(open_for));
            now = now.after(open_for);
        }
    }

    #[test]
    fn a_probe_that_is_not_heard_of_is_given_up() {
        let job = guarded();
        let breakers = opened(&job);
        assert_eq!(breakers.wait(&job, at(130)), None);
        assert_eq!(breakers.wait(&job, at(159)), Some(Duration::from_secs(1)));
        assert_eq!(breakers.wait(&job, at(160)), None, "another one is tried");
        assert!(breakers.wait(&job, at(160)).is_some());
    }

    #[test]
    fn rejections_and_what_never_ran_do_not_count_and_crashes_do() {
        let job = guarded();
        let killed = |death: Death| Outcome::Killed {
            death,
            failure: Failure::new("lovage.exceptions", "Any", ""),
        };
        let opens = |outcome: Outcome| {
            let breakers = Breakers::default();
            (0..50).for_each(|_| breakers.record(&job, &outcome, at(100)));
            breakers.wait(&job, at(100)).is_some()
        };
        assert!(opens(killed(Death::Trapped)) && opens(killed(Death::ExecutorLost)));
        assert!(!opens(Outcome::Reject(Failure::new("builtins", "ValueError", "no"))));
        for death in [Death::Revoked, Death::LeaseLost, Death::NotStarted] {
            assert!(!opens(killed(death)));
        }
    }

    #[test]
    fn another_version_of_the_module_and_a_task_without_one_are_not_held_back() {
        let job = guarded();
        let breakers = opened(&job);
        let mut later = job.clone();
        let digest = Digest::from_bytes([9; 32]);
        later.module = Arc::new(Module { digest, ..Module::clone(&job.module) });
        assert_eq!(breakers.wait(&later, at(101)), None);
        let plain = samples::job(0);
        (0..100).for_each(|_| breakers.record(&plain, &failed(), at(101)));
        assert_eq!(breakers.wait(&plain, at(101)), None);
    }
}
