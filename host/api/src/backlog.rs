//! How much waits in tenants' queues: whoever has too much there may not send more over the API.
//! What Celery's producers send goes to the broker, where nobody can refuse it.

use std::time::Duration;

use lovage_core::{QueueName, Tenant};
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::api::Api;
use crate::problem::{Code, Problem};

/// How old what is known may be: the broker is asked at most so often, however much is sent.
const FRESH: Duration = Duration::from_secs(1);

/// What waited when it was last looked at.
#[derive(Debug, Default)]
pub(crate) struct Backlog {
    seen: Mutex<Option<Seen>>,
}

#[derive(Debug)]
struct Seen {
    at: Instant,
    waiting: Vec<(QueueName, u64)>,
}

/// Refuses another call of a tenant that has as many waiting as it may have, in the queues that the
/// worker of this process takes from.
pub(crate) async fn check(api: &Api, tenant: &Tenant) -> Result<(), Problem> {
    let most = tenant.quotas.queued;
    if most == u64::MAX {
        return Ok(());
    }
    let mut seen = api.backlog.seen.lock().await;
    if seen.as_ref().is_none_or(|seen| seen.at.elapsed() > FRESH) {
        *seen = Some(Seen { at: Instant::now(), waiting: api.ports.broker.waiting().await? });
    }
    let tenants = api.ports.tenants.now();
    let all = seen.iter().flat_map(|seen| &seen.waiting);
    let own = all.filter(|(queue, _)| tenants.owner(queue).id == tenant.id);
    let waiting: u64 = own.map(|(_, count)| count).sum();
    if waiting < most {
        return Ok(());
    }
    Err(Problem::new(Code::QuotaExceeded, format!("{waiting} calls wait; {most} may")).after(1))
}
