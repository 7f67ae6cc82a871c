//! Rust: `cargo build` for `wasm32-wasip2`.
//!
//! A library of kind `cdylib` becomes a module, a program a program. Where the package says
//! `[package.metadata.lovage] profile = "…"`, that profile is built instead of `release`.

use std::path::PathBuf;

use anyhow::{Context as _, bail};

use super::{Tool, Work, run_tool};

const TARGET: &str = "wasm32-wasip2";

const CARGO: Tool = Tool {
    name: "cargo",
    variable: "LOVAGE_CARGO",
    ways: &[&["cargo"]],
    version: &["--version"],
    minimum: "1.82",
    tested: "1.95.0",
    install: "install rustup, then: rustup target add wasm32-wasip2",
};

pub(super) const TOOLS: &[&Tool] = &[&CARGO];

/// Builds, and finds what cargo made by what it says.
pub(super) fn build(work: &Work<'_>) -> anyhow::Result<PathBuf> {
    let said = cargo(work, "build")?;
    let made = said.lines().filter_map(made).next_back();
    made.context("the package has no library of crate-type `cdylib` and no program")
}

/// `cargo check`.
pub(super) fn check(work: &Work<'_>) -> anyhow::Result<()> {
    cargo(work, "check").map(drop)
}

fn cargo(work: &Work<'_>, verb: &str) -> anyhow::Result<String> {
    let mut command = work.tool()?.call(&work.project.root);
    command.args([verb, "--target", TARGET, "--profile", &profile(work)?]);
    command.args(["--message-format", "json-render-diagnostics"]);
    run_tool(&mut command).map_err(|error| {
        let text = format!("{error:#}");
        if text.contains("can't find crate for `core`")
            || text.contains("can't find crate for `std`")
        {
            return anyhow::anyhow!("Rust cannot build for {TARGET}\n  rustup target add {TARGET}");
        }
        error
    })
}

fn profile(work: &Work<'_>) -> anyhow::Result<String> {
    let path = work.project.root.join("Cargo.toml");
    let text = std::fs::read_to_string(&path)
        .with_context(|| format!("cannot read {}", path.display()))?;
    let manifest: toml::Table = text.parse().with_context(|| path.display().to_string())?;
    let Some(package) = manifest.get("package") else {
        bail!("{} is a workspace: name the folder of a package", path.display());
    };
    let ours = package.get("metadata").and_then(|it| it.get("lovage")?.get("profile")?.as_str());
    Ok(ours.unwrap_or("release").to_owned())
}

/// The file that one of cargo's messages tells of, if it is a module or a program.
fn made(line: &str) -> Option<PathBuf> {
    let message: serde_json::Value = serde_json::from_str(line).ok()?;
    if message.get("reason")?.as_str()? != "compiler-artifact" {
        return None;
    }
    let kinds = message.get("target")?.get("kind")?.as_array()?;
    let is_ours = kinds.iter().any(|kind| matches!(kind.as_str(), Some("cdylib" | "bin")));
    let files = message.get("filenames")?.as_array()?;
    let mut files = files.iter().filter_map(|file| file.as_str()).map(PathBuf::from);
    let wasm = files.find(|file| file.extension().is_some_and(|it| it == "wasm"))?;
    is_ours.then_some(wasm)
}

#[cfg(test)]
mod tests {
    use super::made;

    #[test]
    fn the_module_is_found_among_what_cargo_says() {
        let line = r#"{"reason":"compiler-artifact","target":{"kind":["cdylib","rlib"]},
            "filenames":["/t/shop.rlib","/t/shop.wasm"]}"#;
        assert_eq!(made(line), Some("/t/shop.wasm".into()));
        assert_eq!(made(r#"{"reason":"build-finished","success":true}"#), None);
        assert_eq!(made("warning: not JSON"), None);
    }
}
