//! What is to be built: a folder, or a single file, and the language that its files tell.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::ValueEnum;

/// A language whose tasks can be built.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Language {
    C,
    Go,
    /// JavaScript and TypeScript.
    #[value(alias = "typescript", alias = "ts", alias = "js")]
    Javascript,
    Python,
    Ruby,
    Rust,
    Zig,
}

impl Language {
    /// Its name, as people write it.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::C => "C",
            Self::Go => "Go",
            Self::Javascript => "JavaScript",
            Self::Python => "Python",
            Self::Ruby => "Ruby",
            Self::Rust => "Rust",
            Self::Zig => "Zig",
        }
    }
}

/// Which file tells which language; the first that is there decides.
const SIGNS: [(&str, Language); 8] = [
    ("Cargo.toml", Language::Rust),
    ("go.mod", Language::Go),
    // Its interpreter may come by a package.json.
    ("main.rb", Language::Ruby),
    ("package.json", Language::Javascript),
    ("*.zig", Language::Zig),
    ("*.c", Language::C),
    ("*.rb", Language::Ruby),
    ("*.py", Language::Python),
];

/// Folders that no source is in.
const WITHOUT: [&str; 8] =
    ["__pycache__", "build", "dist", "node_modules", "target", "venv", "zig-cache", "zig-out"];

/// Files below a project that are looked at, so that a wrong folder ends in an error and not in a
/// walk over a disk.
const FILES_MAX: usize = 20_000;

/// What is built.
#[derive(Debug, Clone)]
pub(crate) struct Project {
    /// The folder, absolute.
    pub(crate) root: PathBuf,
    /// The one file that was named, if a file was.
    pub(crate) file: Option<PathBuf>,
    pub(crate) language: Language,
    /// What the module is called: the folder's name, or the file's.
    pub(crate) name: String,
}

impl Project {
    /// The project at `path`, in the language that is named or that its files tell.
    ///
    /// # Errors
    /// When there is nothing, or nothing that tells a language.
    pub(crate) fn find(path: &Path, language: Option<Language>) -> anyhow::Result<Self> {
        let path = std::fs::canonicalize(path)
            .with_context(|| format!("there is no {}", path.display()))?;
        let file = path.is_file().then(|| path.clone());
        let root = match &file {
            Some(file) => file.parent().unwrap_or(&path).to_owned(),
            None => path.clone(),
        };
        let Some(language) = language.or_else(|| told(&path)) else {
            bail!(
                "nothing in {} tells a language; `lovage new LANG NAME` starts a project",
                path.display()
            )
        };
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Self { root, file, language, name })
    }

    /// Whether there is a project at all: `dev` also takes folders of modules.
    pub(crate) fn is_there(path: &Path) -> bool {
        told(path).is_some()
    }

    /// The project's files: sources, and whatever else lies among them; sorted.
    ///
    /// # Errors
    /// When a folder cannot be read, or there are more files than any project has.
    pub(crate) fn files(&self) -> anyhow::Result<BTreeSet<PathBuf>> {
        let mut files = BTreeSet::new();
        collect(&self.root, &mut files)?;
        Ok(files)
    }

    /// Those of its files that end so, or the one that was named.
    ///
    /// # Errors
    /// As [`Self::files`], and when there is none.
    pub(crate) fn sources(&self, extension: &str) -> anyhow::Result<Vec<PathBuf>> {
        if let Some(file) = &self.file {
            return Ok(vec![file.clone()]);
        }
        let mut files: Vec<PathBuf> = self.files()?.into_iter().collect();
        files.retain(|file| file.extension().is_some_and(|it| it == extension));
        anyhow::ensure!(!files.is_empty(), "there is no *.{extension} in {}", self.root.display());
        Ok(files)
    }

    /// What a program says of its tasks: the `manifest.json` beside it, if there is one.
    pub(crate) fn manifest(&self) -> Option<PathBuf> {
        Some(self.root.join("manifest.json")).filter(|path| path.is_file())
    }
}

/// The language that a file's name tells, or the names in a folder.
fn told(path: &Path) -> Option<Language> {
    let names: Vec<String> = if path.is_file() {
        vec![path.file_name()?.to_string_lossy().into_owned()]
    } else {
        let entries = std::fs::read_dir(path).ok()?.flatten();
        let mut names: Vec<_> =
            entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        // The sources may all be one level down, as in most C projects.
        let below = std::fs::read_dir(path.join("src")).into_iter().flatten().flatten();
        names.extend(below.map(|entry| entry.file_name().to_string_lossy().into_owned()));
        let below = std::fs::read_dir(path).ok()?.flatten();
        let packages = below.filter(|entry| entry.path().join("__init__.py").exists());
        names.extend(packages.map(|_| "package.py".to_owned()));
        names
    };
    let is_there = |sign: &str| {
        names.iter().any(|name| match sign.strip_prefix('*') {
            Some(end) => name.ends_with(end),
            None => name == sign,
        })
    };
    SIGNS.into_iter().find(|(sign, _)| is_there(sign)).map(|(_, language)| language)
}

fn collect(folder: &Path, files: &mut BTreeSet<PathBuf>) -> anyhow::Result<()> {
    let entries = std::fs::read_dir(folder)
        .with_context(|| format!("cannot read the folder {}", folder.display()))?;
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            if !name.starts_with('.') && !WITHOUT.contains(&&*name) {
                collect(&path, files)?;
            }
        } else if !name.starts_with('.') && path.extension().is_none_or(|it| it != "wasm") {
            files.insert(path);
            anyhow::ensure!(
                files.len() <= FILES_MAX,
                "{} has more than {FILES_MAX} files: name the project's own folder",
                folder.display()
            );
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{Language, Project, told};

    #[test]
    fn files_tell_the_language() {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path();
        assert!(told(at).is_none());
        assert!(Project::find(at, None).is_err());
        std::fs::write(at.join("tasks.py"), "").unwrap();
        assert_eq!(told(at), Some(Language::Python));
        std::fs::write(at.join("main.c"), "").unwrap();
        std::fs::write(at.join("go.mod"), "").unwrap();
        assert_eq!(told(at), Some(Language::Go));
        assert_eq!(told(&at.join("main.c")), Some(Language::C));
        let named = Project::find(at, Some(Language::Zig)).unwrap();
        assert_eq!(named.language, Language::Zig);
        assert!(named.sources("zig").is_err());
        assert_eq!(named.sources("c").unwrap().len(), 1);
    }

    #[test]
    fn what_was_built_is_no_source() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["target/a.c", ".lovage/b.c", "node_modules/c.c", "src/d.c", "e.wasm"] {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        let project = Project::find(folder.path(), None).unwrap();
        assert_eq!(project.language, Language::C);
        assert_eq!(project.files().unwrap().len(), 1);
    }
}
