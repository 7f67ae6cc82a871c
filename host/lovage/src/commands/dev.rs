//! `lovage dev`: a queue, a worker and a live line for each task, without setting anything up.
//!
//! Of a project it builds the module, and again on each save: the worker that runs goes on meanwhile,
//! then finishes what it has and is started anew. What cannot be built is told and changes nothing.

mod rebuild;

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use jiff::tz::TimeZone;
use lovage_core::{Settlement, Usage, Verdict};
use lovage_worker::{Event, Observer, Shutdown};

use super::build::Project;
use crate::cli::DevArguments;
use crate::config::{Config, Surroundings};
use crate::inert::inert;
use crate::telemetry;
use rebuild::Rebuild;

/// Runs the embedded queue and a worker until it is told to end.
///
/// # Errors
/// When the state folder cannot be made, or the worker cannot start.
pub(crate) fn run(arguments: &DevArguments) -> anyhow::Result<ExitCode> {
    let state = &arguments.state;
    std::fs::create_dir_all(state)
        .with_context(|| format!("cannot make the state folder {}", state.display()))?;
    let state = std::fs::canonicalize(state)?;
    let is_project = Project::is_there(&arguments.modules);
    let project = is_project.then(|| Project::find(&arguments.modules, None)).transpose()?;
    let modules = match &project {
        Some(_) => state.join("modules"),
        None => arguments.modules.clone(),
    };
    let around = Surroundings::of_process();
    // What a build has compiled to look at need not be compiled again.
    let native = match &project {
        Some(_) => around.build_cache().join("native"),
        None => state.join("native"),
    };
    let config = config(arguments, &state, &modules, &native)?;
    telemetry::start(&config.log_level, config.log_json, Some(telemetry::TASKS))?;
    println!("broker_url = {:?}", config.broker_url);
    println!("result_backend = {:?}", config.result_backend.as_deref().unwrap_or_default());
    let mut rebuild = Rebuild::start(project, modules, around)?;
    loop {
        let observer: Arc<dyn Observer> = Arc::new(LiveLines);
        let shutdown = Shutdown::default();
        let ended = super::block_on(async {
            let work =
                super::worker::work(&config, Some(observer), false, shutdown.clone(), |ready| {
                    println!("{ready}");
                });
            tokio::pin!(work);
            tokio::select! {
                ended = &mut work => ended.map(Some),
                () = rebuild.done() => {
                    shutdown.warm();
                    work.await.map(|_| None)
                }
            }
        })?;
        if let Some(code) = ended {
            return Ok(code);
        }
    }
}

fn config(
    arguments: &DevArguments,
    state: &Path,
    modules: &Path,
    native: &Path,
) -> anyhow::Result<Config> {
    let (broker, results) = urls(state);
    let mut layers = super::layers(&arguments.common)?;
    let modules = modules.to_string_lossy();
    let native = native.to_string_lossy();
    layers
        .flag("worker.modules", Some(&modules))
        .flag("worker.cache", Some(&native))
        .flag("worker.concurrency", arguments.concurrency.as_deref());
    if arguments.common.broker.is_none() {
        layers.flag("broker_url", Some(&broker)).flag("result_backend", Some(&results));
    }
    Config::read(&layers)
}

/// Both in one file, so that a task's end is one transaction.
fn urls(state: &Path) -> (String, String) {
    let file = state.join("queue.db");
    (format!("sqla+sqlite:///{}", file.display()), format!("db+sqlite:///{}", file.display()))
}

/// Prints a line for each task.
struct LiveLines;

impl Observer for LiveLines {
    fn observe(&self, event: &Event<'_>) {
        match event {
            Event::Settled { verdict, usage } => println!("  {}", line(verdict, usage)),
            Event::Known { invocation } => {
                let id: String = invocation.id.as_str().chars().take(8).collect();
                let (id, name) = (inert(&id), inert(invocation.shown_name()));
                println!("  {name}  {id}  dup  done before");
            }
            Event::Received { .. } | Event::Sent { .. } | Event::Started { .. } => {}
            Event::Quarantined { queue, code } => {
                println!("  {queue}: put a message aside: {code}");
            }
        }
    }
}

fn line(verdict: &Verdict, usage: &Usage) -> String {
    let at = jiff::Timestamp::from_microsecond(verdict.at.as_micros())
        .map(|at| at.to_zoned(TimeZone::system()).strftime("%H:%M:%S").to_string())
        .unwrap_or_default();
    let (word, more) = match &verdict.settlement {
        Settlement::Succeed { .. } => ("ok", String::new()),
        Settlement::Bury(failure) => ("failed", failure.to_string()),
        Settlement::Ignore { .. } => ("ignored", String::new()),
        Settlement::Replace { .. } => ("replaced", String::new()),
        Settlement::Retry { failure, at, .. } => {
            let seconds = at.until(verdict.at).as_secs_f64();
            ("retry", format!("{failure}   again in {seconds:.1} s"))
        }
        Settlement::Drop(reason) => ("dropped", reason.as_str().into()),
        Settlement::Park(reason) => ("parked", format!("{reason:?}")),
        Settlement::Release(_) => ("waits", String::new()),
        Settlement::Forget => ("lost", "another worker has it".into()),
    };
    let id: String = verdict.invocation.id.as_str().chars().take(8).collect();
    let name = verdict.invocation.shown_name();
    let text = format!(
        "{at}  {name:<20} {id:<8}  {word:<7} {:>8.1} ms  fuel {:>8}  mem {:>7}  {more}",
        usage.wall.as_secs_f64() * 1e3,
        scaled(usage.fuel),
        format!("{} KiB", usage.memory_bytes >> 10),
    );
    // Names, ids and messages come from anyone: nothing in them may act on the terminal.
    inert(text.trim_end())
}

/// A number in a person's digits: 1200000 is `1.2M`.
#[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
fn scaled(number: u64) -> String {
    let number = number as f64;
    match number {
        ..1e3 => format!("{number}"),
        ..1e6 => format!("{:.1}k", number / 1e3),
        ..1e9 => format!("{:.1}M", number / 1e6),
        _ => format!("{:.1}G", number / 1e9),
    }
}

#[cfg(test)]
mod tests {
    use super::scaled;

    #[test]
    fn numbers_are_short() {
        let texts = [0, 999, 1_200, 1_200_000, 3_000_000_000].map(scaled);
        assert_eq!(texts, ["0", "999", "1.2k", "1.2M", "3.0G"]);
    }
}
