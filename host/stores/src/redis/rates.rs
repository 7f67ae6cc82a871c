//! Limits that all workers share.
//!
//! | key | type | what |
//! |---|---|---|
//! | `lovage:rate:<name>` | integer | when the next place is, in microseconds of the server's clock |

use std::time::Duration;

use async_trait::async_trait;
use lovage_core::ports::{PortError, SharedRates};
use lovage_redis::{Address, Link, LinkOptions, Script, Value, quote};

/// How long a server may take to answer: whoever asks holds a call up.
const PATIENCE: Duration = Duration::from_secs(5);

/// Shared limits in a Redis: one script, one round trip, one key a limit.
#[derive(Debug)]
pub struct RedisRates {
    link: Link,
    take: Script,
}

impl RedisRates {
    /// Limits under keys with this prefix; it connects at the first call.
    ///
    /// # Errors
    /// When the address's certificates are of no use.
    pub fn new(address: &Address, prefix: &str) -> Result<Self, PortError> {
        let text = format!("local P = {}\n{TAKE}", quote(prefix.as_bytes()));
        let link = Link::new(address, LinkOptions::new("rates", PATIENCE))?;
        Ok(Self { link, take: Script::new("asking for a shared rate", &text) })
    }
}

/// Takes the next place if it is near enough; says how far it is. A place is remembered for as long
/// as it lies ahead.
const TAKE: &str = "
local key = P .. 'lovage:rate:' .. ARGV[1]
local interval, patience = tonumber(ARGV[2]), tonumber(ARGV[3])
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local place = math.max(tonumber(redis.call('GET', key) or 0), now)
local wait = place - now
if wait <= patience then
    local milliseconds = math.ceil((wait + interval) / 1000)
    redis.call('SET', key, string.format('%.0f', place + interval), 'PX', milliseconds)
end
return wait
";

#[async_trait]
impl SharedRates for RedisRates {
    async fn take(
        &self,
        name: &str,
        interval: Duration,
        patience: Duration,
    ) -> Result<Duration, PortError> {
        let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX >> 12);
        let mut call = self.take.call();
        call.bytes(name.as_bytes()).number(micros(interval).max(1)).number(micros(patience));
        match self.link.call(&self.take, &call).await? {
            Value::Int(wait) => Ok(Duration::from_micros(u64::try_from(wait).unwrap_or(0))),
            other => {
                let what = self.take.what();
                Err(PortError::permanent(what, format!("unexpected answer {other:?}")))
            }
        }
    }
}
