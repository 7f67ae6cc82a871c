//! What tenants use, counted for all workers.
//!
//! | key | type | what |
//! |---|---|---|
//! | `lovage:quota:<tenant>` | hash | `calls` and `fuel` that are left, below zero when it owes; `at`, microseconds of the server's clock |
//! | `lovage:quota:<tenant>:running` | hash | a worker, and how many calls it has in work or may have, `count:at` |
//! | `lovage:quota-workers` | hash | a worker, and when it last said something |

use std::time::Duration;

use async_trait::async_trait;
use lovage_core::ports::PortError;
use lovage_core::{Allowance, Spent, TenantMeter};
use lovage_redis::{Address, Link, LinkOptions, Script, Value, quote};

/// How long a server may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Tenants in one call: a script runs to its end before anybody else's.
const TENANTS_MAX: usize = 200;

/// What tenants use, in a Redis: one script and one round trip for all tenants of a worker.
#[derive(Debug)]
pub struct RedisMeter {
    link: Link,
    spend: Script,
    worker: String,
}

impl RedisMeter {
    /// A meter under keys with this prefix, for a worker of this name; it connects at the first call.
    ///
    /// # Errors
    /// When the address's certificates are of no use.
    pub fn new(address: &Address, prefix: &str, worker: String) -> Result<Self, PortError> {
        let text = format!("local P = {}\n{SPEND}", quote(prefix.as_bytes()));
        let link = Link::new(address, LinkOptions::new("quotas", PATIENCE))?;
        Ok(Self { link, spend: Script::new("counting what tenants use", &text), worker })
    }
}

/// Fills up what is left by the time that has passed, takes what was used, and grants calls in work.
///
/// What all workers may have in work together is never more than the quota: a worker is granted its
/// even share of it, as far as the others have given back theirs, and every worker that has nothing
/// may begin `first` before it asks. Where there are more workers than the quota has calls, the grants
/// go round, and those who begin at the same moment may be too many. A worker that has said nothing
/// for 3 s is gone, and so is what it had in work.
const SPEND: &str = "
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local at = string.format('%.0f', now)
local function is_gone(said) return now - tonumber(said) > 3000000 end

local everybody, workers = P .. 'lovage:quota-workers', 0
redis.call('HSET', everybody, ARGV[1], at)
redis.call('PEXPIRE', everybody, 10000)
local all = redis.call('HGETALL', everybody)
for i = 1, #all, 2 do
    if is_gone(all[i + 1]) then redis.call('HDEL', everybody, all[i]) else workers = workers + 1 end
end

local function grant(key, most, mine, has_some)
    local held, busy, before = 0, 0, 0
    local all = redis.call('HGETALL', key)
    for i = 1, #all, 2 do
        local count, said = string.match(all[i + 1], '^(%d+):(%d+)$')
        if is_gone(said) then
            redis.call('HDEL', key, all[i])
        elseif all[i] == ARGV[1] then
            before = tonumber(count)
        else
            held, busy = held + count, busy + 1
        end
    end
    local first = math.min(most, math.max(1, math.floor(most / math.max(8, 2 * workers))))
    if not has_some then
        redis.call('HDEL', key, ARGV[1])
        return first
    end
    local idle = most < workers and 0 or first * math.max(0, workers - 1 - busy)
    local share = math.floor(most / (busy + 1))
    -- Whoever has just given one back lets the others have it.
    if share == 0 and mine == 0 and before == 0 then share = 1 end
    local granted = math.max(0, math.min(share, most - held - idle))
    redis.call('HSET', key, ARGV[1], math.max(granted, mine) .. ':' .. at)
    redis.call('PEXPIRE', key, 10000)
    return granted
end

local answers = {}
for i = 2, #ARGV, 8 do
    local key = P .. 'lovage:quota:' .. ARGV[i]
    local rate, fuel_most = tonumber(ARGV[i + 1]), tonumber(ARGV[i + 2])
    local known = redis.call('HMGET', key, 'calls', 'fuel', 'at')
    local passed = math.max(0, now - tonumber(known[3] or now))
    local calls = tonumber(known[1] or rate) + passed * rate / 1000000
    calls = math.min(rate, calls) - tonumber(ARGV[i + 4])
    local fuel = tonumber(known[2] or fuel_most) + passed * fuel_most / 60000000
    fuel = math.min(fuel_most, fuel) - tonumber(ARGV[i + 5])
    redis.call('HSET', key, 'calls', string.format('%.6f', calls),
        'fuel', string.format('%.0f', fuel), 'at', at)
    redis.call('PEXPIRE', key, 300000)
    local mine = tonumber(ARGV[i + 6])
    local has_some = mine > 0 or ARGV[i + 4] ~= '0' or ARGV[i + 7] == '1'
    answers[#answers + 1] = fuel > 0 and math.max(0, math.floor(calls)) or 0
    answers[#answers + 1] = grant(key .. ':running', tonumber(ARGV[i + 3]), mine, has_some)
end
return answers
";

#[async_trait]
impl TenantMeter for RedisMeter {
    async fn spend(&self, spent: &[Spent]) -> Result<Vec<Allowance>, PortError> {
        let mut allowances = Vec::with_capacity(spent.len());
        let mut rest = spent;
        loop {
            let (spent, after) = rest.split_at(rest.len().min(TENANTS_MAX));
            rest = after;
            let mut call = self.spend.call();
            call.bytes(self.worker.as_bytes());
            for Spent { tenant, quotas, begun, fuel, running, waits } in spent {
                call.bytes(tenant.as_str().as_bytes()).number(quotas.rate_per_s);
                call.number(quotas.fuel_per_minute).number(quotas.running);
                call.number(*begun).number(*fuel).number(*running).number(u64::from(*waits));
            }
            let answer = self.link.call(&self.spend, &call).await?;
            allowances.extend(allowed(&answer).ok_or_else(|| {
                PortError::permanent(self.spend.what(), format!("unexpected answer {answer:?}"))
            })?);
            // A worker that has nothing to tell of says that it is there.
            if rest.is_empty() {
                return Ok(allowances);
            }
        }
    }
}

fn allowed(answer: &Value) -> Option<Vec<Allowance>> {
    let Value::Array(values) = answer else { return None };
    let number = |value: &Value| match value {
        Value::Int(number) => u64::try_from(*number).ok(),
        _ => None,
    };
    let allowance = |pair: &[Value]| {
        let [begin, running] = pair else { return None };
        let running = u32::try_from(number(running)?).unwrap_or(u32::MAX);
        Some(Allowance { begin: number(begin)?, running })
    };
    values.chunks(2).map(allowance).collect()
}
