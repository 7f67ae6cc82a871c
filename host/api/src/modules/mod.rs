//! Modules: upload, look, compare, and say which version answers.

mod receive;
mod signature;
mod upload;
mod views;

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use lovage_core::{
    Canary, Digest, ModuleName, Percentage, Placement, Removal, Scope, Shelf, ShelfError,
    permission_changes,
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api::Api;
use crate::auth::Caller;
use crate::body::{Body, Json, Path, Query};
use crate::problem::{Code, Problem, ProblemBody};
use views::{ModuleView, VersionDetail};

pub(crate) fn routes() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(show, upload::push, remove))
        .routes(routes!(version, remove_version))
        .routes(routes!(diff))
        .routes(routes!(promote))
        .routes(routes!(canary))
        .routes(routes!(rollback))
}

/// How often a change is tried again because somebody else changed the same shelf.
const TRIES: usize = 20;

/// How long the worker of this process may take to run what was changed.
const PLACED_TIME: Duration = Duration::from_secs(5);

/// Changes a shelf, again and again while others change it, too. Returns it with what the change
/// returned.
pub(crate) async fn change<T>(
    api: &Api,
    caller: &Caller,
    change: impl Fn(&mut Shelf) -> Result<T, ShelfError>,
) -> Result<(Shelf, T), Problem> {
    for _ in 0..TRIES {
        let mut shelf = api.ports.store.shelf(&caller.tenant.id).await?;
        let done = change(&mut shelf)?;
        if api.ports.store.replace(&caller.tenant.id, &shelf).await? {
            let placed = api.ports.placement.placed(&caller.tenant.id, shelf.revision + 1);
            // A worker that cannot load it has said so; what answered before goes on answering.
            let _ = tokio::time::timeout(PLACED_TIME, placed).await;
            return Ok((shelf, done));
        }
    }
    Err(Problem::new(Code::Busy, "others change the same modules; try again").after(1))
}

fn view(shelf: &Shelf, name: &ModuleName) -> Result<Json<ModuleView>, Problem> {
    let module = shelf.modules.get(name).ok_or_else(|| Problem::not_found("module"))?;
    Ok(Json(ModuleView::of(name, module)))
}

/// The modules of the tenant.
#[derive(Debug, Serialize, ToSchema)]
struct ModuleList {
    modules: Vec<ModuleView>,
}

/// Lists the tenant's modules.
#[utoipa::path(get, path = "/v1/modules", tag = "modules",
    responses((status = 200, body = ModuleList), (status = "default", body = ProblemBody)))]
async fn list(State(api): State<Arc<Api>>, caller: Caller) -> Result<Json<ModuleList>, Problem> {
    caller.needs(Scope::ModulesRead)?;
    let shelf = api.ports.store.shelf(&caller.tenant.id).await?;
    let modules = shelf.modules.iter().map(|(name, module)| ModuleView::of(name, module)).collect();
    Ok(Json(ModuleList { modules }))
}

/// Shows a module with its versions and channels.
#[utoipa::path(get, path = "/v1/modules/{module}", tag = "modules",
    params(("module" = String, Path)),
    responses((status = 200, body = ModuleView), (status = "default", body = ProblemBody)))]
async fn show(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path(name): Path<String>,
) -> Result<Json<ModuleView>, Problem> {
    caller.needs(Scope::ModulesRead)?;
    view(&api.ports.store.shelf(&caller.tenant.id).await?, &name.parse()?)
}

/// Shows a version with its manifest.
#[utoipa::path(get, path = "/v1/modules/{module}/versions/{version}", tag = "modules",
    params(("module" = String, Path), ("version" = String, Path)),
    responses((status = 200, body = VersionDetail), (status = "default", body = ProblemBody)))]
async fn version(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path((name, version)): Path<(String, String)>,
) -> Result<Json<VersionDetail>, Problem> {
    caller.needs(Scope::ModulesRead)?;
    let (name, shelf) = (name.parse()?, api.ports.store.shelf(&caller.tenant.id).await?);
    let digest = digest_of(&shelf, &name, &version)?;
    let version = shelf.modules.get(&name).and_then(|module| module.version(&digest));
    version.map(|it| Json(VersionDetail::of(it))).ok_or_else(|| Problem::not_found("version"))
}

/// The digest that a text means: a whole one, the first 6 or more digits of one, or a channel.
fn digest_of(shelf: &Shelf, name: &ModuleName, text: &str) -> Result<Digest, Problem> {
    let module = shelf.modules.get(name).ok_or_else(|| Problem::not_found("module"))?;
    let named = match text {
        "live" => module.live,
        "canary" => module.canary.map(|canary| canary.digest),
        _ => {
            let is_meant =
                |digest: &Digest| text.len() >= 6 && digest.to_string().starts_with(text);
            let mut meant = module.versions.iter().map(|it| it.digest).filter(is_meant);
            let first = meant.next();
            first.filter(|_| meant.next().is_none())
        }
    };
    named.ok_or_else(|| Problem::not_found("version"))
}

#[derive(Debug, Deserialize, IntoParams)]
struct DiffQuery {
    /// The version to compare with; `live` by default.
    from: Option<String>,
    /// The version that is compared.
    to: String,
}

/// What a version may do that another may not.
#[derive(Debug, Serialize, ToSchema)]
struct Diff {
    from: Option<String>,
    to: String,
    /// In words; empty when it may do no more.
    changes: Vec<String>,
    /// Tasks that come.
    added_tasks: Vec<String>,
    /// Tasks that go.
    removed_tasks: Vec<String>,
}

/// Compares two versions of a module.
#[utoipa::path(get, path = "/v1/modules/{module}/diff", tag = "modules",
    params(("module" = String, Path), DiffQuery),
    responses((status = 200, body = Diff), (status = "default", body = ProblemBody)))]
async fn diff(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path(name): Path<String>,
    Query(query): Query<DiffQuery>,
) -> Result<Json<Diff>, Problem> {
    caller.needs(Scope::ModulesRead)?;
    let (name, shelf) = (name.parse()?, api.ports.store.shelf(&caller.tenant.id).await?);
    let to = digest_of(&shelf, &name, &query.to)?;
    let from = digest_of(&shelf, &name, query.from.as_deref().unwrap_or("live"))?;
    let module = shelf.modules.get(&name).ok_or_else(|| Problem::not_found("module"))?;
    let (Some(old), Some(new)) = (module.version(&from), module.version(&to)) else {
        return Err(Problem::not_found("version"));
    };
    let names = |version: &lovage_core::Version| -> Vec<String> {
        version.manifest.tasks.iter().map(|task| task.name.to_string()).collect()
    };
    let (before, after) = (names(old), names(new));
    let without = |some: &[String], others: &[String]| {
        some.iter().filter(|name| !others.contains(name)).cloned().collect()
    };
    Ok(Json(Diff {
        from: Some(from.to_string()),
        to: to.to_string(),
        changes: permission_changes(old, new),
        added_tasks: without(&after, &before),
        removed_tasks: without(&before, &after),
    }))
}

/// Which version is to answer all calls.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Promotion {
    /// The version; the canary by default.
    #[serde(default)]
    version: Option<String>,
    /// Whether it may do more than the live version.
    #[serde(default)]
    accept: bool,
}

/// Has a version answer all calls.
#[utoipa::path(post, path = "/v1/modules/{module}/promote", tag = "modules",
    params(("module" = String, Path)), request_body = Promotion,
    responses((status = 200, body = ModuleView), (status = "default", body = ProblemBody)))]
async fn promote(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path(name): Path<String>,
    Body(promotion): Body<Promotion>,
) -> Result<Json<ModuleView>, Problem> {
    caller.needs(Scope::ModulesWrite)?;
    let name: ModuleName = name.parse()?;
    let digest = match &promotion.version {
        Some(text) => {
            Some(digest_of(&api.ports.store.shelf(&caller.tenant.id).await?, &name, text)?)
        }
        None => None,
    };
    let promote = |shelf: &mut Shelf| shelf.promote(&name, digest, promotion.accept);
    let (shelf, live) = change(&api, &caller, promote).await?;
    tell(&api, &caller, "module.promote", &name, &live.to_string()).await?;
    view(&shelf, &name)
}

/// Which version is to answer a share of the calls.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct CanaryWish {
    /// The version; the canary that there is by default.
    #[serde(default)]
    version: Option<String>,
    /// Of a hundred calls; 0 ends the canary.
    percentage: u8,
    /// Whether it may do more than the live version.
    #[serde(default)]
    accept: bool,
}

/// Has a version answer a share of the calls.
#[utoipa::path(post, path = "/v1/modules/{module}/canary", tag = "modules",
    params(("module" = String, Path)), request_body = CanaryWish,
    responses((status = 200, body = ModuleView), (status = "default", body = ProblemBody)))]
async fn canary(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path(name): Path<String>,
    Body(wish): Body<CanaryWish>,
) -> Result<Json<ModuleView>, Problem> {
    caller.needs(Scope::ModulesWrite)?;
    let name: ModuleName = name.parse()?;
    let canary = if wish.percentage == 0 {
        None
    } else {
        let shelf = api.ports.store.shelf(&caller.tenant.id).await?;
        let digest = digest_of(&shelf, &name, wish.version.as_deref().unwrap_or("canary"))?;
        Some(Canary { digest, share: share(wish.percentage)? })
    };
    let set = |shelf: &mut Shelf| shelf.set_canary(&name, canary, wish.accept);
    let (shelf, ()) = change(&api, &caller, set).await?;
    let detail =
        canary.map_or_else(String::new, |it| format!("{} {}%", it.digest, wish.percentage));
    tell(&api, &caller, "module.canary", &name, &detail).await?;
    view(&shelf, &name)
}

fn share(percentage: u8) -> Result<Percentage, Problem> {
    let share = Percentage::new(percentage);
    share.ok_or_else(|| Problem::new(Code::MalformedRequest, "a percentage is 0 to 100"))
}

/// Where a push goes, by its query.
fn placement(channel: Option<&str>, percentage: Option<u8>) -> Result<Placement, Problem> {
    match (channel.unwrap_or("live"), percentage) {
        ("live", None) => Ok(Placement::Live),
        ("canary", percentage) => share(percentage.unwrap_or(10)).map(Placement::Canary),
        ("none", None) => Ok(Placement::Stored),
        (other, _) => Err(Problem::new(
            Code::MalformedRequest,
            format!("{other:?} is no channel that takes this; there are live, canary and none"),
        )),
    }
}

/// Has the version answer calls that did before; ends the canary.
#[utoipa::path(post, path = "/v1/modules/{module}/rollback", tag = "modules",
    params(("module" = String, Path)),
    responses((status = 200, body = ModuleView), (status = "default", body = ProblemBody)))]
async fn rollback(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path(name): Path<String>,
) -> Result<Json<ModuleView>, Problem> {
    caller.needs(Scope::ModulesWrite)?;
    let name: ModuleName = name.parse()?;
    let (shelf, live) = change(&api, &caller, |shelf| shelf.rollback(&name)).await?;
    tell(&api, &caller, "module.rollback", &name, &live.to_string()).await?;
    view(&shelf, &name)
}

#[derive(Debug, Deserialize, IntoParams)]
struct RemoveQuery {
    /// Whether it goes although it answers calls: they wait until it is back.
    #[serde(default)]
    force: bool,
}

/// Removes a module with all its versions.
#[utoipa::path(delete, path = "/v1/modules/{module}", tag = "modules",
    params(("module" = String, Path), RemoveQuery),
    responses((status = 204), (status = "default", body = ProblemBody)))]
async fn remove(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path(name): Path<String>,
    Query(query): Query<RemoveQuery>,
) -> Result<StatusCode, Problem> {
    let removal = if query.force { Removal::ModuleInUse } else { Removal::Module };
    take_away(&api, &caller, &name.parse()?, removal).await
}

/// Removes a version that answers no calls.
#[utoipa::path(delete, path = "/v1/modules/{module}/versions/{version}", tag = "modules",
    params(("module" = String, Path), ("version" = String, Path)),
    responses((status = 204), (status = "default", body = ProblemBody)))]
async fn remove_version(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path((name, version)): Path<(String, String)>,
) -> Result<StatusCode, Problem> {
    caller.needs(Scope::ModulesWrite)?;
    let (name, shelf) = (name.parse()?, api.ports.store.shelf(&caller.tenant.id).await?);
    let digest = digest_of(&shelf, &name, &version)?;
    take_away(&api, &caller, &name, Removal::Version(digest)).await
}

async fn take_away(
    api: &Api,
    caller: &Caller,
    name: &ModuleName,
    removal: Removal,
) -> Result<StatusCode, Problem> {
    caller.needs(Scope::ModulesWrite)?;
    let turn = api.turn(&caller.tenant.id);
    let _turn = turn.lock().await;
    let (_, gone) = change(api, caller, |shelf| shelf.remove(name, removal)).await?;
    let digests: Vec<_> = gone.iter().map(ToString::to_string).collect();
    tell(api, caller, "module.remove", name, &digests.join(" ")).await?;
    api.ports.store.discard(&caller.tenant.id, &gone).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn tell(
    api: &Api,
    caller: &Caller,
    action: &str,
    name: &ModuleName,
    detail: &str,
) -> Result<(), Problem> {
    let mut entry = caller.did(action, name.as_str(), api.ports.clock.now());
    entry.detail = detail.into();
    Ok(api.ports.records.audit(entry).await?)
}
