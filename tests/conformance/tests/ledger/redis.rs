//! The ledger in Redis.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use lovage_conformance::LedgerRig;
use lovage_conformance::ledger::{CRASHES_MAX, LEASE, claim, ends};
use lovage_core::ports::Ledger;
use lovage_core::{Claim, Claimed, End, LedgerKey};
use lovage_redis::Address;
use lovage_stores::redis::{Durability, RedisLedger, RedisLedgerOptions};
use lovage_test_support::{RedisOptions, RedisServer};
use redis::{Client, FromRedisValue};

/// A server of the test's own. Its clock is a key.
pub(crate) struct RedisRig {
    server: RedisServer,
}

impl RedisRig {
    pub(crate) fn options(&self, lease: Duration) -> RedisLedgerOptions {
        let address = Address::parse(&self.server.url(0)).unwrap();
        RedisLedgerOptions {
            lease,
            crashes_max: CRASHES_MAX,
            clock: "tonumber(redis.call('GET', 'clock'))".into(),
            ..RedisLedgerOptions::new(address)
        }
    }

    async fn ask<T: FromRedisValue>(&self, words: &[&[u8]]) -> T {
        let client = Client::open(self.server.url(0)).unwrap();
        let mut connection = client.get_multiplexed_async_connection().await.unwrap();
        let mut command = redis::Cmd::new();
        for word in words {
            command.arg(*word);
        }
        command.query_async(&mut connection).await.unwrap()
    }

    /// Bytes that a record takes, as Redis counts them.
    async fn average(&self, claims: &[Claim]) -> usize {
        let mut sum = 0;
        for claim in claims {
            sum += self.ask::<usize>(&[b"MEMORY", b"USAGE", &name(&claim.key)]).await;
        }
        sum / claims.len()
    }
}

fn name(key: &LedgerKey) -> Vec<u8> {
    [b"lovage:l:", key.as_bytes().as_slice()].concat()
}

#[async_trait]
impl LedgerRig for RedisRig {
    async fn start() -> Self {
        let rig = Self { server: RedisServer::start() };
        let _: String = rig.ask(&[b"SET", b"clock", b"1700000000000"]).await;
        rig
    }

    async fn session(&self, lease: Duration) -> Arc<dyn Ledger> {
        Arc::new(RedisLedger::start(&self.options(lease)).await.unwrap())
    }

    async fn advance(&self, by: Duration) {
        let by = by.as_millis().to_string();
        let _: i64 = self.ask(&[b"INCRBY", b"clock", by.as_bytes()]).await;
    }

    async fn time_to_live(&self, key: &LedgerKey) -> Option<Duration> {
        let left: i64 = self.ask(&[b"PTTL", &name(key)]).await;
        assert_ne!(left, -2, "there is no such record");
        u64::try_from(left).ok().map(Duration::from_millis)
    }
}

#[tokio::test]
async fn a_settled_record_of_an_implicit_key_takes_less_than_a_hundred_bytes() {
    const RECORDS: u64 = 500;
    let rig = RedisRig::start().await;
    let worker = rig.session(LEASE).await;
    let mut sizes = Vec::new();
    for explicit in [0, 1] {
        let numbers = (0..RECORDS).map(|number| 1_000_000 + 2 * number + explicit);
        let claims: Vec<_> = numbers.map(|number| claim(number, 0, number)).collect();
        let answers = worker.claim(&claims).await.unwrap();
        let grants = answers.into_iter().map(|answer| match answer {
            Claimed::Fresh { grant, .. } => grant,
            other => panic!("{other:?}"),
        });
        let writes: Vec<_> = grants.map(|grant| ends(grant, End::Done)).collect();
        sizes.push(rig.average(&claims).await);
        assert!(worker.record(&writes).await.iter().all(Result::is_ok));
        assert!(worker.settle(&writes).await.iter().all(Result::is_ok));
        sizes.push(rig.average(&claims).await);
    }
    println!("bytes, running and settled: implicit {:?}, explicit {:?}", &sizes[..2], &sizes[2..]);
    assert!(sizes[1] < 100, "{sizes:?}");
}

#[tokio::test]
async fn a_server_that_evicts_keys_is_refused_and_what_others_keep_is_told() {
    let start = async |append_only, settings: &[(&str, &str)]| {
        let settings = settings.iter().map(|(name, value)| ((*name).into(), (*value).into()));
        let options = RedisOptions { append_only, settings: settings.collect() };
        let server = RedisServer::with(options);
        let address = Address::parse(&server.url(0)).unwrap();
        let ledger = RedisLedger::start(&RedisLedgerOptions::new(address)).await;
        ledger.map(|ledger| ledger.durability())
    };
    assert_eq!(start(false, &[]).await.unwrap(), Durability::Snapshots);
    assert_eq!(start(true, &[]).await.unwrap(), Durability::EveryWrite);
    let seconds = start(true, &[("appendfsync", "everysec")]).await.unwrap();
    assert_eq!(seconds, Durability::LastSeconds);
    let refused = start(false, &[("maxmemory-policy", "allkeys-lru")]).await.unwrap_err();
    assert!(!refused.is_transient() && refused.to_string().contains("allkeys-lru"), "{refused}");
}

#[tokio::test]
async fn batches_of_claims_and_records_are_quick() {
    const BATCHES: u64 = 40;
    const EACH: u64 = 250;
    let rig = RedisRig::start().await;
    let address = rig.options(LEASE).address;
    let worker = RedisLedger::start(&RedisLedgerOptions::new(address)).await.unwrap();
    let (mut claiming, mut recording) = (Duration::ZERO, Duration::ZERO);
    for batch in 0..BATCHES {
        let numbers = (0..EACH).map(|number| 2 * (batch * EACH + number));
        let claims: Vec<_> = numbers.map(|number| claim(number, 0, number)).collect();
        let begun = Instant::now();
        let answers = worker.claim(&claims).await.unwrap();
        claiming += begun.elapsed();
        let grants = answers.into_iter().map(|answer| match answer {
            Claimed::Fresh { grant, .. } => grant,
            other => panic!("{other:?}"),
        });
        let writes: Vec<_> = grants.map(|grant| ends(grant, End::Done)).collect();
        let begun = Instant::now();
        assert!(worker.record(&writes).await.iter().all(Result::is_ok));
        recording += begun.elapsed();
    }
    let each = |whole: Duration| whole / u32::try_from(BATCHES * EACH).unwrap();
    println!("a claim takes {:?}, a record {:?}", each(claiming), each(recording));
}
