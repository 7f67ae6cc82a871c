//! Celery's database result backend in one SQLite file (`db+sqlite:///path`).
//!
//! Rows are as Celery 5.7 writes them: values are JSON as bytes, moments are UTC without saying so.
//! Callers must be 5.7 or later; earlier ones expect a Python pickle in the same column, which is
//! neither written nor read here. A success is final: no later state replaces it.
//!
//! [`SqliteResults`] is a backend of its own. Where queue and results share one file,
//! [`ResultRows`] writes the same rows inside the transaction that ends the delivery.

mod custody;
mod ledger;
mod records;
mod rows;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use lovage_celery::ResultFormat;
use lovage_core::ports::{PortError, ResultBackend};
use lovage_core::{Closing, ResultRecord, TaskId, Timestamp};
use lovage_sqlite::{Database, Participant, port_error};
use rusqlite::Connection;

use crate::table::TableRow;

pub use custody::SqliteCustody;
pub use ledger::{LedgerRows, SinceBoot, SqliteLedger, SqliteLedgerOptions};
pub use records::SqliteRecords;

/// How many expired rows go in one transaction.
const EXPIRED_MAX: usize = 1_000;

/// How many such transactions one clean-up makes at most.
const CLEAN_UPS_MAX: usize = 100;

/// Celery's result tables in a SQLite file.
#[derive(Debug, Clone)]
pub struct SqliteResults {
    database: Database,
    expires: Option<Duration>,
    format: ResultFormat,
}

impl SqliteResults {
    /// Makes the tables and columns that are missing.
    ///
    /// # Errors
    /// When the file cannot be written, or has tables of the same names that are not Celery's.
    pub async fn start(database: Database) -> Result<Self, PortError> {
        database.write("make the result tables", rows::prepare).await?;
        Ok(Self { database, expires: None, format: ResultFormat::default() })
    }

    /// The same with values of this serializer; as in Celery they are never compressed.
    #[must_use]
    pub fn written_as(self, format: ResultFormat) -> Self {
        Self { format: format.uncompressed(), ..self }
    }

    /// The same for results that are kept for so long once they are done; `None` is for ever.
    #[must_use]
    pub fn expiring(self, expires: Option<Duration>) -> Self {
        Self { expires, ..self }
    }

    /// Deletes results that were done longer than `expires` ago, as Celery's
    /// `celery.backend_cleanup` does; at most 100,000, a thousand in a transaction. Returns how many
    /// that was: when it was that many, there may be more.
    ///
    /// # Errors
    /// When the file cannot be written; what was deleted until then stays deleted.
    pub async fn clean_up(&self, now: Timestamp, expires: Duration) -> Result<usize, PortError> {
        let expires = i64::try_from(expires.as_micros()).unwrap_or(i64::MAX);
        let before = Timestamp::from_micros(now.as_micros().saturating_sub(expires));
        let mut sum = 0;
        for _ in 0..CLEAN_UPS_MAX {
            let delete = move |connection: &Connection| {
                rows::delete_done_before(connection, before, EXPIRED_MAX)
            };
            let deleted = self.database.write("delete expired results", delete).await?;
            sum += deleted;
            if deleted == 0 {
                break;
            }
        }
        Ok(sum)
    }
}

#[async_trait]
impl ResultBackend for SqliteResults {
    async fn store(&self, batch: &[ResultRecord]) -> Vec<Result<(), PortError>> {
        let (records, format) = (batch.to_vec(), self.format);
        let store = move |connection: &Connection| {
            records
                .iter()
                .map(|record| match store(connection, record, format) {
                    // A full disk, among others, ends the whole transaction.
                    Err(error) if connection.is_autocommit() => Err(error),
                    outcome => Ok(outcome.map_err(Arc::new)),
                })
                .collect::<rusqlite::Result<Vec<_>>>()
        };
        let what = "store a result";
        match self.database.write(what, store).await {
            Ok(all) => {
                all.into_iter().map(|one| one.map_err(|error| port_error(what, &error))).collect()
            }
            Err(error) if error.is_transient() => {
                batch.iter().map(|_| Err(PortError::transient(what, error.to_string()))).collect()
            }
            Err(error) => {
                batch.iter().map(|_| Err(PortError::permanent(what, error.to_string()))).collect()
            }
        }
    }

    async fn load(&self, task: &TaskId) -> Result<Option<String>, PortError> {
        let id = task.clone();
        let load = move |connection: &Connection| rows::load(connection, id.as_str());
        let row = self.database.read("read a result", load).await?;
        row.map(|row| row.document(self.format))
            .transpose()
            .map_err(|error| PortError::permanent(format!("read the result of {task}"), error))
    }

    async fn expire(&self, now: Timestamp) -> Result<(), PortError> {
        let delete = move |connection: &Connection| rows::delete_over(connection, now, EXPIRED_MAX);
        while self.database.write("delete expired results", delete).await? > 0 {}
        let Some(expires) = self.expires else { return Ok(()) };
        self.clean_up(now, expires).await.map(drop)
    }
}

fn store(
    connection: &Connection,
    record: &ResultRecord,
    format: ResultFormat,
) -> rusqlite::Result<()> {
    rows::store(connection, &TableRow::of(record, format))?;
    rows::keep_until(connection, record)
}

/// Writes results in the transaction that settles a delivery, for queues in the same file.
#[derive(Debug, Clone, Copy, Default)]
pub struct ResultRows {
    format: ResultFormat,
}

impl ResultRows {
    /// The same with values of this serializer.
    #[must_use]
    pub fn written_as(format: ResultFormat) -> Self {
        Self { format: format.uncompressed() }
    }
}

impl Participant for ResultRows {
    fn prepare(&self, connection: &Connection) -> rusqlite::Result<()> {
        rows::prepare(connection)
    }

    fn write(&self, connection: &Connection, closing: &Closing) -> rusqlite::Result<bool> {
        let mut records = closing.results.iter();
        records.try_for_each(|record| store(connection, record, self.format))?;
        Ok(true)
    }
}
