//! `lovage build`: from a project to a module, by the tools of its language.
//!
//! A builder is a file here and an arm in [`Language`]'s two matches below: the tools it needs, and
//! what it does with them. Everything else is the same for all: finding the tools, keeping finished
//! builds, loading the module as a worker would, and embedding its manifest.

mod c;
mod cache;
mod go;
mod javascript;
mod manifest;
mod project;
mod python;
mod ruby;
mod rust;
mod steps;
mod tool;
mod zig;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::Context as _;
use lovage_sandbox::ModuleKind;

pub(crate) use manifest::look;
pub(crate) use project::{Language, Project};
pub(crate) use steps::{Steps, run as run_tool};
pub(crate) use tool::{Found, Tool};

use crate::cli::BuildArguments;
use crate::config::Surroundings;
use crate::{kit, wiring};

/// What a builder is given.
pub(crate) struct Work<'a> {
    pub(crate) project: &'a Project,
    /// The tools, in the order in which the language names them.
    pub(crate) tools: Vec<Found>,
    /// Where the SDKs and the contract are: `sdk/…`, `wit/…`.
    pub(crate) kit: PathBuf,
    /// A folder of this project's builds: what lies there may be used again.
    pub(crate) scratch: PathBuf,
    pub(crate) around: &'a Surroundings,
    pub(crate) steps: Steps,
}

impl Work<'_> {
    /// The tool that the language names first.
    ///
    /// # Errors
    /// When the language names none, which is a mistake in here.
    pub(crate) fn tool(&self) -> anyhow::Result<&Found> {
        self.tools.first().context("this language names no tool")
    }
}

impl Language {
    /// The tools that a build needs.
    pub(crate) const fn tools(self) -> &'static [&'static Tool] {
        match self {
            Self::C => c::TOOLS,
            Self::Go => go::TOOLS,
            Self::Javascript => javascript::TOOLS,
            Self::Python => python::TOOLS,
            Self::Rust => rust::TOOLS,
            Self::Zig => zig::TOOLS,
            Self::Ruby => &[],
        }
    }

    /// The parts of the kit that a project needs a copy of.
    pub(crate) const fn parts(self) -> &'static [&'static str] {
        match self {
            Self::C => &["sdk/c/"],
            Self::Go => &["sdk/go/", "wit/"],
            Self::Javascript => &["sdk/js/", "wit/"],
            Self::Python => &["sdk/python/", "wit/"],
            Self::Ruby => &["wit/"],
            Self::Rust => &["Cargo.toml", "sdk/rust/", "wit/"],
            Self::Zig => &["sdk/c/", "sdk/zig/"],
        }
    }

    /// Builds; returns the file that came of it.
    fn build(self, work: &Work<'_>) -> anyhow::Result<PathBuf> {
        match self {
            Self::C => c::build(work),
            Self::Go => go::build(work),
            Self::Javascript => javascript::build(work),
            Self::Python => python::build(work),
            Self::Ruby => ruby::build(work),
            Self::Rust => rust::build(work),
            Self::Zig => zig::build(work),
        }
    }

    /// Says what cannot work, without building.
    pub(crate) fn check(self, work: &Work<'_>) -> anyhow::Result<()> {
        match self {
            Self::C => c::check(work),
            Self::Go => go::check(work),
            Self::Javascript => javascript::check(work),
            Self::Python => python::check(work),
            Self::Rust => rust::check(work),
            Self::Zig => zig::check(work),
            Self::Ruby => Ok(()),
        }
    }

    /// Whether its own tools know best what changed, so that nothing is kept here.
    const fn keeps_its_own_cache(self) -> bool {
        matches!(self, Self::Rust)
    }
}

/// What came of a build.
pub(crate) struct Built {
    pub(crate) output: PathBuf,
    pub(crate) bytes: usize,
    pub(crate) tasks: Vec<String>,
    pub(crate) is_cached: bool,
    pub(crate) kind: ModuleKind,
}

/// Builds one project.
///
/// # Errors
/// When a tool is missing or says no, or a worker would refuse what was built.
pub(crate) fn run(arguments: &BuildArguments) -> anyhow::Result<ExitCode> {
    let project = Project::find(&arguments.project, arguments.language)?;
    let output = match &arguments.output {
        Some(output) => std::path::absolute(output)?,
        None => project.root.join(format!("{}.wasm", project.name)),
    };
    let steps = Steps::new(arguments.quiet);
    let around = Surroundings::of_process();
    let begun = Instant::now();
    let built = build(&project, &output, &around, steps, !arguments.no_cache)?;
    let is_program = if built.kind == ModuleKind::Command { ", a program" } else { "" };
    let how = if built.is_cached { "unchanged" } else { "built" };
    println!(
        "{}  {} kB{is_program}  {}  {how} in {:.1} s",
        shown(&built.output).display(),
        built.bytes.div_ceil(1000),
        built.tasks.join(" "),
        begun.elapsed().as_secs_f64(),
    );
    Ok(ExitCode::SUCCESS)
}

/// Builds a project into `output`.
///
/// # Errors
/// As [`run`].
pub(crate) fn build(
    project: &Project,
    output: &Path,
    around: &Surroundings,
    steps: Steps,
    use_cache: bool,
) -> anyhow::Result<Built> {
    let work = prepare(project, around, steps)?;
    let key = cache::key(project, project.language.parts(), &work.tools)?;
    let kept = cache::place(&around.build_cache(), &key);
    let may_use = use_cache && !project.language.keeps_its_own_cache();
    if let Some(wasm) = may_use.then(|| std::fs::read(&kept).ok()).flatten() {
        cache::replace(output, &wasm)?;
        return looked(project, around, output, wasm, true);
    }
    let language = project.language;
    let what = format!("building {} ({})", project.name, versions(language, &work.tools));
    let wasm = steps.step(&what, || {
        let file = language.build(&work)?;
        std::fs::read(&file).with_context(|| format!("cannot read {}", file.display()))
    })?;
    let built = steps
        .step("loading it as a worker does", || looked(project, around, output, wasm, false))?;
    if may_use {
        cache::replace(&kept, &std::fs::read(output)?)?;
    }
    Ok(built)
}

/// Finds the tools and writes the kit.
///
/// # Errors
/// When a tool is missing, with the line that installs it.
pub(crate) fn prepare<'a>(
    project: &'a Project,
    around: &'a Surroundings,
    steps: Steps,
) -> anyhow::Result<Work<'a>> {
    let mut tools = Vec::new();
    for tool in project.language.tools() {
        let found = tool.find(&project.root, around)?;
        if let Some(doubt) = tool.doubt(&found) {
            steps.say(&doubt);
        }
        tools.push(found);
    }
    let own = kit::place(&project.root);
    let kit = if let Some(named) = around.variable("LOVAGE_KIT") {
        PathBuf::from(named)
    } else {
        kit::write(&own, project.language.parts())?;
        own
    };
    let scratch = project.root.join(".lovage/build");
    std::fs::create_dir_all(&scratch)
        .with_context(|| format!("cannot write {}", scratch.display()))?;
    Ok(Work { project, tools, kit, scratch, around, steps })
}

/// Loads what was built; embeds its manifest and writes it where that is still to be done.
fn looked(
    project: &Project,
    around: &Surroundings,
    output: &Path,
    wasm: Vec<u8>,
    is_cached: bool,
) -> anyhow::Result<Built> {
    let native = around.build_cache().join("native");
    let looked = super::block_on(async {
        let (compiler, executors) = wiring::workshop(&native).await?;
        let looked = look(&wasm, &project.name, Some(project), &compiler, &executors).await;
        executors.stop().await;
        looked
    })?;
    let wasm = match &looked.text {
        Some(text) => manifest::embed(wasm, text),
        None => wasm,
    };
    if !is_cached {
        cache::replace(output, &wasm)?;
    }
    let tasks = looked.manifest.tasks.iter().map(|task| task.name.to_string()).collect();
    let output = output.to_owned();
    Ok(Built { output, bytes: wasm.len(), tasks, is_cached, kind: looked.kind })
}

/// The tools with their versions, for people.
fn versions(language: Language, tools: &[Found]) -> String {
    let tools: Vec<String> = language
        .tools()
        .iter()
        .zip(tools)
        .map(|(tool, found)| format!("{} {}", tool.name, found.version))
        .collect();
    tools.join(", ")
}

/// A path as short as it can be said from here.
pub(crate) fn shown(path: &Path) -> PathBuf {
    let here = std::env::current_dir().unwrap_or_default();
    path.strip_prefix(here).unwrap_or(path).to_owned()
}
