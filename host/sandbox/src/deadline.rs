//! Watches an attempt's clocks from outside its future.
//!
//! A guest runs in slices of fuel, at the end of which it yields: so its future is polled again and
//! again, and between two polls is where wall-clock time, CPU time and cancellation are looked at.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use lovage_core::{Death, Limits};
use rustix::time::{ClockId, clock_gettime};

use crate::queue::Slot;

/// CPU time up to which the wall clock stands for the CPU clock, which costs a system call to read.
/// It takes in at most one slice and what the system took away during it.
const COARSE: Duration = Duration::from_millis(1);

/// The clocks of one attempt.
#[derive(Debug)]
pub(crate) struct Clockwork {
    slot: Arc<Slot>,
    limits: Limits,
    /// When it began.
    pub(crate) started: Instant,
    /// CPU time so far.
    pub(crate) cpu: Duration,
}

impl Clockwork {
    pub(crate) fn new(slot: Arc<Slot>, limits: Limits, started: Instant) -> Self {
        Self { slot, limits, started, cpu: Duration::ZERO }
    }

    /// Runs a future to its end, or to the death that a clock or a cancellation says.
    pub(crate) async fn watch<F: Future>(&mut self, future: F) -> Result<F::Output, Death> {
        let mut future = pin!(future);
        poll_fn(|context| {
            let before = Instant::now();
            if let Some(death) = self.over(before) {
                return Poll::Ready(Err(death));
            }
            let precise = self.cpu >= COARSE;
            let cpu_before = precise.then(cpu_time);
            let polled = future.as_mut().poll(context);
            let after = Instant::now();
            self.cpu += match cpu_before {
                Some(cpu_before) => cpu_time().saturating_sub(cpu_before),
                None => after.duration_since(before),
            };
            match (polled, self.over(after)) {
                (Poll::Ready(output), _) => Poll::Ready(Ok(output)),
                (Poll::Pending, Some(death)) => Poll::Ready(Err(death)),
                (Poll::Pending, None) => Poll::Pending,
            }
        })
        .await
    }

    fn over(&self, now: Instant) -> Option<Death> {
        if let Some(death) = self.slot.death() {
            return Some(death);
        }
        if now.duration_since(self.started) >= self.limits.time {
            return Some(Death::TimedOut);
        }
        if self.cpu >= self.limits.cpu_time {
            return Some(Death::OutOfCpuTime);
        }
        (self.slot.host_calls() > self.limits.host_calls).then_some(Death::TooManyHostCalls)
    }
}

/// The CPU time of this thread, on which every guest of this process runs.
fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or_default())
}
