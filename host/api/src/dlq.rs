//! What was kept: dead letters, parked calls, and what nobody can read, of the tenant's own queues.

use std::sync::Arc;

use axum::extract::State;
use lovage_core::{KeptEntry, KeptFilter, KeptId, KeptKind, LedgerKey, Scope, Tenants};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api::Api;
use crate::auth::Caller;
use crate::body::{Body, Json, Path, Query};
use crate::problem::{Code, Problem, ProblemBody};
use crate::tasks::forget;
use crate::time;

pub(crate) fn routes() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(show))
        .routes(routes!(replay))
        .routes(routes!(purge))
}

/// Messages of a page.
const PAGE_MAX: usize = 500;

/// Messages that one request replays or purges at most: whoever wants more asks again.
const CHANGED_MAX: usize = 10_000;

/// Messages that are looked at together.
const BATCH: usize = 500;

/// Which kept messages are meant; what is said must all fit.
#[derive(Debug, Clone, Default, Deserialize, IntoParams, ToSchema)]
#[serde(default)]
struct Wanted {
    /// `dead`, `parked` or `quarantined`.
    kind: Option<String>,
    /// A reason such as `unknown-task`.
    reason: Option<String>,
    /// A task's name; `*` stands for any text.
    task: Option<String>,
    /// A call's id.
    task_id: Option<String>,
    /// One of the tenant's queues.
    queue: Option<String>,
    /// Kept at this moment (RFC 3339) or later.
    since: Option<String>,
    /// Kept before this moment.
    until: Option<String>,
}

#[derive(Debug, Deserialize, IntoParams)]
struct PageQuery {
    /// Where the page before ended: its `next`.
    cursor: Option<String>,
    /// Messages of a page; 50 by default, 500 at most.
    limit: Option<usize>,
}

/// A kept message.
#[derive(Debug, Serialize, ToSchema)]
struct KeptView {
    id: String,
    kind: String,
    reason: String,
    detail: String,
    task_id: Option<String>,
    task: Option<String>,
    queue: String,
    digest: Option<String>,
    traceback: Option<String>,
    retries: u32,
    deliveries: u32,
    kept_at: String,
    message_bytes: u64,
}

/// Some kept messages, the oldest first.
#[derive(Debug, Serialize, ToSchema)]
struct KeptList {
    messages: Vec<KeptView>,
    /// The cursor of the next page, if there may be one.
    next: Option<String>,
}

/// What is to be replayed or purged.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Bulk {
    /// These messages; all that fit the filter, without.
    #[serde(default)]
    ids: Option<Vec<String>>,
    #[serde(default)]
    filter: Wanted,
    /// Whether they are only counted.
    #[serde(default)]
    dry_run: bool,
}

/// How many messages that concerned.
#[derive(Debug, Serialize, ToSchema)]
struct Counted {
    count: usize,
    /// Whether there are more that fit: then ask again.
    more: bool,
}

impl Wanted {
    fn filter(&self) -> Result<KeptFilter, Problem> {
        let malformed =
            |what: &str| Problem::new(Code::MalformedRequest, format!("{what} is no good"));
        let kind = match self.kind.as_deref() {
            None => None,
            Some("dead") => Some(KeptKind::Dead),
            Some("parked") => Some(KeptKind::Parked),
            Some("quarantined") => Some(KeptKind::Quarantined),
            Some(_) => return Err(malformed("kind")),
        };
        let moment = |text: &Option<String>, what| match text {
            None => Ok(None),
            Some(text) => time::parse(text).map(Some).ok_or_else(|| malformed(what)),
        };
        Ok(KeptFilter {
            kind,
            reason: self.reason.clone(),
            task: self.task.clone(),
            task_id: self.task_id.as_deref().map(Into::into),
            queue: self.queue.as_deref().map(Into::into),
            since: moment(&self.since, "since")?,
            until: moment(&self.until, "until")?,
        })
    }
}

impl From<KeptEntry> for KeptView {
    fn from(entry: KeptEntry) -> Self {
        let kept = entry.kept;
        Self {
            id: entry.id.0,
            kind: kept.kind.as_str().into(),
            reason: kept.reason,
            detail: kept.detail,
            task_id: kept.task_id.map(|id| id.to_string()),
            task: kept.task.map(|task| task.to_string()),
            queue: kept.queue.to_string(),
            digest: kept.digest.map(|digest| digest.to_string()),
            traceback: kept.traceback,
            retries: kept.retries,
            deliveries: kept.deliveries,
            kept_at: time::text(kept.at),
            message_bytes: entry.message_bytes,
        }
    }
}

fn is_own(tenants: &Tenants, caller: &Caller, entry: &KeptEntry) -> bool {
    tenants.owner(&entry.kept.queue).id == caller.tenant.id
}

/// Lists what was kept.
#[utoipa::path(get, path = "/v1/dlq", tag = "dlq", params(Wanted, PageQuery),
    responses((status = 200, body = KeptList), (status = "default", body = ProblemBody)))]
async fn list(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Query(wanted): Query<Wanted>,
    Query(query): Query<PageQuery>,
) -> Result<Json<KeptList>, Problem> {
    caller.needs(Scope::DlqRead)?;
    let (filter, tenants) = (wanted.filter()?, api.ports.tenants.now());
    let most = query.limit.unwrap_or(50).clamp(1, PAGE_MAX);
    let mut after = query.cursor.map(KeptId);
    let mut messages: Vec<KeptView> = Vec::new();
    loop {
        let page = api.ports.kept.list(&filter, after.as_ref(), most - messages.len()).await?;
        after = page.last.or(after);
        let own = page.entries.into_iter().filter(|entry| is_own(&tenants, &caller, entry));
        messages.extend(own.map(KeptView::from));
        if !page.more || messages.len() >= most {
            let next = after.filter(|_| page.more).map(|id| id.0);
            return Ok(Json(KeptList { messages, next }));
        }
    }
}

/// Shows a kept message.
#[utoipa::path(get, path = "/v1/dlq/{message}", tag = "dlq", params(("message" = String, Path)),
    responses((status = 200, body = KeptView), (status = "default", body = ProblemBody)))]
async fn show(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<KeptView>, Problem> {
    caller.needs(Scope::DlqRead)?;
    let tenants = api.ports.tenants.now();
    let found = api.ports.kept.get(&KeptId(id)).await?.map(|(entry, _)| entry);
    let own = found.filter(|entry| is_own(&tenants, &caller, entry));
    own.map(|entry| Json(entry.into())).ok_or_else(|| Problem::not_found("message"))
}

/// The messages that are meant, with the ledger's records of their calls.
async fn meant(
    api: &Api,
    caller: &Caller,
    bulk: &Bulk,
) -> Result<(Vec<KeptId>, Vec<LedgerKey>, bool), Problem> {
    let tenants = api.ports.tenants.now();
    let (mut ids, mut keys) = (Vec::new(), Vec::new());
    if let Some(named) = &bulk.ids {
        if named.len() > CHANGED_MAX {
            let what = format!("at most {CHANGED_MAX} messages at once");
            return Err(Problem::new(Code::MalformedRequest, what));
        }
        for id in named {
            let found = api.ports.kept.get(&KeptId(id.clone())).await?.map(|(entry, _)| entry);
            if let Some(entry) = found.filter(|entry| is_own(&tenants, caller, entry)) {
                ids.push(entry.id);
                keys.extend(entry.kept.ledger_key);
            }
        }
        return Ok((ids, keys, false));
    }
    let (filter, mut after) = (bulk.filter.filter()?, None);
    loop {
        let page = api.ports.kept.list(&filter, after.as_ref(), BATCH).await?;
        after = page.last.or(after);
        for entry in page.entries.into_iter().filter(|entry| is_own(&tenants, caller, entry)) {
            ids.push(entry.id);
            keys.extend(entry.kept.ledger_key);
        }
        if !page.more || ids.len() >= CHANGED_MAX {
            return Ok((ids, keys, page.more));
        }
    }
}

/// Puts kept messages back on their queues.
#[utoipa::path(post, path = "/v1/dlq:replay", tag = "dlq", request_body = Bulk,
    responses((status = 200, body = Counted), (status = "default", body = ProblemBody)))]
async fn replay(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Body(bulk): Body<Bulk>,
) -> Result<Json<Counted>, Problem> {
    caller.needs(Scope::DlqWrite)?;
    let (ids, keys, more) = meant(&api, &caller, &bulk).await?;
    let mut count = ids.len();
    if !bulk.dry_run {
        forget(&api, keys).await?;
        count = api.ports.kept.replay(&ids).await?;
        told(&api, &caller, "dlq.replay", count).await?;
    }
    Ok(Json(Counted { count, more }))
}

/// Deletes kept messages for good.
#[utoipa::path(post, path = "/v1/dlq:purge", tag = "dlq", request_body = Bulk,
    responses((status = 200, body = Counted), (status = "default", body = ProblemBody)))]
async fn purge(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Body(bulk): Body<Bulk>,
) -> Result<Json<Counted>, Problem> {
    caller.needs(Scope::DlqWrite)?;
    let (ids, _, more) = meant(&api, &caller, &bulk).await?;
    let mut count = ids.len();
    if !bulk.dry_run {
        count = api.ports.kept.purge(&ids).await?;
        told(&api, &caller, "dlq.purge", count).await?;
    }
    Ok(Json(Counted { count, more }))
}

async fn told(api: &Api, caller: &Caller, action: &str, count: usize) -> Result<(), Problem> {
    let entry = caller.did(action, &format!("{count} messages"), api.ports.clock.now());
    Ok(api.ports.records.audit(entry).await?)
}
