//! The commands, one a file. Each returns what the process exits with.

pub(crate) mod ask;
pub(crate) mod audit;
pub(crate) mod bench;
pub(crate) mod build;
pub(crate) mod call;
pub(crate) mod check;
pub(crate) mod compile;
pub(crate) mod config;
pub(crate) mod dev;
pub(crate) mod dlq;
pub(crate) mod doctor;
pub(crate) mod executor;
pub(crate) mod modules;
pub(crate) mod new;
pub(crate) mod push;
pub(crate) mod serve;
pub(crate) mod tenants;
pub(crate) mod tokens;
pub(crate) mod worker;

use std::future::Future;

use anyhow::Context as _;

use crate::cli::Common;
use crate::config::Layers;

/// The layers of configuration that every command starts from.
fn layers(common: &Common) -> anyhow::Result<Layers> {
    let mut layers = Layers::of_process(common.config.as_deref())?;
    layers
        .flag("broker_url", common.broker.as_deref())
        .flag("result_backend", common.result_backend.as_deref())
        .flag("log.level", common.loglevel.as_deref())
        .flag("log.format", common.log_format.as_deref());
    Ok(layers)
}

/// Runs a command's future on one thread: a worker only waits, its executors compute.
fn block_on<T>(future: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    runtime.block_on(future)
}
