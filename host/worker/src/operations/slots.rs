//! How many calls may be in work at once, and how that is changed.

use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// The slots of a worker. A call has one from when it is taken until it is settled.
#[derive(Debug)]
pub struct Slots {
    state: Mutex<State>,
    freed: Notify,
    most: usize,
}

#[derive(Debug)]
struct State {
    size: usize,
    /// May be more than `size` for a while, when there are to be fewer.
    used: usize,
    /// Calls that lent their slot and want it back; they go before new ones.
    returning: usize,
}

/// A slot that is in use; dropping it frees it.
#[derive(Debug)]
pub(crate) struct Slot(Arc<Slots>);

impl Slots {
    /// This many, of which there may ever be `most`.
    pub fn new(size: usize, most: usize) -> Self {
        let (size, most) = (size.max(1), most.max(size).max(1));
        let state = State { size, used: 0, returning: 0 };
        Self { state: Mutex::new(state), freed: Notify::new(), most }
    }

    /// How many there are.
    pub fn size(&self) -> usize {
        self.state().size
    }

    /// How many there may be at most.
    pub fn most(&self) -> usize {
        self.most
    }

    /// How many are free for new calls.
    pub fn free(&self) -> usize {
        self.state().free()
    }

    /// Changes how many there are, to at least one and at most [`most`](Self::most); returns that.
    /// Slots that are in use go when they are free.
    pub fn resize(&self, size: usize) -> usize {
        let size = size.clamp(1, self.most);
        self.state().size = size;
        self.freed.notify_waiters();
        size
    }

    /// Waits until there is a free slot for a new call; returns how many there are.
    pub(crate) async fn until_free(&self) -> usize {
        self.until_more_than(0).await
    }

    /// Waits until more slots than these are free for new calls; returns how many there are.
    pub(crate) async fn until_more_than(&self, free: usize) -> usize {
        self.until(|state| Some(state.free()).filter(|now| *now > free)).await
    }

    /// Takes a slot for a call that is there, whether one is free or not: it was asked for when one
    /// was.
    pub(crate) fn take(slots: &Arc<Self>) -> Slot {
        slots.state().used += 1;
        Slot(Arc::clone(slots))
    }

    /// Lets others have the caller's slot while it waits for something else.
    pub(crate) async fn lend<T>(&self, wait: impl Future<Output = T>) -> T {
        self.release();
        // A call that is dropped meanwhile drops its slot, too, and must have it then.
        let back = Lent(self);
        let waited = wait.await;
        self.state().returning += 1;
        let counted = Returning(self);
        self.until(|state| (state.used < state.size).then_some(())).await;
        drop((counted, back));
        waited
    }

    /// Waits until `ready` says something of the state.
    async fn until<T>(&self, ready: impl Fn(&State) -> Option<T>) -> T {
        loop {
            let mut freed = pin!(self.freed.notified());
            freed.as_mut().enable();
            if let Some(value) = ready(&self.state()) {
                return value;
            }
            freed.await;
        }
    }

    fn release(&self) {
        let mut state = self.state();
        state.used = state.used.saturating_sub(1);
        drop(state);
        self.freed.notify_waiters();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn free(&self) -> usize {
        self.size.saturating_sub(self.used).saturating_sub(self.returning)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.release();
    }
}

/// A slot that is lent; dropping this takes it back.
struct Lent<'a>(&'a Slots);

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        self.0.state().used += 1;
    }
}

/// A call that wants its slot back.
struct Returning<'a>(&'a Slots);

impl Drop for Returning<'_> {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.returning = state.returning.saturating_sub(1);
        drop(state);
        self.0.freed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::Slots;

    #[test]
    fn slots_in_use_go_when_they_are_free() {
        let slots = Arc::new(Slots::new(3, 5));
        let (one, two) = (Slots::take(&slots), Slots::take(&slots));
        assert_eq!(slots.resize(1), 1);
        assert_eq!(slots.free(), 0);
        drop(one);
        assert_eq!(slots.free(), 0);
        drop(two);
        assert_eq!(slots.free(), 1);
        assert_eq!(slots.resize(99), 5);
        assert_eq!((slots.free(), slots.size()), (5, 5));
        assert_eq!(slots.resize(0), 1);
    }

    #[tokio::test]
    async fn a_slot_that_is_lent_is_taken_back_before_a_new_call_has_one() {
        let slots = Arc::new(Slots::new(1, 1));
        let own = Slots::take(&slots);
        let lent = slots.lend(async {
            assert_eq!(slots.until_free().await, 1);
            Slots::take(&slots)
        });
        let (other, ()) = tokio::join!(
            async {
                let mut lent = std::pin::pin!(lent);
                let waiting = futures::future::poll_immediate(&mut lent).await;
                assert!(waiting.is_none(), "its slot is in use");
                assert_eq!(slots.free(), 0);
                slots.release(); // the other one has ended
                lent.await
            },
            async {}
        );
        assert_eq!(slots.free(), 0);
        std::mem::forget(other); // it was released above
        drop(own);
        assert_eq!(slots.free(), 1);
    }
}
