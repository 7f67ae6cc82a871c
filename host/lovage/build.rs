//! Puts the SDKs and the contract into the binary, so that whoever has only the binary can build.
//!
//! What it writes is a list of paths and texts that `src/kit.rs` unpacks.

use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

/// Folders of the repository that go in, and the manifest that the Rust SDK inherits from.
const WHAT: [&str; 3] = ["Cargo.toml", "sdk", "wit"];

/// Names that are no part of an SDK, wherever they are.
const WITHOUT: [&str; 6] = ["__pycache__", "dist", "node_modules", "target", "tests", "zig-out"];

#[expect(clippy::disallowed_methods, reason = "cargo tells a build script where to write")]
fn main() -> Result<(), Box<dyn Error>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize()?;
    let mut files = Vec::new();
    for name in WHAT {
        collect(&root.join(name), &mut files)?;
        println!("cargo::rerun-if-changed={}", root.join(name).display());
    }
    files.sort();
    let mut list = String::from("&[\n");
    for file in files {
        let shown = file.strip_prefix(&root)?.display().to_string();
        let path = file.display().to_string();
        writeln!(list, "    ({shown:?}, include_str!({path:?})),")?;
    }
    list.push_str("]\n");
    let out = std::env::var_os("OUT_DIR").ok_or("cargo names no folder to write to")?;
    fs::write(Path::new(&out).join("kit.rs"), list)?;
    Ok(())
}

/// Adds a file, or all files below a folder, that are texts.
fn collect(path: &Path, files: &mut Vec<PathBuf>) -> Result<(), Box<dyn Error>> {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    if name.starts_with('.') || WITHOUT.contains(&name) {
        return Ok(());
    }
    if path.is_dir() {
        for entry in fs::read_dir(path)? {
            collect(&entry?.path(), files)?;
        }
    } else if fs::read_to_string(path).is_ok() {
        files.push(path.to_owned());
    }
    Ok(())
}
