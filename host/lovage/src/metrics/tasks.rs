//! The series of tasks, by name and queue.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use lovage_core::{Failure, QueueName, Settlement, Usage, Verdict};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use super::labels::Labels;

/// Tasks and queues that are told apart, and exceptions of all of them together.
const SERIES_MAX: usize = 2_000;
const EXCEPTIONS_MAX: usize = 100;

/// What stands for everything beyond that.
const OTHER: &str = "other";

/// How attempts end, in the labels' words.
const OUTCOMES: [&str; 8] =
    ["succeeded", "failed", "retried", "revoked", "parked", "other", "ignored", "replaced"];

type Counters = Family<Labels, Counter>;

/// Series by task and queue.
type Known = HashMap<(Box<str>, QueueName), Arc<Series>>;

/// The families of all tasks.
pub(super) struct Tasks {
    host: String,
    events: [Counters; 7],
    failed: Counters,
    runtime: Family<Labels, Histogram>,
    queue_wait: Family<Labels, Histogram>,
    attempts: Counters,
    duration: Family<Labels, Histogram>,
    fuel: Counters,
    memory: Family<Labels, Gauge<u64, AtomicU64>>,
    series: Mutex<Known>,
    exceptions: Mutex<HashSet<String>>,
}

/// The series of one task on one queue: found once, then only added to.
pub(super) struct Series {
    sent: Counter,
    received: Counter,
    started: Counter,
    succeeded: Counter,
    rejected: Counter,
    revoked: Counter,
    retried: Counter,
    runtime: Histogram,
    queue_wait: Histogram,
    attempts: [Counter; 8],
    duration: Histogram,
    fuel: Counter,
    memory: Gauge<u64, AtomicU64>,
}

/// The exporter's names and their meanings.
const EVENTS: [(&str, &str); 7] = [
    ("celery_task_sent", "Calls that were sent from here"),
    ("celery_task_received", "Calls that came in"),
    ("celery_task_started", "Calls that began"),
    ("celery_task_succeeded", "Calls that succeeded"),
    ("celery_task_rejected", "Calls that refused their message"),
    ("celery_task_revoked", "Calls that nobody wanted any more"),
    ("celery_task_retried", "Calls that were run again"),
];

impl Tasks {
    pub(super) fn new(registry: &mut Registry, hostname: &str) -> Self {
        let seconds = || Histogram::new(exponential_buckets(0.001, 2.5, 14));
        let events = EVENTS.map(|(name, help)| {
            let family = Counters::default();
            registry.register(name, help, family.clone());
            family
        });
        let this = Self {
            host: host(hostname).into(),
            events,
            failed: Counters::default(),
            runtime: Family::new_with_constructor(seconds),
            queue_wait: Family::new_with_constructor(seconds),
            attempts: Counters::default(),
            duration: Family::new_with_constructor(seconds),
            fuel: Counters::default(),
            memory: Family::default(),
            series: Mutex::default(),
            exceptions: Mutex::default(),
        };
        registry.register(
            "celery_task_failed",
            "Calls that failed, by exception",
            this.failed.clone(),
        );
        registry.register("celery_task_runtime", "Seconds that calls ran", this.runtime.clone());
        registry.register(
            "celery_task_queue_wait_time",
            "Seconds from coming in to beginning",
            this.queue_wait.clone(),
        );
        registry.register(
            "lovage_task_attempts",
            "Attempts, by how they ended",
            this.attempts.clone(),
        );
        registry.register(
            "lovage_task_duration_seconds",
            "Time of an attempt",
            this.duration.clone(),
        );
        registry.register("lovage_task_fuel", "Units of fuel that were burnt", this.fuel.clone());
        registry.register(
            "lovage_task_memory_peak_bytes",
            "The most memory that an attempt had",
            this.memory.clone(),
        );
        this
    }

    /// The series of a task on a queue, all of them there from its first event on.
    pub(super) fn series(&self, name: &str, queue: &QueueName) -> Arc<Series> {
        let mut all = self.series.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(series) = all.get(&(Box::from(name), queue.clone())) {
            return Arc::clone(series);
        }
        let name = if all.len() < SERIES_MAX { name } else { OTHER };
        let queue = if all.len() < SERIES_MAX { queue.clone() } else { OTHER.into() };
        let series = Arc::new(self.made(name, &queue));
        all.insert((name.into(), queue), Arc::clone(&series));
        series
    }

    /// Counts a failure by its exception's class.
    pub(super) fn failed(&self, name: &str, queue: &QueueName, failure: &Failure) {
        let class = failure.exception_type.rsplit('.').next().unwrap_or_default();
        self.failed_as(name, queue, class);
    }

    pub(super) fn failed_as(&self, name: &str, queue: &QueueName, class: &str) {
        let mut known = self.exceptions.lock().unwrap_or_else(PoisonError::into_inner);
        let is_name =
            class.len() <= 100 && class.chars().all(|it| it == '_' || it.is_alphanumeric());
        let class = if known.contains(class) || is_name && known.len() < EXCEPTIONS_MAX {
            known.insert(class.to_owned());
            class
        } else {
            OTHER
        };
        self.failed.get_or_create(&self.failed_labels(name, queue, class)).inc();
    }

    fn failed_labels(&self, name: &str, queue: &QueueName, exception: &str) -> Labels {
        Labels::of([
            ("name", name),
            ("hostname", &self.host),
            ("queue_name", queue.as_str()),
            ("exception", exception),
        ])
    }

    fn made(&self, name: &str, queue: &QueueName) -> Series {
        let labels =
            Labels::of([("name", name), ("hostname", &self.host), ("queue_name", queue.as_str())]);
        let [sent, received, started, succeeded, rejected, revoked, retried] =
            self.events.each_ref().map(|family| family.get_or_create_owned(&labels));
        drop(self.failed.get_or_create(&self.failed_labels(name, queue, "")));
        let task = Labels::of([("task", name)]);
        let attempts = OUTCOMES.map(|outcome| {
            let labels = Labels::of([("tenant", "default"), ("task", name), ("outcome", outcome)]);
            self.attempts.get_or_create_owned(&labels)
        });
        Series {
            sent,
            received,
            started,
            succeeded,
            rejected,
            revoked,
            retried,
            runtime: self.runtime.get_or_create_owned(&labels),
            queue_wait: self.queue_wait.get_or_create_owned(&labels),
            attempts,
            duration: self.duration.get_or_create_owned(&task),
            fuel: self.fuel.get_or_create_owned(&task),
            memory: self.memory.get_or_create_owned(&task),
        }
    }
}

impl Series {
    pub(super) fn received(&self) {
        self.received.inc();
    }

    pub(super) fn sent(&self) {
        self.sent.inc();
    }

    /// It begins, after it waited so long.
    pub(super) fn started(&self, waited: Option<Duration>) {
        self.started.inc();
        if let Some(waited) = waited {
            self.queue_wait.observe(waited.as_secs_f64());
        }
    }

    pub(super) fn settled(&self, verdict: &Verdict, usage: &Usage) {
        let outcome = match &verdict.settlement {
            Settlement::Succeed { .. } => {
                self.succeeded.inc();
                self.runtime.observe(usage.wall.as_secs_f64());
                0
            }
            Settlement::Bury(failure) => {
                if failure.exception_type == "Reject" {
                    self.rejected.inc();
                }
                1
            }
            Settlement::Retry { .. } => {
                self.retried.inc();
                2
            }
            Settlement::Drop(_) => {
                self.revoked.inc();
                3
            }
            Settlement::Park(_) => 4,
            Settlement::Release(_) | Settlement::Forget => 5,
            Settlement::Ignore { .. } => 6,
            Settlement::Replace { .. } => 7,
        };
        if usage.wall.is_zero() {
            return; // it was not run
        }
        if let Some(attempts) = self.attempts.get(outcome) {
            attempts.inc();
        }
        self.duration.observe(usage.wall.as_secs_f64());
        self.fuel.inc_by(usage.fuel);
        if usage.memory_bytes > self.memory.get() {
            self.memory.set(usage.memory_bytes);
        }
    }
}

/// The exporter's host: what stands behind the `@` of a node's name.
pub(super) fn host(hostname: &str) -> &str {
    hostname.split_once('@').map_or(hostname, |(_, host)| host)
}
