//! Waiting for a message without asking for one again and again.
//!
//! A blocking pop would wake a worker at once, but what it pops is recorded only in a second step;
//! a worker that dies in between loses it. Instead the server is asked to *track* the lists: reading
//! whether they exist makes it tell this connection when one of them next changes, whoever changes
//! it. Then one script takes and records.
//!
//! A server or a user that may not track is asked instead, at growing intervals.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use lovage_core::ports::PortError;
use lovage_redis::{Address, Cmd, Link, LinkOptions, Pipeline, Pushed, Value};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};
use tracing::info;

use super::idle::Idle;

/// How long nothing is asked while the server is trusted to speak up: a message that it failed to
/// tell of waits no longer.
const RECHECK: Duration = Duration::from_secs(1);

/// The shortest and the longest wait where the server tells nothing.
const POLL: (Duration, Duration) = (Duration::from_millis(2), Duration::from_millis(250));

/// Knows when there may be something to take.
#[derive(Debug)]
pub(super) struct Watch {
    link: Link,
    changed: Arc<Notify>,
    refused: AtomicBool,
    /// What need not be looked at.
    pub(super) idle: Arc<Idle>,
}

/// What is looked at.
#[derive(Debug, Clone, Copy)]
pub(super) enum Looked<'a> {
    /// Always the same.
    All(&'a Pipeline),
    /// Those of these lists that may have something, and the schedule of this name.
    Some(&'a [&'a str], &'a str),
}

/// One wait, in as many steps as it takes.
#[derive(Debug, Default, Clone)]
pub(super) struct Patience {
    /// What the schedule began with when something was last to be taken.
    scheduled: Vec<u8>,
    /// How often there seemed to be something and was not.
    strikes: u32,
}

impl Watch {
    pub(super) fn new(address: &Address, patience: Duration) -> Result<Self, PortError> {
        let changed = Arc::new(Notify::new());
        let told = Arc::clone(&changed);
        let idle = Arc::<Idle>::default();
        let known = Arc::clone(&idle);
        let mut track = Cmd::new();
        track.arg("CLIENT").arg("TRACKING").arg("ON");
        let mut options = LinkOptions::new("watch", patience);
        options.on_push = Some(Arc::new(move |pushed: &Pushed| {
            known.heard(pushed);
            told.notify_one();
        }));
        options.greeting = vec![track];
        let link = Link::new(address, options)?;
        Ok(Self { link, changed, refused: AtomicBool::new(false), idle })
    }

    /// Wakes whoever waits: what is to be looked at has changed.
    pub(super) fn wake(&self) {
        self.changed.notify_one();
    }

    /// Waits until there may be something in what is looked at, or in the schedule, at most until
    /// `end`. `false` when nothing was seen until then.
    pub(super) async fn wait(
        &self,
        looked: Looked<'_>,
        patience: &mut Patience,
        end: Instant,
    ) -> bool {
        while Instant::now() < end {
            if self.refused.load(Ordering::Relaxed) {
                patience.rest(end).await;
                return true;
            }
            match self.look(looked).await {
                Ok(seen) if patience.shows_something(&seen) => {
                    patience.rest_after_strike(end).await;
                    return true;
                }
                Ok(_) => {}
                Err(error) => {
                    if !error.is_transient() {
                        self.refused.store(true, Ordering::Relaxed);
                        info!(%error, "The server tells nothing of new messages; asking it instead");
                    }
                    patience.rest(end).await;
                    return true;
                }
            }
            let recheck = end.min(Instant::now() + RECHECK);
            if timeout_at(recheck, self.changed.notified()).await.is_ok() {
                return true;
            }
        }
        false
    }

    async fn look(&self, looked: Looked<'_>) -> Result<Vec<Value>, PortError> {
        match looked {
            Looked::All(look) => self.link.run_all("watching the queues", look).await,
            Looked::Some(lists, schedule) => self.idle.look(&self.link, lists, schedule).await,
        }
    }
}

impl Patience {
    /// What the schedule begins with now.
    pub(super) fn scheduled(&mut self, first: Vec<u8>) {
        self.scheduled = first;
    }

    fn shows_something(&self, seen: &[Value]) -> bool {
        let [Value::Int(lists), Value::Array(first)] = seen else { return true };
        let unchanged = match first.first() {
            Some(Value::BulkString(first)) => *first == self.scheduled,
            _ => self.scheduled.is_empty(),
        };
        *lists > 0 || !unchanged
    }

    /// Others may have been faster, and that is no reason to wait. But when it happens again and
    /// again (a key of a queue's name that is no list), it must not become a busy loop.
    async fn rest_after_strike(&mut self, end: Instant) {
        if self.strikes > 1 {
            self.rest(end).await;
        } else {
            self.strikes += 1;
        }
    }

    async fn rest(&mut self, end: Instant) {
        let (shortest, longest) = POLL;
        let pause = shortest.saturating_mul(1 << self.strikes.min(10)).min(longest);
        self.strikes = self.strikes.saturating_add(1);
        tokio::time::sleep_until(end.min(Instant::now() + pause)).await;
    }
}
