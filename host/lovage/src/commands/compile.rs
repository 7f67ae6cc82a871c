//! `lovage compile`: one module into native code, in a process that may die of it.

use std::process::ExitCode;

use crate::cli::CompileArguments;

/// Compiles.
///
/// # Errors
/// None: what goes wrong is in the exit code and on standard output, for the worker that asked.
#[expect(clippy::unnecessary_wraps, reason = "all commands have one form")]
pub(crate) fn run(arguments: &CompileArguments) -> anyhow::Result<ExitCode> {
    Ok(lovage_sandbox::compile_main(&arguments.module, &arguments.out))
}
