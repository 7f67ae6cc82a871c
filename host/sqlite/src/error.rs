//! What SQLite's refusals mean to a port: whether to try again.

use std::sync::Arc;

use lovage_core::ports::PortError;
use rusqlite::ErrorCode;

/// The error of a port that stands for `error`, which kept `what` from being done.
///
/// A locked file, a full disk and a failing device may be better later. A file that is no database,
/// one that may not be written, and a refused value stay what they are.
pub fn port_error(what: impl Into<String>, error: &Arc<rusqlite::Error>) -> PortError {
    let source = Shared(Arc::clone(error));
    if is_transient(error) {
        PortError::transient(what, source)
    } else {
        PortError::permanent(what, source)
    }
}

/// Whether the same call may succeed later.
fn is_transient(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(
            ErrorCode::DatabaseBusy
                | ErrorCode::DatabaseLocked
                | ErrorCode::DiskFull
                | ErrorCode::SystemIoFailure
                | ErrorCode::OutOfMemory
                | ErrorCode::OperationInterrupted
                | ErrorCode::OperationAborted
                | ErrorCode::CannotOpen
                | ErrorCode::FileLockingProtocolFailed
                | ErrorCode::SchemaChanged
        )
    )
}

/// One error that several works share, because they shared a transaction.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
struct Shared(Arc<rusqlite::Error>);

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rusqlite::ffi;

    use super::port_error;

    #[test]
    fn a_lock_or_a_full_disk_may_go_away_and_a_broken_file_does_not() {
        let answer = |code| {
            let error = rusqlite::Error::SqliteFailure(ffi::Error::new(code), None);
            port_error("write", &Arc::new(error)).is_transient()
        };
        for code in [ffi::SQLITE_BUSY, ffi::SQLITE_FULL, ffi::SQLITE_IOERR, ffi::SQLITE_NOMEM] {
            assert!(answer(code), "{code}");
        }
        for code in [ffi::SQLITE_NOTADB, ffi::SQLITE_READONLY, ffi::SQLITE_CONSTRAINT] {
            assert!(!answer(code), "{code}");
        }
    }
}
