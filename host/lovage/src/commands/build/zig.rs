//! Zig: `zig build-exe`. Where the sources import `lovage` it becomes a module, else a program.

use std::path::PathBuf;

use anyhow::Context as _;

use super::{Tool, Work, c, run_tool};

pub(super) const TOOLS: &[&Tool] = &[&c::ZIG];

/// One module of the root file: the one that was named, `main.zig`, or the only one.
pub(super) fn build(work: &Work<'_>) -> anyhow::Result<PathBuf> {
    let output = work.scratch.join("zig.wasm");
    let mut emit = std::ffi::OsString::from("-femit-bin=");
    emit.push(&output);
    compile(work, &[emit])?;
    Ok(output)
}

/// The compiler's errors, without a module.
pub(super) fn check(work: &Work<'_>) -> anyhow::Result<()> {
    compile(work, &["-fno-emit-bin".into()])
}

fn compile(work: &Work<'_>, emit: &[std::ffi::OsString]) -> anyhow::Result<()> {
    let root = &work.project.root;
    let (file, uses_sdk) = root_file(work)?;
    let file = file.strip_prefix(root).unwrap_or(&file).display().to_string();
    let mut command = work.tool()?.call(root);
    command.args(["build-exe", "-target", "wasm32-wasi", "-mcpu=generic+simd128"]);
    command.args(["-O", "ReleaseSmall", "--name", "module"]).args(emit);
    if uses_sdk {
        let sdk = work.kit.join("sdk/zig/lovage.zig");
        command.args(["-fno-entry", "-mexec-model=reactor", "-lc"]);
        command.args(["--stack", "1048576", "--initial-memory=2097152"]);
        command.arg("-I").arg(work.kit.join("sdk/c"));
        command.args(c::runtime(&work.kit)?);
        command.args(["--dep", "lovage"]).arg(format!("-Mroot={file}"));
        command.arg(format!("-Mlovage={}", sdk.display()));
    } else {
        command.arg(&file);
    }
    run_tool(&mut command).map(drop)
}

/// The root file, and whether any file imports the SDK.
fn root_file(work: &Work<'_>) -> anyhow::Result<(PathBuf, bool)> {
    let mut files = work.project.sources("zig")?;
    let mut uses_sdk = false;
    for file in &files {
        let text = std::fs::read_to_string(file)
            .with_context(|| format!("cannot read {}", file.display()))?;
        uses_sdk |= text.contains("@import(\"lovage\")");
    }
    files.retain(|file| file.file_name().is_some_and(|name| name != "build.zig"));
    let main = files.iter().find(|file| file.file_name().is_some_and(|name| name == "main.zig"));
    let file = match (main, files.as_slice()) {
        (Some(main), _) => main.clone(),
        (None, [only]) => only.clone(),
        _ => anyhow::bail!("nothing says which file is the root: call it main.zig, or name it"),
    };
    Ok((file, uses_sdk))
}
