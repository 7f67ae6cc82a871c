//! Celery's database result backend in PostgreSQL (`db+postgresql://…`).
//!
//! Tables and rows are as Celery 5.7 makes them by SQLAlchemy: the numbers of rows come from sequences
//! that the tables know nothing of, moments are UTC without saying so. A success is final: no later
//! state replaces it.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use deadpool_postgres::{Manager, ManagerConfig, Object, Pool, RecyclingMethod};
use lovage_celery::ResultFormat;
use lovage_core::ports::{PortError, ResultBackend};
use lovage_core::{ResultRecord, TaskId, Timestamp};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Config, NoTls, Row};

use super::error::{pool_error, port_error};
use crate::failed;
use crate::table::TableRow;

/// Makes what is missing, as Celery does when it opens the database; columns, too, that earlier
/// versions did not have. The lock keeps two workers that start together from making it twice.
const TABLES: &str = "
BEGIN;
SELECT pg_advisory_xact_lock(5498612079311);
CREATE SEQUENCE IF NOT EXISTS task_id_sequence;
CREATE SEQUENCE IF NOT EXISTS taskset_id_sequence;
CREATE TABLE IF NOT EXISTS celery_taskmeta (
    id INTEGER NOT NULL, task_id VARCHAR(155), status VARCHAR(50), result BYTEA,
    date_done TIMESTAMP WITHOUT TIME ZONE, traceback TEXT, children BYTEA,
    name VARCHAR(155), args BYTEA, kwargs BYTEA, worker VARCHAR(155), retries INTEGER,
    queue VARCHAR(155), stamps BYTEA,
    PRIMARY KEY (id), UNIQUE (task_id)
);
CREATE TABLE IF NOT EXISTS celery_tasksetmeta (
    id INTEGER NOT NULL, taskset_id VARCHAR(155), result BYTEA,
    date_done TIMESTAMP WITHOUT TIME ZONE,
    PRIMARY KEY (id), UNIQUE (taskset_id)
);
CREATE INDEX IF NOT EXISTS ix_celery_taskmeta_date_done ON celery_taskmeta (date_done);
CREATE INDEX IF NOT EXISTS ix_celery_tasksetmeta_date_done ON celery_tasksetmeta (date_done);
ALTER TABLE celery_taskmeta
    ADD COLUMN IF NOT EXISTS children BYTEA, ADD COLUMN IF NOT EXISTS name VARCHAR(155),
    ADD COLUMN IF NOT EXISTS args BYTEA, ADD COLUMN IF NOT EXISTS kwargs BYTEA,
    ADD COLUMN IF NOT EXISTS worker VARCHAR(155), ADD COLUMN IF NOT EXISTS retries INTEGER,
    ADD COLUMN IF NOT EXISTS queue VARCHAR(155), ADD COLUMN IF NOT EXISTS stamps BYTEA;
CREATE TABLE IF NOT EXISTS lovage_result_until (
    task_id VARCHAR(155) PRIMARY KEY, until BIGINT NOT NULL
);
CREATE INDEX IF NOT EXISTS ix_lovage_result_until ON lovage_result_until (until);
COMMIT;
";

/// Stores a row, unless a success is stored already. Stamps once stored stay, as Celery has it.
const STORE: &str = "INSERT INTO celery_taskmeta AS stored (id, task_id, status, result, date_done,
        traceback, children, name, args, kwargs, worker, retries, queue, stamps)
    VALUES (nextval('task_id_sequence'), $1, $2, $3, $4::text::timestamp, $5, $6, $7, $8, $9, $10,
        $11, $12, $13)
    ON CONFLICT (task_id) DO UPDATE SET status = excluded.status, result = excluded.result,
        date_done = excluded.date_done, traceback = excluded.traceback,
        children = excluded.children, name = excluded.name, args = excluded.args,
        kwargs = excluded.kwargs, worker = excluded.worker, retries = excluded.retries,
        queue = excluded.queue, stamps = coalesce(excluded.stamps, stored.stamps)
    WHERE stored.status IS DISTINCT FROM 'SUCCESS'";

/// Notes until when results are kept that have a time of their own.
const KEEP_UNTIL: &str = "INSERT INTO lovage_result_until (task_id, until)
    SELECT * FROM unnest($1::text[], $2::bigint[])
    ON CONFLICT (task_id) DO UPDATE SET until = excluded.until";

/// Deletes some results whose own time is over; somebody else may be deleting others.
const DELETE_OVER: &str = "WITH over AS (
        DELETE FROM lovage_result_until WHERE task_id IN (
            SELECT task_id FROM lovage_result_until WHERE until < $1
            ORDER BY until LIMIT $2 FOR UPDATE SKIP LOCKED)
        RETURNING task_id)
    DELETE FROM celery_taskmeta WHERE task_id IN (SELECT task_id FROM over)";

/// Results that are deleted when another one with a time of its own is stored: more than one, so that
/// they become fewer.
const OVER_MAX: i64 = 4;

const LOAD: &str = "SELECT task_id, status, result,
        to_char(date_done, 'YYYY-MM-DD HH24:MI:SS.US'), traceback, children, name, args, kwargs,
        worker, retries, queue, stamps
    FROM celery_taskmeta WHERE task_id = $1";

/// How many expired rows go in one statement, and how many such statements there are at most.
const EXPIRED_MAX: i64 = 1_000;
const CLEAN_UPS_MAX: usize = 100;

/// How long a connection may take to be had.
const PATIENCE: Duration = Duration::from_secs(10);

/// Connections at most.
const CONNECTIONS_MAX: usize = 4;

/// Celery's result tables in a PostgreSQL database.
pub struct PostgresResults {
    pool: Pool,
    expires: Option<Duration>,
    format: ResultFormat,
}

impl PostgresResults {
    /// Makes the tables that are missing in the database of this URL. Results are kept for `expires`
    /// once they are done, `None` is for ever, with values of this serializer; as in Celery they are
    /// never compressed.
    ///
    /// # Errors
    /// When the URL is none, or the database cannot be reached or written.
    pub async fn start(
        url: &str,
        expires: Option<Duration>,
        format: ResultFormat,
    ) -> Result<Self, PortError> {
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
        let results = Self { pool, expires, format: format.uncompressed() };
        let what = "making the result tables";
        let client = results.client(what).await?;
        client.batch_execute(TABLES).await.map_err(|error| port_error(what, error))?;
        Ok(results)
    }

    async fn client(&self, what: &str) -> Result<Object, PortError> {
        self.pool.get().await.map_err(|error| pool_error(what, error))
    }

    /// Notes which of the results have a time of their own, and deletes some whose time is over.
    async fn keep_until(&self, what: &str, batch: &[ResultRecord]) -> Result<(), PortError> {
        let until: BTreeMap<_, _> = batch
            .iter()
            .filter_map(|it| Some((it.task_id.as_str(), it.at.after(it.life?).as_micros())))
            .collect();
        let Some(now) = batch.iter().map(|it| it.at).max().filter(|_| !until.is_empty()) else {
            return Ok(());
        };
        let (ids, moments): (Vec<_>, Vec<_>) = until.into_iter().unzip();
        let client = self.client(what).await?;
        let refused = |error| port_error(what, error);
        client.execute(KEEP_UNTIL, &[&ids, &moments]).await.map_err(refused)?;
        let most = i64::try_from(ids.len()).unwrap_or(i64::MAX).saturating_mul(OVER_MAX);
        client.execute(DELETE_OVER, &[&now.as_micros(), &most]).await.map_err(refused)?;
        Ok(())
    }

    /// One statement for each row, all on their way at once; answers in the same order.
    async fn store_rows(
        &self,
        what: &str,
        rows: &[TableRow],
    ) -> Result<Vec<Result<(), PortError>>, PortError> {
        let client = self.client(what).await?;
        let prepared = client.prepare_cached(STORE).await;
        let prepared = &prepared.map_err(|error| port_error(what, error))?;
        let client = &client;
        let each = rows.iter().map(|row| async move {
            let values: [&(dyn ToSql + Sync); 13] = [
                &row.task_id,
                &row.status,
                &row.result,
                &row.date_done,
                &row.traceback,
                &row.children,
                &row.name,
                &row.args,
                &row.kwargs,
                &row.worker,
                &row.retries,
                &row.queue,
                &row.stamps,
            ];
            let stored = client.execute(prepared, &values).await;
            stored.map(drop).map_err(|error| port_error(what, error))
        });
        Ok(futures::future::join_all(each).await)
    }
}

#[async_trait]
impl ResultBackend for PostgresResults {
    async fn store(&self, batch: &[ResultRecord]) -> Vec<Result<(), PortError>> {
        if batch.is_empty() {
            return Vec::new();
        }
        let rows: Vec<_> = batch.iter().map(|it| TableRow::of(it, self.format)).collect();
        let what = "storing results";
        let stored = async {
            self.keep_until(what, batch).await?;
            self.store_rows(what, &rows).await
        };
        stored.await.unwrap_or_else(|error| failed::each(what, &error, batch.len()))
    }

    async fn load(&self, task: &TaskId) -> Result<Option<String>, PortError> {
        let what = "reading a result";
        let refused = |error| port_error(what, error);
        let client = self.client(what).await?;
        let prepared = client.prepare_cached(LOAD).await.map_err(refused)?;
        let found = client.query_opt(&prepared, &[&task.as_str()]).await.map_err(refused)?;
        let Some(found) = found else { return Ok(None) };
        let row = stored(&found).map_err(refused)?;
        let document = row.document(self.format);
        document
            .map(Some)
            .map_err(|error| PortError::permanent(format!("reading the result of {task}"), error))
    }

    async fn expire(&self, now: Timestamp) -> Result<(), PortError> {
        let what = "deleting expired results";
        let refused = |error| port_error(what, error);
        let client = self.client(what).await?;
        for _ in 0..CLEAN_UPS_MAX {
            let deleted = client.execute(DELETE_OVER, &[&now.as_micros(), &EXPIRED_MAX]).await;
            if deleted.map_err(refused)? == 0 {
                break;
            }
        }
        let Some(expires) = self.expires else { return Ok(()) };
        let expires = i64::try_from(expires.as_micros()).unwrap_or(i64::MAX);
        #[expect(clippy::cast_precision_loss, reason = "a millisecond does not matter here")]
        let before = now.as_micros().saturating_sub(expires) as f64 / 1_000_000.0;
        for table in ["celery_taskmeta", "celery_tasksetmeta"] {
            let delete = format!(
                "DELETE FROM {table} WHERE id IN (SELECT id FROM {table}
                    WHERE date_done < to_timestamp($1) AT TIME ZONE 'UTC' LIMIT $2)"
            );
            for _ in 0..CLEAN_UPS_MAX {
                let deleted = client.execute(&delete, &[&before, &EXPIRED_MAX]).await;
                if deleted.map_err(refused)? == 0 {
                    break;
                }
            }
        }
        Ok(())
    }
}

fn stored(row: &Row) -> Result<TableRow, tokio_postgres::Error> {
    Ok(TableRow {
        task_id: row.try_get::<_, Option<_>>(0)?.unwrap_or_default(),
        status: row.try_get::<_, Option<_>>(1)?.unwrap_or_default(),
        result: row.try_get(2)?,
        date_done: row.try_get(3)?,
        traceback: row.try_get(4)?,
        children: row.try_get(5)?,
        name: row.try_get(6)?,
        args: row.try_get(7)?,
        kwargs: row.try_get(8)?,
        worker: row.try_get(9)?,
        retries: row.try_get(10)?,
        queue: row.try_get(11)?,
        stamps: row.try_get(12)?,
    })
}
