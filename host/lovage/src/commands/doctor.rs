//! `lovage doctor`: whether a worker would find what it needs.

use std::process::ExitCode;
use std::time::Instant;

use lovage_worker::{Modules, Shutdown};

use crate::cli::DoctorArguments;
use crate::commands::config::masked;
use crate::config::Config;
use crate::{modules, wiring};

/// How well it stands with one thing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Health {
    Good,
    /// A worker runs, and something may be lost or slow.
    Doubtful,
    /// A worker would not run.
    Bad,
}

impl Health {
    fn of(good: bool, otherwise: Self) -> Self {
        if good { Self::Good } else { otherwise }
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::Good => "ok",
            Self::Doubtful => "warn",
            Self::Bad => "fail",
        }
    }
}

/// One thing that was looked at.
struct Finding {
    health: Health,
    what: String,
    /// What to do about it.
    remedy: &'static str,
}

/// Checks everything, and exits with 1 when something is missing.
///
/// # Errors
/// When the configuration has problems: nothing can be checked then.
pub(crate) fn run(arguments: &DoctorArguments) -> anyhow::Result<ExitCode> {
    let mut layers = super::layers(&arguments.common)?;
    layers.flag("worker.modules", arguments.modules.as_deref());
    let config = Config::read(&layers)?;
    let findings = super::block_on(async { Ok(look(&config).await) })?;
    let healthy = findings.iter().all(|finding| finding.health != Health::Bad);
    if arguments.json {
        let all: Vec<_> = findings
            .iter()
            .map(|it| serde_json::json!({"health": it.health.as_str(), "what": it.what, "remedy": it.remedy}))
            .collect();
        println!("{}", serde_json::to_string_pretty(&all)?);
    } else {
        for Finding { health, what, remedy } in &findings {
            let remedy = if *health == Health::Good { "" } else { remedy };
            println!("{:<5} {}", health.as_str(), format!("{what}   {remedy}").trim_end());
        }
    }
    Ok(if healthy { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

async fn look(config: &Config) -> Vec<Finding> {
    let mut findings = vec![ends(config).await, kernel()];
    // A server that cannot be asked is told above.
    let settings = wiring::durability(config).await.unwrap_or_default();
    let remedy = "tasks can be lost by that setting: see docs/promises.md";
    findings.extend(settings.into_iter().map(|(good, what)| {
        let health = Health::of(good, Health::Doubtful);
        Finding { health, what, remedy }
    }));
    if findings.iter().all(|finding| finding.health != Health::Bad) {
        findings.push(folder(config).await);
    }
    findings
}

async fn ends(config: &Config) -> Finding {
    let begun = Instant::now();
    let reached = ask(config).await;
    let took_ms = begun.elapsed().as_secs_f64() * 1e3;
    let backend = config.result_backend.as_deref().map_or_else(|| "none".into(), masked);
    let what = format!("broker {}, results {backend}", masked(&config.broker_url));
    let remedy = "start the server, or correct broker_url and result_backend";
    match reached {
        Ok(()) => {
            Finding { health: Health::Good, what: format!("{what}, {took_ms:.1} ms"), remedy: "" }
        }
        Err(error) => Finding { health: Health::Bad, what: format!("{what}: {error:#}"), remedy },
    }
}

/// Asks both ends something, because connections are made with the first question.
async fn ask(config: &Config) -> anyhow::Result<()> {
    let (broker, results) = wiring::client(config).await?;
    let replies = config.result_backend.as_deref().is_some_and(|url| url.starts_with("rpc:"));
    broker.sweep().await?;
    broker.waiting().await?;
    broker.leave().await?;
    // Replies go to their callers, and can be looked up by nobody.
    let results = results.filter(|_| !replies);
    if let Some(results) = results {
        results.load(&"lovage-doctor".into()).await?;
    }
    Ok(())
}

/// Memory of finished instances is cleaned far more cheaply by kernels that can list dirty pages.
fn kernel() -> Finding {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    let mut numbers = release.split(['.', '-']).map_while(|part| part.parse::<u32>().ok());
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    Finding {
        health: Health::of(version >= (5, 4), Health::Bad),
        what: format!(
            "Linux {release}{}",
            if version < (6, 7) { ", 6.7 would be faster" } else { "" }
        ),
        remedy: "Linux 5.4 or newer is needed, 6.7 is faster",
    }
}

async fn folder(config: &Config) -> Finding {
    let remedy = "name a folder with modules by --modules or worker.modules";
    let Some(folder) = &config.modules else {
        return Finding {
            health: Health::Bad,
            what: "no folder of modules is named".into(),
            remedy,
        };
    };
    match load(config, folder).await {
        Ok((tasks, 0)) => Finding {
            health: Health::of(tasks > 0, Health::Bad),
            what: format!("{tasks} tasks in {}", folder.display()),
            remedy,
        },
        Ok((tasks, left_out)) => Finding {
            health: Health::of(tasks > 0, Health::Bad).max(Health::Doubtful),
            what: format!("{tasks} tasks in {}, {left_out} modules left out", folder.display()),
            remedy: "the log says why: run with -l info",
        },
        Err(error) => Finding { health: Health::Bad, what: format!("{error:#}"), remedy },
    }
}

/// Loads every module as a worker would; returns how many tasks there are, and modules left out.
async fn load(config: &Config, folder: &std::path::Path) -> anyhow::Result<(usize, usize)> {
    let wired = wiring::wire(config, None, &Shutdown::default()).await?;
    let modules: &Modules = &wired.modules;
    let sandbox = &*wired.ports.sandbox;
    let left_out = modules::load_folder(folder, config, &wired.compiler, sandbox, modules).await;
    wired.executors.stop().await;
    wired.ports.broker.leave().await?;
    Ok((modules.names().len(), left_out?))
}
