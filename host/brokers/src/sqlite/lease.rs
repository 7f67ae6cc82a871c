//! Sessions, and how long they live.
//!
//! A lease runs by a clock that goes on while nobody runs (a suspended machine included) and cannot
//! be set: the time since the machine was started. A reboot starts that clock again, so the boot's
//! name belongs to every reading; a session of another boot is over.

use std::sync::Arc;
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, params};
use rustix::time::{ClockId, clock_gettime};

/// Where Linux tells one boot from another.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// The clock that leases run by, and how long one lasts.
#[derive(Debug, Clone)]
pub(super) struct Leases {
    boot: Arc<str>,
    lease_ms: i64,
}

impl Leases {
    /// Leases that last this long.
    ///
    /// # Errors
    /// When the machine does not say which boot this is.
    pub(super) fn new(lease: Duration) -> std::io::Result<Self> {
        let boot = std::fs::read_to_string(BOOT_ID)?;
        let lease_ms = i64::try_from(lease.as_millis()).unwrap_or(i64::MAX);
        Ok(Self { boot: boot.trim().into(), lease_ms })
    }

    /// Milliseconds since the machine was started.
    fn now_ms() -> i64 {
        let now = clock_gettime(ClockId::Boottime);
        now.tv_sec.saturating_mul(1_000).saturating_add(now.tv_nsec / 1_000_000)
    }

    fn until_ms(&self) -> i64 {
        Self::now_ms().saturating_add(self.lease_ms)
    }

    /// Begins a session.
    pub(super) fn begin(&self, connection: &Connection) -> rusqlite::Result<i64> {
        connection
            .prepare_cached("INSERT INTO lovage_session (boot, until_ms) VALUES (?1, ?2)")?
            .insert(params![&*self.boot, self.until_ms()])
    }

    /// Extends a session; `false` when it is over.
    pub(super) fn extend(&self, connection: &Connection, session: i64) -> rusqlite::Result<bool> {
        let extend = "UPDATE lovage_session SET until_ms = ?1
            WHERE id = ?2 AND boot = ?3 AND until_ms > ?4";
        let values = params![self.until_ms(), session, &*self.boot, Self::now_ms()];
        Ok(connection.prepare_cached(extend)?.execute(values)? == 1)
    }

    /// Whether a session still has the right to what it holds.
    pub(super) fn lives(&self, connection: &Connection, session: i64) -> rusqlite::Result<bool> {
        let find = "SELECT 1 FROM lovage_session WHERE id = ?1 AND boot = ?2 AND until_ms > ?3";
        let values = params![session, &*self.boot, Self::now_ms()];
        Ok(connection.prepare_cached(find)?.query_row(values, |_| Ok(())).optional()?.is_some())
    }

    /// Ends all sessions that are over, and gives back what they held; how many messages that was.
    pub(super) fn end_dead(&self, connection: &Connection) -> rusqlite::Result<usize> {
        let find = "SELECT id FROM lovage_session WHERE boot <> ?1 OR until_ms <= ?2";
        let dead = connection
            .prepare_cached(find)?
            .query_map(params![&*self.boot, Self::now_ms()], |row| row.get(0))?
            .collect::<rusqlite::Result<Vec<i64>>>()?;
        dead.into_iter().try_fold(0, |sum, session| Ok(sum + end(connection, session)?))
    }
}

/// Ends a session and gives back what it held; how many messages that was.
pub(super) fn end(connection: &Connection, session: i64) -> rusqlite::Result<usize> {
    let show = "UPDATE kombu_message SET visible = 1
        WHERE id IN (SELECT message FROM lovage_lease WHERE session = ?1)";
    let shown = connection.prepare_cached(show)?.execute([session])?;
    let free = "UPDATE lovage_lease SET session = NULL WHERE session = ?1";
    connection.prepare_cached(free)?.execute([session])?;
    connection.prepare_cached("DELETE FROM lovage_session WHERE id = ?1")?.execute([session])?;
    Ok(shown)
}
