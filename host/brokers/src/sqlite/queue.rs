//! The statements: taking, putting, ending and keeping messages, each inside a caller's transaction.

use bytes::Bytes;
use lovage_celery::{Route, encode_envelope};
use lovage_core::{Disposal, Kept, Publication, QueueName, TaskId, TaskName, Timestamp};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension, params};

/// Bytes of payload that one batch takes at most, unless its first message alone is larger.
const BATCH_BYTES_MAX: usize = 32 << 20;

/// How many scheduled messages become visible in one transaction.
const DUE_MAX: usize = 1_000;

/// A message that was taken.
pub(super) struct Taken {
    pub(super) claim: Claim,
    pub(super) payload: Bytes,
}

/// One delivery of one message: the same message delivered again is another.
#[derive(Debug, Clone, Copy)]
pub(super) struct Claim {
    pub(super) message: i64,
    pub(super) deliveries: u32,
}

/// A message on its way into a queue, encoded.
pub(super) struct Sent {
    pub(super) queue: String,
    pub(super) payload: String,
    /// Not to be seen before.
    pub(super) due: Option<Timestamp>,
}

impl Sent {
    /// A message as it is put into its queue.
    pub(super) fn of(publication: &Publication) -> Self {
        let tag = uuid::Builder::from_random_bytes(fastrand::u128(..).to_ne_bytes()).into_uuid();
        let route = Route {
            exchange: &publication.exchange,
            routing_key: &publication.routing_key,
            priority: publication.priority,
            delivery_tag: &tag.to_string(),
        };
        Self {
            // kombu keeps bindings of exchanges in its processes' memory only; in Celery's own
            // configuration a queue's name and its routing key are the same.
            queue: publication.routing_key.clone(),
            payload: encode_envelope(&publication.parts, route),
            due: publication.not_before,
        }
    }
}

/// The number of a queue, which is made if it is missing.
pub(super) fn queue_id(connection: &Connection, name: &str) -> rusqlite::Result<i64> {
    let find = "SELECT id FROM kombu_queue WHERE name = ?1";
    let found = connection.prepare_cached(find)?.query_row([name], |row| row.get(0)).optional()?;
    match found {
        Some(id) => Ok(id),
        None => {
            connection.prepare_cached("INSERT INTO kombu_queue (name) VALUES (?1)")?.insert([name])
        }
    }
}

/// The names of all queues.
pub(super) fn names(connection: &Connection) -> rusqlite::Result<Vec<QueueName>> {
    let mut statement = connection.prepare_cached("SELECT name FROM kombu_queue ORDER BY name")?;
    let names = statement.query_map([], |row| row.get::<_, String>(0))?;
    names.map(|name| name.map(QueueName::from)).collect()
}

/// Takes up to `most` messages from a queue for a session, the longest waiting first.
pub(super) fn take(
    connection: &Connection,
    queue: i64,
    session: i64,
    most: usize,
) -> rusqlite::Result<Vec<Taken>> {
    let waiting = waiting(connection, queue, most)?;
    let mut hide = connection.prepare_cached(
        "UPDATE kombu_message SET visible = 0, version = version + 1 WHERE id = ?1",
    )?;
    let mut lease = connection.prepare_cached(
        "INSERT INTO lovage_lease (message, session, deliveries) VALUES (?1, ?2, 1)
            ON CONFLICT (message)
            DO UPDATE SET session = excluded.session, deliveries = deliveries + 1
            RETURNING deliveries",
    )?;
    let mut take_one = |(message, payload)| {
        hide.execute([message])?;
        let deliveries = lease.query_row([message, session], |row| row.get(0))?;
        Ok(Taken { claim: Claim { message, deliveries }, payload })
    };
    waiting.into_iter().map(&mut take_one).collect()
}

fn waiting(
    connection: &Connection,
    queue: i64,
    most: usize,
) -> rusqlite::Result<Vec<(i64, Bytes)>> {
    let mut statement = connection.prepare_cached(
        "SELECT id, payload FROM kombu_message INDEXED BY lovage_message_waiting
            WHERE queue_id = ?1 AND visible = 1 ORDER BY timestamp, id LIMIT ?2",
    )?;
    let mut rows = statement.query(params![queue, i64::try_from(most).unwrap_or(i64::MAX)])?;
    let mut waiting = Vec::new();
    let mut bytes = 0;
    while let Some(row) = rows.next()? {
        let payload = match row.get_ref(1)? {
            ValueRef::Text(bytes) | ValueRef::Blob(bytes) => Bytes::copy_from_slice(bytes),
            ValueRef::Integer(number) => Bytes::from(number.to_string()),
            ValueRef::Real(number) => Bytes::from(number.to_string()),
            ValueRef::Null => Bytes::new(),
        };
        bytes += payload.len();
        if bytes > BATCH_BYTES_MAX && !waiting.is_empty() {
            break;
        }
        waiting.push((row.get(0)?, payload));
    }
    Ok(waiting)
}

/// Whether a message waits in a queue.
pub(super) fn is_waiting(connection: &Connection, queue: i64) -> rusqlite::Result<bool> {
    let find = "SELECT 1 FROM kombu_message INDEXED BY lovage_message_waiting
        WHERE queue_id = ?1 AND visible = 1 LIMIT 1";
    Ok(connection.prepare_cached(find)?.query_row([queue], |_| Ok(())).optional()?.is_some())
}

/// Puts a message into its queue.
pub(super) fn put(connection: &Connection, sent: &Sent, now: Timestamp) -> rusqlite::Result<()> {
    let queue = queue_id(connection, &sent.queue)?;
    let due = sent.due.filter(|due| *due > now);
    let message = connection
        .prepare_cached(
            "INSERT INTO kombu_message (visible, timestamp, payload, version, queue_id)
                VALUES (?1, NULL, ?2, 1, ?3)",
        )?
        .insert(params![due.is_none(), sent.payload, queue])?;
    due.map_or(Ok(()), |due| schedule(connection, message, due))
}

/// Ends a delivery, if the session still has it; `false` if not, and then nothing is written.
pub(super) fn end(
    connection: &Connection,
    session: i64,
    claim: Claim,
    disposal: &Disposal,
) -> rusqlite::Result<bool> {
    let let_go = match disposal {
        Disposal::Acknowledge | Disposal::Keep(_) => {
            "DELETE FROM lovage_lease WHERE message = ?1 AND session = ?2 AND deliveries = ?3"
        }
        Disposal::Release(_) => {
            "UPDATE lovage_lease SET session = NULL
                WHERE message = ?1 AND session = ?2 AND deliveries = ?3"
        }
    };
    let values = params![claim.message, session, claim.deliveries];
    if connection.prepare_cached(let_go)?.execute(values)? == 0 {
        return Ok(false);
    }
    match disposal {
        Disposal::Acknowledge => delete(connection, claim.message)?,
        Disposal::Release(None) => show(connection, claim.message)?,
        Disposal::Release(Some(due)) => schedule(connection, claim.message, *due)?,
        Disposal::Keep(kept) => {
            keep(connection, claim.message, kept)?;
            delete(connection, claim.message)?;
        }
    }
    Ok(true)
}

fn delete(connection: &Connection, message: i64) -> rusqlite::Result<()> {
    let delete = "DELETE FROM kombu_message WHERE id = ?1";
    connection.prepare_cached(delete)?.execute([message]).map(|_| ())
}

fn show(connection: &Connection, message: i64) -> rusqlite::Result<()> {
    let show = "UPDATE kombu_message SET visible = 1 WHERE id = ?1";
    connection.prepare_cached(show)?.execute([message]).map(|_| ())
}

fn schedule(connection: &Connection, message: i64, due: Timestamp) -> rusqlite::Result<()> {
    let schedule = "INSERT OR REPLACE INTO lovage_schedule (message, due) VALUES (?1, ?2)";
    connection.prepare_cached(schedule)?.execute([message, due.as_micros()]).map(|_| ())
}

fn keep(connection: &Connection, message: i64, kept: &Kept) -> rusqlite::Result<()> {
    let record = serde_json::to_string(kept)
        .map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))?;
    connection
        .prepare_cached(
            "INSERT INTO lovage_kept (kind, reason, task_id, task, queue, at, record, payload)
                SELECT ?1, ?2, ?3, ?4,
                    coalesce((SELECT name FROM kombu_queue WHERE id = queue_id), ?5),
                    ?6, ?7, payload
                    FROM kombu_message WHERE id = ?8",
        )?
        .execute(params![
            kept.kind.as_str(),
            kept.reason,
            kept.task_id.as_ref().map(TaskId::as_str),
            kept.task.as_ref().map(TaskName::as_str),
            kept.queue.as_str(),
            kept.at.as_micros(),
            record,
            message
        ])
        .map(|_| ())
}

/// Makes visible what is due; how many messages that was, and when the next one is.
pub(super) fn show_due(
    connection: &Connection,
    now: Timestamp,
) -> rusqlite::Result<(usize, Option<Timestamp>)> {
    let find = "SELECT message, due FROM lovage_schedule ORDER BY due LIMIT 1";
    let mut first = connection.prepare_cached(find)?;
    let mut done = connection.prepare_cached("DELETE FROM lovage_schedule WHERE message = ?1")?;
    for shown in 0..DUE_MAX {
        let next = first.query_row([], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
        let Some((message, due)) = next else { return Ok((shown, None)) };
        let due = Timestamp::from_micros(due);
        if due > now {
            return Ok((shown, Some(due)));
        }
        show(connection, message)?;
        done.execute([message])?;
    }
    Ok((DUE_MAX, Some(now)))
}

/// How many leases one transaction looks at for strays. Where a million calls wait for their time, each
/// of them has one; a sweep must not keep the file from others for as long as it takes to read them all.
const STRAYS_LOOKED_AT_MAX: i64 = 1_000;

/// Forgets deliveries of messages that are nobody's any more: purged, or taken by kombu's workers.
/// Looks at some of those beyond the message `after`; returns the last one looked at, or 0 when there
/// are no more and it is time to begin anew.
pub(super) fn forget_strays(connection: &Connection, after: i64) -> rusqlite::Result<i64> {
    let some = "SELECT message FROM lovage_lease WHERE message > ?1 ORDER BY message LIMIT ?2";
    let last: Option<i64> = connection
        .prepare_cached(&format!("SELECT max(message) FROM ({some})"))?
        .query_row([after, STRAYS_LOOKED_AT_MAX], |row| row.get(0))?;
    let Some(last) = last else { return Ok(0) };
    connection
        .prepare_cached(
            "DELETE FROM lovage_lease WHERE message > ?1 AND message <= ?2 AND session IS NULL
                AND NOT EXISTS
                    (SELECT 1 FROM lovage_schedule WHERE message = lovage_lease.message)
                AND NOT EXISTS
                    (SELECT 1 FROM kombu_message WHERE id = lovage_lease.message AND visible = 1)",
        )?
        .execute([after, last])?;
    Ok(last)
}

/// How many kept messages one transaction deletes at most.
const KEPT_DELETED_MAX: i64 = 1_000;

/// Deletes the oldest kept messages beyond the bounds; how many that was.
pub(super) fn trim_kept(
    connection: &Connection,
    most: u32,
    since: Timestamp,
) -> rusqlite::Result<usize> {
    connection
        .prepare_cached(
            "DELETE FROM lovage_kept
                WHERE id IN (SELECT id FROM lovage_kept ORDER BY id LIMIT ?1)
                AND (at < ?2 OR id <= (SELECT max(id) FROM lovage_kept) - ?3)",
        )?
        .execute(params![KEPT_DELETED_MAX, since.as_micros(), most])
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::{STRAYS_LOOKED_AT_MAX, forget_strays};
    use crate::sqlite::schema;

    #[test]
    fn strays_are_forgotten_some_at_a_time_and_nothing_else_is() {
        let file = Connection::open_in_memory().unwrap();
        schema::prepare(&file).unwrap().unwrap();
        let most = STRAYS_LOOKED_AT_MAX;
        // Of every five leases one is held, two wait, one is scheduled, and one is a stray.
        let fill = format!(
            "INSERT INTO kombu_queue (id, name) VALUES (1, 'q');
            WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2 * {most})
                INSERT INTO lovage_lease SELECT i, iif(i % 5 = 1, 7, NULL), 1 FROM n;
            INSERT INTO kombu_message (id, visible, payload, version, queue_id)
                SELECT message, message % 5 IN (2, 3), '', 1, 1 FROM lovage_lease;
            INSERT INTO lovage_schedule SELECT message, 0 FROM lovage_lease WHERE message % 5 = 4;"
        );
        file.execute_batch(&fill).unwrap();
        let count = |what: &str| {
            let query = format!("SELECT count(*) FROM lovage_lease WHERE {what}");
            file.query_row(&query, [], |row| row.get::<_, i64>(0)).unwrap()
        };
        assert_eq!(forget_strays(&file, 0).unwrap(), most);
        assert_eq!(count("message % 5 = 0"), most / 5, "half of them");
        assert_eq!(forget_strays(&file, most).unwrap(), 2 * most);
        assert_eq!(forget_strays(&file, 2 * most).unwrap(), 0, "it begins anew");
        assert_eq!((count("message % 5 = 0"), count("TRUE")), (0, 2 * most * 4 / 5));
    }
}
