//! What a broker hands over, in a SQLite file: for workers on one machine.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use lovage_core::ports::{Clock, Custody, KeptMessages, PortError};
use lovage_core::{
    Due, KEPT_LOOK_MAX, Keeping, KeptEntry, KeptFilter, KeptId, KeptPage, KeptPager, QueueName,
    Timestamp, Waiting, read_kept,
};
use lovage_sqlite::Database;
use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::kept_ids::{row, rows};

/// Makes what is missing.
const TABLES: &str = "
CREATE TABLE IF NOT EXISTS lovage_custody_waiting (
    name TEXT PRIMARY KEY, exchange TEXT NOT NULL, routing_key TEXT NOT NULL,
    due INTEGER NOT NULL, message BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS lovage_custody_waiting_due ON lovage_custody_waiting (due);
CREATE TABLE IF NOT EXISTS lovage_custody_kept (
    id INTEGER PRIMARY KEY AUTOINCREMENT, digest BLOB NOT NULL, queue TEXT NOT NULL,
    at INTEGER NOT NULL, record TEXT NOT NULL, message BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS lovage_custody_kept_digest ON lovage_custody_kept (digest);
CREATE TABLE IF NOT EXISTS lovage_custody_queues (name TEXT PRIMARY KEY) WITHOUT ROWID;
";

/// Most kept messages; the oldest goes first.
const KEPT_MAX: i64 = 100_000;

/// How long a message is kept.
const KEPT_FOR: Duration = Duration::from_hours(14 * 24);

/// Custody in a SQLite file.
#[derive(Clone)]
pub struct SqliteCustody {
    database: Database,
    clock: Arc<dyn Clock>,
}

impl SqliteCustody {
    /// Makes the tables that are missing.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub async fn start(database: Database, clock: Arc<dyn Clock>) -> Result<Self, PortError> {
        let make = |connection: &Connection| connection.execute_batch(TABLES);
        database.write("make the tables of what is put off", make).await?;
        Ok(Self { database, clock })
    }

    /// Does the same to each of these rows; how many there were.
    async fn each(
        &self,
        ids: &[KeptId],
        what: &'static str,
        change: impl Fn(&Connection, i64) -> rusqlite::Result<bool> + Send + 'static,
    ) -> Result<usize, PortError> {
        let rows = rows(ids);
        let all = move |connection: &Connection| {
            rows.iter().try_fold(0, |sum, row| Ok(sum + usize::from(change(connection, *row)?)))
        };
        self.database.write(what, all).await
    }
}

#[async_trait]
impl Custody for SqliteCustody {
    async fn put_off(&self, batch: &[Waiting]) -> Result<(), PortError> {
        let batch = batch.to_vec();
        let all = move |connection: &Connection| {
            batch.iter().try_for_each(|waiting| put_off(connection, waiting))
        };
        self.database.write("put messages off", all).await
    }

    async fn keep(&self, batch: &[Keeping]) -> Result<(), PortError> {
        let (batch, now) = (batch.to_vec(), self.clock.now());
        let all = move |connection: &Connection| {
            batch.iter().try_for_each(|keeping| keep(connection, keeping, now))?;
            trim(connection, now)
        };
        self.database.write("keep messages", all).await
    }

    async fn due(&self, most: usize, loan: Duration) -> Result<Due, PortError> {
        let now = self.clock.now();
        let look = |connection: &Connection| first_due(connection);
        let next = self.database.read("look for what is due", look).await?;
        if next.is_none_or(|next| next > now) {
            return Ok(Due { messages: Vec::new(), next: next.map(|next| next.until(now)) });
        }
        let lend = move |connection: &Connection| lend(connection, most, now, now.after(loan));
        let (messages, next) = self.database.write_unsynced("lend what is due", lend).await?;
        Ok(Due { messages, next: next.map(|next| next.until(now)) })
    }

    async fn forget(&self, names: &[String]) -> Result<(), PortError> {
        let names = names.to_vec();
        let all = move |connection: &Connection| {
            let forget = "DELETE FROM lovage_custody_waiting WHERE name = ?1";
            let mut forget = connection.prepare_cached(forget)?;
            names.iter().try_for_each(|name| forget.execute([name]).map(|_| ()))
        };
        self.database.write("forget what waited", all).await
    }

    async fn remember(&self, queues: &[QueueName]) -> Result<(), PortError> {
        let queues = queues.to_vec();
        let all = move |connection: &Connection| {
            let remember = "INSERT OR IGNORE INTO lovage_custody_queues (name) VALUES (?1)";
            let mut remember = connection.prepare_cached(remember)?;
            queues.iter().try_for_each(|queue| remember.execute([queue.as_str()]).map(|_| ()))
        };
        self.database.write("remember queues", all).await
    }

    async fn remembered(&self, most: usize) -> Result<Vec<QueueName>, PortError> {
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        let read = move |connection: &Connection| {
            let find = "SELECT name FROM lovage_custody_queues ORDER BY name LIMIT ?1";
            let name = |row: &Row<'_>| row.get::<_, String>(0).map(QueueName::from);
            connection.prepare_cached(find)?.query_map([most], name)?.collect()
        };
        self.database.read("read which queues there were", read).await
    }
}

#[async_trait]
impl KeptMessages for SqliteCustody {
    async fn list(
        &self,
        filter: &KeptFilter,
        after: Option<&KeptId>,
        most: usize,
    ) -> Result<KeptPage, PortError> {
        let behind = after.and_then(row).unwrap_or(0);
        let look = KEPT_LOOK_MAX.min(most.max(1) * 4);
        let read = move |connection: &Connection| kept(connection, behind, look);
        let mut page = KeptPager::new(filter, after.cloned(), most, look);
        for (id, record, size) in self.database.read("read what is kept", read).await? {
            let (id, kept) = (KeptId(id.to_string()), read_kept(record.as_bytes()));
            let message_bytes = u64::try_from(size).unwrap_or(0);
            if !page.see(KeptEntry { id, kept, message_bytes }) {
                break;
            }
        }
        Ok(page.end())
    }

    async fn get(&self, id: &KeptId) -> Result<Option<(KeptEntry, Bytes)>, PortError> {
        let Some(row) = row(id) else { return Ok(None) };
        let find = "SELECT record, message FROM lovage_custody_kept WHERE id = ?1";
        let read = move |connection: &Connection| {
            let found = |row: &Row<'_>| Ok((row.get::<_, String>(0)?, row.get::<_, Vec<u8>>(1)?));
            connection.query_row(find, [row], found).optional()
        };
        let found = self.database.read("read a kept message", read).await?;
        Ok(found.map(|(record, message)| {
            let (kept, message_bytes) = (read_kept(record.as_bytes()), message.len() as u64);
            (KeptEntry { id: id.clone(), kept, message_bytes }, message.into())
        }))
    }

    async fn replay(&self, ids: &[KeptId]) -> Result<usize, PortError> {
        let now = self.clock.now();
        self.each(ids, "replay kept messages", move |connection, row| {
            let wait = "INSERT INTO lovage_custody_waiting
                    (name, exchange, routing_key, due, message)
                SELECT 'kept ' || id, '', queue, ?2, message FROM lovage_custody_kept WHERE id = ?1";
            connection.prepare_cached(wait)?.execute(params![row, now.as_micros()])?;
            delete(connection, row)
        })
        .await
    }

    async fn count(&self) -> Result<u64, PortError> {
        let count = |connection: &Connection| {
            let count = "SELECT COUNT(*) FROM lovage_custody_kept";
            connection.query_row(count, [], |row| row.get::<_, i64>(0))
        };
        let count = self.database.read("count what is kept", count).await?;
        Ok(u64::try_from(count).unwrap_or(0))
    }

    async fn purge(&self, ids: &[KeptId]) -> Result<usize, PortError> {
        self.each(ids, "purge kept messages", delete).await
    }
}

fn put_off(connection: &Connection, waiting: &Waiting) -> rusqlite::Result<()> {
    let Waiting { name, exchange, routing_key, due, message } = waiting;
    let put_off = "INSERT OR REPLACE INTO lovage_custody_waiting
            (name, exchange, routing_key, due, message) VALUES (?1, ?2, ?3, ?4, ?5)";
    let values = params![name, exchange, routing_key, due.as_micros(), &**message];
    connection.prepare_cached(put_off)?.execute(values).map(|_| ())
}

fn keep(connection: &Connection, keeping: &Keeping, now: Timestamp) -> rusqlite::Result<()> {
    let Keeping { digest, maybe_again, queue, message, kept } = keeping;
    let record = serde_json::to_string(kept)
        .map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))?;
    let keep = "INSERT INTO lovage_custody_kept (digest, queue, at, record, message)
        SELECT ?1, ?2, ?3, ?4, ?5
            WHERE NOT (?6 AND EXISTS (SELECT 1 FROM lovage_custody_kept WHERE digest = ?1))";
    let at = now.as_micros();
    let values = params![&digest[..], queue.as_str(), at, record, &**message, maybe_again];
    connection.prepare_cached(keep)?.execute(values).map(|_| ())
}

/// Deletes what is too old or too much, some at a time.
fn trim(connection: &Connection, now: Timestamp) -> rusqlite::Result<()> {
    let trim = "DELETE FROM lovage_custody_kept
        WHERE id IN (SELECT id FROM lovage_custody_kept ORDER BY id LIMIT 100)
        AND (at < ?1 OR id <= (SELECT max(id) FROM lovage_custody_kept) - ?2)";
    let since = now.before(KEPT_FOR).as_micros();
    connection.prepare_cached(trim)?.execute([since, KEPT_MAX]).map(|_| ())
}

fn first_due(connection: &Connection) -> rusqlite::Result<Option<Timestamp>> {
    let first = "SELECT due FROM lovage_custody_waiting ORDER BY due LIMIT 1";
    let due = |row: &Row<'_>| row.get(0).map(Timestamp::from_micros);
    connection.prepare_cached(first)?.query_row([], due).optional()
}

fn lend(
    connection: &Connection,
    most: usize,
    now: Timestamp,
    until: Timestamp,
) -> rusqlite::Result<(Vec<Waiting>, Option<Timestamp>)> {
    let find = "SELECT name, exchange, routing_key, due, message FROM lovage_custody_waiting
        WHERE due <= ?1 ORDER BY due, name LIMIT ?2";
    let most = i64::try_from(most).unwrap_or(i64::MAX);
    let messages = connection
        .prepare_cached(find)?
        .query_map([now.as_micros(), most], |row| {
            Ok(Waiting {
                name: row.get(0)?,
                exchange: row.get(1)?,
                routing_key: row.get(2)?,
                due: Timestamp::from_micros(row.get(3)?),
                message: row.get::<_, Vec<u8>>(4)?.into(),
            })
        })?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    let lend = "UPDATE lovage_custody_waiting SET due = ?2 WHERE name = ?1";
    let mut lend = connection.prepare_cached(lend)?;
    for message in &messages {
        lend.execute(params![message.name, until.as_micros()])?;
    }
    Ok((messages, first_due(connection)?))
}

fn kept(
    connection: &Connection,
    after: i64,
    most: usize,
) -> rusqlite::Result<Vec<(i64, String, i64)>> {
    let find = "SELECT id, record, length(message) FROM lovage_custody_kept
        WHERE id > ?1 ORDER BY id LIMIT ?2";
    let most = i64::try_from(most).unwrap_or(i64::MAX);
    connection
        .prepare_cached(find)?
        .query_map([after, most], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
        .collect()
}

fn delete(connection: &Connection, row: i64) -> rusqlite::Result<bool> {
    let delete = "DELETE FROM lovage_custody_kept WHERE id = ?1";
    Ok(connection.prepare_cached(delete)?.execute([row])? == 1)
}
