//! Where a test takes place: a broker with its results, workers on it, and callers.

use std::process::{Command, Output};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, Weak};
use std::time::{Duration, Instant};

use lovage_test_support::{LovageCommand, PATIENCE, Process, RabbitServer, RedisServer, paths};
use serde_json::Value;
use tempfile::TempDir;

/// The queue of every test, Celery's own default.
pub(crate) const QUEUE: &str = "celery";

static MACHINE: RwLock<()> = RwLock::new(());

/// The machine, shared with other tests.
pub(crate) fn together() -> RwLockReadGuard<'static, ()> {
    MACHINE.read().unwrap_or_else(PoisonError::into_inner)
}

/// The machine for this test alone, because it measures.
pub(crate) fn alone() -> RwLockWriteGuard<'static, ()> {
    MACHINE.write().unwrap_or_else(PoisonError::into_inner)
}

/// A broker and its results.
pub(crate) enum Place {
    /// RabbitMQ, with a Redis for everything that it does not keep.
    Rabbit(Box<Rabbit>),
    Redis(RedisServer),
    Sqlite(TempDir),
}

/// The RabbitMQ of all tests that run at the moment; it goes with the last of them.
fn rabbit_server() -> Arc<RabbitServer> {
    static SERVER: Mutex<Weak<RabbitServer>> = Mutex::new(Weak::new());
    let mut shared = SERVER.lock().unwrap_or_else(PoisonError::into_inner);
    shared.upgrade().unwrap_or_else(|| {
        let server = Arc::new(RabbitServer::start());
        *shared = Arc::downgrade(&server);
        server
    })
}

/// A virtual host of a RabbitMQ, and the store beside it.
pub(crate) struct Rabbit {
    _server: Arc<RabbitServer>,
    url: String,
    store: RedisServer,
    /// `classic` or `quorum`.
    queue_type: &'static str,
    /// Whether results are replies.
    replies: bool,
    /// Whether the store is not where results are.
    is_apart: bool,
    /// Where everything else is instead of the Redis: a folder for one SQLite file.
    folder: Option<TempDir>,
}

impl Place {
    pub(crate) fn rabbit(queue_type: &'static str, replies: bool) -> Self {
        let (server, store) = (rabbit_server(), RedisServer::start());
        let url = server.url();
        let (folder, is_apart) = (None, true);
        let rabbit = Rabbit { _server: server, url, store, queue_type, replies, is_apart, folder };
        Self::Rabbit(Box::new(rabbit))
    }

    /// RabbitMQ, with results and everything else that it does not keep in one database of a Redis.
    pub(crate) fn rabbit_beside_one(queue_type: &'static str) -> Self {
        let mut place = Self::rabbit(queue_type, false);
        if let Self::Rabbit(rabbit) = &mut place {
            rabbit.is_apart = false;
        }
        place
    }

    /// RabbitMQ, with results and everything else that it does not keep in a SQLite file.
    pub(crate) fn rabbit_beside_a_file() -> Self {
        let mut place = Self::rabbit_beside_one("classic");
        if let Self::Rabbit(rabbit) = &mut place {
            rabbit.folder = Some(tempfile::tempdir().expect("a folder"));
        }
        place
    }

    pub(crate) fn redis() -> Self {
        Self::Redis(RedisServer::start())
    }

    pub(crate) fn sqlite() -> Self {
        Self::Sqlite(tempfile::tempdir().expect("a temporary folder"))
    }

    /// What producers and workers call the broker.
    pub(crate) fn broker(&self) -> String {
        match self {
            Self::Rabbit(rabbit) => rabbit.url.clone(),
            Self::Redis(server) => server.url(0),
            Self::Sqlite(folder) => format!("sqla+sqlite:///{}/queue.db", folder.path().display()),
        }
    }

    /// What producers and workers call the results.
    pub(crate) fn backend(&self) -> String {
        match self {
            Self::Rabbit(rabbit) if rabbit.replies => "rpc://".to_owned(),
            Self::Rabbit(rabbit) => {
                rabbit.folder.as_ref().map_or_else(|| rabbit.store.url(1), file_of_results)
            }
            // Another name for the same server is another one: settling is a step after the other.
            Self::Redis(server) => server.url(1).replace("127.0.0.1", "localhost"),
            Self::Sqlite(folder) => file_of_results(folder),
        }
    }

    /// Whether its queue is a quorum queue.
    pub(crate) fn is_quorum(&self) -> bool {
        matches!(self, Self::Rabbit(rabbit) if rabbit.queue_type == "quorum")
    }

    /// A worker on the queue, ready.
    pub(crate) fn worker(&self, arguments: &[&str]) -> Process {
        self.start_worker(arguments).start_until("ready:")
    }

    /// A worker on the queue, not started yet.
    pub(crate) fn start_worker(&self, arguments: &[&str]) -> LovageCommand {
        let urls = ["-b", &self.broker(), "--result-backend", &self.backend(), "-Q", QUEUE];
        self.with_store(LovageCommand::worker().args(urls).args(arguments))
    }

    /// A worker that knows of the store beside its broker, if there is one.
    pub(crate) fn with_store(&self, worker: LovageCommand) -> LovageCommand {
        match self {
            Self::Rabbit(rabbit) => {
                let worker = worker.env("LOVAGE_TASK__DEFAULT_QUEUE_TYPE", rabbit.queue_type);
                // Where results are kept the ledger is, too, if nothing else is said.
                if rabbit.is_apart {
                    worker.env("LOVAGE_LEDGER_URL", rabbit.store.url(0))
                } else {
                    worker
                }
            }
            Self::Redis(_) | Self::Sqlite(_) => worker,
        }
    }

    /// What a real Celery producer sees in one case of `producer.py`.
    pub(crate) fn see(&self, case: &str, arguments: &[&str]) -> Value {
        self.script("producer.py", &[&[case], arguments].concat())
    }

    /// What one of the scripts beside this crate prints, given the URLs and `arguments`.
    pub(crate) fn script(&self, name: &str, arguments: &[&str]) -> Value {
        let broker = self.broker();
        let backend = self.backend();
        let mut command = script(name, &[&[broker.as_str(), &backend], arguments].concat());
        if let Self::Rabbit(rabbit) = self {
            command.env("QUEUE_TYPE", rabbit.queue_type);
        }
        json(&command.output().expect("a Python"), name)
    }

    /// Messages that wait in the queue.
    pub(crate) fn waiting(&self) -> usize {
        match self {
            Self::Rabbit(_) => {
                let waiting = self.script("rabbit.py", &["waiting", QUEUE]).as_u64();
                waiting.and_then(|count| count.try_into().ok()).expect("a count")
            }
            Self::Redis(_) => self.ask(0, redis::cmd("LLEN").arg(QUEUE)),
            Self::Sqlite(_) => self.count("SELECT COUNT(*) FROM kombu_message WHERE visible"),
        }
    }

    /// Results that are stored.
    pub(crate) fn results(&self) -> usize {
        match self {
            Self::Rabbit(_) | Self::Redis(_) => self.ask(1, &redis::cmd("DBSIZE")),
            Self::Sqlite(_) => self.count("SELECT COUNT(*) FROM celery_taskmeta WHERE date_done"),
        }
    }

    /// Messages that were taken out of the queue and kept.
    pub(crate) fn kept(&self) -> usize {
        match self {
            Self::Rabbit(_) => self.ask(0, redis::cmd("XLEN").arg("lovage:custody:kept")),
            Self::Redis(_) => self.ask(0, redis::cmd("XLEN").arg("lovage:kept")),
            Self::Sqlite(_) => self.count("SELECT COUNT(*) FROM lovage_kept"),
        }
    }

    /// Messages that wait in the queue as something else than a first attempt; in a file, also calls that
    /// are not over and have more than that behind them.
    pub(crate) fn attempted(&self) -> usize {
        match self {
            Self::Rabbit(_) => panic!("RabbitMQ is asked by its own tests"),
            Self::Redis(_) => {
                let all: Vec<String> = self.ask(0, redis::cmd("LRANGE").arg(QUEUE).arg(0).arg(-1));
                all.iter().filter(|message| !message.contains("\"retries\": 0")).count()
            }
            Self::Sqlite(_) => self.count(
                "SELECT (SELECT COUNT(*) FROM kombu_message WHERE payload NOT LIKE '%\"retries\": 0%')
                    + (SELECT COUNT(*) FROM lovage_ledger WHERE state < 2 AND attempt + crashes > 0)",
            ),
        }
    }

    /// One command to one of the databases, where the place is Redis.
    pub(crate) fn ask<T: redis::FromRedisValue>(&self, database: u8, command: &redis::Cmd) -> T {
        let server = match self {
            Self::Rabbit(rabbit) => &rabbit.store,
            Self::Redis(server) => server,
            Self::Sqlite(_) => panic!("this place is no Redis"),
        };
        let client = redis::Client::open(server.url(database)).expect("a URL");
        let mut connection = client.get_connection().expect("a connection");
        command.query(&mut connection).expect("an answer")
    }

    /// Changes what the broker has: by a script in Lua where it is Redis, or by SQL.
    pub(crate) fn tell(&self, statement: &str) {
        match self {
            Self::Rabbit(_) | Self::Redis(_) => {
                self.ask::<()>(0, redis::cmd("EVAL").arg(statement).arg(0));
            }
            Self::Sqlite(_) => self.file(PATIENCE).execute_batch(statement).expect("a change"),
        }
    }

    /// Whether nobody is writing; only a file is ever locked.
    pub(crate) fn is_unlocked(&self) -> bool {
        let lock = "BEGIN IMMEDIATE; ROLLBACK";
        !matches!(self, Self::Sqlite(_)) || self.file(Duration::ZERO).execute_batch(lock).is_ok()
    }

    fn file(&self, patience: Duration) -> rusqlite::Connection {
        let Self::Sqlite(folder) = self else { panic!("this place is no file") };
        let file = rusqlite::Connection::open(folder.path().join("queue.db")).expect("the file");
        file.busy_timeout(patience).expect("a time");
        file
    }

    fn count(&self, query: &str) -> usize {
        let file = self.file(PATIENCE);
        let number: i64 = file.query_row(query, [], |row| row.get(0)).expect("a number");
        number.try_into().expect("a count")
    }
}

fn file_of_results(folder: &TempDir) -> String {
    format!("db+sqlite:///{}/queue.db", folder.path().display())
}

/// Runs a script beside this crate to its end.
pub(crate) fn python(name: &str, arguments: &[&str]) -> Output {
    script(name, arguments).output().expect("a Python")
}

/// A script beside this crate, not started yet.
pub(crate) fn script(name: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(paths::python());
    command.arg("-u").arg(paths::repository().join("tests/e2e").join(name)).args(arguments);
    command.env("PYTHONDONTWRITEBYTECODE", "1").env_remove("PYTHONPATH").env_remove("PYTHONHOME");
    command
}

/// The one line of JSON that a script printed; fails the test with its traceback otherwise.
pub(crate) fn json(output: &Output, name: &str) -> Value {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "`{name}` failed:\n{errors}");
    let printed = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(printed.trim())
        .unwrap_or_else(|error| panic!("`{name}` printed no JSON: {error}\n{printed}\n{errors}"))
}

/// Waits until `is_so`, by asking again and again; for what tells nobody when it happens.
pub(crate) fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < PATIENCE, "never came: {what}");
        pause(Duration::from_millis(5));
    }
}

/// Lets some time pass.
pub(crate) fn pause(time: Duration) {
    let (_keep, nothing) = sync_channel::<()>(0);
    let _timeout = nothing.recv_timeout(time);
}

/// A source of chance whose seed is printed; `LOVAGE_TEST_SEED` repeats a run.
pub(crate) fn chance(test: &str) -> fastrand::Rng {
    let named = std::env::var("LOVAGE_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = named.unwrap_or_else(|| fastrand::u64(..));
    println!("{test}: LOVAGE_TEST_SEED={seed} repeats this run");
    fastrand::Rng::with_seed(seed)
}
