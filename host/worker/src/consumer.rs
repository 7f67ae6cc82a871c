//! Taking work, never more than there are free slots.

use std::sync::Arc;
use std::time::Duration;

use futures::future::OptionFuture;
use lovage_core::ports::{Broker, PortError};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use crate::arrivals::join_new_queues;
use crate::backoff::Backoff;
use crate::operations::Slots;
use crate::pipeline::Pipeline;
use crate::quotas::keep_quotas;
use crate::shares::Plan;

/// How long one look for work waits. It bounds how long a stop takes to be noticed while idle.
const WAIT: Duration = Duration::from_millis(500);

/// Deliveries that are taken in one round trip at most.
pub(crate) const BATCH_MAX: usize = 256;

/// What taking work needs.
pub(crate) struct Consumer<'a> {
    pub(crate) broker: &'a dyn Broker,
    pub(crate) pipeline: Arc<Pipeline>,
    pub(crate) jobs: &'a TaskTracker,
    pub(crate) joins_tenants: bool,
}

impl Consumer<'_> {
    /// Takes deliveries into free slots until it is told to stop, of its tenants' new queues, too, if
    /// it is to join them.
    pub(crate) async fn consume(self, stop: &CancellationToken) {
        let Pipeline { tenants, operations, .. } = &*self.pipeline;
        let joining =
            self.joins_tenants.then(|| join_new_queues(self.broker, tenants, &operations.sources));
        let metering = keep_quotas(&*operations.meter, &self.pipeline.shares);
        tokio::select! {
            () = self.take_until(stop) => {}
            Some(never) = OptionFuture::from(joining) => match never {},
            never = metering => match never {},
        }
    }

    /// What was taken is always handed on: taking is never dropped half-way, because a delivery that
    /// nobody knows of would be renewed with all the others and never come again.
    async fn take_until(&self, stop: &CancellationToken) {
        let mut backoff = Backoff::new();
        let mut plan = Plan::default();
        while !stop.is_cancelled() {
            let free = tokio::select! {
                free = free_slots(self.slots()) => free,
                () = stop.cancelled() => return,
            };
            self.broker.resize(self.slots().size());
            let tenants = self.pipeline.tenants.now();
            let taken = if tenants.is_alone() {
                self.take_any(free.min(BATCH_MAX)).await
            } else {
                self.pipeline.shares.meet(&tenants, self.pipeline.operations.sources.now());
                self.take_fairly(free, &mut plan, stop).await
            };
            match taken {
                Ok(()) if backoff.is_first() => {}
                Ok(()) => {
                    info!("The broker answers again");
                    backoff.reset();
                }
                Err(error) => rest_after(&error, &mut backoff, stop).await,
            }
        }
    }

    /// One look for work from all queues, for the one tenant there is.
    async fn take_any(&self, most: usize) -> Result<(), PortError> {
        for delivery in self.broker.receive(most, WAIT).await? {
            // There may be fewer slots than a moment ago; what was taken is handed on still.
            let slot = Slots::take(self.slots());
            let pipeline = Arc::clone(&self.pipeline);
            // Boxed, because the runtime copies what it is given, first and last.
            self.jobs.spawn(Box::pin(async move {
                pipeline.live(delivery).await;
                drop(slot);
            }));
        }
        Ok(())
    }

    /// One look for work of those whose turn it is; rests when there is none, until somebody sends
    /// something who may be asked, or may be asked who sent something.
    async fn take_fairly(
        &self,
        free: usize,
        plan: &mut Plan,
        stop: &CancellationToken,
    ) -> Result<(), PortError> {
        let shares = &self.pipeline.shares;
        shares.plan(free, self.slots().size(), plan);
        let Some(demand) = plan.demand() else {
            tokio::select! {
                () = self.circumstances(free) => {}
                () = stop.cancelled() => {}
            }
            return Ok(());
        };
        let deliveries = self.broker.take(&demand).await?;
        let is_rest = shares.took(plan, &deliveries, free.saturating_sub(deliveries.len()));
        for delivery in deliveries {
            let slot = Slots::take(self.slots());
            let (pipeline, receipt) = (Arc::clone(&self.pipeline), delivery.receipt);
            self.jobs.spawn(Box::pin(async move {
                pipeline.live(delivery).await;
                drop(slot);
                pipeline.shares.ended(receipt);
            }));
        }
        if is_rest {
            return tokio::select! {
                watched = self.broker.watch(&demand) => watched,
                () = self.circumstances(free) => Ok(()),
                () = stop.cancelled() => Ok(()),
            };
        }
        Ok(())
    }

    /// Waits until a plan may come out otherwise than with so many free slots, and not for long.
    async fn circumstances(&self, free: usize) {
        tokio::select! {
            () = self.pipeline.shares.changed.notified() => {}
            () = self.pipeline.operations.sources.changed.notified() => {}
            _ = self.slots().until_more_than(free) => {}
            () = tokio::time::sleep(WAIT) => {}
        }
    }

    fn slots(&self) -> &Arc<Slots> {
        &self.pipeline.operations.slots
    }
}

async fn rest_after(error: &PortError, backoff: &mut Backoff, stop: &CancellationToken) {
    if backoff.is_first() {
        warn!(error = error as &dyn std::error::Error, "Cannot take work; trying again");
    }
    tokio::select! {
        () = tokio::time::sleep(backoff.next()) => {}
        () = stop.cancelled() => {}
    }
}

/// Waits for a free slot; returns how many there are once whatever is ready to finish has finished.
async fn free_slots(slots: &Slots) -> usize {
    tokio::task::yield_now().await;
    slots.until_free().await
}
