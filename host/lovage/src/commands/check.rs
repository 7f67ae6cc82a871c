//! `lovage check`: what cannot work, before a build; of a module, whether a worker would take it.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;
use lovage_sandbox::ModuleKind;

use super::build::{Project, Steps, look, prepare};
use crate::cli::CheckArguments;
use crate::config::Surroundings;
use crate::wiring;

/// Checks a project's sources with its language's tools, or a module.
///
/// # Errors
/// When something cannot work; the message is what the tools say, with file and line.
pub(crate) fn run(arguments: &CheckArguments) -> anyhow::Result<ExitCode> {
    let around = Surroundings::of_process();
    if arguments.project.extension().is_some_and(|extension| extension == "wasm") {
        return module(&arguments.project, &around);
    }
    let project = Project::find(&arguments.project, arguments.language)?;
    let steps = Steps::new(false);
    let work = prepare(&project, &around, steps)?;
    match project.language.check(&work) {
        Ok(()) => {
            println!("{}: nothing found that cannot work", project.name);
            Ok(ExitCode::SUCCESS)
        }
        Err(error) => {
            println!("{error:#}");
            Ok(ExitCode::from(1))
        }
    }
}

fn module(path: &Path, around: &Surroundings) -> anyhow::Result<ExitCode> {
    let wasm = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let name = path.file_stem().unwrap_or_default().to_string_lossy();
    let cache = around.build_cache().join("native");
    let looked = super::block_on(async {
        let (compiler, executors) = wiring::workshop(&cache).await?;
        let looked = look(&wasm, &name, None, &compiler, &executors).await;
        executors.stop().await;
        looked
    });
    let looked = match looked {
        Ok(looked) => looked,
        Err(error) => {
            println!("{}: {error:#}", path.display());
            return Ok(ExitCode::from(1));
        }
    };
    let kind = if looked.kind == ModuleKind::Command { "a program" } else { "a module" };
    println!("{}: {kind}", path.display());
    for task in &looked.manifest.tasks {
        println!("  {}({})", task.name, task.params.join(", "));
    }
    Ok(ExitCode::SUCCESS)
}
