//! Whether the host is there, and whether it can do anything. No token is needed, and nothing told.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api::Api;

pub(crate) fn routes() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::new().routes(routes!(healthz)).routes(routes!(readyz))
}

/// Answers as long as the process does.
#[utoipa::path(get, path = "/healthz", tag = "health", responses((status = 200, body = str)))]
async fn healthz() -> &'static str {
    "ok\n"
}

/// Answers whether the stores can be reached.
#[utoipa::path(get, path = "/readyz", tag = "health",
    responses((status = 200, body = str), (status = 503, body = str)))]
async fn readyz(State(api): State<Arc<Api>>) -> (StatusCode, &'static str) {
    let ready =
        api.ports.records.has_tokens().await.is_ok() && api.ports.store.revisions().await.is_ok();
    if ready {
        (StatusCode::OK, "ready\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not ready\n")
    }
}
