//! Celery's events: what monitors and the HTTP API are told of this worker and its tasks.
//!
//! Events are told while somebody wants them: monitors by `-E` or a command, others by
//! [subscribing](Events::subscribe). When nobody does, a task costs one comparison. Building an event
//! is part of the main path; sending it is not, and never waits: what the broker does not take in
//! time is dropped and counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use lovage_celery::{EventStamp, Heart, TaskEvent, event_batch, event_parts, worker_event};
use lovage_core::ports::{Clock, Fanout};
use lovage_core::{DropReason, Failure, Notice, Recipients, Settlement, Usage, Verdict};
use tokio::sync::{Mutex, broadcast, mpsc};
use tokio::time::{Instant, MissedTickBehavior};
use tracing::{debug, warn};

use crate::backoff::Backoff;
use crate::event::{Event, Observer};
use crate::operations::Operations;

/// Events that wait to be sent at most; later ones are dropped.
const WAITING_MAX: usize = 10_000;

/// Events in one message at most, as in Celery.
const BATCH_MAX: usize = 24;

/// Events that a subscriber may be behind before it loses some.
const SUBSCRIBER_MAX: usize = 1_000;

/// Between two heartbeats.
const HEARTBEAT: Duration = Duration::from_secs(2);

/// What a heartbeat that somebody asked for says of the next one, as in Celery.
const ASKED_FREQ: f64 = 5.0;

/// Who a worker says that it is.
#[derive(Debug, Clone)]
pub struct Identity {
    /// Its node name.
    pub hostname: String,
    /// Hours by which its local time is west of UTC.
    pub utcoffset: i32,
    /// Its process.
    pub pid: u32,
}

/// The tick of the clock that workers and monitors keep together (Lamport's).
#[derive(Debug, Default)]
pub struct Ticks(AtomicU64);

impl Ticks {
    /// The next tick, for something that is about to be said.
    pub fn next(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// The tick now.
    pub fn now(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Somebody else is at this tick.
    pub fn heard(&self, theirs: u64) {
        // What anybody claims must not bring the clock to its end.
        if theirs < u64::MAX / 2 {
            self.0.fetch_max(theirs, Ordering::Relaxed);
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// An event of a task on its way.
#[derive(Debug, Clone)]
pub struct TaskNews {
    /// Its type, such as `task-started`.
    pub kind: &'static str,
    /// The event as Celery's JSON.
    pub text: Arc<str>,
}

/// The events of one worker.
pub struct Events {
    identity: Identity,
    ticks: Ticks,
    clock: Arc<dyn Clock>,
    operations: Arc<Operations>,
    fanout: Option<Arc<dyn Fanout>>,
    wanted: AtomicBool,
    /// Whether they were wanted from the start: then nobody takes that back.
    pinned: bool,
    queue: mpsc::Sender<TaskNews>,
    waiting: Mutex<mpsc::Receiver<TaskNews>>,
    subscribers: broadcast::Sender<TaskNews>,
    /// Whether there may be subscribers, to be asked without a lock.
    subscribed: AtomicBool,
    dropped: AtomicU64,
}

impl Events {
    /// Events of this worker; `wanted` from the start on (`-E`) or not before a command asks for them.
    /// Without a fanout only subscribers hear of them.
    pub fn new(
        identity: Identity,
        operations: Arc<Operations>,
        clock: Arc<dyn Clock>,
        fanout: Option<Arc<dyn Fanout>>,
        wanted: bool,
    ) -> Self {
        let (queue, waiting) = mpsc::channel(WAITING_MAX);
        Self {
            identity,
            ticks: Ticks::default(),
            clock,
            operations,
            fanout,
            wanted: AtomicBool::new(wanted),
            pinned: wanted,
            queue,
            waiting: Mutex::new(waiting),
            subscribers: broadcast::channel(SUBSCRIBER_MAX).0,
            subscribed: AtomicBool::new(false),
            dropped: AtomicU64::new(0),
        }
    }

    /// Who this worker is.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The clock that events and answers are stamped with.
    pub fn ticks(&self) -> &Ticks {
        &self.ticks
    }

    /// The events of tasks from now on, whether monitors want them or not. Who falls behind loses some
    /// and is told so.
    pub fn subscribe(&self) -> broadcast::Receiver<TaskNews> {
        let receiver = self.subscribers.subscribe();
        self.subscribed.store(true, Ordering::Relaxed);
        receiver
    }

    /// Events that were dropped because the broker did not take them in time.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Tells monitors of tasks from now on, or does not; whether that is new. Celery's words for a
    /// worker that was started with events: it cannot be made to stop.
    pub(crate) fn want(&self, wanted: bool) -> bool {
        !self.pinned && self.wanted.swap(wanted, Ordering::Relaxed) != wanted
    }

    /// Sends what is told, and a heartbeat every two seconds if it is to, until it is dropped.
    pub async fn serve(&self, heartbeat: bool) {
        let Some(fanout) = &self.fanout else { return std::future::pending().await };
        self.tell_worker("worker-online", HEARTBEAT.as_secs_f64()).await;
        let mut beat = tokio::time::interval_at(Instant::now() + HEARTBEAT, HEARTBEAT);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut waiting = self.waiting.lock().await;
        let (mut batch, mut backoff) = (Vec::with_capacity(BATCH_MAX), Backoff::new());
        loop {
            tokio::select! {
                _ = waiting.recv_many(&mut batch, BATCH_MAX) => {
                    self.send_batch(&**fanout, &mut batch, &mut backoff).await;
                }
                _ = beat.tick(), if heartbeat => {
                    self.tell_worker("worker-heartbeat", HEARTBEAT.as_secs_f64()).await;
                }
            }
        }
    }

    /// Sends what is still to be sent, and that this worker ends.
    pub async fn farewell(&self) {
        let Some(fanout) = &self.fanout else { return };
        let mut waiting = self.waiting.lock().await;
        let (mut batch, mut backoff) = (Vec::new(), Backoff::new());
        while backoff.is_first()
            && let Ok(news) = waiting.try_recv()
        {
            batch.push(news);
            if batch.len() == BATCH_MAX || waiting.is_empty() {
                self.send_batch(&**fanout, &mut batch, &mut backoff).await;
            }
        }
        self.tell_worker("worker-offline", HEARTBEAT.as_secs_f64()).await;
    }

    /// One heartbeat, because somebody asked for it.
    pub(crate) async fn beat(&self) {
        self.tell_worker("worker-heartbeat", ASKED_FREQ).await;
    }

    async fn send_batch(
        &self,
        fanout: &dyn Fanout,
        batch: &mut Vec<TaskNews>,
        backoff: &mut Backoff,
    ) {
        let body = event_batch(batch.iter().map(|news| &*news.text));
        let notice = notice("task.multi".into(), &self.identity.hostname, body);
        match fanout.tell(&[notice]).await {
            Ok(()) => backoff.reset(),
            Err(error) => {
                let lost = batch.len() as u64;
                self.dropped.fetch_add(lost, Ordering::Relaxed);
                if backoff.is_first() {
                    let error = &error as &dyn std::error::Error;
                    warn!(error, "Cannot send events; they are dropped until it works again");
                }
                tokio::time::sleep(backoff.next()).await;
            }
        }
        batch.clear();
    }

    async fn tell_worker(&self, kind: &str, freq: f64) {
        let Some(fanout) = &self.fanout else { return };
        let roster = &self.operations.roster;
        let heart = Heart {
            freq,
            active: roster.active_count(),
            processed: roster.processed(),
            loadavg: loadavg(),
        };
        let body = worker_event(kind, &self.stamp(), &heart);
        let routing_key = kind.replace('-', ".");
        let sent = fanout.tell(&[notice(routing_key, &self.identity.hostname, body)]).await;
        if let Err(error) = sent {
            debug!(error = &error as &dyn std::error::Error, kind, "Cannot send an event");
        }
    }

    fn stamp(&self) -> EventStamp<'_> {
        let Identity { hostname, utcoffset, pid } = &self.identity;
        let (clock, at) = (self.ticks.next(), self.clock.now());
        EventStamp { hostname, utcoffset: *utcoffset, pid: *pid, clock, at }
    }

    fn tell(&self, event: TaskEvent<'_>) {
        let news = TaskNews { kind: event.kind(), text: event.text(&self.stamp()).into() };
        if self.subscribed.load(Ordering::Relaxed) && self.subscribers.send(news.clone()).is_err() {
            self.subscribed.store(false, Ordering::Relaxed); // the last one has gone
        }
        let wanted = self.fanout.is_some() && self.wanted.load(Ordering::Relaxed);
        if wanted && self.queue.try_send(news).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn tell_settled(&self, verdict: &Verdict, usage: &Usage) {
        let id = &verdict.invocation.id;
        match &verdict.settlement {
            Settlement::Succeed { result, .. } => {
                self.tell(TaskEvent::Succeeded { id, result, runtime: usage.wall });
            }
            Settlement::Bury(failure) => {
                self.tell(TaskEvent::Failed { id, failure });
                if failure.exception_type == "Reject" {
                    self.tell(TaskEvent::Rejected(id));
                }
            }
            Settlement::Retry { failure, .. } => self.tell(TaskEvent::Retried { id, failure }),
            Settlement::Drop(reason) => {
                let signum = self.operations.revoked.take_signal(id);
                let signum = (*reason == DropReason::Terminated).then_some(signum.unwrap_or(15));
                let expired = *reason == DropReason::Expired;
                self.tell(TaskEvent::Revoked { id, signum, expired });
            }
            Settlement::Park(reason) => match reason {
                lovage_core::ParkReason::UnknownTask => {
                    let name = verdict.invocation.task.as_str();
                    let failure = Failure::new("celery.exceptions", "NotRegistered", name);
                    self.tell(TaskEvent::Failed { id, failure: &failure });
                }
                reason => self.tell(TaskEvent::Parked { id, reason: &format!("{reason:?}") }),
            },
            Settlement::Forget => self.tell(TaskEvent::Cancelled(id)),
            // Celery tells nobody of these.
            Settlement::Ignore { .. } | Settlement::Release(_) | Settlement::Replace { .. } => {}
        }
    }
}

impl Observer for Events {
    fn observe(&self, event: &Event<'_>) {
        let wanted = self.wanted.load(Ordering::Relaxed) && self.fanout.is_some();
        if !wanted && !self.subscribed.load(Ordering::Relaxed) {
            return;
        }
        match event {
            Event::Received { invocation } => self.tell(TaskEvent::Received(invocation)),
            Event::Started { job } => self.tell(TaskEvent::Started(&job.invocation.id)),
            Event::Settled { verdict, usage } => self.tell_settled(verdict, usage),
            Event::Known { .. } | Event::Quarantined { .. } | Event::Sent { .. } => {}
        }
    }
}

fn notice(routing_key: String, hostname: &str, body: String) -> Notice {
    Notice { to: Recipients::Listeners { routing_key }, parts: event_parts(hostname, body) }
}

/// The machine's load over 1, 5 and 15 minutes, with two digits.
#[expect(clippy::cast_precision_loss, reason = "loads are small")]
fn loadavg() -> [f64; 3] {
    const ONE: f64 = 65_536.0;
    rustix::system::sysinfo().loads.map(|load| (load as f64 / ONE * 100.0).round() / 100.0)
}
