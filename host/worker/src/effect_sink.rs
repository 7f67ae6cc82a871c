//! What the outside sees of guests, in a file that a test can count.
//!
//! The receiver of a step's effect is played by the worker, so that nothing else has to run: it writes
//! a line when the ledger has said that a step may run, before the guest hears of it. That is when an
//! effect leaves at the latest, so that nothing which a guest could send is missed; a guest that dies
//! between hearing and sending is counted as if it had sent.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::Arc;

use lovage_core::{TaskId, Timestamp};

/// A file to which every process appends whole lines; by default, none.
///
/// Lines are `run <process> <task id> <µs>` for every attempt that is started, and
/// `effect <step's key> <task id> <µs>` for every effect.
#[derive(Debug, Clone, Default)]
pub struct EffectSink(Option<Arc<File>>);

impl EffectSink {
    /// Appends to a file, which is made when it is not there.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().append(true).create(true).open(path)?;
        Ok(Self(Some(Arc::new(file))))
    }

    pub(crate) fn run(&self, task: &TaskId, now: impl FnOnce() -> Timestamp) {
        self.write(|| format!("run {} {task} {}\n", std::process::id(), now().as_micros()));
    }

    pub(crate) fn effect(&self, key: &str, task: &TaskId, now: impl FnOnce() -> Timestamp) {
        self.write(|| format!("effect {key} {task} {}\n", now().as_micros()));
    }

    /// One write a line: lines of several processes never mix. A kill leaves all of it or none, or, where
    /// a page of the file ends, its beginning.
    fn write(&self, line: impl FnOnce() -> String) {
        if let Some(file) = &self.0 {
            let mut file: &File = file;
            if let Err(error) = file.write_all(line().as_bytes()) {
                tracing::error!(error = &error as &dyn std::error::Error, "Cannot count an effect");
            }
        }
    }
}
