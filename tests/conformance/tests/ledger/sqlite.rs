//! The ledger in a SQLite file.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use lovage_conformance::LedgerRig;
use lovage_conformance::ledger::CRASHES_MAX;
use lovage_core::ports::{Clock, Ledger};
use lovage_core::{LedgerKey, Timestamp};
use lovage_sqlite::{Database, Settings};
use lovage_stores::sqlite::{SqliteLedger, SqliteLedgerOptions};
use rusqlite::Connection;
use tempfile::TempDir;

use crate::forget_nine_of_ten;

/// A file, and a clock that stands still until it is moved.
pub(crate) struct SqliteRig {
    folder: TempDir,
    clock: Arc<Hands>,
}

/// Microseconds.
#[derive(Debug)]
pub(crate) struct Hands(AtomicI64);

impl Clock for Hands {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.0.load(Ordering::Acquire))
    }
}

impl SqliteRig {
    pub(crate) fn options(&self, lease: Duration) -> SqliteLedgerOptions {
        SqliteLedgerOptions {
            lease,
            crashes_max: CRASHES_MAX,
            lease_clock: Arc::clone(&self.clock) as _,
            ..SqliteLedgerOptions::new(Arc::clone(&self.clock) as _)
        }
    }

    pub(crate) async fn open(&self) -> Database {
        let path = self.folder.path().join("ledger.db");
        Database::open(&path, Settings::default()).await.unwrap()
    }

    fn number(&self, query: &str) -> i64 {
        let connection = Connection::open(self.folder.path().join("ledger.db")).unwrap();
        connection.query_row(query, [], |row| row.get(0)).unwrap()
    }
}

#[async_trait]
impl LedgerRig for SqliteRig {
    async fn start() -> Self {
        let clock = Arc::new(Hands(AtomicI64::new(1_700_000_000_000_000)));
        Self { folder: TempDir::new().unwrap(), clock }
    }

    async fn session(&self, lease: Duration) -> Arc<dyn Ledger> {
        let options = self.options(lease);
        Arc::new(SqliteLedger::start(self.open().await, &options).await.unwrap())
    }

    async fn advance(&self, by: Duration) {
        let micros = i64::try_from(by.as_micros()).unwrap();
        self.clock.0.fetch_add(micros, Ordering::AcqRel);
    }

    async fn time_to_live(&self, key: &LedgerKey) -> Option<Duration> {
        let query = "SELECT coalesce(iif(state > 1, moment_ms, NULL), -1) FROM lovage_ledger";
        let expires_ms = self.number(&format!("{query} WHERE hex(key) = upper('{key}')"));
        let now_ms = self.clock.now().as_micros() / 1_000;
        (expires_ms >= 0)
            .then(|| Duration::from_millis(u64::try_from(expires_ms - now_ms).unwrap_or(0)))
    }
}

#[tokio::test]
async fn what_may_be_forgotten_is_and_leaves_the_file() {
    let rig = SqliteRig::start().await;
    forget_nine_of_ten(&rig).await;
    assert_eq!(rig.number("SELECT count(*) FROM lovage_ledger WHERE state > 1"), 1, "unsettled");
}
