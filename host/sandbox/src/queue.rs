//! Whose turn it is.
//!
//! Two queues, both first in, first out. *Ready* are attempts that something outside woke: they are
//! new, a reply has come, a timer has fired. *Spinning* are those that woke themselves, because a
//! slice of their fuel is used up. Who is ready goes first, so that a short job never waits for more
//! than the slice that is running when it comes.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Wake, Waker};

use lovage_core::Death;

/// The queues of one executor, and the waker of the loop that serves them.
#[derive(Debug, Default)]
pub(crate) struct Queue(Mutex<Turns>);

#[derive(Debug, Default)]
struct Turns {
    ready: VecDeque<u32>,
    spinning: VecDeque<u32>,
    server: Option<Waker>,
}

impl Queue {
    fn turns(&self) -> std::sync::MutexGuard<'_, Turns> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whom to wake when somebody becomes ready.
    pub(crate) fn serve_with(&self, server: &Waker) {
        let mut turns = self.turns();
        if !turns.server.as_ref().is_some_and(|known| known.will_wake(server)) {
            turns.server = Some(server.clone());
        }
    }

    /// The next that something outside woke.
    pub(crate) fn next_ready(&self) -> Option<u32> {
        self.turns().ready.pop_front()
    }

    /// The next whose slice is used up.
    pub(crate) fn next_spinning(&self) -> Option<u32> {
        self.turns().spinning.pop_front()
    }

    /// Whether nobody waits for a turn.
    pub(crate) fn is_empty(&self) -> bool {
        let turns = self.turns();
        turns.ready.is_empty() && turns.spinning.is_empty()
    }
}

/// A place for one attempt at a time. It is also the waker of the attempt in it: a late call for one
/// that has left wakes its successor for nothing, which does no harm.
#[derive(Debug)]
pub(crate) struct Slot {
    index: u32,
    queue: Arc<Queue>,
    queued: AtomicBool,
    polled: AtomicBool,
    host_calls: AtomicU32,
    death: Mutex<Option<Death>>,
}

impl Slot {
    pub(crate) fn new(index: u32, queue: Arc<Queue>) -> Arc<Self> {
        Arc::new(Self {
            index,
            queue,
            queued: AtomicBool::new(false),
            polled: AtomicBool::new(false),
            host_calls: AtomicU32::new(0),
            death: Mutex::new(None),
        })
    }

    /// Makes it fit for the next attempt, which is ready at once.
    pub(crate) fn begin(&self) {
        self.host_calls.store(0, Ordering::Relaxed);
        *self.death.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.call();
    }

    /// Takes its turn: wakes from now on count for the next one.
    pub(crate) fn poll<T>(&self, act: impl FnOnce() -> T) -> T {
        self.queued.store(false, Ordering::Relaxed);
        self.polled.store(true, Ordering::Relaxed);
        let result = act();
        self.polled.store(false, Ordering::Relaxed);
        result
    }

    /// Ends the attempt at its next turn, which is soon.
    pub(crate) fn kill(&self, death: Death) {
        *self.death.lock().unwrap_or_else(PoisonError::into_inner) = Some(death);
        self.call();
    }

    /// What the attempt is to die of.
    pub(crate) fn death(&self) -> Option<Death> {
        *self.death.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a host call and returns how many there were.
    pub(crate) fn count_host_call(&self) -> u32 {
        self.host_calls.fetch_add(1, Ordering::Relaxed).saturating_add(1)
    }

    /// How many host calls there were.
    pub(crate) fn host_calls(&self) -> u32 {
        self.host_calls.load(Ordering::Relaxed)
    }

    /// Asks for a turn.
    pub(crate) fn call(&self) {
        if self.queued.swap(true, Ordering::Relaxed) {
            return;
        }
        let mut turns = self.queue.turns();
        if self.polled.load(Ordering::Relaxed) {
            turns.spinning.push_back(self.index);
        } else {
            turns.ready.push_back(self.index);
        }
        // The server looks at the queues again after it polled somebody; otherwise it may sleep.
        if !self.polled.load(Ordering::Relaxed)
            && let Some(server) = &turns.server
        {
            server.wake_by_ref();
        }
    }
}

impl Wake for Slot {
    fn wake(self: Arc<Self>) {
        self.call();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.call();
    }
}
