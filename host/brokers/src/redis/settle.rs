//! Settling in one step, where everything that a verdict writes is in one Redis.

use async_trait::async_trait;
use lovage_core::Closing;
use lovage_core::ports::{PortError, Settle};
use lovage_redis::ScriptPart;

use super::RedisBroker;
use super::broker::Ending;

/// Makes verdicts true in one script: what others keep in the same database (each with a
/// [`ScriptPart`] of its own), then what leaves, then the end of the delivery.
///
/// The script does nothing at all for a delivery that the session does not hold any more: somebody
/// else has it, and settles it. There is no moment in between to crash in, so nothing is ever half
/// settled.
#[derive(Debug)]
pub struct RedisSettle {
    broker: RedisBroker,
    ending: Ending,
}

impl RedisSettle {
    /// Settles `broker`'s deliveries with these parts before its own, in this order. They must write
    /// the database that the broker's queues are in.
    pub fn new(broker: RedisBroker, parts: Vec<ScriptPart>) -> Self {
        let ending = broker.ending(parts);
        Self { broker, ending }
    }
}

#[async_trait]
impl Settle for RedisSettle {
    async fn settle(&self, batch: &[Closing]) -> Vec<Result<(), PortError>> {
        self.broker.end(&self.ending, batch).await
    }
}
