//! The tools of a language: where they are found, and which versions will do.

use std::ffi::{OsStr, OsString};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail};

use crate::config::Surroundings;

/// A program that a build needs.
#[derive(Debug)]
pub(crate) struct Tool {
    /// What people call it.
    pub(crate) name: &'static str,
    /// The environment variable that may name it.
    pub(crate) variable: &'static str,
    /// Programs that it may be, the first that is found is taken; each with its first arguments.
    pub(crate) ways: &'static [&'static [&'static str]],
    /// What to ask for the version with.
    pub(crate) version: &'static [&'static str],
    /// The oldest version that works.
    pub(crate) minimum: &'static str,
    /// The version that this program was tested with.
    pub(crate) tested: &'static str,
    /// The line that installs it.
    pub(crate) install: &'static str,
}

/// A tool that was found.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    /// The program and its first arguments.
    pub(crate) command: Vec<OsString>,
    /// What it says its version is.
    pub(crate) version: String,
}

impl Found {
    /// A call of it in a folder.
    pub(crate) fn call(&self, folder: &Path) -> Command {
        let mut words = self.command.iter();
        let mut command = Command::new(words.next().map_or(OsStr::new(""), OsString::as_os_str));
        command.args(words).current_dir(folder);
        command
    }

    /// The folder that the program is in.
    pub(crate) fn folder(&self) -> Option<&Path> {
        self.command.first().and_then(|program| Path::new(program).parent())
    }
}

impl Tool {
    /// Finds it: where its variable says, in the project's own environment, or on the `PATH`.
    ///
    /// # Errors
    /// When there is none, or it is too old; the message says how to install it.
    pub(crate) fn find(&self, root: &Path, around: &Surroundings) -> anyhow::Result<Found> {
        let Some(command) = self.command(root, around) else {
            bail!("{} is not installed\n  {}", self.name, self.install);
        };
        let found = Found { command, version: String::new() };
        let asked = found.call(root).args(self.version).output();
        let said = asked.with_context(|| format!("cannot start {}", self.name))?;
        let text = [said.stdout, said.stderr].concat();
        let text = String::from_utf8_lossy(&text);
        let version = first_version(&text).unwrap_or_default().to_owned();
        if !said.status.success() || version.is_empty() {
            let last = text.lines().last().unwrap_or_default();
            bail!("{} does not say its version: {last}\n  {}", self.name, self.install);
        }
        if numbers(&version) < numbers(self.minimum) {
            bail!(
                "{} is {version}, and {} is the oldest that works\n  {}",
                self.name,
                self.minimum,
                self.install
            );
        }
        Ok(Found { version, ..found })
    }

    /// What to say of a version that nobody tried.
    pub(crate) fn doubt(&self, found: &Found) -> Option<String> {
        let newer = numbers(&found.version) > numbers(self.tested);
        newer.then(|| format!("{} is {}; {} was tested", self.name, found.version, self.tested))
    }

    fn command(&self, root: &Path, around: &Surroundings) -> Option<Vec<OsString>> {
        if let Some(named) = around.variable(self.variable) {
            return Some(vec![named]);
        }
        let mut places = vec![root.join("node_modules/.bin"), root.join(".venv/bin")];
        places.extend(around.variable("VIRTUAL_ENV").map(|venv| PathBuf::from(venv).join("bin")));
        places.extend(around.path());
        for way in self.ways {
            let Some((program, rest)) = way.split_first() else { continue };
            let candidates = places.iter().map(|place| place.join(program));
            let Some(path) = candidates.into_iter().find(|path| is_program(path)) else { continue };
            let command: Vec<OsString> = std::iter::once(path.into_os_string())
                .chain(rest.iter().map(OsString::from))
                .collect();
            // A way of several words (`python3 -m …`) may lead nowhere: ask.
            if rest.is_empty() || answers(&command, self.version) {
                return Some(command);
            }
        }
        None
    }
}

fn answers(command: &[OsString], question: &[&str]) -> bool {
    let found = Found { command: command.to_vec(), version: String::new() };
    let answer = found.call(Path::new("/")).args(question).output();
    answer.is_ok_and(|answer| answer.status.success())
}

fn is_program(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|it| it.is_file() && it.permissions().mode() & 0o111 != 0)
}

/// The first thing in a text that looks like a version: digits, a dot, digits.
fn first_version(text: &str) -> Option<&str> {
    let is_part = |letter: char| letter.is_ascii_digit() || letter == '.';
    text.split(|letter: char| !is_part(letter))
        .map(|word| word.trim_matches('.'))
        .find(|word| word.contains('.'))
}

fn numbers(version: &str) -> Vec<u64> {
    version.split('.').map_while(|part| part.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::{first_version, numbers};

    #[test]
    fn versions_are_read_and_compared_as_numbers() {
        assert_eq!(first_version("go version go1.27.3 linux/amd64"), Some("1.27.3"));
        assert_eq!(first_version("cargo 1.95.0 (abc 2026-01-01)"), Some("1.95.0"));
        assert_eq!(first_version("0.17.0\n"), Some("0.17.0"));
        assert_eq!(first_version("none"), None);
        assert!(numbers("1.9.0") < numbers("1.27"));
        assert!(numbers("0.17.0") >= numbers("0.17.0"));
    }
}
