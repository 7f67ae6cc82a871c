//! The ledgers are put to every promise, and to those that only one of them makes.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests fail loudly"
)]

mod postgres;
mod redis;
mod results;
mod settle;
mod sqlite;

use lovage_conformance::LedgerRig;
use lovage_conformance::ledger::{KEEP, LEASE, claim, ends, key};
use lovage_core::{Claimed, End};

mod on_redis {
    use crate::redis::RedisRig;

    lovage_conformance::ledger_suite!(RedisRig);
}

mod on_sqlite {
    use crate::sqlite::SqliteRig;

    lovage_conformance::ledger_suite!(SqliteRig);
}

mod on_postgres {
    use crate::postgres::PostgresRig;

    lovage_conformance::ledger_suite!(PostgresRig);
}

/// Ends ten calls, of which one is not settled, and lets the time pass for which the others are kept:
/// they may be claimed anew, whether or not the store has removed them by then, and the store removes
/// what nobody claimed with the next renewal.
async fn forget_nine_of_ten(rig: &impl LedgerRig) {
    let worker = rig.session(LEASE * 1_000).await;
    let claims: Vec<_> = (0..10).map(|number| claim(number, 0, number)).collect();
    for answer in worker.claim(&claims).await.unwrap() {
        let Claimed::Fresh { grant, .. } = answer else { panic!("{answer:?}") };
        let write = ends(grant, End::Done);
        worker.record(std::slice::from_ref(&write)).await.remove(0).unwrap();
        if grant.key != key(9) {
            worker.settle(std::slice::from_ref(&write)).await.remove(0).unwrap();
        }
    }
    rig.advance(KEEP).await;
    assert_eq!(worker.get(&key(3)).await.unwrap(), None);
    let answers = worker.claim(&claims[..5]).await.unwrap();
    assert!(answers.iter().all(|answer| matches!(answer, Claimed::Fresh { .. })), "{answers:?}");
    worker.renew().await.unwrap();
}
