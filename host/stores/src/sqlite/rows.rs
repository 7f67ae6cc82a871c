//! Celery's tables, and the statements on them.

use lovage_core::{ResultRecord, Timestamp};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::table::TableRow;

/// Celery's tables and indexes, as SQLAlchemy 2 writes them for Celery 5.7.
const TABLES: [(&str, &str); 4] = [
    (
        "celery_taskmeta",
        "CREATE TABLE celery_taskmeta (\n\tid INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, \n\t\
         task_id VARCHAR(155), \n\tstatus VARCHAR(50), \n\tresult BLOB, \n\t\
         date_done DATETIME, \n\ttraceback TEXT, \n\tchildren BLOB, \n\t\
         name VARCHAR(155), \n\targs BLOB, \n\tkwargs BLOB, \n\tworker VARCHAR(155), \n\t\
         retries INTEGER, \n\tqueue VARCHAR(155), \n\tstamps BLOB, \n\tUNIQUE (task_id)\n)",
    ),
    (
        "ix_celery_taskmeta_date_done",
        "CREATE INDEX ix_celery_taskmeta_date_done ON celery_taskmeta (date_done)",
    ),
    (
        "celery_tasksetmeta",
        "CREATE TABLE celery_tasksetmeta (\n\tid INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, \n\t\
         taskset_id VARCHAR(155), \n\tresult BLOB, \n\tdate_done DATETIME, \n\t\
         UNIQUE (taskset_id)\n)",
    ),
    (
        "ix_celery_tasksetmeta_date_done",
        "CREATE INDEX ix_celery_tasksetmeta_date_done ON celery_tasksetmeta (date_done)",
    ),
];

/// Columns that earlier versions of Celery did not have, with their types.
const LATER_COLUMNS: [(&str, &str); 8] = [
    ("children", "BLOB"),
    ("name", "VARCHAR(155)"),
    ("args", "BLOB"),
    ("kwargs", "BLOB"),
    ("worker", "VARCHAR(155)"),
    ("retries", "INTEGER"),
    ("queue", "VARCHAR(155)"),
    ("stamps", "BLOB"),
];

/// Until when those results are kept that have a time of their own: microseconds. Celery's tables
/// have no place for it.
const OWN_TABLE: &str = "
    CREATE TABLE IF NOT EXISTS lovage_result_until (
        task_id TEXT PRIMARY KEY, until INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX IF NOT EXISTS lovage_result_by_end ON lovage_result_until (until);";

/// Results whose own time is over that go whenever another one comes.
const OVER_MAX: usize = 10;

/// Makes the tables, indexes and columns that are missing, as Celery does when it opens the file.
pub(super) fn prepare(connection: &Connection) -> rusqlite::Result<()> {
    for (name, create) in TABLES {
        let find = "SELECT 1 FROM sqlite_master WHERE name = ?1";
        if connection.query_row(find, [name], |_| Ok(())).optional()?.is_none() {
            connection.execute_batch(create)?;
        }
    }
    connection.execute_batch(OWN_TABLE)?;
    for (column, kind) in LATER_COLUMNS {
        let find = "SELECT 1 FROM pragma_table_info('celery_taskmeta') WHERE name = ?1";
        if connection.query_row(find, [column], |_| Ok(())).optional()?.is_none() {
            let add = format!("ALTER TABLE celery_taskmeta ADD COLUMN {column} {kind}");
            connection.execute_batch(&add)?;
        }
    }
    Ok(())
}

/// Stores a row, unless a success is stored already. Stamps once stored stay, as Celery has it.
pub(super) fn store(connection: &Connection, row: &TableRow) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO celery_taskmeta (task_id, status, result, date_done, traceback, children,
                    name, args, kwargs, worker, retries, queue, stamps)
                VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)
                ON CONFLICT (task_id) DO UPDATE SET status = excluded.status,
                    result = excluded.result, date_done = excluded.date_done,
                    traceback = excluded.traceback, children = excluded.children,
                    name = excluded.name, args = excluded.args, kwargs = excluded.kwargs,
                    worker = excluded.worker, retries = excluded.retries, queue = excluded.queue,
                    stamps = coalesce(excluded.stamps, stamps)
                WHERE status IS NOT 'SUCCESS'",
        )?
        .execute(params![
            row.task_id,
            row.status,
            row.result,
            row.date_done,
            row.traceback,
            row.children,
            row.name,
            row.args,
            row.kwargs,
            row.worker,
            row.retries,
            row.queue,
            row.stamps,
        ])
        .map(|_| ())
}

/// Notes until when a result is kept that has a time of its own, and deletes some whose time is over.
pub(super) fn keep_until(connection: &Connection, record: &ResultRecord) -> rusqlite::Result<()> {
    let Some(life) = record.life else { return Ok(()) };
    let until = record.at.after(life).as_micros();
    connection
        .prepare_cached(
            "INSERT INTO lovage_result_until (task_id, until) VALUES (?1, ?2)
                ON CONFLICT (task_id) DO UPDATE SET until = excluded.until",
        )?
        .execute(params![record.task_id.as_str(), until])?;
    delete_over(connection, record.at, OVER_MAX).map(drop)
}

/// Deletes up to `most` results whose own time is over; how many that was.
pub(super) fn delete_over(
    connection: &Connection,
    now: Timestamp,
    most: usize,
) -> rusqlite::Result<usize> {
    let most = i64::try_from(most).unwrap_or(i64::MAX);
    let find = "SELECT task_id FROM lovage_result_until WHERE until < ?1 ORDER BY until LIMIT ?2";
    let mut find = connection.prepare_cached(find)?;
    let over = find.query_map(params![now.as_micros(), most], |row| row.get::<_, String>(0))?;
    let over = over.collect::<rusqlite::Result<Vec<_>>>()?;
    for task_id in &over {
        for table in ["celery_taskmeta", "lovage_result_until"] {
            let delete = format!("DELETE FROM {table} WHERE task_id = ?1");
            connection.prepare_cached(&delete)?.execute([task_id])?;
        }
    }
    Ok(over.len())
}

/// The row of a task.
pub(super) fn load(connection: &Connection, task_id: &str) -> rusqlite::Result<Option<TableRow>> {
    let find = "SELECT task_id, status, result, date_done, traceback, children, name, args, kwargs,
            worker, retries, queue, stamps
        FROM celery_taskmeta WHERE task_id = ?1";
    connection.prepare_cached(find)?.query_row([task_id], stored).optional()
}

fn stored(row: &Row<'_>) -> rusqlite::Result<TableRow> {
    let bytes = |column| match row.get_ref(column)? {
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => Ok(Some(bytes.to_vec())),
        _ => Ok::<_, rusqlite::Error>(None),
    };
    let text = |column| {
        Ok::<_, rusqlite::Error>(
            bytes(column)?.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()),
        )
    };
    Ok(TableRow {
        task_id: text(0)?.unwrap_or_default(),
        status: text(1)?.unwrap_or_default(),
        result: bytes(2)?,
        date_done: text(3)?,
        traceback: text(4)?,
        children: bytes(5)?,
        name: text(6)?,
        args: bytes(7)?,
        kwargs: bytes(8)?,
        worker: text(9)?,
        retries: row.get(10)?,
        queue: text(11)?,
        stamps: bytes(12)?,
    })
}

/// Deletes up to `most` results of tasks, and as many of groups, that were done before; how many
/// that was.
pub(super) fn delete_done_before(
    connection: &Connection,
    before: Timestamp,
    most: usize,
) -> rusqlite::Result<usize> {
    let seconds = before.as_micros().div_euclid(1_000_000);
    let mut deleted = 0;
    let is_for_all = "AND task_id NOT IN (SELECT task_id FROM lovage_result_until)";
    for (table, and) in [("celery_taskmeta", is_for_all), ("celery_tasksetmeta", "")] {
        // Moments are stored as text that sorts by time.
        let delete = format!(
            "DELETE FROM {table} WHERE id IN (SELECT id FROM {table}
                WHERE date_done < strftime('%Y-%m-%d %H:%M:%S', ?1, 'unixepoch') {and} LIMIT ?2)"
        );
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        deleted += connection.prepare_cached(&delete)?.execute(params![seconds, most])?;
    }
    Ok(deleted)
}
