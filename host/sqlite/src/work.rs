//! The thread that does the works: those that wait together share a transaction.

use std::sync::Arc;

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

/// How many works share one transaction at most.
const SHARING_MAX: usize = 256;

/// What came of a work, or the error of the transaction it shared.
pub(crate) type Outcome<T> = Result<T, Arc<rusqlite::Error>>;

/// What a work needs of the transaction around it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Needs {
    /// None at all.
    Nothing,
    /// One that a crash of this process cannot undo.
    Commit,
    /// One that a power cut cannot undo either.
    Sync,
}

/// A closure on its way to the thread, whatever it returns.
pub(crate) trait Work: Send {
    /// What it needs.
    fn needs(&self) -> Needs;

    /// Does it, and keeps what it returned. Called at most once.
    fn run(&mut self, connection: &Connection) -> Outcome<()>;

    /// Answers whoever asked: with what the work returned, unless the transaction failed.
    fn conclude(self: Box<Self>, transaction: &Outcome<()>);
}

/// A closure, where its value goes, and the value once it is there.
pub(crate) struct Job<T, W> {
    work: Option<W>,
    needs: Needs,
    value: Option<Outcome<T>>,
    answer: oneshot::Sender<Outcome<T>>,
}

impl<T, W> Job<T, W> {
    pub(crate) fn new(work: W, needs: Needs, answer: oneshot::Sender<Outcome<T>>) -> Self {
        Self { work: Some(work), needs, value: None, answer }
    }
}

impl<T, W> Work for Job<T, W>
where
    T: Send,
    W: FnOnce(&Connection) -> rusqlite::Result<T> + Send,
{
    fn needs(&self) -> Needs {
        self.needs
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
    let mut writes: Vec<Box<dyn Work>> = Vec::new();
    // As the connection was opened.
    let mut level = Needs::Sync;
    while let Some(first) = inbox.blocking_recv() {
        let mut next = Some(first);
        while let Some(mut work) = next {
            if work.needs() > Needs::Nothing {
                writes.push(work);
            } else {
                let _ = work.run(connection);
                work.conclude(&Ok(()));
            }
            next = if writes.len() < SHARING_MAX { inbox.try_recv().ok() } else { None };
        }
        if !writes.is_empty() {
            let outcome = synchronise(connection, &mut level, &writes)
                .and_then(|()| share(connection, &mut writes))
                .map_err(Arc::new);
            writes.drain(..).for_each(|work| work.conclude(&outcome));
        }
    }
}

/// Has the next commit wait for the disk only if one of these works needs it. The log is one file: a
/// commit that waits makes everything before it as safe as itself.
fn synchronise(
    connection: &Connection,
    level: &mut Needs,
    works: &[Box<dyn Work>],
) -> rusqlite::Result<()> {
    let needed = works.iter().map(|work| work.needs()).max().unwrap_or(Needs::Sync);
    if needed != *level {
        let name = if needed == Needs::Sync { "FULL" } else { "NORMAL" };
        connection.pragma_update(None, "synchronous", name)?;
        *level = needed;
    }
    Ok(())
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
