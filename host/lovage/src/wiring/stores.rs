//! Where ledgers and results are kept.

use std::sync::Arc;

use anyhow::bail;
use async_trait::async_trait;
use lovage_core::ports::{Chords, Ledger, PortError, ResultBackend};
use lovage_core::{ResultRecord, TaskId};
use lovage_redis::Address;
use lovage_sqlite::{Database, Settings};
use lovage_stores::postgres::{PostgresLedger, PostgresLedgerOptions, PostgresResults};
use lovage_stores::redis::{RedisChords, RedisResults, RedisResultsOptions};
use lovage_stores::sqlite::SqliteResults;

use super::CRASHES_MAX;
use super::place::Place;
use crate::config::{Config, ResultsConfig};

/// The ledger, if it is not to be where the broker is: in PostgreSQL.
pub(super) async fn elsewhere(config: &Config) -> anyhow::Result<Option<Arc<dyn Ledger>>> {
    let Some(url) = config.ledger_url.as_ref().filter(|_| config.ledger) else { return Ok(None) };
    if !url.starts_with("postgresql://") && !url.starts_with("postgres://") {
        bail!("ledger_url names no PostgreSQL database; empty keeps the ledger beside the queue");
    }
    postgres_ledger(config, url).await
}

/// The ledger in a PostgreSQL database, if there is to be one.
pub(super) async fn postgres_ledger(
    config: &Config,
    url: &str,
) -> anyhow::Result<Option<Arc<dyn Ledger>>> {
    if !config.ledger {
        return Ok(None);
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
            let ResultsConfig { expires, format, .. } = config.results;
            Arc::new(results.expiring(expires).written_as(format))
        }
        Place::Postgres(url) => {
            let ResultsConfig { expires, format, .. } = config.results;
            Arc::new(PostgresResults::start(&url, expires, format).await?)
        }
        Place::Redis(address) => Arc::new(RedisResults::new(&redis_results(config, *address))?),
        Place::Replies | Place::Amqp(_) => bail!("result_backend names a broker; rpc:// is meant"),
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
    options.expires = config.results.expires;
    options.prefix.clone_from(&config.results.key_prefix);
    options.format = config.results.format;
    options.chord_ordered = config.results.chord_ordered;
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
