//! Turns untrusted WebAssembly into native code, in a process that may die of it.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use lovage_core::Digest;

/// What kind of module it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ModuleKind {
    /// A component with a catalog and a handler.
    Tasks,
    /// A WASI command: JSON on standard input, JSON on standard output. It has no catalog: whoever
    /// loads it names its one task.
    Command,
}

/// A module that is ready to be loaded by executors.
#[derive(Debug, Clone)]
pub struct Compiled {
    /// The SHA-256 of the WebAssembly.
    pub digest: Digest,
    /// Where the native code is.
    pub path: PathBuf,
    /// What kind of module it is.
    pub kind: ModuleKind,
    /// The text of its custom section `lovage-manifest`, if it has one. Unchecked.
    pub manifest: Option<String>,
}

/// Why a module is refused: its author can do something about it.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {}

/// Why there is no native code.
#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    /// The module is at fault.
    #[error("the module is refused")]
    Refused(#[from] Refusal),
    /// The machine is at fault.
    #[error("{0}")]
    Io(String, #[source] std::io::Error),
}

/// The compiler process: reads WebAssembly from `input`, writes native code to `output`, and says on
/// standard output what came of it.
pub fn compile_main(input: &Path, output: &Path) -> ExitCode {
    let _ = (input, output);
    ExitCode::FAILURE
}
