//! What a broker hands over, in PostgreSQL. Moments are by the server's clock.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use deadpool_postgres::{Manager, ManagerConfig, Object, Pool, RecyclingMethod};
use lovage_core::ports::{Custody, KeptMessages, PortError};
use lovage_core::{
    Due, KEPT_LOOK_MAX, Keeping, KeptEntry, KeptFilter, KeptId, KeptPage, KeptPager, QueueName,
    Timestamp, Waiting, read_kept,
};
use tokio_postgres::{Config, NoTls};

use super::error::{pool_error, port_error};
use crate::columns::signed;
use crate::kept_ids::{row, rows};

/// Makes what is missing. The lock keeps two workers that start together from making it twice.
const TABLES: &str = "
BEGIN;
SELECT pg_advisory_xact_lock(5498612079311);
CREATE TABLE IF NOT EXISTS lovage_custody_waiting (
    name text PRIMARY KEY,
    exchange text NOT NULL,
    routing_key text NOT NULL,
    due_ms bigint NOT NULL,
    message bytea NOT NULL
);
CREATE INDEX IF NOT EXISTS lovage_custody_waiting_due ON lovage_custody_waiting (due_ms);
CREATE TABLE IF NOT EXISTS lovage_custody_kept (
    id bigserial PRIMARY KEY,
    digest bytea NOT NULL,
    queue text NOT NULL,
    at_ms bigint NOT NULL,
    record text NOT NULL,
    message bytea NOT NULL
);
CREATE INDEX IF NOT EXISTS lovage_custody_kept_digest ON lovage_custody_kept (digest);
CREATE TABLE IF NOT EXISTS lovage_custody_queues (name text PRIMARY KEY);
COMMIT;
";

const PUT_OFF: &str = "INSERT INTO lovage_custody_waiting
        (name, exchange, routing_key, due_ms, message) VALUES ($1, $2, $3, $4, $5)
    ON CONFLICT (name) DO UPDATE SET exchange = $2, routing_key = $3, due_ms = $4, message = $5";

const KEEP: &str = "INSERT INTO lovage_custody_kept (digest, queue, at_ms, record, message)
    SELECT $1::bytea, $2::text, (extract(epoch FROM clock_timestamp()) * 1000)::bigint,
        $3::text, $4::bytea
    WHERE NOT ($5::bool AND EXISTS (SELECT 1 FROM lovage_custody_kept WHERE digest = $1))";

/// Some of what is too old or too much goes.
const TRIM: &str = "DELETE FROM lovage_custody_kept
    WHERE id IN (SELECT id FROM lovage_custody_kept ORDER BY id LIMIT 100)
    AND (at_ms < (extract(epoch FROM clock_timestamp()) * 1000)::bigint - $1
        OR id <= (SELECT max(id) FROM lovage_custody_kept) - $2)";

/// Rows that somebody else is being lent at this moment are passed over.
const LEND: &str = "WITH clock AS (
        SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint AS now
    ), lent AS (
        SELECT name, due_ms FROM lovage_custody_waiting, clock WHERE due_ms <= now
        ORDER BY due_ms LIMIT $1 FOR UPDATE OF lovage_custody_waiting SKIP LOCKED
    )
    UPDATE lovage_custody_waiting AS waiting SET due_ms = now + $2 FROM lent, clock
    WHERE waiting.name = lent.name
    RETURNING waiting.name, exchange, routing_key, lent.due_ms, message";

const NEXT: &str = "SELECT greatest(0, min(due_ms)
        - (extract(epoch FROM clock_timestamp()) * 1000)::bigint) FROM lovage_custody_waiting";

const REPLAY: &str = "WITH gone AS (
        DELETE FROM lovage_custody_kept WHERE id = ANY($1) RETURNING id, queue, message
    )
    INSERT INTO lovage_custody_waiting (name, exchange, routing_key, due_ms, message)
    SELECT 'kept ' || id, '', queue, 0, message FROM gone";

/// Most kept messages; the oldest goes first.
const KEPT_MAX: i64 = 100_000;

/// How long a message is kept.
const KEPT_FOR: Duration = Duration::from_hours(14 * 24);

/// How long a connection may take to be had.
const PATIENCE: Duration = Duration::from_secs(10);

/// Connections at most.
const CONNECTIONS_MAX: usize = 2;

/// Custody in a PostgreSQL database.
pub struct PostgresCustody {
    pool: Pool,
}

impl PostgresCustody {
    /// Makes the tables that are missing in the database of this URL.
    ///
    /// # Errors
    /// When the URL is none, or the database cannot be reached or written.
    pub async fn start(url: &str) -> Result<Self, PortError> {
        let mut config: Config = url.parse().map_err(|error: tokio_postgres::Error| {
            PortError::permanent("reading the URL of a PostgreSQL database", error)
        })?;
        config.connect_timeout(PATIENCE);
        let recycling = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let pool = Pool::builder(Manager::from_config(config, NoTls, recycling))
            .max_size(CONNECTIONS_MAX)
            .runtime(deadpool_postgres::Runtime::Tokio1)
            .wait_timeout(Some(PATIENCE))
            .build()
            .map_err(|error| PortError::permanent("setting up PostgreSQL connections", error))?;
        let custody = Self { pool };
        let what = "making the tables of what is put off";
        let client = custody.client(what).await?;
        client.batch_execute(TABLES).await.map_err(|error| port_error(what, error))?;
        Ok(custody)
    }

    async fn client(&self, what: &str) -> Result<Object, PortError> {
        self.pool.get().await.map_err(|error| pool_error(what, error))
    }

    /// Runs one statement on rows of what is kept; how many there were.
    async fn each(&self, what: &str, statement: &str, ids: &[KeptId]) -> Result<usize, PortError> {
        let client = self.client(what).await?;
        let prepared = client.prepare_cached(statement).await;
        let prepared = prepared.map_err(|error| port_error(what, error))?;
        let count = client.execute(&prepared, &[&rows(ids)]).await;
        let count = count.map_err(|error| port_error(what, error))?;
        Ok(usize::try_from(count).unwrap_or(usize::MAX))
    }
}

#[async_trait]
impl Custody for PostgresCustody {
    async fn put_off(&self, batch: &[Waiting]) -> Result<(), PortError> {
        let what = "putting messages off";
        let failed = |error| port_error(what, error);
        let mut client = self.client(what).await?;
        let prepared = client.prepare_cached(PUT_OFF).await.map_err(failed)?;
        let transaction = client.transaction().await.map_err(failed)?;
        for Waiting { name, exchange, routing_key, due, message } in batch {
            let due = due.as_micros().saturating_add(999).div_euclid(1_000);
            let message: &[u8] = message;
            let values: [&(dyn tokio_postgres::types::ToSql + Sync); 5] =
                [name, exchange, routing_key, &due, &message];
            transaction.execute(&prepared, &values).await.map_err(failed)?;
        }
        transaction.commit().await.map_err(failed)
    }

    async fn keep(&self, batch: &[Keeping]) -> Result<(), PortError> {
        let what = "keeping messages";
        let failed = |error| port_error(what, error);
        let mut client = self.client(what).await?;
        let prepared = client.prepare_cached(KEEP).await.map_err(failed)?;
        let transaction = client.transaction().await.map_err(failed)?;
        for Keeping { digest, maybe_again, queue, message, kept } in batch {
            let record =
                serde_json::to_string(kept).map_err(|error| PortError::permanent(what, error))?;
            let (digest, message): (&[u8], &[u8]) = (digest, message);
            let values: [&(dyn tokio_postgres::types::ToSql + Sync); 5] =
                [&digest, &queue.as_str(), &record, &message, maybe_again];
            transaction.execute(&prepared, &values).await.map_err(failed)?;
        }
        let kept_for = signed(milliseconds(KEPT_FOR));
        transaction.execute(TRIM, &[&kept_for, &KEPT_MAX]).await.map_err(failed)?;
        transaction.commit().await.map_err(failed)
    }

    async fn due(&self, most: usize, loan: Duration) -> Result<Due, PortError> {
        let what = "lending what is due";
        let failed = |error| port_error(what, error);
        let client = self.client(what).await?;
        let lend = client.prepare_cached(LEND).await.map_err(failed)?;
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        let loan = signed(milliseconds(loan));
        let lent = client.query(&lend, &[&most, &loan]).await.map_err(failed)?;
        let mut messages = Vec::with_capacity(lent.len());
        for row in lent {
            let due: i64 = row.try_get(3).map_err(failed)?;
            let message: Vec<u8> = row.try_get(4).map_err(failed)?;
            messages.push(Waiting {
                name: row.try_get(0).map_err(failed)?,
                exchange: row.try_get(1).map_err(failed)?,
                routing_key: row.try_get(2).map_err(failed)?,
                due: Timestamp::from_micros(due.saturating_mul(1_000)),
                message: message.into(),
            });
        }
        messages.sort_by_key(|message| message.due);
        let next = client.prepare_cached(NEXT).await.map_err(failed)?;
        let next = client.query_one(&next, &[]).await.map_err(failed)?;
        let next: Option<i64> = next.try_get(0).map_err(failed)?;
        let next = next.and_then(|next| u64::try_from(next).ok()).map(Duration::from_millis);
        Ok(Due { messages, next })
    }

    async fn forget(&self, names: &[String]) -> Result<(), PortError> {
        let what = "forgetting what waited";
        let client = self.client(what).await?;
        let forget = "DELETE FROM lovage_custody_waiting WHERE name = ANY($1)";
        let forgotten = client.execute(forget, &[&names]).await;
        forgotten.map(|_| ()).map_err(|error| port_error(what, error))
    }

    async fn remember(&self, queues: &[QueueName]) -> Result<(), PortError> {
        let what = "remembering queues";
        let names: Vec<_> = queues.iter().map(QueueName::as_str).collect();
        let remember = "INSERT INTO lovage_custody_queues (name) SELECT unnest($1::text[])
            ON CONFLICT DO NOTHING";
        let remembered = self.client(what).await?.execute(remember, &[&names]).await;
        remembered.map(|_| ()).map_err(|error| port_error(what, error))
    }

    async fn remembered(&self, most: usize) -> Result<Vec<QueueName>, PortError> {
        let what = "reading which queues there were";
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        let find = "SELECT name FROM lovage_custody_queues ORDER BY name LIMIT $1";
        let rows = self.client(what).await?.query(find, &[&most]).await;
        let rows = rows.map_err(|error| port_error(what, error))?;
        let name = |row: &tokio_postgres::Row| row.try_get::<_, String>(0).map(QueueName::from);
        let names = rows.iter().map(name).collect::<Result<_, _>>();
        names.map_err(|error| port_error(what, error))
    }
}

#[async_trait]
impl KeptMessages for PostgresCustody {
    async fn list(
        &self,
        filter: &KeptFilter,
        after: Option<&KeptId>,
        most: usize,
    ) -> Result<KeptPage, PortError> {
        let what = "reading what is kept";
        let failed = |error| port_error(what, error);
        let look = KEPT_LOOK_MAX.min(most.max(1) * 4);
        let find = "SELECT id, record, octet_length(message)::bigint FROM lovage_custody_kept
            WHERE id > $1 ORDER BY id LIMIT $2";
        let behind = after.and_then(row).unwrap_or(0);
        let limit = i64::try_from(look).unwrap_or(i64::MAX);
        let client = self.client(what).await?;
        let found = client.query(find, &[&behind, &limit]).await.map_err(failed)?;
        let mut page = KeptPager::new(filter, after.cloned(), most, look);
        for row in found {
            let id: i64 = row.try_get(0).map_err(failed)?;
            let record: String = row.try_get(1).map_err(failed)?;
            let size: i64 = row.try_get(2).map_err(failed)?;
            let (id, kept) = (KeptId(id.to_string()), read_kept(record.as_bytes()));
            let message_bytes = u64::try_from(size).unwrap_or(0);
            if !page.see(KeptEntry { id, kept, message_bytes }) {
                break;
            }
        }
        Ok(page.end())
    }

    async fn get(&self, id: &KeptId) -> Result<Option<(KeptEntry, Bytes)>, PortError> {
        let what = "reading a kept message";
        let failed = |error| port_error(what, error);
        let Some(number) = row(id) else { return Ok(None) };
        let find = "SELECT record, message FROM lovage_custody_kept WHERE id = $1";
        let client = self.client(what).await?;
        let found = client.query_opt(find, &[&number]).await.map_err(failed)?;
        let Some(found) = found else { return Ok(None) };
        let record: String = found.try_get(0).map_err(failed)?;
        let message: Vec<u8> = found.try_get(1).map_err(failed)?;
        let (kept, message_bytes) = (read_kept(record.as_bytes()), message.len() as u64);
        Ok(Some((KeptEntry { id: id.clone(), kept, message_bytes }, message.into())))
    }

    async fn replay(&self, ids: &[KeptId]) -> Result<usize, PortError> {
        self.each("replaying kept messages", REPLAY, ids).await
    }

    async fn count(&self) -> Result<u64, PortError> {
        let what = "counting what is kept";
        let failed = |error| port_error(what, error);
        let count = "SELECT count(*) FROM lovage_custody_kept";
        let count = self.client(what).await?.query_one(count, &[]).await.map_err(failed)?;
        let count: i64 = count.try_get(0).map_err(failed)?;
        Ok(u64::try_from(count).unwrap_or(0))
    }

    async fn purge(&self, ids: &[KeptId]) -> Result<usize, PortError> {
        let purge = "DELETE FROM lovage_custody_kept WHERE id = ANY($1)";
        self.each("purging kept messages", purge, ids).await
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
