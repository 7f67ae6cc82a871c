//! Finished builds, by what they were made of: sources, tools, contract. What is there need not be
//! built again.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use sha2::{Digest as _, Sha256};

use super::project::Project;
use super::tool::Found;
use crate::kit;

/// The key of a build.
///
/// # Errors
/// When a source cannot be read.
pub(super) fn key(project: &Project, parts: &[&str], tools: &[Found]) -> anyhow::Result<String> {
    let mut hash = Sha256::new();
    let mut add = |part: &[u8]| {
        hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_le_bytes());
        hash.update(part);
    };
    add(env!("CARGO_PKG_VERSION").as_bytes());
    add(kit::digest(parts).as_bytes());
    add(project.name.as_bytes());
    add(project.language.as_str().as_bytes());
    for tool in tools {
        add(tool.version.as_bytes());
    }
    for file in project.files()? {
        let shown = file.strip_prefix(&project.root).unwrap_or(&file);
        add(shown.as_os_str().as_encoded_bytes());
        add(&std::fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?);
    }
    Ok(lovage_core::Digest::from_bytes(hash.finalize().into()).to_string())
}

/// Where the build of this key is kept.
pub(super) fn place(cache: &Path, key: &str) -> PathBuf {
    cache.join("build").join(format!("{key}.wasm"))
}

/// Writes a file so that nobody sees half of it.
///
/// # Errors
/// When it cannot be written.
pub(super) fn replace(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let failed = || format!("cannot write {}", path.display());
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).with_context(failed)?;
    }
    let fresh = path.with_extension(format!("{}.partial", std::process::id()));
    std::fs::write(&fresh, bytes).with_context(failed)?;
    std::fs::rename(&fresh, path).with_context(failed)
}
