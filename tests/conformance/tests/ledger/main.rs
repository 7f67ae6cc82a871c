//! The ledgers are put to every promise, and to those that only one of them makes.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "tests fail loudly"
)]

mod redis;
mod sqlite;

mod on_redis {
    use crate::redis::RedisRig;

    lovage_conformance::ledger_suite!(RedisRig);
}

mod on_sqlite {
    use crate::sqlite::SqliteRig;

    lovage_conformance::ledger_suite!(SqliteRig);
}
