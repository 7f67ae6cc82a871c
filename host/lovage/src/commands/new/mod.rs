//! `lovage new`: a folder with a first task, ready to build.
//!
//! A template is a list of files; `{{name}}` in them is the project's name, `{{module}}` the same as
//! an identifier. The SDK's copy goes beside them, in `.lovage/kit`.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, ensure};
use clap::ValueEnum;

use super::build::{Language, Project, shown};
use crate::cli::NewArguments;
use crate::config::Surroundings;
use crate::kit;

/// What a project can be started from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Template {
    C,
    /// A program without an SDK: JSON on standard input, JSON on standard output
    Command,
    Go,
    Python,
    Rust,
    /// TypeScript, on QuickJS
    #[value(alias = "ts", alias = "javascript", alias = "js")]
    Typescript,
    Zig,
}

/// What every project leaves out of version control.
const IGNORED: (&str, &str) =
    (".gitignore", "/.lovage/\n/target/\n/*.wasm\nnode_modules/\n.venv/\n");

impl Template {
    const fn language(self) -> Language {
        match self {
            Self::C => Language::C,
            Self::Go => Language::Go,
            Self::Python => Language::Python,
            Self::Rust => Language::Rust,
            Self::Typescript => Language::Javascript,
            Self::Command | Self::Zig => Language::Zig,
        }
    }

    /// Paths and texts.
    const fn files(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::C => &[("tasks.c", include_str!("templates/c/tasks.c"))],
            Self::Command => &[
                ("main.zig", include_str!("templates/command/main.zig")),
                ("manifest.json", include_str!("templates/command/manifest.json")),
            ],
            Self::Go => &[
                ("go.mod", include_str!("templates/go/go.mod.in")),
                ("tasks.go", include_str!("templates/go/tasks.go")),
                ("tasks_test.go", include_str!("templates/go/tasks_test.go")),
            ],
            Self::Python => &[("tasks.py", include_str!("templates/python/tasks.py"))],
            Self::Rust => &[
                ("Cargo.toml", include_str!("templates/rust/Cargo.toml.in")),
                (".cargo/config.toml", include_str!("templates/rust/config.toml")),
                ("src/lib.rs", include_str!("templates/rust/lib.rs")),
            ],
            Self::Typescript => &[
                ("package.json", include_str!("templates/typescript/package.json")),
                ("tsconfig.json", include_str!("templates/typescript/tsconfig.json")),
                ("tasks.ts", include_str!("templates/typescript/tasks.ts")),
                ("tasks.test.ts", include_str!("templates/typescript/tasks.test.ts")),
            ],
            Self::Zig => &[("main.zig", include_str!("templates/zig/main.zig"))],
        }
    }
}

/// Makes the folder.
///
/// # Errors
/// When the name cannot be used, the folder is there already, or it cannot be written.
pub(crate) fn run(arguments: &NewArguments) -> anyhow::Result<ExitCode> {
    let folder = std::path::absolute(&arguments.name)?;
    let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let template = arguments.language;
    make(&folder, &name, template)?;
    let around = Surroundings::of_process();
    println!("{} is a project in {}", shown(&folder).display(), template.language().as_str());
    let project = Project::find(&folder, Some(template.language()))?;
    for tool in template.language().tools() {
        match tool.find(&project.root, &around) {
            Ok(found) => println!("  {} {}", tool.name, found.version),
            Err(error) => println!("  {error}"),
        }
    }
    let called = format!("{}.hello", identifier(&name));
    println!(
        "next:\n  cd {}\n  lovage dev\n  lovage call {called} -a '[\"you\"]'  # in another terminal: see what dev says of the broker",
        arguments.name
    );
    Ok(ExitCode::SUCCESS)
}

/// Writes the template and the kit.
fn make(folder: &Path, name: &str, template: Template) -> anyhow::Result<()> {
    let is_usable = name.starts_with(|first: char| first.is_ascii_alphabetic())
        && name.chars().all(|it| it.is_ascii_alphanumeric() || it == '-' || it == '_');
    ensure!(
        is_usable,
        "a name begins with a letter and has letters, digits, - and _: not {name:?}"
    );
    let is_empty = std::fs::read_dir(folder).map_or(true, |mut entries| entries.next().is_none());
    ensure!(is_empty, "{} is there already and not empty", folder.display());
    let module = identifier(name);
    for (path, text) in template.files().iter().chain([&IGNORED]) {
        let path = folder.join(path);
        let text = text.replace("{{name}}", name).replace("{{module}}", &module);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent)
                .with_context(|| format!("cannot make {}", parent.display()))?;
        }
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    kit::write(&kit::place(folder), template.language().parts())
}

fn identifier(name: &str) -> String {
    name.replace('-', "_").to_lowercase()
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum as _;

    use super::{Template, make};
    use crate::commands::build::Project;

    #[test]
    fn every_template_is_a_project_of_its_language() {
        for template in Template::value_variants() {
            let folder = tempfile::tempdir().unwrap();
            let at = folder.path().join("first-shop");
            make(&at, "first-shop", *template).unwrap();
            assert_eq!(Project::find(&at, None).unwrap().language, template.language());
            for (path, _) in template.files() {
                let text = std::fs::read_to_string(at.join(path)).unwrap();
                assert!(!text.contains("{{"), "{path} has a name left open");
            }
            assert!(make(&at, "first-shop", *template).is_err(), "it is there already");
        }
    }

    #[test]
    fn a_name_that_is_no_name_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["", "1st", "a b", "../up"] {
            assert!(make(&folder.path().join("x"), name, Template::C).is_err(), "{name}");
        }
    }
}
