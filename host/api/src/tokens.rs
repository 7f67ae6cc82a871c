//! Tokens, on the admin listener. A token is shown once, when it is made.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use lovage_core::admin_ports::Records;
use lovage_core::{AuditEntry, Scope, TenantId, Timestamp, Token};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api::Api;
use crate::auth::{Caller, new_token};
use crate::body::{Body, Json, Path};
use crate::problem::{Code, Problem, ProblemBody};
use crate::time;

pub(crate) fn routes() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::new().routes(routes!(list, create)).routes(routes!(revoke))
}

/// Days that a token is good for, unless it says otherwise.
const DAYS: u32 = 90;

/// Days that a token may be good for.
const DAYS_MAX: u32 = 3_650;

/// A token that is wanted.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenWish {
    /// What people call it.
    #[serde(default)]
    pub label: String,
    /// What it may do: `tasks:send`, `tasks:read`, `modules:read`, `modules:write`, `dlq:read`,
    /// `dlq:write`, `admin`.
    #[schema(value_type = Vec<String>)]
    pub scopes: Vec<Scope>,
    /// Days that it is good for; 90 by default.
    #[serde(default)]
    pub days: Option<u32>,
}

/// A token, without its secret.
#[derive(Debug, Serialize, ToSchema)]
struct TokenView {
    id: String,
    tenant: String,
    label: String,
    scopes: Vec<String>,
    created_at: String,
    expires_at: String,
    revoked_at: Option<String>,
}

/// A token, this once with its secret.
#[derive(Debug, Serialize, ToSchema)]
struct TokenMade {
    /// What a client sends. It cannot be shown again.
    token: String,
    #[serde(flatten)]
    view: TokenView,
}

/// A tenant's tokens.
#[derive(Debug, Serialize, ToSchema)]
struct TokenList {
    tokens: Vec<TokenView>,
}

impl From<Token> for TokenView {
    fn from(token: Token) -> Self {
        Self {
            id: token.id,
            tenant: token.tenant.to_string(),
            label: token.label,
            scopes: token.scopes.iter().map(ToString::to_string).collect(),
            created_at: time::text(token.created_at),
            expires_at: time::text(token.expires_at),
            revoked_at: token.revoked_at.map(time::text),
        }
    }
}

/// Makes a token and stores it; returns what its owner sends, and what was stored.
///
/// # Errors
/// When the wish cannot be meant, or the records cannot be reached.
pub async fn make(
    records: &dyn Records,
    tenant: TenantId,
    wish: TokenWish,
    now: Timestamp,
    actor: &str,
) -> Result<(String, Token), Problem> {
    let days = wish.days.unwrap_or(DAYS);
    if wish.scopes.is_empty() || !(1..=DAYS_MAX).contains(&days) || wish.label.len() > 100 {
        let what = format!("a token has scopes, 1 to {DAYS_MAX} days, and a label of 100 bytes");
        return Err(Problem::new(Code::MalformedRequest, what));
    }
    let (text, id, secret_hash) = new_token()?;
    let token = Token {
        id,
        tenant: tenant.clone(),
        scopes: wish.scopes,
        secret_hash,
        label: wish.label,
        created_at: now,
        expires_at: now.after(Duration::from_hours(24) * days),
        revoked_at: None,
    };
    let scopes: Vec<_> = token.scopes.iter().map(|scope| scope.as_str()).collect();
    let entry = AuditEntry {
        at: now,
        actor: actor.into(),
        tenant,
        action: "token.add".into(),
        subject: token.id.clone(),
        detail: scopes.join(" "),
    };
    records.add_token(&token, entry).await?;
    Ok((text, token))
}

fn tenant_of(api: &Api, id: &str) -> Result<TenantId, Problem> {
    let id: TenantId = id.parse()?;
    match api.ports.tenants.now().get(&id) {
        Some(_) => Ok(id),
        None => Err(Problem::not_found("tenant")),
    }
}

/// Lists a tenant's tokens, without their secrets.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/tokens", tag = "tokens",
    params(("tenant" = String, Path)),
    responses((status = 200, body = TokenList), (status = "default", body = ProblemBody)))]
async fn list(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path(tenant): Path<String>,
) -> Result<Json<TokenList>, Problem> {
    caller.needs(Scope::Admin)?;
    let tokens = api.ports.records.tokens(&tenant_of(&api, &tenant)?).await?;
    Ok(Json(TokenList { tokens: tokens.into_iter().map(TokenView::from).collect() }))
}

/// Makes a token for a tenant.
#[utoipa::path(post, path = "/v1/tenants/{tenant}/tokens", tag = "tokens",
    params(("tenant" = String, Path)), request_body = TokenWish,
    responses((status = 201, body = TokenMade), (status = "default", body = ProblemBody)))]
async fn create(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path(tenant): Path<String>,
    Body(wish): Body<TokenWish>,
) -> Result<(StatusCode, Json<TokenMade>), Problem> {
    caller.needs(Scope::Admin)?;
    let tenant = tenant_of(&api, &tenant)?;
    if wish.scopes.contains(&Scope::Admin) && !tenant.is_default() {
        let what = "only tokens of the default tenant may be for admins";
        return Err(Problem::new(Code::MalformedRequest, what));
    }
    let actor = format!("token {}", caller.id());
    let (token, stored) =
        make(&*api.ports.records, tenant, wish, api.ports.clock.now(), &actor).await?;
    Ok((StatusCode::CREATED, Json(TokenMade { token, view: stored.into() })))
}

/// Revokes a token: it ends at once.
#[utoipa::path(delete, path = "/v1/tenants/{tenant}/tokens/{token}", tag = "tokens",
    params(("tenant" = String, Path), ("token" = String, Path)),
    responses((status = 204), (status = "default", body = ProblemBody)))]
async fn revoke(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path((tenant, token)): Path<(String, String)>,
) -> Result<StatusCode, Problem> {
    caller.needs(Scope::Admin)?;
    let tenant = tenant_of(&api, &tenant)?;
    let entry = caller.did_to(tenant.clone(), "token.revoke", &token, api.ports.clock.now());
    if api.ports.records.revoke_token(&tenant, &token, entry).await? {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(Problem::not_found("token"))
    }
}
