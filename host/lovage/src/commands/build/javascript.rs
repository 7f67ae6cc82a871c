//! JavaScript and TypeScript: the SDK's own builder, which calls jco.
//!
//! Where the package says `"lovage": { "engine": "starlingmonkey" }`, that engine is taken instead of
//! QuickJS.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Context as _;

use super::{Tool, Work, run_tool};

const NODE: Tool = Tool {
    name: "Node",
    variable: "LOVAGE_NODE",
    ways: &[&["node"]],
    version: &["--version"],
    minimum: "20",
    tested: "20.20",
    install: "install Node 20 or newer",
};

pub(super) const TOOLS: &[&Tool] = &[&NODE];

/// Checks types, bundles and builds.
pub(super) fn build(work: &Work<'_>) -> anyhow::Result<PathBuf> {
    let output = work.scratch.join("javascript.wasm");
    let mut command = builder(work, "build")?;
    command.arg("-o").arg(&output).args(["--module", &work.project.name.replace('-', "_")]);
    command.arg("--wit").arg(work.kit.join("wit")).arg("--no-cache");
    if let Some(engine) = engine(work)? {
        command.args(["--engine", &engine]);
    }
    run_tool(&mut command)?;
    Ok(output)
}

/// What does not type-check, with file and line.
pub(super) fn check(work: &Work<'_>) -> anyhow::Result<()> {
    run_tool(&mut builder(work, "check")?).map(drop)
}

fn builder(work: &Work<'_>, verb: &str) -> anyhow::Result<Command> {
    let mut command = work.tool()?.call(&work.project.root);
    command.arg(work.kit.join("sdk/js/build/cli.mjs")).arg(verb);
    command.arg(work.project.file.as_ref().unwrap_or(&work.project.root));
    Ok(command)
}

/// The engine that the package asks for.
fn engine(work: &Work<'_>) -> anyhow::Result<Option<String>> {
    let path = work.project.root.join("package.json");
    let Ok(text) = std::fs::read_to_string(&path) else { return Ok(None) };
    let package: serde_json::Value =
        serde_json::from_str(&text).with_context(|| format!("cannot read {}", path.display()))?;
    let engine = package.get("lovage").and_then(|ours| ours.get("engine")?.as_str());
    Ok(engine.map(str::to_owned))
}
