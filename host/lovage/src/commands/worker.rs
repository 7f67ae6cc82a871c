//! `lovage worker`: takes tasks from a broker and runs them.

use std::convert::Infallible;
use std::process::ExitCode;
use std::sync::Arc;

use lovage_core::TenantTable;
use lovage_worker::{Drained, Modules, Observer, Shutdown, Worker, unpark};
use tokio::task::JoinSet;
use tracing::info;

use crate::cli::WorkerArguments;
use crate::config::Config;
use crate::shelves::Shelves;
use crate::signals::Signals;
use crate::wiring::{self, Library, Wired};
use crate::{modules, telemetry};

/// Runs a worker until it is told to end.
///
/// # Errors
/// When it cannot start, or could not tell its broker at the end.
pub(crate) fn run(arguments: &WorkerArguments) -> anyhow::Result<ExitCode> {
    let mut layers = super::layers(&arguments.common)?;
    layers
        .flag("worker.queues", arguments.queues.as_deref())
        .flag("worker.concurrency", arguments.concurrency.as_deref())
        .flag("worker.modules", arguments.modules.as_deref())
        .flag("registry.folder", arguments.registry.as_deref())
        .flag("worker.hostname", arguments.hostname.as_deref())
        .flag("worker.executors", arguments.executors.as_deref())
        .flag("worker.state_db", arguments.statedb.as_deref())
        .flag("worker.autoscale", arguments.autoscale.as_deref())
        .flag("worker.send_task_events", arguments.task_events.then_some("true"))
        .flag("worker.mingle", arguments.without_mingle.then_some("false"))
        .flag("worker.heartbeat", arguments.without_heartbeat.then_some("false"))
        .flag("task.time_limit", arguments.time_limit.as_deref())
        .flag("task.soft_time_limit", arguments.soft_time_limit.as_deref());
    let config = Config::read(&layers)?;
    telemetry::start(&config.log_level, config.log_json, None)?;
    if let Some(pool) = arguments.pool.as_deref().filter(|pool| *pool != "wasm") {
        tracing::warn!(pool, "Every task runs in a sandbox of its own; -P is passed over");
    }
    let shutdown = Shutdown::default();
    super::block_on(work(&config, None, true, shutdown, |ready| println!("{ready}")))
}

/// A worker's whole life: wire, load, say that it is ready, work, drain.
pub(super) async fn work(
    config: &Config,
    observer: Option<Arc<dyn Observer>>,
    interrupted: bool,
    shutdown: Shutdown,
    say: impl FnOnce(&str),
) -> anyhow::Result<ExitCode> {
    let wired = wiring::wire(config, observer, &shutdown).await?;
    live(config, wired, (interrupted, shutdown), say, std::future::pending()).await
}

/// The life of what was wired, and of what goes on beside it until it is over.
pub(super) async fn live(
    config: &Config,
    wired: Wired,
    (interrupted, shutdown): (bool, Shutdown),
    say: impl FnOnce(&str),
    beside: impl Future<Output = anyhow::Result<Infallible>>,
) -> anyhow::Result<ExitCode> {
    let Wired {
        ports,
        options,
        executors,
        compiler,
        modules,
        tenants,
        kept,
        library,
        operating,
        ..
    } = wired;
    if let Some(folder) = &config.modules {
        modules::load_folder(folder, config, &compiler, &*ports.sandbox, &modules).await?;
    }
    let watching = match library {
        Some(library) => Some(watch(config, library, &modules, &tenants).await?),
        None => None,
    };
    operating.begin().await;
    let signals = Signals::listen(shutdown.clone(), interrupted)?;
    let names: Vec<_> = modules.names().iter().map(ToString::to_string).collect();
    say(&format!(
        "ready: {}, {} slots, {} executors, tasks: {}",
        config.hostname,
        config.slots,
        config.executors,
        names.join(" ")
    ));
    let operations = Arc::clone(&ports.operations);
    let unparking = unpark(&*kept, &*modules, &tenants, &operations.sources);
    let working = Worker::new(ports, options).run(shutdown);
    let Drained { handed_back } = tokio::select! {
        drained = working => drained?,
        never = unparking => match never {},
        never = operating.serve() => match never? {},
        ended = beside => match ended? {},
    };
    drop(watching);
    operating.end().await;
    executors.stop().await;
    info!(handed_back, "Stopped");
    Ok(signals.exit_code())
}

/// Puts what is on the shelves in place, and keeps it so until the set is dropped.
async fn watch(
    config: &Config,
    library: Library,
    modules: &Arc<Modules>,
    tenants: &Arc<TenantTable>,
) -> anyhow::Result<JoinSet<()>> {
    let Library { store, inspector, records, placed } = library;
    let ids = config.tenants.all().into_iter().map(|tenant| tenant.id.clone());
    let folder = ids.map(|id| (id.clone(), modules.live(&id))).collect();
    let all = (config.tenants.clone(), Arc::clone(tenants), placed);
    let mut shelves =
        Shelves::new((store, inspector), records, Arc::clone(modules), all).beside(folder);
    shelves.look().await?;
    let mut watching = JoinSet::new();
    watching.spawn(shelves.watch());
    Ok(watching)
}
