//! What a worker did and does, as Prometheus reads it.
//!
//! Two families: the series of danihodovic's celery-exporter, under its names and with its labels, so
//! that dashboards and alerts made for it go on working; and ours, `lovage_…`. Counting costs a task a
//! few atomic additions, and nothing where no address is configured.
//!
//! Label values come from modules, from the configuration and from closed sets, never from messages:
//! a task that no module implements counts as `unknown`, an exception beyond the first hundred as
//! `other`. So nobody can fill the memory of whoever reads them.

mod labels;
mod serve;
mod tasks;
mod waits;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use lovage_core::ports::{Broker, Clock, KeptMessages};
use lovage_core::{
    DropReason, JsonPart, ParkReason, Publication, Settlement, TaskName, Usage, Verdict,
};
use lovage_worker::{Event, Modules, Observer, Operations};
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;
use tokio::sync::Mutex;

use labels::Labels;
pub(crate) use serve::serve;
use tasks::Tasks;
use waits::Waits;

/// What metrics are read from besides events.
pub(crate) struct MetricsPorts {
    pub(crate) broker: Arc<dyn Broker>,
    pub(crate) kept: Arc<dyn KeptMessages>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) operations: Arc<Operations>,
    pub(crate) modules: Arc<Modules>,
    /// The executor processes that live now.
    pub(crate) processes: Box<dyn Fn() -> Vec<u32> + Send + Sync>,
    /// The worker's node name.
    pub(crate) hostname: String,
}

/// All series of one worker.
pub(crate) struct Metrics {
    ports: MetricsPorts,
    registry: Registry,
    tasks: Tasks,
    waits: Waits,
    known: Family<Labels, Counter>,
    lease_lost: Counter,
    schedule_lag: Histogram,
    sampled: Sampled,
    /// One scrape at a time: each asks the broker.
    scraping: Mutex<()>,
}

/// What is asked for when somebody reads.
#[derive(Default)]
struct Sampled {
    up: Family<Labels, Gauge>,
    active: Family<Labels, Gauge>,
    in_flight: Family<Labels, Gauge>,
    length: Family<Labels, Gauge>,
    consumers: Family<Labels, Gauge>,
    workers: Family<Labels, Gauge>,
    processes: Family<Labels, Gauge>,
    dead_letters: Family<Labels, Gauge<u64, AtomicU64>>,
}

impl Metrics {
    pub(crate) fn new(ports: MetricsPorts) -> Self {
        let mut registry = Registry::default();
        let tasks = Tasks::new(&mut registry, &ports.hostname);
        let known = Family::<Labels, Counter>::default();
        registry.register(
            "lovage_idempotency",
            "Calls that came again, by what they were",
            known.clone(),
        );
        let lease_lost = Counter::default();
        registry.register(
            "lovage_lease_lost",
            "Calls whose right was lost while they ran",
            lease_lost.clone(),
        );
        let schedule_lag = Histogram::new(exponential_buckets(0.001, 4.0, 10));
        registry.register(
            "lovage_schedule_lag_seconds",
            "From a call's time to its coming",
            schedule_lag.clone(),
        );
        let sampled = Sampled::default();
        sampled.register(&mut registry);
        let build = Family::<Labels, Gauge>::default();
        build.get_or_create(&Labels::of([("version", env!("CARGO_PKG_VERSION"))])).set(1);
        registry.register("lovage_build_info", "The worker's version", build);
        let scraping = Mutex::default();
        let waits = Waits::default();
        Self { ports, registry, tasks, waits, known, lease_lost, schedule_lag, sampled, scraping }
    }

    /// Everything as text.
    pub(crate) async fn text(&self) -> String {
        let _one = self.scraping.lock().await;
        self.sample().await;
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = encode(&mut text, &self.registry);
        text
    }

    /// Whether the broker answers.
    pub(crate) async fn is_ready(&self) -> bool {
        !self.ports.operations.is_stopping() && self.ports.broker.waiting().await.is_ok()
    }

    /// A server that does not answer leaves its figures as they were.
    async fn sample(&self) {
        let Sampled { up, active, in_flight, length, consumers, workers, processes, dead_letters } =
            &self.sampled;
        let host = Labels::of([("hostname", tasks::host(&self.ports.hostname))]);
        up.get_or_create(&host).set(i64::from(!self.ports.operations.is_stopping()));
        let running = gauge(self.ports.operations.roster.active_count());
        active.get_or_create(&host).set(running);
        in_flight.get_or_create(&Labels::of([("tenant", "default")])).set(running);
        for (queue, waiting) in self.ports.broker.waiting().await.unwrap_or_default() {
            let queue = Labels::of([("queue_name", queue.as_str())]);
            length.get_or_create(&queue).set(i64::try_from(waiting).unwrap_or(i64::MAX));
            consumers.get_or_create(&queue).set(1);
            workers.get_or_create(&queue).set(1);
            processes.get_or_create(&queue).set(gauge((self.ports.processes)().len()));
        }
        if let Ok(count) = self.ports.kept.count().await {
            dead_letters.get_or_create(&Labels::of([("tenant", "default")])).set(count);
        }
    }

    fn settled(&self, verdict: &Verdict, usage: &Usage) {
        let invocation = &verdict.invocation;
        self.waits.end(invocation.delivery.receipt, self.ports.clock.now());
        let name = verdict.task.as_ref().map_or(labels::UNKNOWN, |task| task.name.as_str());
        let series = self.tasks.series(name, invocation.queue());
        series.settled(verdict, usage);
        match &verdict.settlement {
            Settlement::Bury(failure) => self.tasks.failed(name, invocation.queue(), failure),
            Settlement::Park(ParkReason::UnknownTask) => {
                self.tasks.failed_as(name, invocation.queue(), "NotRegistered");
            }
            Settlement::Park(ParkReason::Mismatch) => self.count_known("mismatch"),
            Settlement::Drop(
                DropReason::Expired | DropReason::Revoked | DropReason::Terminated,
            ) => {}
            Settlement::Forget => {
                self.lease_lost.inc();
            }
            _ => {}
        }
    }

    /// Counts a message that this worker sends, by its task and where it goes.
    fn sent(&self, publication: &Publication) {
        let headers = JsonPart::parse(&publication.parts.headers);
        let task = headers.ok().and_then(|headers| headers.member("task")?.as_text());
        let task = TaskName::from(task.as_deref().unwrap_or_default());
        let is_known = self.ports.modules.knows(&task);
        let name = if is_known { task.as_str() } else { labels::UNKNOWN };
        self.tasks.series(name, &publication.routing_key.as_str().into()).sent();
    }

    fn count_known(&self, result: &'static str) {
        self.known.get_or_create(&Labels::of([("result", result)])).inc();
    }
}

impl Observer for Metrics {
    fn observe(&self, event: &Event<'_>) {
        match event {
            Event::Received { invocation } => {
                let task = &invocation.task;
                let name =
                    if self.ports.modules.knows(task) { task.as_str() } else { labels::UNKNOWN };
                self.tasks.series(name, invocation.queue()).received();
                self.waits.begin(invocation.delivery.receipt, self.ports.clock.now());
                if let Some(eta) = invocation.eta {
                    let now = self.ports.clock.now();
                    if eta <= now {
                        self.schedule_lag.observe(now.until(eta).as_secs_f64());
                    }
                }
            }
            Event::Started { job } => {
                let invocation = &job.invocation;
                let waited = self.waits.end(invocation.delivery.receipt, self.ports.clock.now());
                let series = self.tasks.series(invocation.task.as_str(), invocation.queue());
                series.started(waited);
            }
            Event::Sent { publications } => {
                publications.iter().for_each(|publication| self.sent(publication));
            }
            Event::Settled { verdict, usage } => self.settled(verdict, usage),
            Event::Known { .. } => self.count_known("known"),
            Event::Quarantined { .. } => self.count_known("unreadable"),
        }
    }
}

impl Sampled {
    fn register(&self, registry: &mut Registry) {
        for (name, help, family) in [
            ("celery_worker_up", "Whether the worker takes work", &self.up),
            ("celery_worker_tasks_active", "Calls that run", &self.active),
            ("lovage_tasks_in_flight", "Calls that run, by tenant", &self.in_flight),
            ("celery_queue_length", "Messages that wait", &self.length),
            (
                "celery_active_consumer_count",
                "This worker, for each of its queues",
                &self.consumers,
            ),
            ("celery_active_worker_count", "This worker, for each of its queues", &self.workers),
            ("celery_active_process_count", "Executors, for each queue", &self.processes),
        ] {
            registry.register(name, help, family.clone());
        }
        registry.register(
            "lovage_dlq_messages",
            "Messages that were taken out of their queues and kept",
            self.dead_letters.clone(),
        );
    }
}

fn gauge(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
