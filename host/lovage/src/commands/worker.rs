//! `lovage worker`: takes tasks from a broker and runs them.

use std::process::ExitCode;
use std::sync::Arc;

use lovage_worker::{Drained, Observer, Shutdown, Worker, unpark};
use tracing::info;

use crate::cli::WorkerArguments;
use crate::config::Config;
use crate::signals::Signals;
use crate::wiring::{self, Wired};
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
    let Wired { ports, options, executors, compiler, modules, tenants, kept, operating } =
        wiring::wire(config, observer, &shutdown).await?;
    if let Some(folder) = &config.modules {
        modules::load_folder(folder, &compiler, &*ports.sandbox, &modules, &config.tenants).await?;
    }
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
    let unparking = unpark(&*kept, &*modules, &tenants, &config.queues);
    let working = Worker::new(ports, options).run(shutdown);
    let Drained { handed_back } = tokio::select! {
        drained = working => drained?,
        never = unparking => match never {},
        never = operating.serve() => match never? {},
    };
    operating.end().await;
    executors.stop().await;
    info!(handed_back, "Stopped");
    Ok(signals.exit_code())
}
