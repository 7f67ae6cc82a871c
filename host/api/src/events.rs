//! What happens to calls, as it happens: into the history, and to whoever listens.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::Sse;
use axum::response::sse::{Event, KeepAlive};
use futures::Stream;
use lovage_core::{Scope, TaskRow};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, mpsc};
use tracing::warn;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api::Api;
use crate::auth::Caller;
use crate::problem::{Problem, ProblemBody};
use crate::tasks::TaskView;

pub(crate) fn routes() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::new().routes(routes!(listen))
}

/// Something became of a call.
#[derive(Debug, Clone)]
pub struct TaskEvent {
    /// What is known of it now.
    pub row: TaskRow,
}

/// Events that wait to be written; beyond them the history has gaps, and the worker goes on.
const WAITING_MAX: usize = 10_000;

/// Events that are written together.
const TOGETHER_MAX: usize = 1_000;

/// Where a worker tells what becomes of calls. It never blocks.
#[derive(Clone)]
pub struct Feed {
    rows: mpsc::Sender<TaskRow>,
}

impl Feed {
    /// A feed, and the future that writes the history and tells whoever listens; it ends when the
    /// last feed is dropped.
    pub fn new() -> (Self, impl FnOnce(Arc<Api>) -> futures::future::BoxFuture<'static, ()>) {
        let (rows, inbox) = mpsc::channel(WAITING_MAX);
        (Self { rows }, move |api| Box::pin(write(api, inbox)))
    }

    /// Something became of a call.
    pub fn tell(&self, row: TaskRow) {
        // When the writer is too far behind, this call is missing in the history, and nowhere else.
        let _ = self.rows.try_send(row);
    }
}

async fn write(api: Arc<Api>, mut inbox: mpsc::Receiver<TaskRow>) {
    let mut rows = Vec::with_capacity(TOGETHER_MAX);
    while inbox.recv_many(&mut rows, TOGETHER_MAX).await > 0 {
        let told: Vec<_> = if api.events.receiver_count() > 0 { rows.clone() } else { Vec::new() };
        if let Err(error) = api.ports.records.remember(std::mem::take(&mut rows)).await {
            warn!(error = &error as &dyn std::error::Error, "The history has a gap");
        }
        for row in told {
            // Nobody listens any more: that is as well.
            let _ = api.events.send(Arc::new(TaskEvent { row }));
        }
    }
}

/// How often a silent stream says that it is still there.
const STILL_THERE: Duration = Duration::from_secs(15);

/// Streams what becomes of the tenant's calls (server-sent events): `task` for each, `missed` with a
/// number when the reader was too slow.
#[utoipa::path(get, path = "/v1/events", tag = "events",
    responses((status = 200, content_type = "text/event-stream", body = TaskView),
        (status = "default", body = ProblemBody)))]
async fn listen(
    State(api): State<Arc<Api>>,
    caller: Caller,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Problem> {
    caller.needs(Scope::TasksRead)?;
    let events = api.events.subscribe();
    let stream = futures::stream::unfold((api, events, caller), next);
    Ok(Sse::new(stream).keep_alive(KeepAlive::new().interval(STILL_THERE)))
}

type Listening = (Arc<Api>, broadcast::Receiver<Arc<TaskEvent>>, Caller);

async fn next(
    (api, mut events, caller): Listening,
) -> Option<(Result<Event, Infallible>, Listening)> {
    let event = loop {
        match events.recv().await {
            Ok(event) if event.row.tenant == caller.tenant.id => {
                // A token that was revoked meanwhile hears nothing more.
                let token = api.ports.records.token(caller.id()).await.ok().flatten();
                token.filter(|token| token.is_good(api.ports.clock.now()))?;
                let view = TaskView::of(event.row.clone(), None);
                let data = serde_json::to_string(&view).unwrap_or_default();
                break Event::default().event("task").data(data);
            }
            Ok(_) => {}
            Err(RecvError::Lagged(missed)) => {
                break Event::default().event("missed").data(missed.to_string());
            }
            Err(RecvError::Closed) => return None,
        }
    };
    Some((Ok(event), (api, events, caller)))
}
