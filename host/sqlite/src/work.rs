//! The thread that does the works: those that wait together share a transaction.

use std::sync::Arc;

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

/// How many works share one transaction at most.
const SHARING_MAX: usize = 256;

/// What came of a work, or the error of the transaction it shared.
pub(crate) type Outcome<T> = Result<T, Arc<rusqlite::Error>>;

/// A closure on its way to the thread, whatever it returns.
pub(crate) trait Work: Send {
    /// Whether it needs a transaction.
    fn writes(&self) -> bool;

    /// Does it, and keeps what it returned. Called at most once.
    fn run(&mut self, connection: &Connection) -> Outcome<()>;

    /// Answers whoever asked: with what the work returned, unless the transaction failed.
    fn conclude(self: Box<Self>, transaction: &Outcome<()>);
}

/// A closure, where its value goes, and the value once it is there.
pub(crate) struct Job<T, W> {
    work: Option<W>,
    writes: bool,
    value: Option<Outcome<T>>,
    answer: oneshot::Sender<Outcome<T>>,
}

impl<T, W> Job<T, W> {
    pub(crate) fn new(work: W, writes: bool, answer: oneshot::Sender<Outcome<T>>) -> Self {
        Self { work: Some(work), writes, value: None, answer }
    }
}

impl<T, W> Work for Job<T, W>
where
    T: Send,
    W: FnOnce(&Connection) -> rusqlite::Result<T> + Send,
{
    fn writes(&self) -> bool {
        self.writes
    }

    fn run(&mut self, connection: &Connection) -> Outcome<()> {
        let Some(work) = self.work.take() else { return Ok(()) };
        match work(connection) {
            Ok(value) => {
                self.value = Some(Ok(value));
                Ok(())
            }
            Err(error) => {
                let error = Arc::new(error);
                self.value = Some(Err(Arc::clone(&error)));
                Err(error)
            }
        }
    }

    fn conclude(self: Box<Self>, transaction: &Outcome<()>) {
        let outcome = match (self.value, transaction) {
            (Some(Err(own)), _) => Err(own),
            (_, Err(shared)) => Err(Arc::clone(shared)),
            (Some(value), Ok(())) => value,
            // It never ran, so the caller sees a closed channel.
            (None, Ok(())) => return,
        };
        // A caller that went away is not interested.
        let _ = self.answer.send(outcome);
    }
}

/// Does works until nobody can send any more.
pub(crate) fn serve(connection: &Connection, mut inbox: mpsc::Receiver<Box<dyn Work>>) {
    let mut writes = Vec::new();
    while let Some(first) = inbox.blocking_recv() {
        let mut next = Some(first);
        while let Some(mut work) = next {
            if work.writes() {
                writes.push(work);
            } else {
                let _ = work.run(connection);
                work.conclude(&Ok(()));
            }
            next = if writes.len() < SHARING_MAX { inbox.try_recv().ok() } else { None };
        }
        if !writes.is_empty() {
            let outcome = share(connection, &mut writes).map_err(Arc::new);
            writes.drain(..).for_each(|work| work.conclude(&outcome));
        }
    }
}

/// Runs all works in one transaction; undoes only those that fail by themselves.
fn share(connection: &Connection, works: &mut [Box<dyn Work>]) -> rusqlite::Result<()> {
    let run = |statement| connection.prepare_cached(statement)?.execute([]).map(|_| ());
    run("BEGIN IMMEDIATE")?;
    let outcome = works.iter_mut().try_for_each(|work| {
        run("SAVEPOINT work")?;
        if let Err(error) = work.run(connection) {
            if connection.is_autocommit() {
                // A full disk, among others, ends the whole transaction and not just this work.
                return Err(copy(&error));
            }
            run("ROLLBACK TO work")?;
        }
        run("RELEASE work")
    });
    let outcome = outcome.and_then(|()| run("COMMIT"));
    if outcome.is_err() && !connection.is_autocommit() {
        run("ROLLBACK")?;
    }
    outcome
}

/// The same failure once more, for those who shared the transaction that it ended.
fn copy(error: &rusqlite::Error) -> rusqlite::Error {
    let code = error.sqlite_error().copied().unwrap_or(rusqlite::ffi::Error::new(1));
    rusqlite::Error::SqliteFailure(code, Some(error.to_string()))
}
