//! Serving the metrics, on an address of their own.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context as _;
use async_trait::async_trait;
use lovage_api::Watched;
use tokio::net::TcpListener;

use super::Metrics;

/// Serves `/metrics`, `/healthz` and `/readyz` until it is dropped.
///
/// # Errors
/// When the address cannot be had.
pub(crate) async fn serve(address: SocketAddr, metrics: Arc<Metrics>) -> anyhow::Result<()> {
    let listener = TcpListener::bind(address).await;
    let listener = listener.with_context(|| format!("metrics.listen: cannot have {address}"))?;
    lovage_api::serve_watched(listener, metrics).await.context("cannot serve metrics")
}

#[async_trait]
impl Watched for Metrics {
    async fn metrics(&self) -> String {
        self.text().await
    }

    async fn is_ready(&self) -> bool {
        self.is_ready().await
    }
}
