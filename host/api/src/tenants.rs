//! Tenants, on the admin listener: those of the configuration, and those made at run time.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use lovage_core::admin_ports::Records;
use lovage_core::ports::PortError;
use lovage_core::{Scope, Tenant, TenantId, TenantTable, Tenants};
use serde::Serialize;
use serde_json::Value;
use tracing::warn;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api::Api;
use crate::auth::Caller;
use crate::body::{Body, Json, Path};
use crate::problem::{Code, Problem, ProblemBody};

pub(crate) fn routes() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(show, put, remove))
}

/// The tenants of the configuration and those of the records, together.
///
/// # Errors
/// When the records cannot be reached. Tenants that cannot be together with those of the
/// configuration are told and left out.
pub async fn refresh(
    records: &dyn Records,
    configured: &Tenants,
    table: &TenantTable,
) -> Result<(), PortError> {
    let mut all = configured_ones(configured);
    for tenant in records.tenants().await? {
        let id = tenant.id.clone();
        all.push(tenant);
        if let Err(error) = Tenants::new(all.iter().cloned()) {
            warn!(tenant = id.as_str(), %error, "Left out a tenant");
            all.pop();
        }
    }
    if let Ok(tenants) = Tenants::new(all) {
        table.set(tenants);
    }
    Ok(())
}

fn configured_ones(configured: &Tenants) -> Vec<Tenant> {
    configured.all().iter().map(|tenant| Tenant::clone(tenant)).collect()
}

/// All tenants.
#[derive(Debug, Serialize, ToSchema)]
struct TenantList {
    #[schema(value_type = Vec<Object>)]
    tenants: Vec<Tenant>,
}

/// Lists all tenants.
#[utoipa::path(get, path = "/v1/tenants", tag = "tenants",
    responses((status = 200, body = TenantList), (status = "default", body = ProblemBody)))]
async fn list(State(api): State<Arc<Api>>, caller: Caller) -> Result<Json<TenantList>, Problem> {
    caller.needs(Scope::Admin)?;
    let tenants =
        api.ports.tenants.now().all().iter().map(|tenant| Tenant::clone(tenant)).collect();
    Ok(Json(TenantList { tenants }))
}

/// Shows a tenant.
#[utoipa::path(get, path = "/v1/tenants/{tenant}", tag = "tenants", params(("tenant" = String, Path)),
    responses((status = 200, body = Object), (status = "default", body = ProblemBody)))]
async fn show(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<Tenant>, Problem> {
    caller.needs(Scope::Admin)?;
    let id: TenantId = id.parse()?;
    let tenants = api.ports.tenants.now();
    let tenant = tenants.get(&id).ok_or_else(|| Problem::not_found("tenant"))?;
    Ok(Json(Tenant::clone(tenant)))
}

fn changeable(api: &Api, id: &TenantId) -> Result<(), Problem> {
    if api.options.configured.get(id).is_some() {
        let what = "the configuration names it: change it there";
        return Err(Problem::new(Code::TenantConfigured, what));
    }
    Ok(())
}

/// Makes a tenant, or replaces it: `queues`, `weight`, `grants`, `quotas`, `signatures`,
/// `signing_keys`, `retention_s`, each of which may be left out.
#[utoipa::path(put, path = "/v1/tenants/{tenant}", tag = "tenants", params(("tenant" = String, Path)),
    request_body = Object,
    responses((status = 200, body = Object), (status = "default", body = ProblemBody)))]
async fn put(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path(id): Path<String>,
    Body(mut wish): Body<Value>,
) -> Result<Json<Tenant>, Problem> {
    caller.needs(Scope::Admin)?;
    let id: TenantId = id.parse()?;
    changeable(&api, &id)?;
    let malformed = |what: String| Problem::new(Code::MalformedRequest, what);
    let Value::Object(members) = &mut wish else {
        return Err(malformed("a tenant is an object".into()));
    };
    members.insert("id".into(), id.as_str().into());
    let tenant: Tenant =
        serde_json::from_value(wish).map_err(|error| malformed(error.to_string()))?;
    let is_key = |key: &String| key.len() == 64 && key.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !tenant.signing_keys.iter().all(is_key) {
        return Err(malformed("a signing key is 64 hexadecimal digits".into()));
    }
    let others = api.ports.tenants.now().all();
    let others = others.iter().filter(|other| other.id != id).map(|other| Tenant::clone(other));
    Tenants::new(others.chain([tenant.clone()]))
        .map_err(|error| Problem::new(Code::TenantConflict, error.to_string()))?;
    let mut entry = caller.did_to(id.clone(), "tenant.put", id.as_str(), api.ports.clock.now());
    entry.detail = serde_json::to_string(&tenant).unwrap_or_default();
    api.ports.records.put_tenant(&tenant, entry).await?;
    refresh(&*api.ports.records, &api.options.configured, &api.ports.tenants).await?;
    Ok(Json(tenant))
}

/// Forgets a tenant that was made at run time, with its tokens. Its modules must be removed before.
#[utoipa::path(delete, path = "/v1/tenants/{tenant}", tag = "tenants", params(("tenant" = String, Path)),
    responses((status = 204), (status = "default", body = ProblemBody)))]
async fn remove(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    caller.needs(Scope::Admin)?;
    let id: TenantId = id.parse()?;
    changeable(&api, &id)?;
    if !api.ports.store.shelf(&id).await?.modules.is_empty() {
        return Err(Problem::new(Code::VersionInUse, "it has modules: remove them first"));
    }
    let entry = caller.did_to(id.clone(), "tenant.remove", id.as_str(), api.ports.clock.now());
    if !api.ports.records.remove_tenant(&id, entry).await? {
        return Err(Problem::not_found("tenant"));
    }
    refresh(&*api.ports.records, &api.options.configured, &api.ports.tenants).await?;
    Ok(StatusCode::NO_CONTENT)
}
