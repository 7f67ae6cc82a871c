//! A SQLite file for one test, and a foreign process's view of it.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use lovage_brokers::sqlite::{SqliteBroker, SqliteBrokerSettings};
use lovage_conformance::{BrokerRig, Priorities, ResultRig, broker};
use lovage_core::ports::{Broker, Clock, KeptMessages, ResultBackend};
use lovage_core::{Kept, QueueName, TaskId, Timestamp};
use lovage_sqlite::{Database, Settings};
use lovage_stores::sqlite::SqliteResults;
use rusqlite::{Connection, OptionalExtension, params};
use tempfile::TempDir;

/// One file in a folder of its own.
pub(crate) struct SqliteRig {
    folder: TempDir,
    /// A producer's connection, kept: closing the last one of a file is slow.
    producer: OnceLock<Mutex<Connection>>,
}

/// The machine's clock.
pub(crate) struct MachineClock;

impl Clock for MachineClock {
    fn now(&self) -> Timestamp {
        broker::now()
    }
}

/// Opens a file as every test does.
pub(crate) async fn open(path: &Path) -> Database {
    Database::open(path, Settings::default()).await.expect("opened")
}

/// Begins a session on a file.
pub(crate) async fn begin(database: Database, lease: Duration) -> SqliteBroker {
    let settings = SqliteBrokerSettings::new(vec![QueueName::from("celery")]);
    let settings = SqliteBrokerSettings { lease, ..settings };
    SqliteBroker::start(database, settings, Arc::new(MachineClock)).await.expect("started")
}

impl SqliteRig {
    pub(crate) fn new() -> Self {
        Self { folder: TempDir::new().expect("a folder"), producer: OnceLock::new() }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("queue.db")
    }

    /// Sees the file as another process does.
    pub(crate) fn connection(&self) -> Connection {
        Connection::open(self.path()).expect("opened")
    }

    /// The first column of the first row.
    pub(crate) fn number(&self, query: &str) -> i64 {
        self.connection().query_row(query, [], |row| row.get(0)).expect("one number")
    }
}

#[async_trait]
impl BrokerRig for SqliteRig {
    const PRIORITIES: Priorities = Priorities::None;

    async fn start() -> Self {
        let rig = Self::new();
        // Makes the tables, so that a test can send before its first session.
        begin(open(&rig.path()).await, Duration::from_secs(1)).await.leave().await.expect("left");
        rig
    }

    async fn session_of(&self, queues: &[&str], lease: Duration, _slots: u16) -> Arc<dyn Broker> {
        let queues = queues.iter().map(|name| QueueName::from(*name)).collect();
        let settings = SqliteBrokerSettings { lease, ..SqliteBrokerSettings::new(queues) };
        let database = open(&self.path()).await;
        Arc::new(
            SqliteBroker::start(database, settings, Arc::new(MachineClock)).await.expect("started"),
        )
    }

    async fn send(&self, queue: &str, _priority: u8, message: Bytes) {
        let connection = self.producer.get_or_init(|| Mutex::new(self.connection()));
        let connection = connection.lock().expect("a connection");
        connection.pragma_update(None, "synchronous", "OFF").expect("set");
        connection
            .execute("INSERT OR IGNORE INTO kombu_queue (name) VALUES (?1)", [queue])
            .expect("queue");
        let insert = "INSERT INTO kombu_message (visible, payload, version, queue_id)
            VALUES (1, ?1, 1, (SELECT id FROM kombu_queue WHERE name = ?2))";
        match std::str::from_utf8(&message) {
            Ok(text) => connection.execute(insert, params![text, queue]),
            Err(_) => connection.execute(insert, params![&*message, queue]),
        }
        .expect("sent");
    }

    async fn waiting(&self, queue: &str) -> usize {
        let count = "SELECT count(*) FROM kombu_message WHERE visible
            AND queue_id = (SELECT id FROM kombu_queue WHERE name = ?1)";
        let waiting: i64 =
            self.connection().query_row(count, [queue], |row| row.get(0)).expect("counted");
        usize::try_from(waiting).expect("not negative")
    }

    async fn kept(&self) -> Vec<(Kept, Bytes)> {
        let connection = self.connection();
        let find = "SELECT record, CAST(payload AS BLOB) FROM lovage_kept ORDER BY id";
        let mut statement = connection.prepare(find).expect("prepared");
        let rows = statement
            .query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, Vec<u8>>(1)?)))
            .expect("found");
        rows.map(|row| row.expect("read"))
            .map(|(record, payload)| {
                (serde_json::from_str(&record).expect("a record"), Bytes::from(payload))
            })
            .collect()
    }

    async fn keeper(&self) -> Arc<dyn KeptMessages> {
        Arc::new(begin(open(&self.path()).await, Duration::from_secs(30)).await)
    }
}

#[async_trait]
impl ResultRig for SqliteRig {
    async fn start() -> Self {
        Self::new()
    }

    async fn backend(&self) -> Arc<dyn ResultBackend> {
        Arc::new(SqliteResults::start(open(&self.path()).await).await.expect("started"))
    }

    async fn seen(&self, task: &TaskId) -> Option<(String, String)> {
        let find = "SELECT status, CAST(result AS TEXT) FROM celery_taskmeta WHERE task_id = ?1";
        self.connection()
            .query_row(find, [task.as_str()], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()
            .expect("read")
    }
}
