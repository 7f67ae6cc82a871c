//! The tables: kombu's, made exactly as SQLAlchemy makes them, and ours beside them.

use rusqlite::{Connection, OptionalExtension};

/// The version of our tables. A file with a higher one was made by a later Lovage.
const VERSION: i64 = 1;

/// kombu's tables and indexes, as SQLAlchemy 2 writes them for kombu 5.
const KOMBU: [(&str, &str); 5] = [
    (
        "kombu_queue",
        "CREATE TABLE kombu_queue (\n\tid INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, \n\t\
         name VARCHAR(200), \n\tUNIQUE (name)\n)",
    ),
    (
        "kombu_message",
        "CREATE TABLE kombu_message (\n\tid INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, \n\t\
         visible BOOLEAN, \n\ttimestamp DATETIME, \n\tpayload TEXT NOT NULL, \n\t\
         version SMALLINT NOT NULL, \n\tqueue_id INTEGER, \n\t\
         CONSTRAINT \"FK_kombu_message_queue\" FOREIGN KEY(queue_id) \
         REFERENCES kombu_queue (id)\n)",
    ),
    (
        "ix_kombu_message_visible",
        "CREATE INDEX ix_kombu_message_visible ON kombu_message (visible)",
    ),
    (
        "ix_kombu_message_timestamp",
        "CREATE INDEX ix_kombu_message_timestamp ON kombu_message (timestamp)",
    ),
    (
        "ix_kombu_message_timestamp_id",
        "CREATE INDEX ix_kombu_message_timestamp_id ON kombu_message (timestamp, id)",
    ),
];

/// Ours. What is in a table of kombu's and not visible belongs to us only if a row here names it.
///
/// * `lovage_session`: a worker's right to everything it has received, by a clock that goes on while
///   nobody runs and starts again at a reboot (`boot` tells one boot from another).
/// * `lovage_lease`: which session has a message (null: none, it waits again) and how often it was
///   delivered. Message and deliveries together name one delivery and grow with each: a fence.
/// * `lovage_schedule`: when a message that nobody has becomes visible, in microseconds of Unix time.
/// * `lovage_kept`: what was taken out of its queue and kept, payload and all.
///
/// The index has only what can be taken, in the order it is taken in: receiving costs the same
/// however long the queue is and however much kombu's own workers have left in it.
const OURS: &str = "
CREATE TABLE IF NOT EXISTS lovage_session (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    boot TEXT NOT NULL,
    until_ms INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS lovage_lease (
    message INTEGER PRIMARY KEY,
    session INTEGER,
    deliveries INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS lovage_schedule (
    message INTEGER PRIMARY KEY,
    due INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS lovage_schedule_due ON lovage_schedule (due);
CREATE TABLE IF NOT EXISTS lovage_kept (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL,
    reason TEXT NOT NULL,
    task_id TEXT,
    task TEXT,
    queue TEXT NOT NULL,
    at INTEGER NOT NULL,
    record TEXT NOT NULL,
    payload NOT NULL
);
CREATE INDEX IF NOT EXISTS lovage_kept_task ON lovage_kept (kind, task);
CREATE INDEX IF NOT EXISTS lovage_message_waiting
    ON kombu_message (queue_id, timestamp) WHERE visible = 1;
";

/// Why a file cannot be used though it is a database.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum SchemaError {
    /// A later Lovage made the tables.
    #[error("its tables are of version {0}, which is later than this Lovage's ({VERSION})")]
    Later(i64),
    /// A table of kombu's name has not kombu's columns.
    #[error("its table `{0}` is not kombu's")]
    NotKombus(&'static str),
}

/// Makes what is missing.
///
/// # Errors
/// When SQLite refuses (outer) or the file belongs to something else (inner); the caller undoes
/// whatever was made until then.
pub(super) fn prepare(connection: &Connection) -> rusqlite::Result<Result<(), SchemaError>> {
    connection
        .execute_batch("CREATE TABLE IF NOT EXISTS lovage_meta (version INTEGER NOT NULL)")?;
    let version: Option<i64> = connection
        .query_row("SELECT max(version) FROM lovage_meta", [], |row| row.get(0))
        .optional()?
        .flatten();
    match version {
        Some(later) if later > VERSION => return Ok(Err(SchemaError::Later(later))),
        Some(_) => {}
        None => {
            connection.execute("INSERT INTO lovage_meta VALUES (?1)", [VERSION])?;
        }
    }
    for (name, create) in KOMBU {
        let find = "SELECT 1 FROM sqlite_master WHERE name = ?1";
        if connection.query_row(find, [name], |_| Ok(())).optional()?.is_none() {
            connection.execute_batch(create)?;
        }
    }
    for (table, columns) in [
        ("kombu_queue", "SELECT id, name FROM kombu_queue"),
        (
            "kombu_message",
            "SELECT id, visible, timestamp, payload, version, queue_id FROM kombu_message",
        ),
    ] {
        if connection.prepare(columns).is_err() {
            return Ok(Err(SchemaError::NotKombus(table)));
        }
    }
    connection.execute_batch(OURS)?;
    Ok(Ok(()))
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::{SchemaError, VERSION, prepare};

    #[test]
    fn a_file_of_a_later_version_is_refused() {
        let connection = Connection::open_in_memory().unwrap();
        prepare(&connection).unwrap().unwrap();
        connection.execute("UPDATE lovage_meta SET version = ?1", [VERSION + 1]).unwrap();
        assert_eq!(prepare(&connection).unwrap(), Err(SchemaError::Later(VERSION + 1)));
    }

    #[test]
    fn a_table_of_kombus_name_with_other_columns_is_refused() {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch("CREATE TABLE kombu_queue (title TEXT)").unwrap();
        assert_eq!(prepare(&connection).unwrap(), Err(SchemaError::NotKombus("kombu_queue")));
    }
}
