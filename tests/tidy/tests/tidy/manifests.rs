//! Every fact about a crate is said once: versions, licence and lints come from the workspace.

use toml::Table;

use crate::layers::{self, Dependency};
use crate::tree::{Finding, Tree};

/// A `Cargo.toml` that could be parsed.
#[derive(Debug)]
pub(crate) struct Manifest {
    pub(crate) path: String,
    pub(crate) table: Table,
}

impl Manifest {
    /// The folder it is in; empty for the workspace's own.
    pub(crate) fn folder(&self) -> &str {
        self.path.trim_end_matches("Cargo.toml").trim_end_matches('/')
    }

    /// The name of its package; `None` for a workspace without one.
    pub(crate) fn name(&self) -> Option<&str> {
        self.table.get("package")?.get("name")?.as_str()
    }

    pub(crate) fn dependencies(&self) -> Vec<Dependency> {
        layers::dependencies(&self.table)
    }
}

/// All manifests of the tree; [`check`] complains about those that cannot be parsed.
pub(crate) fn load(tree: &Tree) -> Vec<Manifest> {
    tree.texts()
        .filter(|(file, _)| file.name() == "Cargo.toml")
        .filter_map(|(file, text)| {
            Some(Manifest { path: file.path.clone(), table: text.parse::<Table>().ok()? })
        })
        .collect()
}

/// Versions, licences, lints or toolchains that are missing or said a second time.
pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (file, text) in tree.texts().filter(|(file, _)| file.name() == "Cargo.toml") {
        match text.parse::<Table>() {
            Ok(table) => findings.extend(manifest(&Manifest { path: file.path.clone(), table })),
            Err(error) => findings.push(Finding::whole(&file.path, error.to_string())),
        }
    }
    findings.extend(toolchain(tree));
    findings.extend(lock(tree));
    findings
}

fn manifest(manifest: &Manifest) -> Vec<Finding> {
    let mut findings = Vec::new();
    let Some(package) = manifest.table.get("package") else { return findings };
    let mut find = |message: String| findings.push(Finding::whole(&manifest.path, message));
    // An example is read by people who want to write their own: as little beside the task as can be.
    let example = manifest.folder().starts_with("guest-examples/");
    let fields = ["version", "edition", "rust-version", "license", "publish", "repository"];
    for field in fields.into_iter().take(if example { 5 } else { 6 }) {
        let inherited = package.get(field).and_then(|value| value.get("workspace"));
        if inherited.and_then(toml::Value::as_bool) != Some(true) {
            find(format!("say `{field}.workspace = true`"));
        }
    }
    let described = package.get("description").and_then(toml::Value::as_str);
    if !example && described.is_none_or(str::is_empty) {
        find("say in `description` what the crate is for".to_owned());
    }
    let lints = manifest.table.get("lints").and_then(|lints| lints.get("workspace"));
    if lints.and_then(toml::Value::as_bool) != Some(true) {
        find("say `[lints] workspace = true`".to_owned());
    }
    for dependency in manifest.dependencies().iter().filter(|used| !used.inherited) {
        let name = &dependency.name;
        find(format!("`{name}` needs `workspace = true`: versions are in the root manifest only"));
    }
    findings
}

/// The pinned toolchain is the one that the workspace promises to build with.
fn toolchain(tree: &Tree) -> Option<Finding> {
    let promised: Table = tree.text("Cargo.toml")?.parse().ok()?;
    let promised = promised.get("workspace")?.get("package")?.get("rust-version")?.as_str()?;
    let pinned: Table = tree.text("rust-toolchain.toml")?.parse().ok()?;
    let pinned = pinned.get("toolchain")?.get("channel")?.as_str()?;
    let same = pinned == promised || pinned.starts_with(&format!("{promised}."));
    let message = format!("pins {pinned}, but `rust-version` is {promised}");
    (!same).then(|| Finding::whole("rust-toolchain.toml", message))
}

/// What `deny.toml` bans is not locked, and everything locked is a release, not somebody's branch.
fn lock(tree: &Tree) -> Vec<Finding> {
    let parsed = |path: &str| tree.text(path).and_then(|text| text.parse::<Table>().ok());
    let (Some(lock), Some(deny)) = (parsed("Cargo.lock"), parsed("deny.toml")) else {
        return Vec::new();
    };
    let banned = deny.get("bans").and_then(|bans| bans.get("deny")?.as_array()).into_iter();
    let banned: Vec<&str> = banned.flatten().filter_map(|ban| ban.get("crate")?.as_str()).collect();
    let mut findings = Vec::new();
    let packages = lock.get("package").and_then(toml::Value::as_array);
    for package in packages.into_iter().flatten() {
        let field = |name: &str| package.get(name).and_then(toml::Value::as_str);
        let name = field("name").unwrap_or_default();
        if banned.contains(&name) {
            let message = format!("`{name}` is banned in deny.toml, which says why");
            findings.push(Finding::whole("Cargo.lock", message));
        }
        if field("source").is_some_and(|source| source.starts_with("git+")) {
            let message = format!("`{name}` comes from a repository: take a release");
            findings.push(Finding::whole("Cargo.lock", message));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "[package]
name = \"it\"
description = \"A sample.\"
version.workspace = true
edition.workspace = true
rust-version.workspace = true
license.workspace = true
repository.workspace = true
publish.workspace = true
[lints]
workspace = true
[dependencies]
serde.workspace = true
tokio = { workspace = true, features = [\"rt\"] }
";

    fn findings(text: &str) -> usize {
        check(&Tree::sample(&[("host/it/Cargo.toml", text)])).len()
    }

    #[test]
    fn a_manifest_that_inherits_everything_is_good() {
        assert_eq!(findings(GOOD), 0);
    }

    #[test]
    fn what_is_missing_or_said_twice_is_found() {
        for (good, bad) in [
            ("license.workspace = true\n", ""),
            ("license.workspace = true", "license = \"MIT\""),
            ("edition.workspace = true", "edition = \"2021\""),
            ("description = \"A sample.\"\n", ""),
            ("[lints]\nworkspace = true\n", ""),
            ("serde.workspace = true", "serde = \"1\""),
            ("serde.workspace = true", "serde = { version = \"1\", features = [] }"),
            ("serde.workspace = true", "other = { path = \"../other\" }"),
        ] {
            assert_eq!(findings(&GOOD.replace(good, bad)), 1, "{good} -> {bad}");
        }
        assert_eq!(findings("not toml"), 1);
    }

    #[test]
    fn a_toolchain_apart_from_the_promised_one_is_found() {
        let with = |channel: &str| {
            let pinned = format!("[toolchain]\nchannel = \"{channel}\"\n");
            let promised = "[workspace.package]\nrust-version = \"1.95\"\n";
            check(&Tree::sample(&[("Cargo.toml", promised), ("rust-toolchain.toml", &pinned)]))
        };
        assert_eq!(with("1.95.0"), []);
        assert_eq!(with("1.96.0").len(), 1);
    }

    #[test]
    fn a_banned_or_unreleased_package_is_found() {
        let with = |package: &str| {
            let deny = "[bans]\ndeny = [{ crate = \"instant\", reason = \"old\" }]\n";
            let lock = format!("[[package]]\n{package}\n");
            check(&Tree::sample(&[("deny.toml", deny), ("Cargo.lock", &lock)])).len()
        };
        assert_eq!(with("name = \"instant\""), 1);
        assert_eq!(with("name = \"a\"\nsource = \"git+https://example.org/a\""), 1);
        assert_eq!(with("name = \"a\"\nsource = \"registry+https://example.org/a\""), 0);
    }
}
