//! What goes wrong across a port.

use std::error::Error;

/// What a port could not do.
#[derive(Debug, thiserror::Error)]
pub enum PortError {
    /// The same call may succeed later: a connection is lost, a server is busy or full.
    #[error("{what}")]
    Transient {
        /// What was tried.
        what: String,
        /// Why it failed.
        #[source]
        source: Option<Box<dyn Error + Send + Sync>>,
    },
    /// The same call will fail again: a wrong password, a value that the store refuses.
    #[error("{what}")]
    Permanent {
        /// What was tried.
        what: String,
        /// Why it failed.
        #[source]
        source: Option<Box<dyn Error + Send + Sync>>,
    },
}

impl PortError {
    /// Something that may succeed later.
    pub fn transient(
        what: impl Into<String>,
        source: impl Into<Box<dyn Error + Send + Sync>>,
    ) -> Self {
        Self::Transient { what: what.into(), source: Some(source.into()) }
    }

    /// Something that will fail again.
    pub fn permanent(
        what: impl Into<String>,
        source: impl Into<Box<dyn Error + Send + Sync>>,
    ) -> Self {
        Self::Permanent { what: what.into(), source: Some(source.into()) }
    }

    /// Whether to try again.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Transient { .. })
    }
}
