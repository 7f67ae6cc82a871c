//! Taking work, never more than there are free slots.

use std::sync::Arc;
use std::time::Duration;

use lovage_core::ports::Broker;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use crate::backoff::Backoff;
use crate::operations::Slots;
use crate::pipeline::Pipeline;

/// How long one look for work waits. It bounds how long a stop takes to be noticed while idle.
const WAIT: Duration = Duration::from_millis(500);

/// Deliveries that are taken in one round trip at most.
const BATCH_MAX: usize = 256;

/// Takes deliveries into free slots until it is told to stop.
///
/// What was taken is always handed on: `receive` is never dropped half-way, because a delivery that
/// nobody knows of would be renewed with all the others and never come again.
pub(crate) async fn consume(
    broker: &dyn Broker,
    pipeline: &Arc<Pipeline>,
    slots: &Arc<Slots>,
    jobs: &TaskTracker,
    stop: &CancellationToken,
) {
    let mut backoff = Backoff::new();
    while !stop.is_cancelled() {
        let free = tokio::select! {
            free = free_slots(slots) => free,
            () = stop.cancelled() => return,
        };
        match broker.receive(free.min(BATCH_MAX), WAIT).await {
            Ok(deliveries) => {
                if !backoff.is_first() {
                    info!("The broker answers again");
                    backoff.reset();
                }
                for delivery in deliveries {
                    // There may be fewer slots than a moment ago; what was taken is handed on still.
                    let slot = Slots::take(slots);
                    let pipeline = Arc::clone(pipeline);
                    jobs.spawn(async move {
                        pipeline.live(delivery).await;
                        drop(slot);
                    });
                }
            }
            Err(error) => {
                if backoff.is_first() {
                    warn!(
                        error = &error as &dyn std::error::Error,
                        "Cannot take work; trying again"
                    );
                }
                tokio::select! {
                    () = tokio::time::sleep(backoff.next()) => {}
                    () = stop.cancelled() => return,
                }
            }
        }
    }
}

/// Waits for a free slot; returns how many there are once whatever is ready to finish has finished.
async fn free_slots(slots: &Slots) -> usize {
    tokio::task::yield_now().await;
    slots.until_free().await
}
