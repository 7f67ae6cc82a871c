//! What machines read of a worker: its metrics, and whether it lives and is ready. It is served on an
//! address of its own and says nothing of what is in calls, so it asks for no token; still it is for
//! a private network, because names of tasks and queues are told.

use std::sync::Arc;

use async_trait::async_trait;
use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::net::TcpListener;

/// Something that is watched.
#[async_trait]
pub trait Watched: Send + Sync + 'static {
    /// Its metrics, in OpenMetrics' text.
    async fn metrics(&self) -> String;

    /// Whether it can do its work now.
    async fn is_ready(&self) -> bool;
}

/// Serves `/metrics`, `/healthz` and `/readyz` until it is dropped.
///
/// # Errors
/// When the listener fails.
pub async fn serve_watched(
    listener: TcpListener,
    watched: Arc<impl Watched>,
) -> std::io::Result<()> {
    let router = Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .with_state(watched as Arc<dyn Watched>);
    axum::serve(listener, router).await
}

async fn metrics(State(watched): State<Arc<dyn Watched>>) -> impl IntoResponse {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], watched.metrics().await)
}

async fn readyz(State(watched): State<Arc<dyn Watched>>) -> impl IntoResponse {
    if watched.is_ready().await {
        (StatusCode::OK, "ready\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "the broker does not answer, or the worker stops\n")
    }
}
