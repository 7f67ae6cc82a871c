//! The SQLite queue and result tables: everything that every adapter promises, and what only they do.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "tests fail loudly")]

mod celery;
mod file;
mod killed;
mod rig;
mod settle;
mod throughput;

use rig::SqliteRig;

lovage_conformance::broker_suite!(SqliteRig);
lovage_conformance::kept_suite!(SqliteRig);
lovage_conformance::result_suite!(SqliteRig);
