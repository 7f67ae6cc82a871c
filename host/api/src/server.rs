//! The two services, and the listeners that they are behind.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tracing::debug;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;

use crate::api::Api;
use crate::problem::{Code, Problem};

/// How long a client may take to send its headers.
const HEADER_TIME: Duration = Duration::from_secs(10);

/// Bytes of the headers of a request.
const HEADER_BYTES_MAX: usize = 64 << 10;

/// Connections of a listener at once.
const CONNECTIONS_MAX: usize = 1_024;

/// How long to wait when the system refuses a connection, as when it has no more descriptors.
const REFUSED_PAUSE: Duration = Duration::from_millis(50);

/// The page that the document of the API begins with.
#[derive(OpenApi)]
#[openapi(info(
    title = "Lovage",
    version = "1",
    description = "Modules, tasks, tenants and tokens. Problems are RFC 9457 with stable codes.",
    license(name = "Apache-2.0", identifier = "Apache-2.0")
))]
struct Document;

fn public_routes() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::with_openapi(Document::openapi())
        .merge(crate::modules::routes())
        .merge(crate::tasks::routes())
        .merge(crate::dlq::routes())
        .merge(crate::queues::routes())
        .merge(crate::events::routes())
        .merge(crate::health::routes())
}

fn admin_routes() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::new()
        .merge(crate::tenants::routes())
        .merge(crate::tokens::routes())
        .merge(crate::audit::routes())
        .merge(crate::workers::routes())
}

/// The document of both services in OpenAPI 3.1, as JSON.
///
/// # Errors
/// When it cannot be written, which no input can cause.
pub fn openapi() -> Result<String, serde_json::Error> {
    let mut document = public_routes().into_openapi();
    document.merge(admin_routes().into_openapi());
    document.to_pretty_json()
}

/// What tenants reach.
pub fn public(api: Arc<Api>) -> Router {
    finished(public_routes().split_for_parts().0, api)
}

/// What admins reach: everything that tenants do, and tenants, tokens, workers and the audit log.
pub fn admin(api: Arc<Api>) -> Router {
    let (public, _) = public_routes().split_for_parts();
    finished(public.merge(admin_routes().split_for_parts().0), api)
}

fn finished(router: Router<Arc<Api>>, api: Arc<Api>) -> Router {
    router
        .route("/v1/openapi.json", axum::routing::get(document))
        .fallback(async || Problem::not_found("address"))
        .method_not_allowed_fallback(async || {
            Problem::new(Code::MethodNotAllowed, "the address knows other methods")
        })
        .with_state(api)
}

async fn document(State(_): State<Arc<Api>>) -> impl IntoResponse {
    let text = openapi().map_err(|error| Problem::new(Code::Internal, error.to_string()));
    text.map(|text| ([(CONTENT_TYPE, "application/json")], text))
}

/// Answers on a listener, for as long as this is polled.
///
/// # Errors
/// Never by itself; when the listener is broken.
pub async fn serve(listener: TcpListener, service: Router) -> io::Result<()> {
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(permit) = Arc::clone(&room).acquire_owned().await else { return Ok(()) };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                debug!(%error, "A connection was not accepted");
                tokio::time::sleep(REFUSED_PAUSE).await;
                continue;
            }
        };
        let service = TowerToHyperService::new(service.clone());
        tokio::spawn(async move {
            let _permit = permit;
            let _ = stream.set_nodelay(true);
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEADER_TIME)
                .max_buf_size(HEADER_BYTES_MAX)
                .serve_connection(TokioIo::new(stream), service);
            if let Err(error) = connection.await {
                debug!(%error, "A connection ended early");
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "whoever changes the API says so by a variable")]
    fn the_document_is_the_golden_one() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("openapi.json");
        let now = super::openapi().unwrap() + "\n";
        if std::env::var_os("LOVAGE_WRITE_GOLDEN").is_some() {
            std::fs::write(&path, &now).unwrap();
        }
        let golden = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(now == golden, "LOVAGE_WRITE_GOLDEN=1 writes {} anew", path.display());
        assert!(now.contains("\"openapi\": \"3.1"));
    }
}
