//! Slots that follow the load, as Celery's autoscaler has them.

use std::time::Duration;

use tokio::time::Instant;
use tracing::info;

use super::Control;

/// Between two looks at the load.
const LOOK: Duration = Duration::from_secs(1);

/// How long slots must have been idle before they go, as in Celery.
const KEEP: Duration = Duration::from_secs(30);

impl Control {
    /// Keeps the number of slots between the least and the most: more as soon as all are in use, half
    /// of the idle ones less when there were idle ones for half a minute. Returns at once where that
    /// is not asked for.
    pub async fn follow_load(&self) {
        if self.parts.facts.autoscale.is_none() {
            return;
        }
        let slots = &self.parts.operations.slots;
        let mut busy = Instant::now();
        loop {
            tokio::time::sleep(LOOK).await;
            let Some((least, most)) = *self.autoscale() else { return };
            let (size, free) = (slots.size(), slots.free());
            let wanted = if free == 0 {
                busy = Instant::now();
                size.saturating_add(size.div_ceil(2)).clamp(least, most)
            } else if busy.elapsed() > KEEP {
                size.saturating_sub(free.div_ceil(2)).clamp(least, most)
            } else {
                size
            };
            if wanted != size {
                info!(slots = slots.resize(wanted), "Calls in work at once follow the load");
            }
        }
    }
}
