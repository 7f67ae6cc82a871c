//! What was kept: a table, read a part at a time.

use async_trait::async_trait;
use bytes::Bytes;
use lovage_core::ports::{KeptMessages, PortError};
use lovage_core::{KEPT_LOOK_MAX, KeptEntry, KeptFilter, KeptId, KeptPage, KeptPager, read_kept};
use rusqlite::{Connection, OptionalExtension, params};

use super::{SqliteBroker, queue};

/// Messages that one transaction puts back or deletes: others wait for the file meanwhile.
const WRITE_MAX: usize = 500;

#[async_trait]
impl KeptMessages for SqliteBroker {
    async fn list(
        &self,
        filter: &KeptFilter,
        after: Option<&KeptId>,
        most: usize,
    ) -> Result<KeptPage, PortError> {
        let behind = after.and_then(number).unwrap_or(0);
        let look = KEPT_LOOK_MAX.min(most.max(1) * 4);
        let read = move |connection: &Connection| rows(connection, behind, look);
        let rows = self.database.read("read what is kept", read).await?;
        let mut page = KeptPager::new(filter, after.cloned(), most, look);
        for (id, record, message_bytes) in rows {
            let (id, kept) = (KeptId(id.to_string()), read_kept(record.as_bytes()));
            if !page.see(KeptEntry { id, kept, message_bytes }) {
                break;
            }
        }
        Ok(page.end())
    }

    async fn count(&self) -> Result<u64, PortError> {
        let count = |connection: &Connection| {
            connection.query_row("SELECT COUNT(*) FROM lovage_kept", [], |row| row.get::<_, i64>(0))
        };
        let count = self.database.read("count what is kept", count).await?;
        Ok(u64::try_from(count).unwrap_or(0))
    }

    async fn get(&self, id: &KeptId) -> Result<Option<(KeptEntry, Bytes)>, PortError> {
        let Some(row) = number(id) else { return Ok(None) };
        let find = "SELECT record, CAST(payload AS BLOB) FROM lovage_kept WHERE id = ?1";
        let read = move |connection: &Connection| {
            connection
                .query_row(find, [row], |row| {
                    Ok((row.get::<_, String>(0)?, row.get::<_, Vec<u8>>(1)?))
                })
                .optional()
        };
        let found = self.database.read("read a kept message", read).await?;
        Ok(found.map(|(record, message)| {
            let (kept, message_bytes) = (read_kept(record.as_bytes()), message.len() as u64);
            (KeptEntry { id: id.clone(), kept, message_bytes }, message.into())
        }))
    }

    async fn replay(&self, ids: &[KeptId]) -> Result<usize, PortError> {
        let count = self.each(ids, "replay kept messages", put_back).await?;
        self.own.notify_one();
        Ok(count)
    }

    async fn purge(&self, ids: &[KeptId]) -> Result<usize, PortError> {
        self.each(ids, "purge kept messages", delete).await
    }
}

impl SqliteBroker {
    /// Does the same to each of these messages, many in one transaction; how many there were.
    async fn each(
        &self,
        ids: &[KeptId],
        what: &'static str,
        change: fn(&Connection, i64) -> rusqlite::Result<bool>,
    ) -> Result<usize, PortError> {
        let rows: Vec<_> = ids.iter().filter_map(number).collect();
        let mut count = 0;
        for some in rows.chunks(WRITE_MAX) {
            let some = some.to_vec();
            let change_all = move |connection: &Connection| {
                some.into_iter()
                    .try_fold(0, |sum, row| Ok(sum + usize::from(change(connection, row)?)))
            };
            count += self.database.write(what, change_all).await?;
        }
        Ok(count)
    }
}

fn rows(
    connection: &Connection,
    after: i64,
    most: usize,
) -> rusqlite::Result<Vec<(i64, String, u64)>> {
    let most = i64::try_from(most).unwrap_or(i64::MAX);
    connection
        .prepare_cached(
            "SELECT id, record, length(CAST(payload AS BLOB)) FROM lovage_kept
                WHERE id > ?1 ORDER BY id LIMIT ?2",
        )?
        .query_map([after, most], |row| {
            let size: i64 = row.get(2)?;
            Ok((row.get(0)?, row.get(1)?, u64::try_from(size).unwrap_or(0)))
        })?
        .collect()
}

/// Puts one message back; `false` when it is not kept any more. The payload is copied inside SQLite,
/// so that it stays what it was, a text or bytes.
fn put_back(connection: &Connection, row: i64) -> rusqlite::Result<bool> {
    let find = "SELECT queue FROM lovage_kept WHERE id = ?1";
    let mut find = connection.prepare_cached(find)?;
    let Some(name) = find.query_row([row], |row| row.get::<_, String>(0)).optional()? else {
        return Ok(false);
    };
    let copy = "INSERT INTO kombu_message (visible, timestamp, payload, version, queue_id)
        SELECT 1, NULL, payload, 1, ?2 FROM lovage_kept WHERE id = ?1";
    let queue = queue::queue_id(connection, &name)?;
    connection.prepare_cached(copy)?.execute(params![row, queue])?;
    delete(connection, row)
}

fn delete(connection: &Connection, row: i64) -> rusqlite::Result<bool> {
    let delete = "DELETE FROM lovage_kept WHERE id = ?1";
    Ok(connection.prepare_cached(delete)?.execute([row])? == 1)
}

fn number(id: &KeptId) -> Option<i64> {
    id.0.parse().ok()
}
