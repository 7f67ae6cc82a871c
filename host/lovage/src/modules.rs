//! A folder of modules becomes the tasks of a worker.

use std::collections::BTreeMap;
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use indicatif::{ProgressBar, ProgressStyle};
use lovage_core::http::{HostPattern, first_not_granted};
use lovage_core::ports::Sandbox;
use lovage_core::{Manifest, Module, Outcome, Report, TaskSpec, TenantId};
use lovage_sandbox::{Compiled, Compiler, ModuleKind};
use lovage_worker::{Modules, Route, check_schema};
use tracing::{error, info};

use crate::config::Config;

/// Module files that are read whole at most.
const MODULE_BYTES_MAX: u64 = 64 << 20;

/// The `*.wasm` files of a folder, sorted by name.
///
/// # Errors
/// When the folder cannot be read.
pub(crate) fn files(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder)
        .with_context(|| format!("cannot read the modules folder {}", folder.display()))?;
    let paths = entries.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<_>>>()?;
    let is_module = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "wasm");
    let mut files: Vec<_> = paths.into_iter().filter(is_module).collect();
    files.sort();
    Ok(files)
}

/// Compiles and describes every module of a folder, and adds its tasks: those of the folder itself
/// as the default tenant's, and those of a folder inside it that has a tenant's name as that tenant's.
/// A module that cannot be used is told and left out: its neighbours' tasks are not to wait for it.
///
/// One that asks for a host that the worker does not grant is left out, too: better now than when a
/// task of it has done half its work.
///
/// Returns how many were left out.
///
/// # Errors
/// When a folder cannot be read.
pub(crate) async fn load_folder(
    folder: &Path,
    config: &Config,
    compiler: &Compiler,
    sandbox: &dyn Sandbox,
    modules: &Modules,
) -> anyhow::Result<usize> {
    let granted = &config.http.settings.granted;
    let mut all = files(folder)?.into_iter().map(|file| (None, file)).collect::<Vec<_>>();
    for tenant in config.tenants.all() {
        let own = folder.join(tenant.id.as_str());
        if !tenant.id.is_default() && own.is_dir() {
            all.extend(files(&own)?.into_iter().map(|file| (Some(tenant.id.clone()), file)));
        }
    }
    let progress = progress(all.len());
    let mut routes: BTreeMap<TenantId, Vec<Route>> = BTreeMap::new();
    let mut left_out = 0;
    for (tenant, file) in &all {
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        progress.set_message(name.clone());
        let loaded = load(file, granted, compiler, sandbox).await.and_then(|module| {
            match tenant {
                None => modules.add(&module)?,
                Some(tenant) => {
                    let route = Route { module: Arc::clone(&module), canary: None };
                    routes.entry(tenant.clone()).or_default().push(route);
                }
            }
            Ok(module)
        });
        match loaded {
            Ok(module) => {
                let (digest, tasks) = (module.digest.short(), module.manifest.tasks.len());
                info!(module = name, digest, tasks, "Loaded a module");
            }
            Err(reason) => {
                left_out += 1;
                error!(module = name, error = format!("{reason:#}"), "Left out a module");
            }
        }
        progress.inc(1);
    }
    for (tenant, routes) in routes {
        for conflict in modules.replace(&tenant, &routes) {
            left_out += 1;
            error!(tenant.id = %tenant, error = %conflict, "Left out a module");
        }
    }
    progress.finish_and_clear();
    Ok(left_out)
}

async fn load(
    file: &Path,
    granted: &[HostPattern],
    compiler: &Compiler,
    sandbox: &dyn Sandbox,
) -> anyhow::Result<Arc<Module>> {
    let size = tokio::fs::metadata(file).await.context("cannot be read")?.len();
    anyhow::ensure!(size <= MODULE_BYTES_MAX, "has {size} bytes; {MODULE_BYTES_MAX} are allowed");
    let wasm = tokio::fs::read(file).await.context("cannot be read")?;
    let compiled = compiler.compile(&wasm).await?;
    let stem = file.file_stem().unwrap_or_default().to_string_lossy();
    let module = describe(compiled, &stem, sandbox).await?;
    module.manifest.tasks.iter().try_for_each(check_schema)?;
    if let Some(host) = first_not_granted(module.manifest.http_hosts(), granted) {
        anyhow::bail!("it wants wasi:http/outgoing-handler for {host}: http.allow grants it not");
    }
    Ok(Arc::new(module))
}

/// The module with its manifest: the one it carries, or what its catalog says. A command says
/// nothing; its one task has the name of its file.
async fn describe(compiled: Compiled, stem: &str, sandbox: &dyn Sandbox) -> anyhow::Result<Module> {
    let Compiled { digest, path, kind, manifest, .. } = compiled;
    let mut module = Module { digest, manifest: of_command(stem), compiled: path };
    match (manifest, kind) {
        (Some(text), _) => module.manifest = Manifest::parse(&text)?,
        (None, ModuleKind::Command) => {}
        (None, ModuleKind::Tasks) => {
            let said = sandbox.describe(&module).await.map_err(|report| death(&report))?;
            module.manifest = Manifest::parse(said.as_str())?;
        }
    }
    Ok(module)
}

/// What is said of a program that says nothing: one task with the name of its file.
pub(crate) fn of_command(stem: &str) -> Manifest {
    Manifest {
        v: 1,
        abi: "wasi:cli".into(),
        module: stem.into(),
        language: String::new(),
        tasks: vec![TaskSpec::named(stem.into())],
    }
}

/// What a module died of that was to describe itself.
pub(crate) fn death(report: &Report) -> anyhow::Error {
    match &report.outcome {
        Outcome::Killed { death, failure } => {
            anyhow::anyhow!("it died describing itself: {}: {failure}", death.as_str())
        }
        other => anyhow::anyhow!("it does not describe itself: {other:?}"),
    }
}

/// A bar on standard error, where somebody watches.
fn progress(modules: usize) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{spinner} {pos}/{len} modules  {wide_msg}");
    ProgressBar::new(modules as u64)
        .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
