//! The ledger in PostgreSQL.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use async_trait::async_trait;
use lovage_conformance::LedgerRig;
use lovage_conformance::ledger::CRASHES_MAX;
use lovage_core::LedgerKey;
use lovage_core::ports::Ledger;
use lovage_stores::postgres::{PostgresLedger, PostgresLedgerOptions};
use lovage_test_support::PostgresServer;
use tokio_postgres::{Client, NoTls};

use crate::forget_nine_of_ten;

/// The server, which tests that run at the same time share: making one takes longer than they do.
static SERVER: Mutex<Weak<PostgresServer>> = Mutex::new(Weak::new());

/// Tells the databases of a server apart.
static DATABASES: AtomicUsize = AtomicUsize::new(0);

/// A database of the test's own. Its clock is a row.
pub(crate) struct PostgresRig {
    url: String,
    client: Client,
    _server: Arc<PostgresServer>,
}

async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

impl PostgresRig {
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    async fn number(&self, query: &str) -> i64 {
        self.client.query_one(query, &[]).await.unwrap().get(0)
    }
}

#[async_trait]
impl LedgerRig for PostgresRig {
    async fn start() -> Self {
        let server = {
            let mut shared = SERVER.lock().unwrap();
            let server = shared.upgrade().unwrap_or_else(|| Arc::new(PostgresServer::start()));
            *shared = Arc::downgrade(&server);
            server
        };
        let name = format!("test_{}", DATABASES.fetch_add(1, Ordering::Relaxed));
        let create = format!("CREATE DATABASE {name}");
        connect(&server.url("postgres")).await.batch_execute(&create).await.unwrap();
        let url = server.url(&name);
        let clock = "CREATE TABLE clock (ms bigint); INSERT INTO clock VALUES (1700000000000)";
        let client = connect(&url).await;
        client.batch_execute(clock).await.unwrap();
        Self { url, client, _server: server }
    }

    async fn session(&self, lease: Duration) -> Arc<dyn Ledger> {
        let options = PostgresLedgerOptions {
            lease,
            crashes_max: CRASHES_MAX,
            connections_max: 1,
            clock: "(SELECT ms FROM clock)".into(),
            ..PostgresLedgerOptions::new(&self.url)
        };
        Arc::new(PostgresLedger::start(&options).await.unwrap())
    }

    async fn advance(&self, by: Duration) {
        let update = format!("UPDATE clock SET ms = ms + {}", by.as_millis());
        self.client.batch_execute(&update).await.unwrap();
    }

    async fn time_to_live(&self, key: &LedgerKey) -> Option<Duration> {
        let query = "SELECT coalesce(CASE WHEN state > 1 THEN moment_ms END, -1)";
        let query = format!("{query} FROM lovage_ledger WHERE encode(key, 'hex') = '{key}'");
        let expires_ms = self.number(&query).await;
        let now_ms = self.number("SELECT ms FROM clock").await;
        (expires_ms >= 0)
            .then(|| Duration::from_millis(u64::try_from(expires_ms - now_ms).unwrap_or(0)))
    }
}

#[tokio::test]
async fn what_may_be_forgotten_is_and_leaves_the_table() {
    let rig = PostgresRig::start().await;
    forget_nine_of_ten(&rig).await;
    assert_eq!(rig.number("SELECT count(*) FROM lovage_ledger WHERE state > 1").await, 1);
}

#[tokio::test]
async fn a_server_that_is_away_is_asked_again_and_a_database_that_is_not_there_is_not() {
    let rig = PostgresRig::start().await;
    let missing = rig.url.replace("test_", "missing_");
    let refused = PostgresLedger::start(&PostgresLedgerOptions::new(missing)).await.err();
    assert!(refused.is_some_and(|error| !error.is_transient()));
    let nobody = PostgresLedgerOptions::new("postgresql://postgres@127.0.0.1:1/postgres");
    let away = PostgresLedger::start(&nobody).await.err();
    assert!(away.is_some_and(|error| error.is_transient()));
}
