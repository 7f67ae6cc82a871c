//! C: `zig cc`, which brings a libc for WebAssembly.
//!
//! With the SDK's header it becomes a module, without it a program.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;

use super::{Tool, Work, run_tool};

/// Zig is C's compiler, too.
pub(super) const ZIG: Tool = Tool {
    name: "zig",
    variable: "LOVAGE_ZIG",
    ways: &[&["zig"], &["python3", "-m", "ziglang"]],
    version: &["version"],
    minimum: "0.16",
    tested: "0.17.0",
    install: "python3 -m venv .venv && .venv/bin/pip install ziglang==0.17.0",
};

pub(super) const TOOLS: &[&Tool] = &[&ZIG];

/// Vector instructions, as every engine here has them, and the names that tracebacks show.
const FLAGS: [&str; 5] = ["-target", "wasm32-wasi", "-msimd128", "-Os", "-Wall"];

/// What an instance begins with, bytes: 1 MiB of stack, and as much again for statics and a heap that
/// need not grow. Growing costs each attempt a system call.
const MEMORY: [&str; 2] = ["-Wl,-z,stack-size=1048576", "-Wl,--initial-memory=2097152"];

/// One module of all C files.
pub(super) fn build(work: &Work<'_>) -> anyhow::Result<PathBuf> {
    module(work, "c.wasm", &[])
}

/// Warnings and errors: a module that nobody takes, because zig's driver cannot stop before there is one.
pub(super) fn check(work: &Work<'_>) -> anyhow::Result<()> {
    module(work, "checked.wasm", &["-Wextra", "-Werror"]).map(drop)
}

fn module(work: &Work<'_>, name: &str, more: &[&str]) -> anyhow::Result<PathBuf> {
    let output = work.scratch.join(name);
    let mut command = compiler(work)?;
    command.args(more);
    if uses_sdk(work)? {
        command.arg("-mexec-model=reactor").args(MEMORY).args(runtime(&work.kit)?);
    }
    command.arg("-o").arg(&output);
    run_tool(&mut command)?;
    Ok(output)
}

/// The SDK's own C files: Zig's SDK stands on them, too.
pub(super) fn runtime(kit: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let folder = kit.join("sdk/c");
    let entries = std::fs::read_dir(&folder)
        .with_context(|| format!("the SDK is not in {}", folder.display()))?;
    let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    files.retain(|file| file.extension().is_some_and(|it| it == "c"));
    files.sort();
    Ok(files)
}

fn compiler(work: &Work<'_>) -> anyhow::Result<Command> {
    let root = &work.project.root;
    let mut command = work.tool()?.call(root);
    command.arg("cc").args(FLAGS).arg("-I").arg(work.kit.join("sdk/c"));
    // Paths as the author writes them are what a traceback shows.
    let sources = work.project.sources("c")?;
    command.args(sources.iter().map(|file| file.strip_prefix(root).unwrap_or(file)));
    Ok(command)
}

fn uses_sdk(work: &Work<'_>) -> anyhow::Result<bool> {
    for file in work.project.sources("c")? {
        let text = std::fs::read(&file)?;
        if String::from_utf8_lossy(&text).contains("lovage.h") {
            return Ok(true);
        }
    }
    Ok(false)
}
