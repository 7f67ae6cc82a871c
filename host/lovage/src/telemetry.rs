//! The log: structured records on standard error.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;

/// The log's own lines about tasks: whoever shows tasks otherwise leaves them out.
pub(crate) const TASKS: &str = "lovage_worker::event";

/// Starts the log, without the lines of the module `without`, if one is named. Celery's level names
/// are taken as well as ours.
///
/// # Errors
/// When the level is unknown, or a log was started before.
pub(crate) fn start(level: &str, json: bool, without: Option<&str>) -> anyhow::Result<()> {
    let level = match level.to_ascii_lowercase().as_str() {
        "warning" => "warn".into(),
        "critical" | "fatal" => "error".into(),
        other => other.to_owned(),
    };
    let without = without.map(|module| format!(",{module}=off")).unwrap_or_default();
    let filter = EnvFilter::try_new(format!("{level},cranelift=warn,wasmtime=warn{without}"))
        .map_err(|error| anyhow::anyhow!("log level {level:?} is unknown: {error}"))?;
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let started = if json {
        log.json().flatten_event(true).try_init()
    } else {
        log.with_ansi(std::io::stderr().is_terminal()).try_init()
    };
    started.map_err(|error| anyhow::anyhow!("the log cannot be started: {error}"))
}
