//! Calls: send one, wait for it, look, list, cancel, run again.

mod send;
mod views;

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use lovage_celery::is_result_of;
use lovage_core::{
    End, KeptFilter, LedgerKey, Scope, State as LedgerState, TaskCursor, TaskFilter, TaskId,
    TaskName, TaskRow,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::time::Instant;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api::Api;
use crate::auth::Caller;
use crate::body::{Body, Json, Path, Query};
use crate::problem::{Code, Problem, ProblemBody};
use crate::time;
pub(crate) use views::TaskView;

pub(crate) fn routes() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::new()
        .routes(routes!(list, send::send))
        .routes(routes!(show))
        .routes(routes!(cancel))
        .routes(routes!(retry))
        .routes(routes!(schema))
}

/// The longest that a request waits for a result.
const WAIT_MAX: Duration = Duration::from_mins(1);

/// How often a result is looked for that somebody waits for. Each event of the worker here looks at
/// once; this is for those that end elsewhere.
const LOOK: Duration = Duration::from_millis(100);

/// Rows of a page.
const PAGE_MAX: usize = 500;

/// States after which nothing comes.
pub(crate) const FINAL: [&str; 3] = ["SUCCESS", "FAILURE", "REVOKED"];

/// What is known of a tenant's call, its result with it.
async fn known(api: &Api, caller: &Caller, id: &TaskId) -> Result<TaskView, Problem> {
    let row = api.ports.records.task(&caller.tenant.id, id).await?;
    let row = row.ok_or_else(|| Problem::not_found("task"))?;
    with_result(api, row).await
}

async fn with_result(api: &Api, row: TaskRow) -> Result<TaskView, Problem> {
    let document = api.ports.results.load(&row.id).await?;
    let document = document.filter(|document| is_result_of(document, &row.tenant));
    Ok(TaskView::of(row, document.as_deref()))
}

/// Waits until a call is over, but no longer than so many seconds.
async fn wait(api: &Api, mut row: TaskRow, seconds: f64) -> Result<TaskView, Problem> {
    let time = Duration::try_from_secs_f64(seconds).unwrap_or_default().min(WAIT_MAX);
    let end = Instant::now() + time;
    let mut events = api.events.subscribe();
    loop {
        let view = with_result(api, row.clone()).await?;
        if view.is_over() && row.digest.is_none() {
            // The result is there before the history has heard of it.
            row = api.ports.records.task(&row.tenant, &row.id).await?.unwrap_or(row);
            return with_result(api, row).await;
        }
        if view.is_over() || Instant::now() >= end {
            return Ok(view);
        }
        let next = (Instant::now() + LOOK).min(end);
        let ended = async {
            loop {
                match events.recv().await {
                    Ok(event) if event.row.id == row.id => return,
                    Ok(_) => {}
                    Err(_) => return std::future::pending().await,
                }
            }
        };
        let _ = tokio::time::timeout_at(next, ended).await;
    }
}

#[derive(Debug, Deserialize, IntoParams)]
struct ShowQuery {
    /// Seconds to wait until the call is over, up to 60.
    wait: Option<f64>,
}

/// Shows a call and its result.
#[utoipa::path(get, path = "/v1/tasks/{task}", tag = "tasks",
    params(("task" = String, Path, description = "The call's id."), ShowQuery),
    responses((status = 200, body = TaskView), (status = "default", body = ProblemBody)))]
async fn show(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path(id): Path<String>,
    Query(query): Query<ShowQuery>,
) -> Result<Json<TaskView>, Problem> {
    caller.needs(Scope::TasksRead)?;
    let row = api.ports.records.task(&caller.tenant.id, &id.into()).await?;
    let row = row.ok_or_else(|| Problem::not_found("task"))?;
    wait(&api, row, query.wait.unwrap_or(0.0)).await.map(Json)
}

#[derive(Debug, Deserialize, IntoParams)]
struct ListQuery {
    /// In this state, such as `FAILURE`.
    state: Option<String>,
    /// Of this task.
    task: Option<String>,
    /// From this queue.
    queue: Option<String>,
    /// Whose error contains this.
    error: Option<String>,
    /// Sent at this moment (RFC 3339) or later.
    since: Option<String>,
    /// Where the page before ended: its `next`.
    cursor: Option<String>,
    /// Calls of a page; 50 by default, 500 at most.
    limit: Option<usize>,
}

/// Some calls, the newest first.
#[derive(Debug, Serialize, ToSchema)]
struct TaskList {
    tasks: Vec<TaskView>,
    /// The cursor of the next page, if there may be one: a page looks at a few thousand calls.
    next: Option<String>,
}

/// Lists the newest calls of the tenant, without their results.
#[utoipa::path(get, path = "/v1/tasks", tag = "tasks", params(ListQuery),
    responses((status = 200, body = TaskList), (status = "default", body = ProblemBody)))]
async fn list(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Query(query): Query<ListQuery>,
) -> Result<Json<TaskList>, Problem> {
    caller.needs(Scope::TasksRead)?;
    let malformed = |what: &str| Problem::new(Code::MalformedRequest, format!("{what} is no good"));
    let after = query.cursor.map(|text| text.parse().map(|place| TaskCursor { place }));
    let after = after.transpose().map_err(|_| malformed("the cursor"))?;
    let since = match &query.since {
        Some(text) => Some(time::parse(text).ok_or_else(|| malformed("since"))?),
        None => None,
    };
    let filter = TaskFilter {
        state: query.state,
        task: query.task.map(Into::into),
        queue: query.queue.map(Into::into),
        error: query.error,
        since,
    };
    let most = query.limit.unwrap_or(50).clamp(1, PAGE_MAX);
    let page = api.ports.records.tasks(&caller.tenant.id, &filter, after.as_ref(), most).await?;
    let tasks = page.rows.into_iter().map(|row| TaskView::of(row, None)).collect();
    Ok(Json(TaskList { tasks, next: page.next.map(|cursor| cursor.place.to_string()) }))
}

/// How a call is to be ended.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct CancelWish {
    /// Whether it is ended if it runs.
    #[serde(default)]
    terminate: bool,
}

/// Keeps a call from running, or ends it.
#[utoipa::path(post, path = "/v1/tasks/{task}/cancel", tag = "tasks",
    params(("task" = String, Path, description = "The call's id.")), request_body = CancelWish,
    responses((status = 202, body = TaskView), (status = "default", body = ProblemBody)))]
async fn cancel(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path(id): Path<String>,
    Body(wish): Body<CancelWish>,
) -> Result<(StatusCode, Json<TaskView>), Problem> {
    caller.needs(Scope::TasksSend)?;
    let id: TaskId = id.into();
    let view = known(&api, &caller, &id).await?;
    if view.is_over() {
        return Err(Problem::new(Code::TaskOver, "what is over cannot be cancelled"));
    }
    let Some(cancel) = &api.ports.cancel else {
        return Err(Problem::new(Code::NotHere, "nothing here ends calls"));
    };
    cancel.cancel(&id, wish.terminate).await?;
    api.ports.records.audit(caller.did("task.cancel", id.as_str(), api.ports.clock.now())).await?;
    Ok((StatusCode::ACCEPTED, Json(view)))
}

/// Runs a call again that failed for good or was parked; it keeps its id.
#[utoipa::path(post, path = "/v1/tasks/{task}/retry", tag = "tasks",
    params(("task" = String, Path, description = "The call's id.")),
    responses((status = 202, body = TaskView), (status = "default", body = ProblemBody)))]
async fn retry(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<(StatusCode, Json<TaskView>), Problem> {
    caller.needs(Scope::TasksSend)?;
    let id: TaskId = id.into();
    let view = known(&api, &caller, &id).await?;
    let filter = KeptFilter { task_id: Some(id.clone()), ..KeptFilter::default() };
    let (mut after, mut found) = (None, None);
    while found.is_none() {
        let page = api.ports.kept.list(&filter, after.as_ref(), 1).await?;
        let tenants = api.ports.tenants.now();
        found = page
            .entries
            .into_iter()
            .find(|entry| tenants.owner(&entry.kept.queue).id == caller.tenant.id);
        if !page.more {
            break;
        }
        after = page.last;
    }
    let found =
        found.ok_or_else(|| Problem::new(Code::NotKept, "it is not kept: nothing to run"))?;
    forget(&api, found.kept.ledger_key.into_iter().collect()).await?;
    api.ports.kept.replay(&[found.id]).await?;
    api.ports.records.audit(caller.did("task.retry", id.as_str(), api.ports.clock.now())).await?;
    Ok((StatusCode::ACCEPTED, Json(view)))
}

/// Frees the records of calls that failed or are parked, so that they can be run again; their steps
/// stay. A call that was done since, by another message with its key, is not done again.
pub(crate) async fn forget(api: &Api, keys: Vec<LedgerKey>) -> Result<(), Problem> {
    let Some(ledger) = &api.ports.ledger else { return Ok(()) };
    let mut over = Vec::new();
    for key in keys {
        let record = ledger.get(&key).await?;
        let failed = record.is_some_and(|record| {
            matches!(record.state, LedgerState::Over { end: End::Failed | End::Parked, .. })
        });
        if failed {
            over.push(key);
        }
    }
    if !over.is_empty() {
        ledger.purge(&over, false).await?;
    }
    Ok(())
}

/// What a producer in any language needs to know of a task.
#[derive(Debug, Serialize, ToSchema)]
struct TaskSchema {
    task: String,
    params: Vec<String>,
    doc: Option<String>,
    queue: Option<String>,
    /// JSON schema of the arguments, if the module has one.
    #[schema(value_type = Object)]
    input_schema: Option<Value>,
    /// JSON schema of the result, if the module has one.
    #[schema(value_type = Object)]
    output_schema: Option<Value>,
    /// The module version that says so.
    digest: String,
}

/// Shows the schema of a task.
#[utoipa::path(get, path = "/v1/tasks/{task}/schema", tag = "tasks",
    params(("task" = String, Path, description = "The task's name.")),
    responses((status = 200, body = TaskSchema), (status = "default", body = ProblemBody)))]
async fn schema(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path(task): Path<String>,
) -> Result<Json<TaskSchema>, Problem> {
    caller.needs(Scope::TasksRead)?;
    let task: TaskName = task.into();
    let resolved = api.ports.registry.resolve(&caller.tenant.id, &task, &"".into());
    let resolved = resolved.ok_or_else(|| Problem::not_found("task"))?;
    Ok(Json(TaskSchema {
        task: task.to_string(),
        params: resolved.task.params.clone(),
        doc: resolved.task.doc.clone(),
        queue: resolved.task.queue.clone(),
        input_schema: resolved.task.input_schema.clone(),
        output_schema: resolved.task.output_schema.clone(),
        digest: resolved.module.digest.to_string(),
    }))
}
