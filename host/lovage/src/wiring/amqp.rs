//! RabbitMQ, and the store beside it.
//!
//! RabbitMQ keeps queues and nothing else. The ledger, waits and kept messages are in the store that
//! `ledger_url` names, or else where results are.

use std::sync::Arc;

use anyhow::{Context as _, bail};
use lovage_brokers::amqp::{AmqpAddress, AmqpBroker, AmqpBrokerOptions, AmqpQueue};
use lovage_core::ports::{Clock, Custody, Ledger, PortError, Records, ResultBackend};
use lovage_redis::Address;
use lovage_sqlite::{Database, Settings};
use lovage_stores::postgres::PostgresCustody;
use lovage_stores::redis::{
    Durability, RedisCustody, RedisCustodyOptions, RedisLedger, RedisLedgerOptions, RedisRecords,
};
use lovage_stores::sqlite::{SqliteCustody, SqliteLedger, SqliteLedgerOptions};
use lovage_worker::InOrder;
use tracing::{info, warn};

use super::management::Listing;
use super::{
    CRASHES_MAX, Ends, Place, counted, elsewhere, one_backend, place, postgres_ledger,
    redis_results,
};
use crate::config::Config;

/// Joins a RabbitMQ with its store.
pub(super) async fn ends(
    config: &Config,
    clock: &Arc<dyn Clock>,
    address: AmqpAddress,
    backend: Place,
) -> anyhow::Result<Ends> {
    let (custody, ledger) = store(config, clock, &backend).await?;
    let chords = counted(config, &backend)?;
    let records = together(config, &backend)?;
    let listing = config.rabbit.api.clone().map(|url| Listing { url, address: address.clone() });
    let mut broker = AmqpBroker::new(options(config, address)?, custody, Arc::clone(clock));
    if let Some(listing) = listing {
        broker = broker.asking(Arc::new(listing));
    }
    let results: Arc<dyn ResultBackend> = match backend {
        Place::Replies => {
            Arc::new(broker.replies(config.rabbit.result_persistent, config.results.format))
        }
        backend => one_backend(config, backend).await?,
    };
    let broker = Arc::new(broker);
    let in_order = InOrder::new(Arc::clone(&broker) as _, Arc::clone(&results), ledger.clone());
    let settle = Arc::new(in_order.recording(records).on_trial(config.failpoint.clone()));
    Ok(Ends { kept: Arc::clone(&broker) as _, broker, results, ledger, settle, chords })
}

/// What the broker is told.
fn options(config: &Config, address: AmqpAddress) -> anyhow::Result<AmqpBrokerOptions> {
    let mut options = AmqpBrokerOptions::new(address, config.queues.clone())?;
    let rabbit = &config.rabbit;
    let set = |queue: &mut AmqpQueue| {
        // Celery says nothing of classic queues, so that whatever a virtual host has by default is.
        if rabbit.quorum {
            queue.set_default("x-queue-type", "quorum");
        } else if rabbit.queue_max_priority > 0 {
            queue.set_default("x-max-priority", &rabbit.queue_max_priority.to_string());
        }
    };
    set(&mut options.pattern);
    for text in &rabbit.queues {
        let queue = AmqpQueue::parse(text).with_context(|| format!("task.queues: {text:?}"))?;
        options.configured.push(queue);
    }
    options.slots = u16::try_from(config.slots).unwrap_or(u16::MAX);
    options.lease = config.lease;
    options.consumer_timeout = rabbit.consumer_timeout;
    options.dead_letters_to_exchange = rabbit.dead_letters_to_exchange;
    Ok(options)
}

/// A store, as two ports see it; without a ledger if none is wanted.
type Store = (Arc<dyn Custody>, Option<Arc<dyn Ledger>>);

async fn store(config: &Config, clock: &Arc<dyn Clock>, backend: &Place) -> anyhow::Result<Store> {
    let named = config.ledger_url.as_deref().unwrap_or_default();
    if named.starts_with("postgres") {
        let custody = Arc::new(PostgresCustody::start(named).await?);
        return Ok((custody, elsewhere(config).await?));
    }
    let named = place(named, "db+").context("ledger_url")?;
    if let (Place::Nowhere, Place::Postgres(url)) = (&named, backend) {
        let custody = Arc::new(PostgresCustody::start(url).await?);
        let ledger = postgres_ledger(config, url).await?;
        return Ok((custody, ledger));
    }
    match (&named, backend) {
        (Place::Redis(address), _) | (Place::Nowhere, Place::Redis(address)) => {
            in_redis(config, address).await
        }
        (Place::Sqlite(file), _) | (Place::Nowhere, Place::Sqlite(file)) => {
            in_sqlite(config, clock, Database::open(file, Settings::default()).await?).await
        }
        _ => bail!(
            "RabbitMQ keeps queues only: name a store for waits, dead letters and the ledger, such \
             as ledger_url = \"redis://localhost:6379/0\" or \"db+sqlite:///lovage.db\""
        ),
    }
}

/// Ledger and results as one, if they share a database of a Redis.
fn together(config: &Config, backend: &Place) -> anyhow::Result<Option<Arc<dyn Records>>> {
    let Place::Redis(results) = backend else { return Ok(None) };
    let named = config.ledger_url.as_deref().unwrap_or_default();
    let is_one = named.is_empty()
        || matches!(place(named, "db+"), Ok(Place::Redis(it)) if it.is_same_database(results));
    // No script can read a result that is anything but plain JSON.
    if !config.ledger || !is_one || !config.results.format.is_plain() {
        return Ok(None);
    }
    let ledger = ledger_options(config, results);
    Ok(Some(Arc::new(RedisRecords::new(&ledger, &redis_results(config, (**results).clone()))?)))
}

fn ledger_options(config: &Config, address: &Address) -> RedisLedgerOptions {
    let mut options = RedisLedgerOptions::new(address.clone());
    options.lease = config.lease;
    options.crashes_max = CRASHES_MAX;
    options.prefix.clone_from(&config.broker_key_prefix);
    options
}

async fn in_redis(config: &Config, address: &Address) -> anyhow::Result<Store> {
    let mut options = RedisCustodyOptions::new(address.clone());
    options.prefix.clone_from(&config.broker_key_prefix);
    let custody = Arc::new(RedisCustody::new(&options)?);
    if !config.ledger {
        return Ok((custody, None));
    }
    let ledger = RedisLedger::start(&ledger_options(config, address)).await?;
    match ledger.durability() {
        Durability::EveryWrite => info!("The store's server: {}", Durability::EveryWrite),
        weaker => warn!("The store's server: {weaker}"),
    }
    Ok((custody, Some(Arc::new(ledger))))
}

async fn in_sqlite(
    config: &Config,
    clock: &Arc<dyn Clock>,
    database: Database,
) -> anyhow::Result<Store> {
    let custody = Arc::new(SqliteCustody::start(database.clone(), Arc::clone(clock)).await?);
    if !config.ledger {
        return Ok((custody, None));
    }
    let mut options = SqliteLedgerOptions::new(Arc::clone(clock));
    options.lease = config.lease;
    options.crashes_max = CRASHES_MAX;
    Ok((custody, Some(Arc::new(SqliteLedger::start(database, &options).await?))))
}

/// What there is to say of a RabbitMQ, each with whether it is as it should be.
///
/// # Errors
/// When the server cannot be asked.
pub(super) async fn examine(
    config: &Config,
    address: AmqpAddress,
) -> Result<Vec<(bool, String)>, PortError> {
    let options = options(config, address)
        .map_err(|error| PortError::permanent("reading the queues", error.to_string()))?;
    let mut found = lovage_brokers::amqp::examine(&options).await?;
    let Some(url) = config.rabbit.api.clone() else {
        let text = "rabbitmq's version, policies and dead-letter exchanges are told by its \
                    management API only: name it as broker_api";
        found.push((true, text.into()));
        return Ok(found);
    };
    let queues: Vec<_> = options.queues.iter().map(|queue| queue.as_str().to_owned()).collect();
    let ask = move || super::management::examine(&url, &options.address, &queues);
    match tokio::task::spawn_blocking(ask).await {
        Ok(Ok(told)) => found.extend(told),
        Ok(Err(error)) => found.push((false, format!("rabbitmq's management API: {error:#}"))),
        Err(error) => found.push((false, format!("rabbitmq's management API: {error}"))),
    }
    Ok(found)
}
