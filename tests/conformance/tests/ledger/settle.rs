//! One step that records, tells, sends and acknowledges, or does nothing of it.

use std::sync::Arc;
use std::time::Duration;

use lovage_brokers::redis::{RedisBroker, RedisBrokerOptions, RedisSettle};
use lovage_brokers::sqlite::{SqliteBroker, SqliteBrokerSettings, SqliteSettle};
use lovage_conformance::broker::{now, publication};
use lovage_conformance::ledger::{LEASE, claim, ends, key};
use lovage_conformance::results::{record, success};
use lovage_conformance::{LONG_LEASE, LedgerRig};
use lovage_core::ports::{Broker, Clock, Ledger, Records as _, ResultBackend as _, Settle};
use lovage_core::{Claimed, Closing, Disposal, End, Grant, Receipt, Recorded, State, Timestamp};
use lovage_redis::Address;
use lovage_stores::redis::{RedisLedger, RedisRecords, RedisResults, RedisResultsOptions};
use lovage_stores::sqlite::{LedgerRows, ResultRows, SqliteLedger};

use crate::redis::RedisRig;
use crate::sqlite::SqliteRig;

struct Machine;

impl Clock for Machine {
    fn now(&self) -> Timestamp {
        now()
    }
}

async fn granted(ledger: &dyn Ledger, number: u64) -> Grant {
    match ledger.claim(&[claim(number, 0, number)]).await.unwrap().remove(0) {
        Claimed::Fresh { grant, .. } => grant,
        other => panic!("{other:?}"),
    }
}

/// Two deliveries are settled together; the second one's grant is lost. The first is true as a
/// whole, of the second nothing is, and its message goes back to its queue.
async fn one_of_two(broker: &dyn Broker, settle: &dyn Settle, rig: &impl LedgerRig) {
    let late = rig.session(LEASE).await;
    let lost = granted(&*late, 2).await;
    rig.advance(LEASE).await;
    let worker = rig.session(LEASE).await;
    let (own, theirs) = (granted(&*worker, 1).await, granted(&*worker, 2).await);
    assert!(theirs.fence > lost.fence);

    broker.publish(&[publication(1, None), publication(2, None)]).await.unwrap();
    let got = broker.receive(2, Duration::from_secs(20)).await.unwrap();
    assert_eq!(got.len(), 2);
    let closing = |index: usize, grant| Closing {
        receipt: got[index].receipt,
        ledger: Some(ends(grant, End::Done)),
        results: vec![record(&format!("task {index}"), success("1"))],
        publications: vec![publication(10 + index, None)],
        chords: None,
        disposal: Disposal::Acknowledge,
    };
    let batch = [closing(0, own), closing(1, lost)];
    assert!(settle.settle(&batch).await.iter().all(Result::is_ok));

    let ours = worker.get(&key(1)).await.unwrap().unwrap();
    let State::Over { end: End::Done, settled: true, expires_ms: Some(_), .. } = ours.state else {
        panic!("{ours:?}")
    };
    let other = worker.get(&key(2)).await.unwrap().unwrap();
    assert!(matches!(other.state, State::Running { .. }), "{other:?}");
    let mut left = broker.receive(9, Duration::from_secs(20)).await.unwrap();
    left.extend(broker.receive(9, Duration::ZERO).await.unwrap());
    let given_back = left.iter().filter(|delivery| delivery.deliveries == 2).count();
    assert_eq!((left.len(), given_back), (2, 1), "a follow-up and the message of the lost call");
    let all: Vec<_> = left.iter().map(|it| (it.receipt, Disposal::Acknowledge)).collect();
    assert!(broker.close(&all).await.iter().all(Result::is_ok));
}

/// A delivery is lost while its worker's session lives on in the ledger: nothing of it is settled,
/// and whoever is handed its message next finds the call free.
async fn freed(broker: &dyn Broker, settle: &dyn Settle, rig: &impl LedgerRig) {
    let worker = rig.session(LEASE).await;
    let grant = granted(&*worker, 3).await;
    broker.publish(&[publication(3, None)]).await.unwrap();
    let got = broker.receive(1, Duration::from_secs(20)).await.unwrap();
    broker.leave().await.unwrap();
    let closing = Closing {
        ledger: Some(ends(grant, End::Done)),
        ..Closing::only(got[0].receipt, Disposal::Acknowledge)
    };
    assert!(settle.settle(&[closing]).await.iter().all(Result::is_ok));
    let next = rig.session(LEASE).await;
    granted(&*next, 3).await;
}

#[tokio::test]
async fn whoever_lost_a_call_settles_nothing_of_it_on_redis() {
    let rig = RedisRig::start().await;
    let options = rig.options(LEASE);
    let address: Address = options.address.clone();
    let queues = vec!["celery".into()];
    let broker = RedisBrokerOptions {
        lease: LONG_LEASE,
        ..RedisBrokerOptions::new(address.clone(), queues)
    };
    let broker = RedisBroker::new(broker).unwrap();
    let parts =
        vec![RedisLedger::part(&options), RedisResults::part(&RedisResultsOptions::new(address))];
    let settle = RedisSettle::new(broker.clone(), parts);
    one_of_two(&broker, &settle, &rig).await;
    freed(&broker, &settle, &rig).await;
}

#[tokio::test]
async fn whoever_lost_a_call_settles_nothing_of_it_on_sqlite() {
    let rig = SqliteRig::start().await;
    let database = rig.open().await;
    let settings = SqliteBrokerSettings {
        lease: LONG_LEASE,
        ..SqliteBrokerSettings::new(vec!["celery".into()])
    };
    let broker = SqliteBroker::start(database.clone(), settings, Arc::new(Machine)).await.unwrap();
    let broker = Arc::new(broker);
    let rows = LedgerRows::new(&rig.options(LEASE));
    let settle = SqliteSettle::start(
        Arc::clone(&broker),
        vec![Arc::new(rows), Arc::new(ResultRows::default())],
    );
    let settle = settle.await.unwrap();
    // The session and the rows share one file.
    drop(SqliteLedger::start(database, &rig.options(LEASE)).await.unwrap());
    one_of_two(&*broker, &settle, &rig).await;
    freed(&*broker, &settle, &rig).await;
}

/// Beside a broker that is elsewhere: what ends with its result is settled as it is recorded, what
/// sends something is not yet, and of what was lost no result is stored.
#[tokio::test]
async fn ledger_and_results_in_one_redis_are_written_in_one_step() {
    let rig = RedisRig::start().await;
    let options = rig.options(LEASE);
    let results = RedisResultsOptions::new(options.address.clone());
    let records = RedisRecords::new(&options, &results).unwrap();
    let backend = RedisResults::new(&results).unwrap();
    let late = rig.session(LEASE).await;
    let lost = granted(&*late, 3).await;
    rig.advance(LEASE).await;
    let worker = rig.session(LEASE).await;
    granted(&*worker, 3).await;
    let closing = |number, grant, publications| Closing {
        receipt: Receipt(number),
        ledger: Some(ends(grant, End::Done)),
        results: vec![record(&format!("task {number}"), success("1"))],
        publications,
        chords: None,
        disposal: Disposal::Acknowledge,
    };
    let batch = [
        closing(1, granted(&*worker, 1).await, Vec::new()),
        closing(2, granted(&*worker, 2).await, vec![publication(1, None)]),
        closing(3, lost, Vec::new()),
        Closing { ledger: None, ..closing(4, lost, Vec::new()) },
    ];
    // Repeated, it comes to the same.
    for _ in 0..2 {
        let answers = records.record(&batch).await;
        let answers: Vec<_> = answers.into_iter().map(Result::unwrap).collect();
        let written = Recorded::Written;
        assert_eq!(answers, [written, written, Recorded::Lost, written]);
    }
    let mut seen = Vec::new();
    for number in 1..=4 {
        let is_stored = backend.load(&format!("task {number}").into()).await.unwrap().is_some();
        let known = worker.get(&key(number)).await.unwrap();
        let settled = match known.map(|known| known.state) {
            Some(State::Over { settled, .. }) => Some(settled),
            _ => None,
        };
        seen.push((is_stored, settled));
    }
    assert_eq!(seen, [(true, Some(true)), (true, Some(false)), (false, None), (true, None)]);
}
