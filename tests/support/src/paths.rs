//! Where the things under test are: named by the environment, found under `target/` otherwise.

use std::env;
use std::path::{Path, PathBuf};

/// The root of the repository.
pub fn repository() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here).to_path_buf()
}

/// Where builds go: `CARGO_TARGET_DIR`, or `target` in the repository.
pub fn target() -> PathBuf {
    named("CARGO_TARGET_DIR").unwrap_or_else(|| repository().join("target"))
}

/// The binary under test: `LOVAGE_BIN`, or `target/release/lovage`. Fails the test if it is absent.
pub fn lovage() -> PathBuf {
    let path = named("LOVAGE_BIN").unwrap_or_else(|| target().join("release/lovage"));
    present(path, "the lovage binary", "make build")
}

/// The folder of example modules: `LOVAGE_GUESTS`, or `target/guests`. Fails the test if it is
/// absent.
pub fn guests() -> PathBuf {
    let path = named("LOVAGE_GUESTS").unwrap_or_else(|| target().join("guests"));
    present(path, "the folder of example modules", "make build")
}

/// One example module, `<guests>/<name>.wasm`. Fails the test if it is absent.
pub fn guest(name: &str) -> PathBuf {
    present(guests().join(format!("{name}.wasm")), "the example module", "make build")
}

/// The Python that has Celery: `LOVAGE_PYTHON`, or that of `target/venv`. Fails the test if it is
/// absent.
pub fn python() -> PathBuf {
    let path = named("LOVAGE_PYTHON").unwrap_or_else(|| target().join("venv/bin/python"));
    present(path, "the Python that has Celery", "make setup")
}

fn named(variable: &str) -> Option<PathBuf> {
    let value = env::var_os(variable).filter(|value| !value.is_empty())?;
    Some(repository().join(value))
}

fn present(path: PathBuf, what: &str, remedy: &str) -> PathBuf {
    assert!(path.exists(), "{what} is not at {}: run `{remedy}` first", path.display());
    path
}
