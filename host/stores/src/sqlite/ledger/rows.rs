//! The ledger's tables, and the statements on them.

use std::sync::Arc;
use std::time::Duration;

use lovage_core::ports::Clock;
use lovage_core::{
    End, Fence, Hold, LedgerKey, Record, SessionNumber, State, StepInput, StepRecord,
};
use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::columns::{Columns, signed, unsigned};

const TABLES: &str = "
CREATE TABLE IF NOT EXISTS lovage_ledger (
    key BLOB PRIMARY KEY,
    state INTEGER NOT NULL,
    fence INTEGER NOT NULL,
    payload BLOB NOT NULL,
    attempt INTEGER NOT NULL,
    crashes INTEGER NOT NULL,
    owner INTEGER,
    ticket INTEGER NOT NULL,
    moment_ms INTEGER,
    settled INTEGER NOT NULL,
    verdict BLOB
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS lovage_ledger_expires ON lovage_ledger (moment_ms) WHERE state > 1;
CREATE TABLE IF NOT EXISTS lovage_ledger_step (
    key BLOB NOT NULL,
    name TEXT NOT NULL,
    fence INTEGER NOT NULL,
    input BLOB NOT NULL,
    ticket INTEGER NOT NULL,
    doubted INTEGER NOT NULL,
    value BLOB,
    expires_ms INTEGER,
    PRIMARY KEY (key, name)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS lovage_ledger_step_expires ON lovage_ledger_step (expires_ms)
    WHERE expires_ms IS NOT NULL;
CREATE TABLE IF NOT EXISTS lovage_ledger_session (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    boot TEXT NOT NULL,
    until_ms INTEGER NOT NULL,
    left_at_ms INTEGER
);
CREATE TABLE IF NOT EXISTS lovage_ledger_fence (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    next INTEGER NOT NULL
);
INSERT OR IGNORE INTO lovage_ledger_fence VALUES (1, 1);
";

/// Sessions that are kept after they ended, so that it is known who left and who died.
const SESSIONS_KEPT: i64 = 10_000;

/// Makes the tables that are missing.
pub(super) fn prepare(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch(TABLES)
}

/// The record of a key.
pub(super) fn load(connection: &Connection, key: &LedgerKey) -> rusqlite::Result<Option<Record>> {
    let find = "SELECT state, fence, payload, attempt, crashes, owner, ticket, moment_ms, settled,
        verdict FROM lovage_ledger WHERE key = ?1";
    let row = connection.prepare_cached(find)?.query_row([key.as_bytes()], columns).optional()?;
    match row.map(Columns::record) {
        Some(None) => Err(rusqlite::Error::IntegralValueOutOfRange(0, -1)),
        record => Ok(record.flatten()),
    }
}

fn columns(row: &Row<'_>) -> rusqlite::Result<Columns> {
    Ok(Columns {
        state: row.get(0)?,
        fence: row.get(1)?,
        payload: row.get(2)?,
        attempt: row.get(3)?,
        crashes: row.get(4)?,
        owner: row.get(5)?,
        ticket: row.get(6)?,
        moment_ms: row.get(7)?,
        settled: row.get(8)?,
        verdict: row.get(9)?,
    })
}

/// Writes a record in the place of what was there.
pub(super) fn save(
    connection: &Connection,
    key: &LedgerKey,
    record: &Record,
) -> rusqlite::Result<()> {
    let row = Columns::from(record);
    let replace = "INSERT OR REPLACE INTO lovage_ledger (key, state, fence, payload, attempt,
        crashes, owner, ticket, moment_ms, settled, verdict)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)";
    let values = params![
        key.as_bytes(),
        row.state,
        row.fence,
        row.payload,
        row.attempt,
        row.crashes,
        row.owner,
        row.ticket,
        row.moment_ms,
        row.settled,
        row.verdict,
    ];
    connection.prepare_cached(replace)?.execute(values).map(drop)
}

/// The first of this many fences that nobody else is given.
pub(super) fn take_fences(connection: &Connection, count: usize) -> rusqlite::Result<u64> {
    let take = "UPDATE lovage_ledger_fence SET next = next + ?1 RETURNING next - ?1";
    let count = i64::try_from(count).unwrap_or(i64::MAX);
    connection.prepare_cached(take)?.query_row([count], |row| row.get(0)).map(unsigned)
}

/// Deletes up to `most` records, and as many steps, that may be forgotten.
pub(super) fn forget(connection: &Connection, now_ms: u64, most: usize) -> rusqlite::Result<()> {
    let records = "DELETE FROM lovage_ledger WHERE key IN (SELECT key FROM lovage_ledger
        WHERE state > 1 AND moment_ms <= ?1 LIMIT ?2)";
    let steps = "DELETE FROM lovage_ledger_step WHERE (key, name) IN (SELECT key, name
        FROM lovage_ledger_step WHERE expires_ms IS NOT NULL AND expires_ms <= ?1 LIMIT ?2)";
    let most = i64::try_from(most).unwrap_or(i64::MAX);
    for delete in [records, steps] {
        connection.prepare_cached(delete)?.execute(params![signed(now_ms), most])?;
    }
    Ok(())
}

/// Deletes a record; whether there was one.
pub(super) fn purge(
    connection: &Connection,
    key: &LedgerKey,
    steps: bool,
) -> rusqlite::Result<usize> {
    if steps {
        let delete = "DELETE FROM lovage_ledger_step WHERE key = ?1";
        connection.prepare_cached(delete)?.execute([key.as_bytes()])?;
    }
    let delete = "DELETE FROM lovage_ledger WHERE key = ?1";
    connection.prepare_cached(delete)?.execute([key.as_bytes()])
}

/// A step of a call.
pub(super) fn load_step(
    connection: &Connection,
    key: &LedgerKey,
    name: &str,
    now_ms: u64,
) -> rusqlite::Result<Option<StepRecord>> {
    let find = "SELECT fence, input, ticket, doubted, value FROM lovage_ledger_step
        WHERE key = ?1 AND name = ?2 AND (expires_ms IS NULL OR expires_ms > ?3)";
    let step = |row: &Row<'_>| {
        Ok(StepRecord {
            fence: Fence(unsigned(row.get(0)?)),
            input: StepInput(row.get(1)?),
            ticket: unsigned(row.get(2)?),
            doubted: row.get(3)?,
            value: row.get::<_, Option<Vec<u8>>>(4)?.map(Into::into),
        })
    };
    let values = params![key.as_bytes(), name, signed(now_ms)];
    connection.prepare_cached(find)?.query_row(values, step).optional()
}

/// Writes a step in the place of what was there.
pub(super) fn save_step(
    connection: &Connection,
    key: &LedgerKey,
    name: &str,
    step: &StepRecord,
) -> rusqlite::Result<()> {
    let replace = "INSERT OR REPLACE INTO lovage_ledger_step (key, name, fence, input,
        ticket, doubted, value) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
    let values = params![
        key.as_bytes(),
        name,
        signed(step.fence.0),
        step.input.0,
        signed(step.ticket),
        step.doubted,
        step.value.as_deref(),
    ];
    connection.prepare_cached(replace)?.execute(values).map(drop)
}

/// Deletes a step.
pub(super) fn delete_step(
    connection: &Connection,
    key: &LedgerKey,
    name: &str,
) -> rusqlite::Result<()> {
    let delete = "DELETE FROM lovage_ledger_step WHERE key = ?1 AND name = ?2";
    connection.prepare_cached(delete)?.execute(params![key.as_bytes(), name]).map(drop)
}

/// Steps last as long as their record runs; they may be there from before a redrive.
pub(super) fn keep_steps(connection: &Connection, key: &LedgerKey) -> rusqlite::Result<()> {
    let keep = "UPDATE lovage_ledger_step SET expires_ms = NULL
        WHERE key = ?1 AND expires_ms IS NOT NULL";
    connection.prepare_cached(keep)?.execute([key.as_bytes()]).map(drop)
}

/// Once a record may be forgotten its steps may, too; those of a call that did not succeed stay until
/// `failed_ms` at least, for whoever sends it again.
pub(super) fn let_steps_expire(
    connection: &Connection,
    key: &LedgerKey,
    record: &Record,
    failed_ms: u64,
) -> rusqlite::Result<()> {
    let State::Over { end, expires_ms: Some(expires_ms), .. } = record.state else { return Ok(()) };
    let expires_ms = if end == End::Done { expires_ms } else { expires_ms.max(failed_ms) };
    let expire = "UPDATE lovage_ledger_step SET expires_ms = ?2 WHERE key = ?1";
    let values = params![key.as_bytes(), signed(expires_ms)];
    connection.prepare_cached(expire)?.execute(values).map(drop)
}

/// The clock that leases run by, and how long one lasts.
#[derive(Clone)]
pub(super) struct Leases {
    pub(super) boot: Arc<str>,
    pub(super) lease_ms: i64,
    pub(super) clock: Arc<dyn Clock>,
}

impl Leases {
    fn now_ms(&self) -> i64 {
        self.clock.now().as_micros() / 1_000
    }

    /// Extends a session, or begins another one if it is over; which one then is alive.
    pub(super) fn extend_or_begin(
        &self,
        connection: &Connection,
        session: i64,
    ) -> rusqlite::Result<i64> {
        let until_ms = self.now_ms().saturating_add(self.lease_ms);
        if self.lives(connection, session)? {
            let extend = "UPDATE lovage_ledger_session SET until_ms = ?1 WHERE id = ?2";
            connection.prepare_cached(extend)?.execute(params![until_ms, session])?;
            return Ok(session);
        }
        let forget = "DELETE FROM lovage_ledger_session
            WHERE id <= (SELECT max(id) FROM lovage_ledger_session) - ?1
            AND (boot <> ?2 OR until_ms <= ?3)";
        let values = params![SESSIONS_KEPT, &*self.boot, self.now_ms()];
        connection.prepare_cached(forget)?.execute(values)?;
        let begin = "INSERT INTO lovage_ledger_session (boot, until_ms) VALUES (?1, ?2)";
        connection.prepare_cached(begin)?.insert(params![&*self.boot, until_ms])
    }

    /// Whether a session's lease lasts.
    pub(super) fn lives(&self, connection: &Connection, session: i64) -> rusqlite::Result<bool> {
        let session = SessionNumber(unsigned(session));
        Ok(matches!(self.hold(connection, Some(session))?, Hold::Live(_)))
    }

    /// How a session does.
    pub(super) fn hold(
        &self,
        connection: &Connection,
        session: Option<SessionNumber>,
    ) -> rusqlite::Result<Hold> {
        let Some(session) = session else { return Ok(Hold::Over) };
        let find = "SELECT boot = ?2, until_ms, left_at_ms IS NOT NULL
            FROM lovage_ledger_session WHERE id = ?1";
        let row = |row: &Row<'_>| {
            Ok((row.get::<_, bool>(0)?, row.get::<_, i64>(1)?, row.get::<_, bool>(2)?))
        };
        let values = params![signed(session.0), &*self.boot];
        Ok(match connection.prepare_cached(find)?.query_row(values, row).optional()? {
            Some((_, _, true)) => Hold::Left,
            Some((true, until_ms, false)) if until_ms > self.now_ms() => {
                Hold::Live(Duration::from_millis(unsigned(until_ms - self.now_ms())))
            }
            _ => Hold::Over,
        })
    }

    /// Ends a session that lives, for good.
    pub(super) fn leave(&self, connection: &Connection, session: i64) -> rusqlite::Result<()> {
        if self.lives(connection, session)? {
            let leave = "UPDATE lovage_ledger_session SET left_at_ms = ?1, until_ms = ?1
                WHERE id = ?2";
            connection.prepare_cached(leave)?.execute(params![self.now_ms(), session])?;
        }
        Ok(())
    }
}
