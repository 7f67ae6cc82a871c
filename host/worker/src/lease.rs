//! Whether what leaves now still leaves in our name.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Until when this worker may act for the calls that it holds: two thirds of a lease from the last
/// time that the lease was renewed. A worker that was paused for longer finds that out here, before
/// anything else has its turn.
#[derive(Debug, Default)]
pub(crate) struct LeaseWatch(Mutex<Option<Instant>>);

impl LeaseWatch {
    /// The lease was renewed, by a call that was made at this moment.
    pub(crate) fn renewed(&self, asked: Instant, lease: Duration) {
        let until = asked + lease * 2 / 3;
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(until);
    }

    /// Whether there is enough left of it for something to leave.
    pub(crate) fn lets_leave(&self, now: Instant) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_none_or(|until| now < until)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::LeaseWatch;

    #[test]
    fn nothing_leaves_when_two_thirds_of_a_lease_are_over() {
        let (watch, now) = (LeaseWatch::default(), Instant::now());
        assert!(watch.lets_leave(now), "where nobody keeps a lease, none runs out");
        watch.renewed(now, Duration::from_secs(30));
        assert!(watch.lets_leave(now + Duration::from_secs(19)));
        assert!(!watch.lets_leave(now + Duration::from_secs(20)));
    }
}
