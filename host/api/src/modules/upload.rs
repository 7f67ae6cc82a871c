//! An upload: received, looked at where it can do no harm, and placed on the tenant's shelf.
//!
//! The order is what makes it whole or nothing: the bytes are kept under their digest before a shelf
//! names them, and are thrown away again when none does. A refusal that lies in the bytes is
//! remembered, so that the same bytes cost nothing the next time.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use lovage_core::admin_ports::{Incoming, InspectError, Inspected};
use lovage_core::{
    Capability, Digest, Manifest, ModuleName, Placement, Rejection, Scope, Shelf, Tenant, Version,
};
use serde::Deserialize;
use utoipa::IntoParams;

use super::receive::{Received, receive};
use super::views::ModuleView;
use super::{change, placement, signature, tell};
use crate::api::Api;
use crate::auth::Caller;
use crate::body::{Json, Path, Query};
use crate::problem::{Code, Problem, ProblemBody};

#[derive(Debug, Deserialize, IntoParams)]
pub(super) struct PushQuery {
    /// `live` (all calls), `canary` (a share of them) or `none`; live by default.
    channel: Option<String>,
    /// The canary's share of a hundred calls; 10 by default.
    percentage: Option<u8>,
    /// Whether it may do more than the live version.
    #[serde(default)]
    accept: bool,
}

/// Uploads a version of a module: a WebAssembly component or core module, plain, gzip or zstd.
#[utoipa::path(put, path = "/v1/modules/{module}", tag = "modules",
    params(("module" = String, Path), PushQuery,
        ("lovage-signature" = Option<String>, Header, description = "ed25519 <public key> <signature>")),
    request_body(content_type = "application/wasm"),
    responses((status = 201, body = ModuleView), (status = "default", body = ProblemBody)))]
pub(super) async fn push(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path(name): Path<String>,
    Query(query): Query<PushQuery>,
    request: Request,
) -> Result<(StatusCode, Json<ModuleView>), Problem> {
    caller.needs(Scope::ModulesWrite)?;
    let name: ModuleName = name.parse()?;
    let placement = placement(query.channel.as_deref(), query.percentage)?;
    let _permit = api.rates.upload(&caller.tenant, api.ports.clock.now())?;
    let (parts, body) = request.into_parts();
    let incoming = api.ports.store.incoming().await?;
    let received =
        receive(&parts.headers, body, incoming.path(), api.options.upload_bytes_max).await?;
    let signed_by = signature::check(&caller.tenant, &parts.headers, &received.digest)?;

    let turn = api.turn(&caller.tenant.id);
    let _turn = turn.lock().await;
    let digest = received.digest;
    let (manifest, imports) = look(&api, &caller, &name, &received, incoming).await?;
    let version = Version {
        digest,
        bytes: received.bytes,
        at: api.ports.clock.now(),
        by: caller.id().into(),
        manifest,
        imports,
        signed_by,
    };
    let shelf = put(&api, &caller, &name, &version, (placement, query.accept)).await?;
    tell(&api, &caller, "module.push", &name, &format!("{digest} {placement:?}")).await?;
    let module = shelf.modules.get(&name).ok_or_else(|| Problem::not_found("module"))?;
    Ok((StatusCode::CREATED, Json(ModuleView::of(&name, module))))
}

/// What the bytes say of themselves, and import. They are kept when this returns.
async fn look(
    api: &Api,
    caller: &Caller,
    name: &ModuleName,
    received: &Received,
    incoming: Incoming,
) -> Result<(Manifest, Vec<String>), Problem> {
    let (tenant, digest) = (&caller.tenant, &received.digest);
    let shelf = api.ports.store.shelf(&tenant.id).await?;
    remembered(api, &shelf, digest)?;
    let known = shelf.modules.get(name).and_then(|module| module.version(digest));
    let (manifest, imports) = match known {
        Some(version) => (version.manifest.clone(), version.imports.clone()),
        None => match api.ports.inspector.inspect(incoming.path(), name).await {
            Ok(Inspected { module, imports }) => (module.manifest, imports),
            Err(error) => return Err(refused(api, caller, name, digest, error).await),
        },
    };
    check_grants(tenant, &manifest)?;
    api.ports.store.keep(&tenant.id, digest, incoming).await?;
    Ok((manifest, imports))
}

/// Refuses bytes that were refused before, by this version of the host.
fn remembered(api: &Api, shelf: &Shelf, digest: &Digest) -> Result<(), Problem> {
    let Some(rejection) = shelf.rejected.get(&digest.to_string()) else { return Ok(()) };
    let code = Code::of(&rejection.code).filter(|_| rejection.host == api.options.version);
    match code {
        Some(code) => Err(Problem::new(code, rejection.detail.clone())
            .with("remembered", true.into())
            .with("digest", digest.to_string().into())),
        None => Ok(()),
    }
}

/// The problem with bytes that were refused; it is remembered and audited.
async fn refused(
    api: &Api,
    caller: &Caller,
    name: &ModuleName,
    digest: &Digest,
    error: InspectError,
) -> Problem {
    let (code, detail) = match error {
        InspectError::Refused { code, detail } => (Code::of(code), detail),
        InspectError::Host(error) => return error.into(),
    };
    let code = code.unwrap_or(Code::ModuleInvalid);
    if code == Code::CompilerFailed {
        return Problem::new(code, detail).after(5);
    }
    let rejection = Rejection {
        code: code.as_str().into(),
        detail: detail.clone(),
        at: api.ports.clock.now(),
        host: api.options.version.clone(),
    };
    let remember = |shelf: &mut Shelf| {
        shelf.reject(digest, rejection.clone());
        Ok(())
    };
    let what = format!("{digest} {}", code.as_str());
    let told = match change(api, caller, remember).await {
        Ok(_) => tell(api, caller, "module.refuse", name, &what).await,
        Err(problem) => Err(problem),
    };
    // The refusal stands, whether it could be remembered or not.
    if let Err(problem) = told {
        tracing::warn!(code = problem.code.as_str(), "A refused upload is not remembered");
    }
    Problem::new(code, detail).with("digest", digest.to_string().into())
}

/// Refuses what the tenant is not granted, naming it.
fn check_grants(tenant: &Tenant, manifest: &Manifest) -> Result<(), Problem> {
    for task in &manifest.tasks {
        for wish in &task.capabilities {
            let wanted: Result<Capability, _> = wish.parse();
            if !wanted.as_ref().is_ok_and(|wanted| tenant.grants.allow(wanted)) {
                let detail = format!("{} wants {wish}, which the tenant is not granted", task.name);
                let problem = Problem::new(Code::CapabilityNotGranted, detail);
                return Err(problem.with("capability", wish.clone().into()));
            }
        }
    }
    Ok(())
}

/// Puts a version on the shelf, in place of those that are kept no longer; throws its bytes away again
/// if it does not get there.
async fn put(
    api: &Api,
    caller: &Caller,
    name: &ModuleName,
    version: &Version,
    how: (Placement, bool),
) -> Result<Shelf, Problem> {
    let tenant = &caller.tenant;
    let push = |shelf: &mut Shelf| {
        let over = tenant.retention().map(|time| shelf.retire(name, version.at.before(time)));
        shelf.push(name, version.clone(), how, &tenant.quotas)?;
        let mut over = over.unwrap_or_default();
        over.retain(|digest| !shelf.has(digest));
        Ok(over)
    };
    let problem = match change(api, caller, push).await {
        Ok((shelf, over)) => {
            api.ports.store.discard(&tenant.id, &over).await?;
            return Ok(shelf);
        }
        Err(problem) => problem,
    };
    if !api.ports.store.shelf(&tenant.id).await?.has(&version.digest) {
        api.ports.store.discard(&tenant.id, &[version.digest]).await?;
    }
    Err(problem)
}
