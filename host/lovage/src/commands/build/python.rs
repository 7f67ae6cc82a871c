//! Python: the SDK's own builder, which calls componentize-py.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, bail};

use super::{Tool, Work, run_tool};

const COMPONENTIZE: Tool = Tool {
    name: "componentize-py",
    variable: "LOVAGE_COMPONENTIZE_PY",
    ways: &[&["componentize-py"]],
    version: &["--version"],
    minimum: "0.25.1",
    tested: "0.25.1",
    install: "python3 -m venv .venv && .venv/bin/pip install componentize-py==0.25.1",
};

const PYTHON: Tool = Tool {
    name: "Python",
    variable: "LOVAGE_PYTHON3",
    ways: &[&["python3"], &["python"]],
    version: &["--version"],
    minimum: "3.10",
    tested: "3.14",
    install: "install Python 3.10 or newer",
};

pub(super) const TOOLS: &[&Tool] = &[&COMPONENTIZE, &PYTHON];

/// Builds; what cannot work is told before.
pub(super) fn build(work: &Work<'_>) -> anyhow::Result<PathBuf> {
    // What cannot work is told before the minute that a build takes, and does not stop it: it may
    // never be reached.
    if let Ok(done) = builder(work)?.arg("check").arg(source(work)?).output() {
        work.steps.say(String::from_utf8_lossy(&done.stdout).trim());
    }
    let output = work.scratch.join("python.wasm");
    let mut command = builder(work)?;
    command.arg("build").arg(source(work)?).arg("-o").arg(&output);
    command.args(["--name", &work.project.name.replace('-', "_"), "--no-cache", "--quiet"]);
    command.arg("--wit").arg(work.kit.join("wit"));
    run_tool(&mut command)?;
    Ok(output)
}

/// What cannot work in a sandbox, with file and line; nothing is imported or run.
pub(super) fn check(work: &Work<'_>) -> anyhow::Result<()> {
    let said = run_tool(builder(work)?.arg("check").arg(source(work)?))?;
    if !said.trim().is_empty() {
        println!("{}", said.trim_end());
    }
    Ok(())
}

fn builder(work: &Work<'_>) -> anyhow::Result<Command> {
    let [componentize, python] = work.tools.as_slice() else { bail!("Python needs two tools") };
    let beside = componentize.folder().map(|folder| folder.join("python"));
    let mut command = match beside.filter(|python| python.exists()) {
        Some(python) => Command::new(python),
        None => python.call(&work.project.root),
    };
    // The builder looks for its tool beside its interpreter, then on the path.
    let mut path: Vec<PathBuf> = componentize.folder().map(PathBuf::from).into_iter().collect();
    path.extend(work.around.path());
    command.current_dir(&work.project.root).args(["-B", "-m", "lovage_build"]);
    command.env("PATH", std::env::join_paths(path)?);
    command.env("PYTHONPATH", work.kit.join("sdk/python"));
    command.env("LOVAGE_BUILD_CACHE", work.around.build_cache().join("python"));
    Ok(command)
}

/// The file or package that declares the tasks: the one that was named, `tasks.py`, a package, or
/// the only file there is.
fn source(work: &Work<'_>) -> anyhow::Result<PathBuf> {
    let project = work.project;
    if let Some(file) = &project.file {
        return Ok(file.clone());
    }
    let tasks = project.root.join("tasks.py");
    if tasks.exists() {
        return Ok(tasks);
    }
    if project.root.join("__init__.py").exists() {
        return Ok(project.root.clone());
    }
    let inner = |file: &PathBuf| file.parent() == Some(&project.root);
    let files: Vec<PathBuf> = project.sources("py")?.into_iter().filter(inner).collect();
    let packages = std::fs::read_dir(&project.root)?.flatten().map(|entry| entry.path());
    let mut packages: Vec<PathBuf> =
        packages.filter(|path| path.join("__init__.py").exists()).collect();
    packages.retain(|path| ["tasks.py", "celery.py"].iter().any(|name| path.join(name).exists()));
    match (files.as_slice(), packages.as_slice()) {
        ([file], []) => Ok(file.clone()),
        (_, [package]) => Ok(package.clone()),
        _ => Err(anyhow::anyhow!("nothing says which file declares the tasks"))
            .context("name it: `lovage build FILE.py`, or call it tasks.py"),
    }
}
