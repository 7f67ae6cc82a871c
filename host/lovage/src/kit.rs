//! The SDKs and the contract, as this binary carries them: what builders hand to a language's tools.
//!
//! A project keeps its copy in `.lovage/kit`, laid out as the repository is (`sdk/…`, `wit/…`), so
//! that a language's own tools and editors find the SDK where the project's manifest says. `new` and
//! `build` write it; it is no part of the project's sources. Where `LOVAGE_KIT` names a folder, that
//! is used and nothing is written.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use sha2::{Digest as _, Sha256};

/// Path and text of every file.
const FILES: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/kit.rs"));

/// The file that says which kit was written.
const STAMP: &str = "stamp";

/// Writes the parts of the kit that begin with one of `parts`, if they are not there as they are.
///
/// # Errors
/// When a file cannot be written.
pub(crate) fn write(folder: &Path, parts: &[&str]) -> anyhow::Result<()> {
    let stamp = digest(parts);
    if std::fs::read_to_string(folder.join(STAMP)).is_ok_and(|written| written == stamp) {
        return Ok(());
    }
    if folder.exists() {
        std::fs::remove_dir_all(folder).with_context(|| cannot_write(folder))?;
    }
    for (path, text) in of(parts) {
        let text = if path == "Cargo.toml" { workspace(text)? } else { text.to_owned() };
        let path = folder.join(path);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).with_context(|| cannot_write(parent))?;
        }
        std::fs::write(&path, text).with_context(|| cannot_write(&path))?;
    }
    let stamp_path = folder.join(STAMP);
    std::fs::write(&stamp_path, stamp).with_context(|| cannot_write(&stamp_path))
}

/// What identifies these parts of the kit.
pub(crate) fn digest(parts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for (path, text) in of(parts) {
        hash.update(path);
        hash.update([0]);
        hash.update(text);
        hash.update([0]);
    }
    lovage_core::Digest::from_bytes(hash.finalize().into()).to_string()
}

/// Where a project keeps its kit.
pub(crate) fn place(project: &Path) -> PathBuf {
    project.join(".lovage").join("kit")
}

fn of(parts: &[&str]) -> impl Iterator<Item = (&'static str, &'static str)> {
    FILES.iter().copied().filter(|(path, _)| parts.iter().any(|part| path.starts_with(part)))
}

fn cannot_write(path: &Path) -> String {
    format!("cannot write {}", path.display())
}

/// The repository's workspace cut down to what the kit has of it: the Rust SDK inherits from it.
fn workspace(text: &str) -> anyhow::Result<String> {
    let mut manifest: toml::Table = text.parse()?;
    if let Some(workspace) = manifest.get_mut("workspace").and_then(toml::Value::as_table_mut) {
        let members = ["sdk/rust", "sdk/rust/macros"].map(toml::Value::from);
        workspace.insert("members".into(), toml::Value::Array(members.to_vec()));
        if let Some(known) = workspace.get_mut("dependencies").and_then(toml::Value::as_table_mut) {
            known.retain(|_, dependency| {
                let path = dependency.get("path").and_then(toml::Value::as_str);
                path.is_none_or(|path| path.starts_with("sdk/"))
            });
        }
    }
    manifest.remove("profile");
    Ok(manifest.to_string())
}

#[cfg(test)]
mod tests {
    use super::{FILES, STAMP, of, workspace, write};

    #[test]
    fn the_contract_and_the_sdks_are_carried() {
        for path in ["wit/world.wit", "sdk/rust/src/lib.rs", "sdk/python/lovage/__init__.py"] {
            assert!(FILES.iter().any(|(known, _)| *known == path), "{path} is missing");
        }
        assert!(of(&["sdk/", "wit/"]).all(|(path, _)| !path.contains("/tests/")));
    }

    #[test]
    fn a_kit_is_written_once_and_mended_when_it_is_another() {
        let folder = tempfile::tempdir().unwrap();
        let kit = folder.path().join("kit");
        write(&kit, &["wit/"]).unwrap();
        let world = kit.join("wit/world.wit");
        std::fs::write(&world, "").unwrap();
        write(&kit, &["wit/"]).unwrap();
        assert_eq!(std::fs::read_to_string(&world).unwrap(), "", "the stamp says it is there");
        std::fs::write(kit.join(STAMP), "another").unwrap();
        write(&kit, &["wit/"]).unwrap();
        assert!(!std::fs::read_to_string(&world).unwrap().is_empty());
    }

    #[test]
    fn the_workspace_names_only_what_is_there() {
        let (_, text) = FILES.iter().find(|(path, _)| *path == "Cargo.toml").unwrap();
        let cut = workspace(text).unwrap();
        assert!(cut.contains("sdk/rust") && !cut.contains("host/core"));
    }
}
