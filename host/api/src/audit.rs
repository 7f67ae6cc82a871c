//! The audit log, on the admin listener: to read, and to verify.

use std::sync::Arc;

use axum::extract::State;
use lovage_core::{AuditRow, Scope, verify_audit};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api::Api;
use crate::auth::Caller;
use crate::body::{Json, Query};
use crate::problem::{Problem, ProblemBody};
use crate::time;

pub(crate) fn routes() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(verify))
}

/// Rows of a page.
const PAGE_MAX: usize = 1_000;

#[derive(Debug, Deserialize, IntoParams)]
struct PageQuery {
    /// The number of the last row that was seen; rows behind it follow.
    #[serde(default)]
    after: u64,
    /// Rows of a page; 100 by default, 1,000 at most.
    limit: Option<usize>,
}

/// A change that somebody made.
#[derive(Debug, Serialize, ToSchema)]
struct RowView {
    number: u64,
    at: String,
    actor: String,
    tenant: String,
    action: String,
    subject: String,
    detail: String,
    /// The hash of this row, which the next one holds.
    hash: String,
}

/// Some rows, the oldest first.
#[derive(Debug, Serialize, ToSchema)]
struct RowList {
    rows: Vec<RowView>,
}

impl From<AuditRow> for RowView {
    fn from(row: AuditRow) -> Self {
        Self {
            number: row.number,
            at: time::text(row.entry.at),
            actor: row.entry.actor,
            tenant: row.entry.tenant.to_string(),
            action: row.entry.action,
            subject: row.entry.subject,
            detail: row.entry.detail,
            hash: row.hash.to_string(),
        }
    }
}

/// Lists the audit log.
#[utoipa::path(get, path = "/v1/audit", tag = "audit", params(PageQuery),
    responses((status = 200, body = RowList), (status = "default", body = ProblemBody)))]
async fn list(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Query(query): Query<PageQuery>,
) -> Result<Json<RowList>, Problem> {
    caller.needs(Scope::Admin)?;
    let most = query.limit.unwrap_or(100).clamp(1, PAGE_MAX);
    let rows = api.ports.records.audit_rows(query.after, most).await?;
    Ok(Json(RowList { rows: rows.into_iter().map(RowView::from).collect() }))
}

/// Whether the log is what was written.
#[derive(Debug, Serialize, ToSchema)]
struct Verified {
    /// Whether every row follows from the one before it.
    intact: bool,
    /// Rows that were checked.
    rows: u64,
    /// The newest row's hash: keep it elsewhere to notice a cut end.
    hash: Option<String>,
    /// Where it is not what was written.
    problem: Option<String>,
}

/// Checks the whole audit log.
#[utoipa::path(get, path = "/v1/audit/verify", tag = "audit",
    responses((status = 200, body = Verified), (status = "default", body = ProblemBody)))]
async fn verify(State(api): State<Arc<Api>>, caller: Caller) -> Result<Json<Verified>, Problem> {
    caller.needs(Scope::Admin)?;
    let mut last = None;
    loop {
        let number = last.map_or(0, |(number, _)| number);
        let rows = api.ports.records.audit_rows(number, PAGE_MAX).await?;
        let is_end = rows.is_empty();
        let hash =
            |last: Option<(u64, lovage_core::Digest)>| last.map(|(_, hash)| hash.to_string());
        match verify_audit(last, &rows) {
            Ok(newest) => last = newest,
            Err(problem) => {
                let problem = Some(problem.to_string());
                let hash = hash(last);
                return Ok(Json(Verified { intact: false, rows: number, hash, problem }));
            }
        }
        if is_end {
            let hash = hash(last);
            return Ok(Json(Verified { intact: true, rows: number, hash, problem: None }));
        }
    }
}
