//! Rows of calls, and of the keys under which they were submitted.

use lovage_core::{
    QueueName, Submission, Submitted, TaskCursor, TaskFilter, TaskId, TaskPage, TaskRow, TenantId,
    Timestamp,
};
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::access::parsed;

pub(super) const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS history (
        place INTEGER PRIMARY KEY AUTOINCREMENT, tenant TEXT NOT NULL, id TEXT NOT NULL,
        task TEXT NOT NULL, queue TEXT NOT NULL, state TEXT NOT NULL, sent_at INTEGER NOT NULL,
        changed_at INTEGER NOT NULL, digest TEXT, error TEXT, UNIQUE (tenant, id)
    ) STRICT;
    CREATE INDEX IF NOT EXISTS history_of_tenant ON history (tenant, place);
    CREATE TABLE IF NOT EXISTS submission (
        tenant TEXT NOT NULL, key_hash TEXT NOT NULL, body_hash TEXT NOT NULL, id TEXT NOT NULL,
        at INTEGER NOT NULL, is_sent INTEGER NOT NULL, PRIMARY KEY (tenant, key_hash)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX IF NOT EXISTS submission_by_age ON submission (at);";

/// Rows that one page looks at.
const LOOKED_AT_MAX: usize = 5_000;

/// Microseconds that a submission's key is remembered: a day, as long as results are by default.
const KEY_KEPT_MICROS: i64 = 86_400_000_000;

/// Forgotten keys that one submission clears away.
const CLEARED_MAX: i64 = 100;

/// States after which nothing comes.
const FINAL: &str = "('SUCCESS', 'FAILURE', 'REVOKED')";

pub(super) fn submit(connection: &Connection, it: &Submission) -> rusqlite::Result<Submitted> {
    connection
        .prepare_cached(
            "DELETE FROM submission WHERE (tenant, key_hash) IN
                (SELECT tenant, key_hash FROM submission WHERE at < ?1 LIMIT ?2)",
        )?
        .execute(params![it.at.as_micros() - KEY_KEPT_MICROS, CLEARED_MAX])?;
    let key = params![it.tenant.as_str(), it.key_hash.to_string()];
    let found = connection
        .prepare_cached(
            "SELECT body_hash, id, is_sent FROM submission WHERE tenant = ?1 AND key_hash = ?2",
        )?
        .query_row(key, |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .optional()?;
    if let Some((body_hash, id, is_sent)) = found {
        let (body_hash, id): (String, String) = (body_hash, id);
        let is_same = body_hash == it.body_hash.to_string();
        let again = Submitted::Again { id: id.into(), is_sent };
        return Ok(if is_same { again } else { Submitted::Other });
    }
    connection.prepare_cached("INSERT INTO submission VALUES (?1, ?2, ?3, ?4, ?5, 0)")?.execute(
        params![
            it.tenant.as_str(),
            it.key_hash.to_string(),
            it.body_hash.to_string(),
            it.id.as_str(),
            it.at.as_micros(),
        ],
    )?;
    Ok(Submitted::First)
}

pub(super) fn sent(connection: &Connection, it: &Submission) -> rusqlite::Result<()> {
    connection
        .prepare_cached("UPDATE submission SET is_sent = 1 WHERE tenant = ?1 AND key_hash = ?2")?
        .execute(params![it.tenant.as_str(), it.key_hash.to_string()])?;
    Ok(())
}

pub(super) fn remember(
    connection: &Connection,
    rows: &[TaskRow],
    most: u32,
) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached(&format!(
        "INSERT INTO history (tenant, id, task, queue, state, sent_at, changed_at, digest, error)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
         ON CONFLICT (tenant, id) DO UPDATE SET state = excluded.state,
            changed_at = excluded.changed_at, digest = excluded.digest, error = excluded.error
         WHERE state NOT IN {FINAL} OR excluded.state IN {FINAL}"
    ))?;
    for row in rows {
        statement.execute(params![
            row.tenant.as_str(),
            row.id.as_str(),
            row.task.as_str(),
            row.queue.as_str(),
            row.state,
            row.sent_at.as_micros(),
            row.changed_at.as_micros(),
            row.digest.map(|digest| digest.to_string()),
            row.error,
        ])?;
    }
    let mut tenants: Vec<_> = rows.iter().map(|row| row.tenant.as_str()).collect();
    tenants.sort_unstable();
    tenants.dedup();
    let mut forget = connection.prepare_cached(
        "DELETE FROM history WHERE tenant = ?1 AND place <=
            (SELECT place FROM history WHERE tenant = ?1 ORDER BY place DESC LIMIT 1 OFFSET ?2)",
    )?;
    for tenant in tenants {
        forget.execute(params![tenant, most])?;
    }
    Ok(())
}

const ROW: &str = "SELECT tenant, id, task, queue, state, sent_at, changed_at, digest, error, place
    FROM history";

pub(super) fn task(
    connection: &Connection,
    tenant: &TenantId,
    id: &TaskId,
) -> rusqlite::Result<Option<TaskRow>> {
    let mut statement =
        connection.prepare_cached(&format!("{ROW} WHERE tenant = ?1 AND id = ?2"))?;
    statement.query_row([tenant.as_str(), id.as_str()], read).optional()
}

pub(super) fn page(
    connection: &Connection,
    tenant: &TenantId,
    filter: &TaskFilter,
    after: Option<i64>,
    most: usize,
) -> rusqlite::Result<TaskPage> {
    let query = format!("{ROW} WHERE tenant = ?1 AND place < ?2 ORDER BY place DESC");
    let mut statement = connection.prepare_cached(&query)?;
    let mut rows = statement.query(params![tenant.as_str(), after.unwrap_or(i64::MAX)])?;
    let mut page = TaskPage::default();
    let mut looked_at = 0;
    let mut place = i64::MAX;
    while let Some(row) = rows.next()? {
        if page.rows.len() >= most || looked_at >= LOOKED_AT_MAX {
            page.next = Some(TaskCursor { place });
            break;
        }
        looked_at += 1;
        place = row.get(9)?;
        let task = read(row)?;
        if fits(&task, filter) {
            page.rows.push(task);
        }
    }
    Ok(page)
}

fn fits(row: &TaskRow, filter: &TaskFilter) -> bool {
    filter.state.as_ref().is_none_or(|state| row.state == *state)
        && filter.task.as_ref().is_none_or(|task| row.task == *task)
        && filter.queue.as_ref().is_none_or(|queue| row.queue == *queue)
        && filter.since.is_none_or(|since| row.sent_at >= since)
        && filter.error.as_ref().is_none_or(|part| {
            row.error.as_ref().is_some_and(|error| error.contains(part.as_str()))
        })
}

pub(super) fn queues(
    connection: &Connection,
    tenant: &TenantId,
) -> rusqlite::Result<Vec<(QueueName, u64)>> {
    let mut statement = connection.prepare_cached(
        "SELECT queue, COUNT(*) FROM history WHERE tenant = ?1 GROUP BY queue ORDER BY queue",
    )?;
    let read = |row: &Row<'_>| {
        let queue: String = row.get(0)?;
        Ok((queue.into(), row.get::<_, i64>(1)?.cast_unsigned()))
    };
    statement.query_map([tenant.as_str()], read)?.collect()
}

fn read(row: &Row<'_>) -> rusqlite::Result<TaskRow> {
    let text = |column| row.get::<_, String>(column);
    let has_digest = row.get_ref(7)? != rusqlite::types::ValueRef::Null;
    let digest = if has_digest { Some(parsed(row, 7)?) } else { None };
    Ok(TaskRow {
        tenant: parsed(row, 0)?,
        id: text(1)?.into(),
        task: text(2)?.into(),
        queue: text(3)?.into(),
        state: text(4)?,
        sent_at: Timestamp::from_micros(row.get(5)?),
        changed_at: Timestamp::from_micros(row.get(6)?),
        digest,
        error: row.get(8)?,
    })
}
