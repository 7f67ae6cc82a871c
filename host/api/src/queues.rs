//! The tenant's queues.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use lovage_core::Scope;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api::Api;
use crate::auth::Caller;
use crate::body::Json;
use crate::problem::{Problem, ProblemBody};

pub(crate) fn routes() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::new().routes(routes!(list))
}

/// One of the tenant's queues.
#[derive(Debug, Serialize, ToSchema)]
struct QueueView {
    name: String,
    /// Whether the worker of this host takes from it.
    consumed: bool,
    /// Calls of the history that came from it.
    calls: u64,
}

/// The tenant's queues.
#[derive(Debug, Serialize, ToSchema)]
struct QueueList {
    /// What it owns, as configured; `*` stands for any text.
    owned: Vec<String>,
    queues: Vec<QueueView>,
}

/// Lists the tenant's queues: those that are consumed here, and those that calls came from.
#[utoipa::path(get, path = "/v1/queues", tag = "queues",
    responses((status = 200, body = QueueList), (status = "default", body = ProblemBody)))]
async fn list(State(api): State<Arc<Api>>, caller: Caller) -> Result<Json<QueueList>, Problem> {
    caller.needs(Scope::TasksRead)?;
    let tenants = api.ports.tenants.now();
    let mut queues: BTreeMap<String, QueueView> = BTreeMap::new();
    for (queue, calls) in api.ports.records.queues(&caller.tenant.id).await? {
        let name = queue.to_string();
        queues.insert(name.clone(), QueueView { name, consumed: false, calls });
    }
    for name in (api.ports.worker)().queues {
        if tenants.owner(&name.as_str().into()).id == caller.tenant.id {
            let view = QueueView { name: name.clone(), consumed: true, calls: 0 };
            queues.entry(name).or_insert(view).consumed = true;
        }
    }
    let owned = caller.tenant.queues.iter().map(ToString::to_string).collect();
    Ok(Json(QueueList { owned, queues: queues.into_values().collect() }))
}
