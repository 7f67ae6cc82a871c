//! A module: what a task's name is resolved to.

use std::path::PathBuf;

use crate::{Digest, Manifest};

/// A module that was compiled and described: ready to run.
#[derive(Debug, Clone, PartialEq)]
pub struct Module {
    /// The SHA-256 of the bytes that were uploaded.
    pub digest: Digest,
    /// What it says of itself.
    pub manifest: Manifest,
    /// The native code an executor loads. Written by our own compiler process only.
    pub compiled: PathBuf,
}
