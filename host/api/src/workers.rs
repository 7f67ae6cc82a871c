//! The worker of this process, for admins.

use std::sync::Arc;

use axum::extract::State;
use lovage_core::Scope;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api::{Api, WorkerState};
use crate::auth::Caller;
use crate::body::Json;
use crate::problem::{Problem, ProblemBody};

pub(crate) fn routes() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::new().routes(routes!(list))
}

/// The workers that this host knows.
#[derive(Debug, Serialize, ToSchema)]
struct WorkerList {
    workers: Vec<WorkerState>,
}

/// Shows the worker of this host.
#[utoipa::path(get, path = "/v1/workers", tag = "workers",
    responses((status = 200, body = WorkerList), (status = "default", body = ProblemBody)))]
async fn list(State(api): State<Arc<Api>>, caller: Caller) -> Result<Json<WorkerList>, Problem> {
    caller.needs(Scope::Admin)?;
    Ok(Json(WorkerList { workers: vec![(api.ports.worker)()] }))
}
