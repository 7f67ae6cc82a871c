//! The log: structured records on standard error.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;

/// Starts the log. Celery's level names are taken as well as ours.
///
/// # Errors
/// When the level is unknown, or a log was started before.
pub(crate) fn start(level: &str, json: bool) -> anyhow::Result<()> {
    let level = match level.to_ascii_lowercase().as_str() {
        "warning" => "warn".into(),
        "critical" | "fatal" => "error".into(),
        other => other.to_owned(),
    };
    let filter = EnvFilter::try_new(format!("{level},cranelift=warn,wasmtime=warn"))
        .map_err(|error| anyhow::anyhow!("log level {level:?} is unknown: {error}"))?;
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let started = if json {
        log.json().flatten_event(true).try_init()
    } else {
        log.with_ansi(std::io::stderr().is_terminal()).try_init()
    };
    started.map_err(|error| anyhow::anyhow!("the log cannot be started: {error}"))
}
