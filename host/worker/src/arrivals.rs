//! Queues of tenants that are new: they are taken from as soon as they are seen.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use lovage_core::ports::{Broker, PortError};
use lovage_core::{QueueName, QueueSource, TenantTable, Tenants};
use tracing::{info, warn};

use crate::operations::Sources;

/// Between two looks.
const ROUND: Duration = Duration::from_secs(1);

/// Queues that one worker joins by itself at most.
const QUEUES_MAX: usize = 10_000;

/// Joins every queue that a tenant other than the default one owns: at once those that the tenants
/// name in full and their usual ones, and those that fit their patterns when they are seen. Never
/// ends by itself.
pub(crate) async fn join_new_queues(
    broker: &dyn Broker,
    tenants: &TenantTable,
    sources: &Sources,
) -> Infallible {
    let (mut is_well, mut room) = (true, QUEUES_MAX);
    loop {
        let now = tenants.now();
        if !now.is_alone() {
            match look(broker, &now, sources, room).await {
                Ok(joined) => (is_well, room) = (true, room - joined),
                Err(error) => {
                    if std::mem::replace(&mut is_well, false) {
                        let error = &error as &dyn std::error::Error;
                        warn!(error, "Cannot look for new queues; trying again");
                    }
                }
            }
        }
        tokio::time::sleep(ROUND).await;
    }
}

/// One look; how many queues were joined.
async fn look(
    broker: &dyn Broker,
    tenants: &Arc<Tenants>,
    sources: &Sources,
    most: usize,
) -> Result<usize, PortError> {
    let taken = sources.now();
    let taken: BTreeSet<_> = taken.iter().map(|source| &source.queue).collect();
    let mut new: Vec<QueueName> = Vec::new();
    for tenant in tenants.all() {
        let exact = tenant.queues.iter().filter(|glob| glob.is_exact());
        new.extend(exact.map(|glob| QueueName::from(glob.as_str())));
        new.extend(tenants.usual_queue(&tenant));
    }
    new.extend(broker.queues().await?);
    new.retain(|queue| {
        let is_ours = !tenants.owner(queue).id.is_default() && !is_remote_control(queue);
        is_ours && !taken.contains(queue) && !sources.was_left(queue)
    });
    new.sort();
    new.dedup();
    new.truncate(most);
    if new.is_empty() {
        return Ok(0);
    }
    let joining = new.iter().cloned().map(QueueSource::named).collect();
    sources.join(broker, joining).await?;
    for queue in &new {
        let tenant = &tenants.owner(queue).id;
        info!(queue.name = %queue, tenant.id = %tenant, "Takes from a new queue");
    }
    Ok(new.len())
}

/// Whether a queue is one that Celery's workers and monitors talk over: it holds no calls.
fn is_remote_control(queue: &QueueName) -> bool {
    let name = queue.as_str();
    name.ends_with(".pidbox") || name.contains(".reply.") || name.starts_with("celeryev")
}
