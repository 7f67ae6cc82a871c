//! Where ledgers and results are kept.

use std::sync::Arc;

use anyhow::bail;
use async_trait::async_trait;
use lovage_core::ports::{Chords, Ledger, PortError, ResultBackend};
use lovage_core::{ResultRecord, TaskId};
use lovage_redis::Address;
use lovage_sqlite::{Database, Settings};
use lovage_stores::postgres::{PostgresLedger, PostgresLedgerOptions};
use lovage_stores::redis::{RedisChords, RedisResults, RedisResultsOptions};
use lovage_stores::sqlite::SqliteResults;

use super::{CRASHES_MAX, Place};
use crate::config::Config;

/// The ledger, if it is not to be where the broker is: in PostgreSQL.
pub(super) async fn elsewhere(config: &Config) -> anyhow::Result<Option<Arc<dyn Ledger>>> {
    let Some(url) = config.ledger_url.as_ref().filter(|_| config.ledger) else { return Ok(None) };
    if !url.starts_with("postgresql://") && !url.starts_with("postgres://") {
        bail!("ledger_url names no PostgreSQL database; empty keeps the ledger beside the queue");
    }
    let mut options = PostgresLedgerOptions::new(url);
    options.lease = config.lease;
    options.crashes_max = CRASHES_MAX;
    Ok(Some(Arc::new(PostgresLedger::start(&options).await?)))
}

pub(super) async fn one_backend(
    config: &Config,
    place: Place,
) -> anyhow::Result<Arc<dyn ResultBackend>> {
    Ok(match place {
        Place::Sqlite(file) => {
            let database = Database::open(&file, Settings::default()).await?;
            let results = SqliteResults::start(database).await?;
            Arc::new(results.expiring(config.result_expires))
        }
        Place::Redis(address) => Arc::new(RedisResults::new(&redis_results(config, *address))?),
        Place::Amqp(_) => bail!("results of rpc:// need a RabbitMQ as broker"),
        Place::Nowhere => Arc::new(NoResults),
    })
}

/// Where members of chords are counted: Redis can, others cannot.
pub(super) fn counted(config: &Config, place: &Place) -> anyhow::Result<Option<Arc<dyn Chords>>> {
    let Place::Redis(address) = place else { return Ok(None) };
    let chords = RedisChords::new(&redis_results(config, (**address).clone()))?;
    Ok(Some(Arc::new(chords)))
}

pub(super) fn redis_results(config: &Config, address: Address) -> RedisResultsOptions {
    let mut options = RedisResultsOptions::new(address);
    options.expires = config.result_expires;
    options.prefix.clone_from(&config.results_key_prefix);
    options
}

/// Celery's `disabled` backend: results go nowhere.
pub(super) struct NoResults;

#[async_trait]
impl ResultBackend for NoResults {
    async fn store(&self, batch: &[ResultRecord]) -> Vec<Result<(), PortError>> {
        batch.iter().map(|_| Ok(())).collect()
    }

    async fn load(&self, _task: &TaskId) -> Result<Option<String>, PortError> {
        Ok(None)
    }
}
