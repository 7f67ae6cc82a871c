//! The ledger in PostgreSQL: the decisions of `lovage-core`, written if nothing has changed meanwhile.
//!
//! A batch of claims that nobody made before is one statement. For the others, and for what is
//! recorded, the rows are read in one round trip, decided on, and each is written on the condition
//! that it is still as it was read; if it is not, it is read and decided on again. So no lock is ever
//! held across a round trip. Leases run by the server's clock.

mod rows;
mod statements;

use std::collections::HashSet;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use deadpool_postgres::{Manager, ManagerConfig, Object, Pool, RecyclingMethod};
use lovage_core::ports::{Ledger, PortError};
use lovage_core::{
    Claim, Claimant, Claimed, Fence, Grant, LedgerKey, LedgerWrite, NUMBER_MAX, Record, Recorded,
    Renewed, SessionNumber, StepBegin, StepBegun, StepEnd, decide_begin_step, decide_claim,
    decide_end_step, decide_write,
};
use tokio_postgres::{Config, NoTls};

use super::error::{pool_error, port_error};
use crate::columns::{signed, unsigned};
use crate::failed;
use rows::{Change, Found};
use statements::Statements;

/// How often a row that others keep changing is decided on again.
const ROUNDS_MAX: usize = 100;

/// The clock of the server, in milliseconds.
const CLOCK: &str = "(extract(epoch FROM clock_timestamp()) * 1000)::bigint";

/// What [`PostgresLedger`] is told.
#[derive(Debug, Clone)]
pub struct PostgresLedgerOptions {
    /// Where the database is, as `postgresql://user:password@host:port/database`. The connection is
    /// not encrypted: use a socket, a private network or a tunnel.
    pub url: String,
    /// Connections at most. 4 by default.
    pub connections_max: usize,
    /// How long a session keeps what it claimed without being renewed. 30 s by default.
    pub lease: Duration,
    /// How many workers may die under a call; with the last it is parked. 3 by default.
    pub crashes_max: u32,
    /// How long the steps of a call that did not succeed are kept at least. 14 days by default.
    pub steps_kept: Duration,
    /// How long a connection may take to be had. 10 s by default.
    pub patience: Duration,
    /// An SQL expression for the store's clock, in milliseconds: by default the server's own, which
    /// all workers share.
    pub clock: String,
}

impl PostgresLedgerOptions {
    /// A ledger in this database, everything else as by default.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            connections_max: 4,
            lease: Duration::from_secs(30),
            crashes_max: 3,
            steps_kept: Duration::from_hours(14 * 24),
            patience: Duration::from_secs(10),
            clock: CLOCK.into(),
        }
    }
}

/// A session of a worker in a ledger in PostgreSQL.
pub struct PostgresLedger {
    pool: Pool,
    statements: Statements,
    session: AtomicI64,
    lease_ms: i64,
    steps_kept_ms: u64,
    crashes_max: u32,
}

impl PostgresLedger {
    /// Makes the tables that are missing, and begins a session.
    ///
    /// # Errors
    /// When the URL is none, or the database cannot be reached or written.
    pub async fn start(options: &PostgresLedgerOptions) -> Result<Self, PortError> {
        let mut config: Config = options.url.parse().map_err(|error: tokio_postgres::Error| {
            PortError::permanent("reading the URL of a PostgreSQL database", error)
        })?;
        config.connect_timeout(options.patience);
        let recycling = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let pool = Pool::builder(Manager::from_config(config, NoTls, recycling))
            .max_size(options.connections_max.max(1))
            .runtime(deadpool_postgres::Runtime::Tokio1)
            .wait_timeout(Some(options.patience))
            .build()
            .map_err(|error| PortError::permanent("setting up PostgreSQL connections", error))?;
        let ledger = Self {
            pool,
            statements: Statements::new(&options.clock),
            session: AtomicI64::new(0),
            lease_ms: signed(milliseconds(options.lease)),
            steps_kept_ms: milliseconds(options.steps_kept),
            crashes_max: options.crashes_max,
        };
        let what = "making the ledger's tables";
        let client = ledger.client(what).await?;
        client.batch_execute(statements::TABLES).await.map_err(|it| port_error(what, it))?;
        drop(client);
        ledger.renew().await?;
        Ok(ledger)
    }

    async fn client(&self, what: &str) -> Result<Object, PortError> {
        self.pool.get().await.map_err(|error| pool_error(what, error))
    }

    fn session(&self) -> i64 {
        self.session.load(Ordering::Acquire)
    }

    /// Decides on each of `batch` with what is found of its record, and writes what was decided, until
    /// each was written as it was decided.
    async fn decide<T, A>(
        &self,
        what: &'static str,
        batch: &[(LedgerKey, T)],
        decide: impl Fn(&T, &Found) -> (Option<Record>, A) + Sync,
    ) -> Result<Vec<A>, PortError>
    where
        T: Sync,
        A: Send,
    {
        let mut client = self.client(what).await?;
        let failed = |error| port_error(what, error);
        let mut answers: Vec<Option<A>> = batch.iter().map(|_| None).collect();
        for _ in 0..ROUNDS_MAX {
            // Of several with one key each has to see what the one before has written.
            let mut keys = HashSet::new();
            let open = answers.iter().zip(batch).enumerate();
            let round: Vec<_> = open
                .filter(|(_, (answer, (key, _)))| answer.is_none() && keys.insert(*key))
                .map(|(index, (_, (key, item)))| (index, *key, item))
                .collect();
            if round.is_empty() {
                break;
            }
            let keys: Vec<_> = round.iter().map(|(_, key, _)| *key).collect();
            let found = rows::find(&client, &self.statements, &keys, self.session())
                .await
                .map_err(failed)?;
            let mut changes = Vec::new();
            let mut waiting = Vec::new();
            for ((index, key, item), found) in round.into_iter().zip(found) {
                let (write, answer) = decide(item, &found);
                match write {
                    Some(record) => {
                        let steps_until_ms = found.now_ms + self.steps_kept_ms;
                        let before = found.record;
                        changes.push(Change { key, before, record, steps_until_ms });
                        waiting.push((index, answer));
                    }
                    None => put(&mut answers, index, answer),
                }
            }
            let written = rows::change(&mut client, &changes).await.map_err(failed)?;
            for ((index, answer), written) in waiting.into_iter().zip(written) {
                if written {
                    put(&mut answers, index, answer);
                }
            }
        }
        let all: Option<Vec<A>> = answers.into_iter().collect();
        all.ok_or_else(|| PortError::Transient {
            what: format!("{what}: others keep changing the same records"),
            source: None,
        })
    }

    async fn write(
        &self,
        batch: Vec<LedgerWrite>,
        settled: bool,
    ) -> Vec<Result<Recorded, PortError>> {
        let what = "recording in the ledger";
        let batch: Vec<_> = batch.into_iter().map(|write| (write.grant.key, write)).collect();
        let decide = |write: &LedgerWrite, found: &Found| {
            let decided = decide_write(found.record.as_ref(), write, settled, found.now_ms);
            (decided.write, decided.answer)
        };
        match self.decide(what, &batch, decide).await {
            Ok(all) => all.into_iter().map(Ok).collect(),
            Err(error) => failed::each(what, &error, batch.len()),
        }
    }
}

fn put<A>(answers: &mut [Option<A>], index: usize, answer: A) {
    if let Some(place) = answers.get_mut(index) {
        *place = Some(answer);
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX).min(NUMBER_MAX)
}

fn over() -> PortError {
    let what = "the session's lease in the ledger is over".into();
    PortError::Transient { what, source: None }
}

#[async_trait]
impl Ledger for PostgresLedger {
    async fn claim(&self, batch: &[Claim]) -> Result<Vec<Claimed>, PortError> {
        let what = "claiming";
        if batch.is_empty() {
            return Ok(Vec::new());
        }
        let session = SessionNumber(unsigned(self.session()));
        let client = self.client(what).await?;
        let mut fresh = rows::insert(&client, &self.statements, batch, self.session())
            .await
            .map_err(|error| port_error(what, error))?
            .ok_or_else(over)?;
        drop(client);
        let known: Vec<_> = batch
            .iter()
            .map(|claim| {
                let fence = fresh.remove(&claim.key)?;
                let grant = Grant { key: claim.key, fence: Fence(fence), session };
                Some(Claimed::Fresh { grant, attempt: claim.attempt, crashes: 0 })
            })
            .collect();
        let others = known.iter().zip(batch).filter(|(answer, _)| answer.is_none());
        let others: Vec<_> = others.map(|(_, claim)| (claim.key, *claim)).collect();
        if others.is_empty() {
            return Ok(known.into_iter().flatten().collect());
        }
        let decide = |claim: &Claim, found: &Found| {
            if !found.alive {
                return (None, None);
            }
            let (fence, now_ms) = (Fence(found.fence), found.now_ms);
            let by = Claimant { session, fence, now_ms, crashes_max: self.crashes_max };
            let decided = decide_claim(found.record.as_ref(), claim, &by, found.hold);
            (decided.write, Some(decided.answer))
        };
        let mut others = self.decide(what, &others, decide).await?.into_iter();
        let all = known.into_iter().map(|answer| answer.or_else(|| others.next().flatten()));
        all.collect::<Option<_>>().ok_or_else(over)
    }

    async fn record(&self, batch: &[LedgerWrite]) -> Vec<Result<Recorded, PortError>> {
        self.write(batch.to_vec(), false).await
    }

    async fn settle(&self, batch: &[LedgerWrite]) -> Vec<Result<Recorded, PortError>> {
        self.write(batch.iter().map(LedgerWrite::settle).collect(), true).await
    }

    async fn begin_step(&self, grant: &Grant, step: &StepBegin) -> Result<StepBegun, PortError> {
        let what = "beginning a step";
        let mut client = self.client(what).await?;
        let begin = async {
            let transaction = client.transaction().await?;
            rows::lock(&transaction, &grant.key).await?;
            let session = signed(grant.session.0);
            let mut found =
                rows::find(&transaction, &self.statements, &[grant.key], session).await?;
            let Some(found) = found.pop() else { return Ok(StepBegun::Lost) };
            let hold = found.hold;
            let before =
                rows::find_step(&transaction, &grant.key, &step.name, found.now_ms).await?;
            let record = found.record.as_ref();
            let decided = decide_begin_step(record, before.as_ref(), grant, step, hold);
            if decided.answer != StepBegun::Lost {
                rows::keep_steps(&transaction, &grant.key).await?;
            }
            if let Some(written) = &decided.write {
                rows::save_step(&transaction, &grant.key, &step.name, written).await?;
            }
            transaction.commit().await?;
            Ok(decided.answer)
        };
        begin.await.map_err(|error| port_error(what, error))
    }

    async fn end_step(
        &self,
        grant: &Grant,
        name: &str,
        end: &StepEnd,
    ) -> Result<Recorded, PortError> {
        let what = "ending a step";
        let mut client = self.client(what).await?;
        let ended = async {
            let transaction = client.transaction().await?;
            rows::lock(&transaction, &grant.key).await?;
            let found = rows::find_step(&transaction, &grant.key, name, 0).await?;
            let decided = decide_end_step(found.as_ref(), grant, end);
            match &decided.write {
                Some(Some(step)) => {
                    rows::save_step(&transaction, &grant.key, name, step).await?;
                }
                Some(None) => rows::delete_step(&transaction, &grant.key, name).await?,
                None => {}
            }
            transaction.commit().await?;
            Ok(decided.answer)
        };
        ended.await.map_err(|error| port_error(what, error))
    }

    async fn renew(&self) -> Result<Renewed, PortError> {
        let what = "renewing the ledger's lease";
        let before = self.session();
        let client = self.client(what).await?;
        let session = rows::extend_or_begin(&client, &self.statements, before, self.lease_ms)
            .await
            .map_err(|error| port_error(what, error))?;
        self.session.store(session, Ordering::Release);
        rows::forget(&client, &self.statements).await.map_err(|error| port_error(what, error))?;
        let held = before == session || before == 0;
        Ok(if held { Renewed::Held } else { Renewed::Lost(SessionNumber(unsigned(before))) })
    }

    async fn get(&self, key: &LedgerKey) -> Result<Option<Record>, PortError> {
        let what = "looking a record up";
        let client = self.client(what).await?;
        let found = rows::find(&client, &self.statements, &[*key], self.session()).await;
        let found = found.map_err(|error| port_error(what, error))?.pop();
        Ok(found.and_then(|found| found.record.filter(|it| !it.is_expired(found.now_ms))))
    }

    async fn purge(&self, keys: &[LedgerKey], steps: bool) -> Result<usize, PortError> {
        let what = "purging records";
        let client = self.client(what).await?;
        rows::purge(&client, keys, steps).await.map_err(|error| port_error(what, error))
    }

    async fn leave(&self) -> Result<(), PortError> {
        let what = "leaving the ledger";
        let client = self.client(what).await?;
        let left = rows::leave(&client, &self.statements, self.session()).await;
        left.map_err(|error| port_error(what, error))
    }
}
