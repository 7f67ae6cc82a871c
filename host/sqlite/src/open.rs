//! Opening a file the way all of Lovage's files are.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use lovage_core::ports::PortError;
use rusqlite::Connection;

use crate::{Settings, port_error};

/// Prepared statements that a connection keeps.
const STATEMENTS_MAX: usize = 64;

/// Bytes to which the write-ahead log is cut back when it has been copied into the file.
const LOG_BYTES_MAX: i64 = 64 << 20;

pub(crate) fn open(path: &Path, settings: &Settings) -> Result<Connection, PortError> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        fs::create_dir_all(folder).map_err(|error| {
            PortError::permanent(format!("create the folder {}", folder.display()), error)
        })?;
    }
    let what = || format!("open the SQLite file {}", path.display());
    let connection = Connection::open(path).map_err(|error| PortError::permanent(what(), error))?;
    let mode =
        configure(&connection, settings).map_err(|error| port_error(what(), &Arc::new(error)))?;
    if mode != "wal" {
        let why = format!("it cannot have a write-ahead log (its journal mode stays `{mode}`)");
        return Err(PortError::permanent(what(), why));
    }
    Ok(connection)
}

/// Sets what every connection has; returns the journal mode that the file is in then.
fn configure(connection: &Connection, settings: &Settings) -> rusqlite::Result<String> {
    connection.busy_timeout(settings.busy_timeout)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
    let mode = connection
        .pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get::<_, String>(0))?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update_and_check(None, "journal_size_limit", LOG_BYTES_MAX, |_| Ok(()))?;
    // The tables are somebody else's, who does not enforce them either; and a file that others can
    // write must not run functions in us by its views and triggers.
    connection.pragma_update(None, "foreign_keys", false)?;
    connection.pragma_update(None, "trusted_schema", false)?;
    Ok(mode)
}
