//! How often tasks may begin.
//!
//! A limit of a task is this worker's own, as in Celery: a bucket of one. A *shared* limit has a name,
//! is the operator's, and holds over all workers of one store and all tasks that it is for.
//!
//! A call that must wait a short while waits here, without a slot, so that other tasks go on; it
//! counts as reserved. When as many wait as may, the others go back to the queue for about as long
//! as those need.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use lovage_core::ports::SharedRates;
use lovage_core::{Job, TaskName, Timestamp};
use tracing::warn;

use super::{Operations, Rate};

/// The rates that an operator sets.
#[derive(Debug, Clone, Default)]
pub struct RateSettings {
    /// How often each task may begin that says nothing itself (`task_default_rate_limit`).
    pub default: Option<Rate>,
    /// Limits that all workers share.
    pub shared: Vec<SharedRate>,
}

/// A limit that all workers of one store share.
#[derive(Debug, Clone)]
pub struct SharedRate {
    /// Its name.
    pub name: String,
    /// The limit.
    pub rate: Rate,
    /// The tasks it is for; `*` stands for any text.
    pub tasks: Vec<String>,
}

/// When a call may begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Now.
    Now,
    /// Not before this long; it is to go back to its queue.
    Later(Duration),
}

/// The limits of one worker.
pub(crate) struct Rates {
    settings: RateSettings,
    shared: Option<Arc<dyn SharedRates>>,
    changed: AtomicBool,
    buckets: Mutex<HashMap<TaskName, Bucket>>,
    waiting: AtomicUsize,
    waiting_max: usize,
}

/// What somebody said of a task's rate while the worker runs.
#[derive(Debug, Clone, Copy, Default)]
enum Set {
    #[default]
    Nothing,
    NoLimit,
    To(Rate),
}

#[derive(Debug, Default)]
struct Bucket {
    set: Set,
    /// What the task asked, and what that means.
    asked: Option<(String, Option<Rate>)>,
    /// When the next call may begin.
    next: Option<Timestamp>,
}

/// How long a call waits here at most. Longer ones go back, because a worker that dies with them
/// would hold them up for a lease.
const PATIENCE: Duration = Duration::from_mins(1);

/// How long a call rests at least that goes back.
const REST_MIN: Duration = Duration::from_secs(1);

impl Rates {
    pub(crate) fn new(
        settings: RateSettings,
        shared: Option<Arc<dyn SharedRates>>,
        waiting_max: usize,
    ) -> Self {
        Self {
            settings,
            shared,
            changed: AtomicBool::new(false),
            buckets: Mutex::default(),
            waiting: AtomicUsize::new(0),
            waiting_max: waiting_max.max(1),
        }
    }

    /// Whether any limit may hold for a job; most have none, and ask nothing further.
    pub(crate) fn concern(&self, job: &Job) -> bool {
        job.task.rate_limit.is_some()
            || self.settings.default.is_some()
            || !self.settings.shared.is_empty()
            || self.changed.load(Ordering::Relaxed)
    }

    pub(crate) fn set(&self, task: TaskName, rate: Option<Rate>) {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let bucket = buckets.entry(task).or_default();
        (bucket.set, bucket.next) = (rate.map_or(Set::NoLimit, Set::To), None);
        self.changed.store(true, Ordering::Relaxed);
    }

    pub(crate) fn of(&self, task: &TaskName, asked: Option<&str>) -> Option<Rate> {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        match buckets.get_mut(task) {
            Some(bucket) => bucket.rate(task, asked, self.settings.default),
            None => Bucket::default().rate(task, asked, self.settings.default),
        }
    }

    /// Takes the next place under the worker's own limit if it is at most `patience` away; how far
    /// it is.
    fn take_own(&self, job: &Job, now: Timestamp, patience: Duration) -> Duration {
        let (task, asked) = (&job.invocation.task, job.task.rate_limit.as_deref());
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if !buckets.contains_key(task) {
            buckets.insert(task.clone(), Bucket::default());
        }
        let Some(bucket) = buckets.get_mut(task) else { return Duration::ZERO };
        let Some(rate) = bucket.rate(task, asked, self.settings.default) else {
            return Duration::ZERO;
        };
        let next = bucket.next.map_or(now, |next| next.max(now));
        let wait = next.until(now);
        if wait <= patience {
            bucket.next = Some(next.after(rate.interval()));
        }
        wait
    }

    /// The same under each shared limit for the task, by the store.
    async fn take_shared(&self, job: &Job, patience: Duration) -> Duration {
        let Some(shared) = &self.shared else { return Duration::ZERO };
        let mut wait = Duration::ZERO;
        let task = job.invocation.task.as_str();
        let concerned =
            self.settings.shared.iter().filter(|it| it.tasks.iter().any(|one| fits(one, task)));
        for limit in concerned {
            match shared.take(&limit.name, limit.rate.interval(), patience).await {
                Ok(far) => wait = wait.max(far),
                Err(error) => {
                    let (error, name) = (&error as &dyn std::error::Error, &limit.name);
                    warn!(error, rate = name, "Cannot ask for a shared rate; the call waits");
                    wait = wait.max(patience + REST_MIN);
                }
            }
        }
        wait
    }
}

impl Operations {
    /// Waits until a job may begin by all its limits, without its slot, or says for how long it has
    /// to go back to its queue.
    pub(crate) async fn turn(&self, job: &Job, now: Timestamp) -> Turn {
        let rates = &self.rates;
        let full = rates.waiting.load(Ordering::Relaxed) >= rates.waiting_max;
        let patience = if full { Duration::ZERO } else { PATIENCE };
        let own = rates.take_own(job, now, patience);
        if own > patience {
            return Turn::Later(own.max(REST_MIN));
        }
        let wait = own.max(rates.take_shared(job, patience).await);
        if wait > patience {
            return Turn::Later(wait.max(REST_MIN));
        }
        if wait.is_zero() {
            return Turn::Now;
        }
        rates.waiting.fetch_add(1, Ordering::Relaxed);
        let waited = tokio::time::timeout(wait, self.stopping.cancelled());
        let stopped = self.slots.lend(waited).await.is_ok();
        rates.waiting.fetch_sub(1, Ordering::Relaxed);
        if stopped { Turn::Later(Duration::ZERO) } else { Turn::Now }
    }
}

impl Bucket {
    fn rate(
        &mut self,
        task: &TaskName,
        asked: Option<&str>,
        otherwise: Option<Rate>,
    ) -> Option<Rate> {
        match self.set {
            Set::Nothing => {}
            Set::NoLimit => return None,
            Set::To(rate) => return Some(rate),
        }
        let Some(asked) = asked else { return otherwise };
        if self.asked.as_ref().is_none_or(|(text, _)| text != asked) {
            let rate = Rate::parse(asked).unwrap_or_else(|error| {
                warn!(task.name = %task, %error, "A task asks for a rate that is none");
                otherwise
            });
            self.asked = Some((asked.to_owned(), rate));
        }
        self.asked.as_ref().and_then(|(_, rate)| *rate)
    }
}

/// Whether a text fits a pattern in which `*` stands for any text.
pub(crate) fn fits(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((start, rest)) => text.strip_prefix(start).is_some_and(|text| {
            let mut ends = text.char_indices().map(|(at, _)| at).chain([text.len()]);
            ends.any(|at| text.get(at..).is_some_and(|text| fits(rest, text)))
        }),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use lovage_core::{Job, TaskSpec, Timestamp};

    use super::super::{OperationSettings, Operations};
    use super::{Rate, RateSettings, Turn, fits};
    use crate::samples;

    const NOW: Timestamp = Timestamp::from_micros(1_000_000_000);

    fn operations(default: Option<&str>) -> Operations {
        let default = default.and_then(|text| Rate::parse(text).unwrap());
        let rates = RateSettings { default, shared: Vec::new() };
        Operations::new(OperationSettings {
            slots: 2,
            slots_max: 2,
            queues: Vec::new(),
            rates,
            shared_rates: None,
            meter: Arc::new(crate::LocalMeter::default()),
        })
    }

    fn job(rate: Option<&str>) -> Job {
        let task =
            TaskSpec { rate_limit: rate.map(Into::into), ..TaskSpec::named("demo.add".into()) };
        Job { task: Arc::new(task), ..samples::job(0) }
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_begins_at_once_and_the_next_after_the_interval_without_its_slot() {
        let operations = operations(None);
        let job = job(Some("6/m"));
        assert_eq!(operations.turn(&job, NOW).await, Turn::Now);
        let begun = tokio::time::Instant::now();
        let slot = crate::operations::Slots::take(&operations.slots);
        let (second, third) = tokio::join!(operations.turn(&job, NOW), async {
            tokio::task::yield_now().await;
            assert_eq!(operations.slots.free(), 2, "the slot is lent");
            let _slot = crate::operations::Slots::take(&operations.slots);
            operations.turn(&job, NOW.after(Duration::from_secs(1))).await
        });
        assert_eq!((second, third), (Turn::Now, Turn::Now));
        assert_eq!(begun.elapsed().as_secs(), 19, "10 s after the first, and 10 s after that");
        drop(slot);
    }

    #[tokio::test(start_paused = true)]
    async fn those_that_find_too_many_waiting_go_back_and_take_no_place() {
        let operations = operations(None);
        let job = job(Some("6/m"));
        operations.rates.waiting.store(8, std::sync::atomic::Ordering::Relaxed);
        assert_eq!(operations.turn(&job, NOW).await, Turn::Now);
        let ten = Duration::from_secs(10);
        assert_eq!(operations.turn(&job, NOW).await, Turn::Later(ten));
        assert_eq!(operations.turn(&job, NOW).await, Turn::Later(ten));
    }

    #[tokio::test(start_paused = true)]
    async fn a_worker_that_stops_gives_back_what_waits() {
        let operations = operations(None);
        let job = job(Some("6/m"));
        operations.turn(&job, NOW).await;
        let stop = async { operations.stopping.cancel() };
        let (turn, ()) = tokio::join!(operations.turn(&job, NOW), stop);
        assert_eq!(turn, Turn::Later(Duration::ZERO));
    }

    #[test]
    fn what_was_set_stands_over_what_was_asked_and_that_over_the_default() {
        let operations = operations(Some("1/s"));
        let (task, rate) = ("demo.add".into(), |text| Rate::parse(text).unwrap());
        assert_eq!(operations.rate(&task, None), rate("1/s"));
        assert_eq!(operations.rate(&task, Some("2/s")), rate("2/s"));
        assert_eq!(operations.rate(&task, Some("nonsense")), rate("1/s"));
        operations.set_rate(task.clone(), rate("3/s"));
        assert_eq!(operations.rate(&task, Some("2/s")), rate("3/s"));
        operations.set_rate(task.clone(), None);
        assert_eq!(operations.rate(&task, Some("2/s")), None);
        assert!(operations.rates.concern(&job(None)));
    }

    #[test]
    fn a_star_stands_for_any_text() {
        for (pattern, text) in [("a.*", "a.b"), ("*", ""), ("a*c*e", "abcde"), ("é*", "éa")] {
            assert!(fits(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in [("a.*", "b.a"), ("a", "ab"), ("a*c", "acd")] {
            assert!(!fits(pattern, text), "{pattern} {text}");
        }
    }
}
