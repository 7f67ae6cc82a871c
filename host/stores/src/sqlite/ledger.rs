//! The ledger in a SQLite file: the decisions of `lovage-core`, carried out inside a transaction.
//!
//! Sessions' leases run by a clock that cannot be set and goes on while the machine sleeps; a reboot
//! ends them all. Moments that outlast a reboot (when a retry is due, when a record may be forgotten)
//! are by the machine's own clock.
//!
//! [`SqliteLedger`] is a worker's session. Where queue and ledger share one file, [`LedgerRows`]
//! records inside the transaction that ends the delivery.

mod rows;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use lovage_core::ports::{Clock, Ledger, PortError};
use lovage_core::{
    Claim, Claimant, Claimed, Closing, Fence, Grant, LedgerKey, LedgerWrite, NUMBER_MAX, Record,
    Recorded, Renewed, SessionNumber, StepBegin, StepBegun, StepEnd, Timestamp, decide_begin_step,
    decide_claim, decide_end_step, decide_write,
};
use lovage_sqlite::{Database, Participant};
use rusqlite::Connection;
use rustix::time::{ClockId, clock_gettime};

use crate::columns::{signed, unsigned};
use crate::failed;
use rows::Leases;

/// Where Linux tells one boot from another.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// Expired rows that go with each claim, so that the file cannot grow for ever.
const FORGOTTEN_A_CLAIM: usize = 2;

/// What [`SqliteLedger`] is told.
#[derive(Clone)]
pub struct SqliteLedgerOptions {
    /// How long a session keeps what it claimed without being renewed. 30 s by default.
    pub lease: Duration,
    /// How many workers may die under a call; with the last it is parked. 3 by default.
    pub crashes_max: u32,
    /// How long the steps of a call that did not succeed are kept at least. 14 days by default.
    pub steps_kept: Duration,
    /// The machine's clock.
    pub clock: Arc<dyn Clock>,
    /// A clock that cannot be set: [`SinceBoot`] by default.
    pub lease_clock: Arc<dyn Clock>,
}

impl SqliteLedgerOptions {
    /// Everything as by default.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            lease: Duration::from_secs(30),
            crashes_max: 3,
            steps_kept: Duration::from_hours(14 * 24),
            clock,
            lease_clock: Arc::new(SinceBoot),
        }
    }
}

/// The time since the machine was started, also while it sleeps.
#[derive(Debug, Clone, Copy)]
pub struct SinceBoot;

impl Clock for SinceBoot {
    fn now(&self) -> Timestamp {
        let now = clock_gettime(ClockId::Boottime);
        let micros = now.tv_sec.saturating_mul(1_000_000).saturating_add(now.tv_nsec / 1_000);
        Timestamp::from_micros(micros)
    }
}

/// A session of a worker in a ledger in a SQLite file.
pub struct SqliteLedger {
    database: Database,
    rows: LedgerRows,
    leases: Leases,
    session: AtomicI64,
    crashes_max: u32,
}

impl SqliteLedger {
    /// Makes the tables that are missing, and begins a session.
    ///
    /// # Errors
    /// When the file cannot be written, or the machine does not say which boot this is.
    pub async fn start(
        database: Database,
        options: &SqliteLedgerOptions,
    ) -> Result<Self, PortError> {
        let boot = std::fs::read_to_string(BOOT_ID).map_err(|error| {
            PortError::permanent("read which boot of the machine this is", error)
        })?;
        let leases = Leases {
            boot: boot.trim().into(),
            lease_ms: signed(milliseconds(options.lease)),
            clock: Arc::clone(&options.lease_clock),
        };
        let ledger = Self {
            database,
            rows: LedgerRows::new(options),
            leases,
            session: AtomicI64::new(0),
            crashes_max: options.crashes_max,
        };
        ledger.database.write("make the ledger's tables", rows::prepare).await?;
        ledger.renew().await?;
        Ok(ledger)
    }

    async fn write(
        &self,
        batch: Vec<LedgerWrite>,
        settled: bool,
    ) -> Vec<Result<Recorded, PortError>> {
        let (rows, count) = (self.rows.clone(), batch.len());
        let write = move |connection: &Connection| {
            batch.iter().map(|write| rows.record(connection, write, settled)).collect()
        };
        let what = "record in the ledger";
        let written: Result<Vec<_>, _> = self.database.write(what, write).await;
        match written {
            Ok(all) => all.into_iter().map(Ok).collect(),
            Err(error) => failed::each(what, &error, count),
        }
    }
}

#[async_trait]
impl Ledger for SqliteLedger {
    async fn claim(&self, batch: &[Claim]) -> Result<Vec<Claimed>, PortError> {
        let (batch, leases, rows) = (batch.to_vec(), self.leases.clone(), self.rows.clone());
        let session = self.session.load(Ordering::Acquire);
        let crashes_max = self.crashes_max;
        let claim = move |connection: &Connection| {
            if !leases.lives(connection, session)? {
                return Ok(None);
            }
            let now_ms = rows.now_ms();
            rows::forget(connection, now_ms, FORGOTTEN_A_CLAIM * batch.len())?;
            let first = rows::take_fences(connection, batch.len())?;
            let one = |(claim, fence): (&Claim, u64)| {
                let found = rows::load(connection, &claim.key)?;
                let hold = leases.hold(connection, found.as_ref().and_then(Record::owner))?;
                let session = SessionNumber(unsigned(session));
                let by = Claimant { session, fence: Fence(fence), now_ms, crashes_max };
                let decided = decide_claim(found.as_ref(), claim, &by, hold);
                if let Some(record) = &decided.write {
                    rows::save(connection, &claim.key, record)?;
                }
                Ok(decided.answer)
            };
            batch.iter().zip(first..).map(one).collect::<rusqlite::Result<Vec<_>>>().map(Some)
        };
        self.database.write("claim", claim).await?.ok_or_else(|| PortError::Transient {
            what: "the session's lease in the ledger is over".into(),
            source: None,
        })
    }

    async fn record(&self, batch: &[LedgerWrite]) -> Vec<Result<Recorded, PortError>> {
        self.write(batch.to_vec(), false).await
    }

    async fn settle(&self, batch: &[LedgerWrite]) -> Vec<Result<Recorded, PortError>> {
        self.write(batch.iter().map(LedgerWrite::settle).collect(), true).await
    }

    async fn begin_step(&self, grant: &Grant, step: &StepBegin) -> Result<StepBegun, PortError> {
        let (grant, step) = (*grant, step.clone());
        let (leases, rows) = (self.leases.clone(), self.rows.clone());
        let begin = move |connection: &Connection| {
            let record = rows::load(connection, &grant.key)?;
            let hold = leases.hold(connection, Some(grant.session))?;
            let found = rows::load_step(connection, &grant.key, &step.name, rows.now_ms())?;
            let decided = decide_begin_step(record.as_ref(), found.as_ref(), &grant, &step, hold);
            if decided.answer != StepBegun::Lost {
                rows::keep_steps(connection, &grant.key)?;
            }
            if let Some(written) = &decided.write {
                rows::save_step(connection, &grant.key, &step.name, written)?;
            }
            Ok(decided.answer)
        };
        self.database.write("begin a step", begin).await
    }

    async fn end_step(
        &self,
        grant: &Grant,
        name: &str,
        end: &StepEnd,
    ) -> Result<Recorded, PortError> {
        let (grant, name, end) = (*grant, Box::<str>::from(name), end.clone());
        let rows = self.rows.clone();
        let end = move |connection: &Connection| {
            let found = rows::load_step(connection, &grant.key, &name, rows.now_ms())?;
            let decided = decide_end_step(found.as_ref(), &grant, &end);
            match &decided.write {
                Some(Some(step)) => rows::save_step(connection, &grant.key, &name, step)?,
                Some(None) => rows::delete_step(connection, &grant.key, &name)?,
                None => {}
            }
            Ok(decided.answer)
        };
        self.database.write("end a step", end).await
    }

    async fn renew(&self) -> Result<Renewed, PortError> {
        let (leases, before) = (self.leases.clone(), self.session.load(Ordering::Acquire));
        let renew = move |connection: &Connection| leases.extend_or_begin(connection, before);
        let session = self.database.write("renew the ledger's lease", renew).await?;
        self.session.store(session, Ordering::Release);
        let held = before == session || before == 0;
        Ok(if held { Renewed::Held } else { Renewed::Lost(SessionNumber(unsigned(before))) })
    }

    async fn get(&self, key: &LedgerKey) -> Result<Option<Record>, PortError> {
        let key = *key;
        let load = move |connection: &Connection| rows::load(connection, &key);
        let record = self.database.read("look a record up", load).await?;
        Ok(record.filter(|record| !record.is_expired(self.rows.now_ms())))
    }

    async fn purge(&self, keys: &[LedgerKey], steps: bool) -> Result<usize, PortError> {
        let keys = keys.to_vec();
        let purge = move |connection: &Connection| {
            keys.iter().try_fold(0, |sum, key| Ok(sum + rows::purge(connection, key, steps)?))
        };
        self.database.write("purge records", purge).await
    }

    async fn leave(&self) -> Result<(), PortError> {
        let (leases, session) = (self.leases.clone(), self.session.load(Ordering::Acquire));
        let leave = move |connection: &Connection| leases.leave(connection, session);
        self.database.write("leave the ledger", leave).await
    }
}

/// Records in the transaction that settles a delivery, for queues in the same file.
#[derive(Clone)]
pub struct LedgerRows {
    clock: Arc<dyn Clock>,
    steps_kept_ms: u64,
}

impl LedgerRows {
    /// The ledger that has these options.
    pub fn new(options: &SqliteLedgerOptions) -> Self {
        let steps_kept_ms = milliseconds(options.steps_kept);
        Self { clock: Arc::clone(&options.clock), steps_kept_ms }
    }

    fn now_ms(&self) -> u64 {
        unsigned(self.clock.now().as_micros() / 1_000)
    }

    fn record(
        &self,
        connection: &Connection,
        write: &LedgerWrite,
        settled: bool,
    ) -> rusqlite::Result<Recorded> {
        let key = &write.grant.key;
        let found = rows::load(connection, key)?;
        let decided = decide_write(found.as_ref(), write, settled, self.now_ms());
        if let Some(record) = &decided.write {
            rows::save(connection, key, record)?;
            rows::let_steps_expire(connection, key, record, self.now_ms() + self.steps_kept_ms)?;
        }
        Ok(decided.answer)
    }
}

impl Participant for LedgerRows {
    fn prepare(&self, connection: &Connection) -> rusqlite::Result<()> {
        rows::prepare(connection)
    }

    fn write(&self, connection: &Connection, closing: &Closing) -> rusqlite::Result<bool> {
        match &closing.ledger {
            Some(write) => Ok(self.record(connection, write, true)? == Recorded::Written),
            None => Ok(true),
        }
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX).min(NUMBER_MAX)
}
