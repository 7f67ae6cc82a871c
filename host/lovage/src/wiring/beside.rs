//! What workers share beside the queues: a way to reach them all, and limits that hold over all.

use std::sync::Arc;

use anyhow::bail;
use lovage_brokers::redis::{RedisFanout, RedisFanoutOptions};
use lovage_core::ports::{Fanout, SharedRates};
use lovage_stores::redis::RedisRates;

use super::{Place, place};
use crate::config::Config;

/// How workers and those who look after them speak beside the queues; a file has no such way.
///
/// # Errors
/// When the broker's URL means nothing here.
pub(crate) fn fanout(config: &Config) -> anyhow::Result<Option<Arc<dyn Fanout>>> {
    let Place::Redis(address) = place(&config.broker_url, "sqla+")? else { return Ok(None) };
    let mut options = RedisFanoutOptions::new(*address);
    options.keys.prefix.clone_from(&config.broker_key_prefix);
    options.event_exchange.clone_from(&config.operations.event_exchange);
    options.control_exchange.clone_from(&config.operations.control_exchange);
    Ok(Some(Arc::new(RedisFanout::new(options)?)))
}

/// Where limits are kept that all workers share, if there are any: where the queues are.
pub(super) fn shared_rates(config: &Config) -> anyhow::Result<Option<Arc<dyn SharedRates>>> {
    if config.operations.rates.shared.is_empty() {
        return Ok(None);
    }
    match place(&config.broker_url, "sqla+")? {
        Place::Redis(address) => {
            Ok(Some(Arc::new(RedisRates::new(&address, &config.broker_key_prefix)?)))
        }
        _ => bail!("task.shared_rates needs a Redis broker, which all workers share"),
    }
}
