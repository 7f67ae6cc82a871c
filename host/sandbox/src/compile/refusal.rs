//! Why a module is refused.

use serde::{Deserialize, Serialize};

/// Why a module is refused, each with a stable code.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum Refusal {
    /// The bytes are no WebAssembly.
    #[error("the file is no WebAssembly module: {0}")]
    Malformed(String),
    /// A part of it is larger than any honest module's.
    #[error("the module has {actual} {what}; at most {most} are taken")]
    TooLarge {
        /// What there is too much of.
        what: String,
        /// How much there is.
        actual: u64,
        /// How much there may be.
        most: u64,
    },
    /// It imports what is not offered, or not granted to it.
    #[error("the module imports {0:?}, which is not granted")]
    Import(String),
    /// It exports nothing that could be run as a task.
    #[error("the module has no tasks: {0}")]
    NoEntry(String),
    /// It could not be made a component.
    #[error("the core module does not fit the contract: {0}")]
    Contract(String),
    /// It does not validate, or uses a feature that is off.
    #[error("the module does not compile: {0}")]
    Invalid(String),
    /// No fault of the module: this machine failed.
    #[error("the compiler process failed: {0}")]
    Host(String),
}

impl Refusal {
    /// The code that people and programs know it by; it does not change between versions.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "module-malformed",
            Self::TooLarge { .. } => "module-too-large",
            Self::Import(_) => "import-not-granted",
            Self::NoEntry(_) => "no-entry",
            Self::Contract(_) => "contract-mismatch",
            Self::Invalid(_) => "module-invalid",
            Self::Host(_) => "compiler-failed",
        }
    }
}

/// A message that holds names of the module's choice, cut to what fits a log line.
pub(super) fn bounded(mut message: String) -> String {
    const MOST: usize = 2_000;
    message.truncate(message.floor_char_boundary(MOST));
    message
}
