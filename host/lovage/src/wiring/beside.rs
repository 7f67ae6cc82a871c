//! What workers have beside the queues: a way to reach them all, limits that hold over all, and a way
//! to other machines.

use std::sync::Arc;

use anyhow::{Context as _, bail};
use lovage_brokers::amqp::{AmqpFanout, AmqpFanoutOptions};
use lovage_brokers::redis::{RedisFanout, RedisFanoutOptions};
use lovage_core::TenantMeter;
use lovage_core::ports::{Fanout, SharedRates};
use lovage_egress::Client;

use lovage_redis::Address;
use lovage_stores::redis::{RedisMeter, RedisRates};
use lovage_worker::{LocalMeter, Services};

use super::{Place, place};
use crate::config::Config;

/// How workers and those who look after them speak beside the queues; a file has no such way.
///
/// # Errors
/// When the broker's URL means nothing here.
pub(crate) fn fanout(config: &Config) -> anyhow::Result<Option<Arc<dyn Fanout>>> {
    let address = match place(&config.broker_url, "sqla+")? {
        Place::Redis(address) => address,
        Place::Amqp(address) => {
            return Ok(Some(Arc::new(AmqpFanout::new(AmqpFanoutOptions {
                address: *address,
                hostname: config.hostname.clone(),
                event_exchange: config.operations.event_exchange.clone(),
                control_exchange: config.operations.control_exchange.clone(),
            }))));
        }
        Place::Nowhere | Place::Postgres(_) | Place::Replies | Place::Sqlite(_) => return Ok(None),
    };
    let mut options = RedisFanoutOptions::new(*address);
    options.keys.prefix.clone_from(&config.broker_key_prefix);
    options.event_exchange.clone_from(&config.operations.event_exchange);
    options.control_exchange.clone_from(&config.operations.control_exchange);
    Ok(Some(Arc::new(RedisFanout::new(options)?)))
}

/// Where limits are kept that all workers share, if there are any.
pub(super) fn shared_rates(config: &Config) -> anyhow::Result<Option<Arc<dyn SharedRates>>> {
    if config.operations.rates.shared.is_empty() {
        return Ok(None);
    }
    if let Some(address) = shared_redis(config)? {
        return Ok(Some(Arc::new(RedisRates::new(&address, &config.broker_key_prefix)?)));
    }
    bail!("task.shared_rates needs a Redis that all workers share: as broker, or beside RabbitMQ")
}

/// What counts tenants' use: for all workers where they share a Redis, else for this one.
pub(super) fn meter(config: &Config) -> anyhow::Result<Arc<dyn TenantMeter>> {
    let Some(address) = shared_redis(config)? else { return Ok(Arc::new(LocalMeter::default())) };
    let worker = format!("{}:{}", config.hostname, std::process::id());
    Ok(Arc::new(RedisMeter::new(&address, &config.broker_key_prefix, worker)?))
}

/// The Redis that all workers share: where the queues are, or with RabbitMQ where the ledger or the
/// results are.
fn shared_redis(config: &Config) -> anyhow::Result<Option<Box<Address>>> {
    let beside = [config.ledger_url.as_deref(), config.result_backend.as_deref()];
    let urls = match place(&config.broker_url, "sqla+")? {
        Place::Redis(_) => vec![&*config.broker_url],
        Place::Amqp(_) => beside.into_iter().flatten().collect(),
        Place::Nowhere | Place::Postgres(_) | Place::Replies | Place::Sqlite(_) => Vec::new(),
    };
    let address = |url| match place(url, "db+") {
        Ok(Place::Redis(address)) => Some(address),
        _ => None,
    };
    Ok(urls.into_iter().find_map(address))
}

/// The services with a way to other machines, if any task may send anything there.
pub(super) fn sending(services: Services, config: &Config) -> anyhow::Result<Services> {
    let http = &config.http;
    if http.settings.granted.is_empty() {
        return Ok(services);
    }
    let authorities = http
        .authorities
        .as_ref()
        .map(|path| std::fs::read(path).with_context(|| format!("cannot read {}", path.display())));
    let authorities = authorities.transpose()?;
    let networks = http.networks.iter().copied().collect();
    let client = Client::new(networks, authorities.as_deref()).context("http.authorities")?;
    Ok(services.sending(Arc::new(client), http.settings.clone()))
}
