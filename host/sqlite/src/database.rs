//! One file, one thread, and commits that many share.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use lovage_core::ports::PortError;
use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use crate::open::open;
use crate::port_error;
use crate::work::{Job, Needs, Work, serve};

/// How many works may wait for the thread before the next one waits for its turn to wait.
const WAITING_MAX: usize = 1_024;

/// How a file is opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// How long a transaction waits for another process that has the file locked.
    pub busy_timeout: Duration,
}

impl Default for Settings {
    /// Waits 5 seconds, as Python's driver does.
    fn default() -> Self {
        Self { busy_timeout: Duration::from_secs(5) }
    }
}

/// A SQLite file. Clones share it; when the last is dropped, what is waiting is still done, then the
/// file is closed.
#[derive(Clone)]
pub struct Database {
    requests: mpsc::Sender<Box<dyn Work>>,
    path: Arc<Path>,
}

impl fmt::Debug for Database {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Database").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Database {
    /// Opens the file, and creates it and its folder if they are missing.
    ///
    /// # Errors
    /// When the file cannot be created or opened, is not a database, or cannot have a write-ahead
    /// log (as on some network file systems).
    pub async fn open(path: &Path, settings: Settings) -> Result<Self, PortError> {
        let (requests, inbox) = mpsc::channel(WAITING_MAX);
        let (opened, answer) = oneshot::channel();
        let path: Arc<Path> = Arc::from(path);
        let file = Arc::clone(&path);
        thread::Builder::new()
            .name("sqlite".to_owned())
            .spawn(move || match open(&file, &settings) {
                Ok(connection) => {
                    let _ = opened.send(Ok(()));
                    serve(&connection, inbox);
                }
                Err(error) => {
                    let _ = opened.send(Err(error));
                }
            })
            .map_err(|error| PortError::transient("start a thread for SQLite", error))?;
        answer.await.map_err(|gone| PortError::transient("open a SQLite file", gone))??;
        Ok(Self { requests, path })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The write-ahead log beside the file, which every commit of every process touches.
    pub fn log_path(&self) -> PathBuf {
        let mut name = self.path.as_os_str().to_owned();
        name.push("-wal");
        PathBuf::from(name)
    }

    /// Does `work` in a transaction that it may share, and returns when that is durable. `what` names
    /// it in errors.
    ///
    /// # Errors
    /// When the work fails, or the transaction: then nothing of it is written.
    pub async fn write<T, W>(&self, what: &'static str, work: W) -> Result<T, PortError>
    where
        T: Send + 'static,
        W: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        self.ask(what, Needs::Sync, work).await
    }

    /// As [`write`](Self::write), but does not wait for the disk: a crash of any process cannot undo
    /// it, a power cut may. For what a reboot ends anyway, such as leases.
    ///
    /// # Errors
    /// When the work fails, or the transaction: then nothing of it is written.
    pub async fn write_unsynced<T, W>(&self, what: &'static str, work: W) -> Result<T, PortError>
    where
        T: Send + 'static,
        W: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        self.ask(what, Needs::Commit, work).await
    }

    /// Does `work` outside any transaction: it must not write. `what` names it in errors.
    ///
    /// # Errors
    /// When the work fails.
    pub async fn read<T, W>(&self, what: &'static str, work: W) -> Result<T, PortError>
    where
        T: Send + 'static,
        W: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        self.ask(what, Needs::Nothing, work).await
    }

    async fn ask<T, W>(&self, what: &'static str, needs: Needs, work: W) -> Result<T, PortError>
    where
        T: Send + 'static,
        W: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        let (answer, outcome) = oneshot::channel();
        if self.requests.send(Box::new(Job::new(work, needs, answer))).await.is_err() {
            return Err(PortError::permanent(what, "the thread of the SQLite file has ended"));
        }
        outcome
            .await
            .map_err(|gone| PortError::transient(what, gone))?
            .map_err(|error| port_error(format!("{what} in {}", self.path.display()), &error))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rusqlite::Connection;
    use tempfile::TempDir;

    use super::{Database, Settings};

    async fn database(folder: &TempDir) -> Database {
        let settings = Settings { busy_timeout: Duration::from_millis(50) };
        let path = folder.path().join("deeper/still/file.db");
        let database = Database::open(&path, settings).await.unwrap();
        let create = |c: &Connection| c.execute_batch("CREATE TABLE t (n INTEGER PRIMARY KEY)");
        database.write("create", create).await.unwrap();
        database
    }

    async fn insert(database: &Database, number: i64) -> bool {
        let insert = move |c: &Connection| c.execute("INSERT INTO t VALUES (?1)", [number]);
        database.write("insert", insert).await.is_ok()
    }

    async fn numbers(database: &Database) -> Vec<i64> {
        let read = |c: &Connection| {
            let mut statement = c.prepare("SELECT n FROM t ORDER BY n")?;
            statement.query_map([], |row| row.get(0))?.collect()
        };
        database.read("read", read).await.unwrap()
    }

    #[tokio::test]
    async fn a_work_that_fails_takes_nothing_of_its_neighbours_with_it() {
        let folder = TempDir::new().unwrap();
        let database = database(&folder).await;
        let (one, again, two) =
            tokio::join!(insert(&database, 1), insert(&database, 1), insert(&database, 2));
        assert_eq!((one, again, two), (true, false, true));
        assert_eq!(numbers(&database).await, [1, 2]);
    }

    #[tokio::test]
    async fn what_a_failed_work_had_written_is_undone() {
        let folder = TempDir::new().unwrap();
        let database = database(&folder).await;
        let halves = |c: &Connection| c.execute_batch("INSERT INTO t VALUES (7); SELECT nothing");
        let (failed, done) = tokio::join!(database.write("half", halves), insert(&database, 8));
        assert!(!failed.unwrap_err().is_transient());
        assert!(done);
        assert_eq!(numbers(&database).await, [8]);
    }

    #[tokio::test]
    async fn a_locked_file_is_waited_for_only_so_long_and_can_be_used_after() {
        let folder = TempDir::new().unwrap();
        let database = database(&folder).await;
        let other = Connection::open(database.path()).unwrap();
        other.execute_batch("BEGIN IMMEDIATE").unwrap();
        let insert_nine = |c: &Connection| c.execute("INSERT INTO t VALUES (9)", []);
        let error = database.write("insert", insert_nine).await.unwrap_err();
        assert!(error.is_transient(), "{error}");
        other.execute_batch("COMMIT").unwrap();
        assert!(insert(&database, 9).await);
    }

    #[tokio::test]
    async fn a_full_disk_is_an_error_that_may_pass_and_loses_nothing() {
        let folder = TempDir::new().unwrap();
        let database = database(&folder).await;
        let limit =
            |pages: u32| move |c: &Connection| c.pragma_update(None, "max_page_count", pages);
        database.read("limit", limit(3)).await.unwrap();
        let fill = |c: &Connection| {
            c.execute_batch("CREATE TABLE big (b BLOB); INSERT INTO big VALUES (zeroblob(100000))")
        };
        let error = database.write("fill", fill).await.unwrap_err();
        assert!(error.is_transient(), "{error}");
        database.read("limit", limit(1_000_000)).await.unwrap();
        database.write("fill", fill).await.unwrap();
        assert!(insert(&database, 3).await);
    }

    #[tokio::test]
    async fn a_commit_waits_for_the_disk_unless_nothing_in_it_needs_to() {
        let folder = TempDir::new().unwrap();
        let database = database(&folder).await;
        let level = |c: &Connection| c.query_row("PRAGMA synchronous", [], |row| row.get(0));
        let nothing = |_: &Connection| Ok(());
        let mut levels: Vec<i64> = vec![database.read("read", level).await.unwrap()];
        database.write_unsynced("nothing", nothing).await.unwrap();
        levels.push(database.read("read", level).await.unwrap());
        let lazy = database.write_unsynced("nothing", nothing);
        let (lazy, done) = tokio::join!(lazy, insert(&database, 1));
        lazy.unwrap();
        levels.push(database.read("read", level).await.unwrap());
        assert!(done);
        let (full, normal) = (2, 1);
        assert_eq!(levels, [full, normal, full]);
    }

    #[tokio::test]
    async fn every_file_has_a_log() {
        let folder = TempDir::new().unwrap();
        let database = database(&folder).await;
        let mode = |c: &Connection| c.query_row("PRAGMA journal_mode", [], |row| row.get(0));
        let mode: String = database.read("read", mode).await.unwrap();
        assert_eq!(mode, "wal");
        assert!(database.log_path().exists());
    }

    #[tokio::test]
    async fn what_is_no_database_is_refused_for_good() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("notes.txt");
        std::fs::write(&path, "dear diary, ".repeat(100)).unwrap();
        let error = Database::open(&path, Settings::default()).await.unwrap_err();
        assert!(!error.is_transient());
        assert!(error.to_string().contains("notes.txt"), "{error}");
        let error = Database::open(folder.path(), Settings::default()).await.unwrap_err();
        assert!(error.to_string().contains("open the SQLite file"), "{error}");
    }
}
