//! The ledger in Redis: a short string a record, a script an operation.
//!
//! Records of an implicit key are forgotten by Redis itself, and cost about 100 bytes until then.
//! Claims of a batch are one round trip. Where broker and ledger share a database, recording is none
//! at all: [`RedisLedger::part`] is a share in the broker's own script.
//!
//! The scripts do what the pure functions of `lovage-core` decide; the conformance suite puts both
//! to the same operations and compares.

mod answers;
mod durability;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use lovage_core::ports::{Ledger, PortError};
use lovage_core::{
    Change, Claim, Claimed, Closing, End, Grant, LedgerKey, LedgerWrite, NUMBER_MAX, Record,
    Recorded, Renewed, SessionNumber, StepBegin, StepBegun, StepEnd,
};
use lovage_redis::{Address, Arguments, Link, LinkOptions, Script, ScriptPart, Value, quote};

pub use durability::Durability;

/// Claims or writes in one call: a script runs to its end before anybody else's.
const CALL_MAX: usize = 1_000;

/// The clock of the server, in milliseconds.
const CLOCK: &str = "(function() local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000) end)()";

const COMMON: &str = include_str!("ledger/common.lua");
const HOLD: &str = include_str!("ledger/hold.lua");
const WRITE: &str = include_str!("ledger/write.lua");

/// What [`RedisLedger`] is told.
#[derive(Debug, Clone)]
pub struct RedisLedgerOptions {
    /// The server and the database.
    pub address: Address,
    /// Stands before every key. Empty by default.
    pub prefix: String,
    /// How long a session keeps what it claimed without being renewed. 30 s by default.
    pub lease: Duration,
    /// How many workers may die under a call; with the last it is parked. 3 by default.
    pub crashes_max: u32,
    /// How long the steps of a call that did not succeed are kept at least. 14 days by default.
    pub steps_kept: Duration,
    /// How long an answer may take. 10 s by default.
    pub patience: Duration,
    /// A Lua expression for the store's clock, in milliseconds: by default the server's own, which
    /// all workers share.
    pub clock: String,
}

impl RedisLedgerOptions {
    /// A ledger in this database, everything else as by default.
    pub fn new(address: Address) -> Self {
        Self {
            address,
            prefix: String::new(),
            lease: Duration::from_secs(30),
            crashes_max: 3,
            steps_kept: Duration::from_hours(14 * 24),
            patience: Duration::from_secs(10),
            clock: CLOCK.into(),
        }
    }

    fn prelude(&self) -> String {
        format!(
            "local P, steps_kept = {}, '{}'\nlocal function clock() return {} end\n{COMMON}",
            quote(self.prefix.as_bytes()),
            milliseconds(self.steps_kept),
            self.clock,
        )
    }

    fn script(&self, what: &'static str, parts: &[&str]) -> Script {
        Script::new(what, &format!("{}{}", self.prelude(), parts.concat()))
    }
}

/// A session of a worker in a ledger in Redis.
#[derive(Debug)]
pub struct RedisLedger {
    link: Link,
    scripts: Scripts,
    session: AtomicU64,
    lease_ms: u64,
    crashes_max: u32,
    durability: Durability,
}

/// Lua that defines `write`, which changes one record as its arguments name, or hands its call back.
fn write_function() -> String {
    format!("local written = {{}}\nlocal function write(first, known, release)\n{WRITE}\nend\n")
}

#[derive(Debug)]
struct Scripts {
    claim: Script,
    write: Script,
    begin_step: Script,
    end_step: Script,
    renew: Script,
    leave: Script,
    get: Script,
    purge: Script,
}

impl RedisLedger {
    /// Begins a session.
    ///
    /// # Errors
    /// When the server cannot be reached, or evicts keys: a ledger that forgets promises nothing.
    pub async fn start(options: &RedisLedgerOptions) -> Result<Self, PortError> {
        let write = write_function();
        let scripts = Scripts {
            claim: options.script("claiming", &[HOLD, include_str!("ledger/claim.lua")]),
            write: options.script("recording", &[&write, include_str!("ledger/write_all.lua")]),
            begin_step: options
                .script("beginning a step", &[HOLD, include_str!("ledger/begin_step.lua")]),
            end_step: options.script("ending a step", &[include_str!("ledger/end_step.lua")]),
            renew: options.script("renewing", &[HOLD, include_str!("ledger/renew.lua")]),
            leave: options.script("leaving", &[HOLD, include_str!("ledger/leave.lua")]),
            get: options.script("looking a record up", &[HOLD, include_str!("ledger/get.lua")]),
            purge: options.script("purging records", &[include_str!("ledger/purge.lua")]),
        };
        let link = Link::new(&options.address, LinkOptions::new("ledger", options.patience))?;
        let durability = durability::examine(&link).await?;
        let ledger = Self {
            link,
            scripts,
            session: AtomicU64::new(0),
            lease_ms: milliseconds(options.lease),
            crashes_max: options.crashes_max,
            durability,
        };
        ledger.renew().await?;
        Ok(ledger)
    }

    /// What the server keeps when it dies, which is all that the ledger's promises rest on.
    pub fn durability(&self) -> Durability {
        self.durability
    }

    /// This ledger's share of a script that settles: it records what a closing says of the ledger as
    /// settled, and vetoes the rest when the grant is lost. It comes first.
    pub fn part(options: &RedisLedgerOptions) -> ScriptPart {
        Self::part_with(options, |_| true)
    }

    /// The same, which records as settled only what `is_settled` says is.
    pub(super) fn part_with(
        options: &RedisLedgerOptions,
        is_settled: fn(&Closing) -> bool,
    ) -> ScriptPart {
        let encode = move |closing: &Closing, arguments: &mut Arguments| {
            if let Some(write) = &closing.ledger {
                encode_write(write, is_settled(closing), |argument| arguments.push(argument));
            }
        };
        // A call whose delivery was lost is whoever's has it now, who must not find it busy for as
        // long as this session lives.
        ScriptPart::new("return write(first, known)", encode)
            .prepared(options.prelude() + &write_function())
            .reading("return records .. ARGV[first]")
            .when_lost("return write(first, known, true)")
    }

    fn session(&self) -> u64 {
        self.session.load(Ordering::Acquire)
    }

    async fn write(
        &self,
        batch: &[LedgerWrite],
        settled: bool,
    ) -> Vec<Result<Recorded, PortError>> {
        let mut all = Vec::with_capacity(batch.len());
        for batch in batch.chunks(CALL_MAX) {
            let mut call = self.scripts.write.call();
            for write in batch {
                encode_write(write, settled, |argument| {
                    call.bytes(argument);
                });
            }
            let answer = self.link.call(&self.scripts.write, &call).await;
            all.extend(answers::recorded(answer, batch.len()));
        }
        all
    }
}

#[async_trait]
impl Ledger for RedisLedger {
    async fn claim(&self, batch: &[Claim]) -> Result<Vec<Claimed>, PortError> {
        let mut all = Vec::with_capacity(batch.len());
        let session = SessionNumber(self.session());
        let mut text = Vec::with_capacity(64);
        for batch in batch.chunks(CALL_MAX) {
            let mut call = self.scripts.claim.call();
            call.number(session.0).number(self.crashes_max);
            for claim in batch {
                text.clear();
                text.extend_from_slice(claim.payload.as_bytes());
                text.extend_from_slice(&claim.attempt.to_be_bytes());
                text.push(0);
                text.extend_from_slice(&six_bytes(session.0));
                text.extend_from_slice(&six_bytes(claim.ticket));
                call.bytes(claim.key.as_bytes()).bytes(&text);
            }
            let answer = self.link.call(&self.scripts.claim, &call).await?;
            all.extend(answers::claimed(answer, batch, session)?);
        }
        Ok(all)
    }

    async fn record(&self, batch: &[LedgerWrite]) -> Vec<Result<Recorded, PortError>> {
        self.write(batch, false).await
    }

    async fn settle(&self, batch: &[LedgerWrite]) -> Vec<Result<Recorded, PortError>> {
        let batch: Vec<_> = batch.iter().map(LedgerWrite::settle).collect();
        self.write(&batch, true).await
    }

    async fn begin_step(&self, grant: &Grant, step: &StepBegin) -> Result<StepBegun, PortError> {
        let mut call = self.scripts.begin_step.call();
        call.bytes(grant.key.as_bytes()).number(grant.fence.0).number(grant.session.0);
        call.bytes(step.name.as_bytes()).bytes(&step.input.0);
        call.bytes(answers::doubt(step.doubt)).number(step.ticket.min(NUMBER_MAX));
        answers::begun(self.link.call(&self.scripts.begin_step, &call).await?)
    }

    async fn end_step(
        &self,
        grant: &Grant,
        name: &str,
        end: &StepEnd,
    ) -> Result<Recorded, PortError> {
        let mut call = self.scripts.end_step.call();
        call.bytes(grant.key.as_bytes()).number(grant.fence.0).bytes(name.as_bytes());
        match end {
            StepEnd::Commit(value) => call.bytes(b"C").bytes(value),
            StepEnd::Abandon => call.bytes(b"A").bytes(b""),
        };
        match self.link.call(&self.scripts.end_step, &call).await? {
            Value::Int(1) => Ok(Recorded::Written),
            _ => Ok(Recorded::Lost),
        }
    }

    async fn renew(&self) -> Result<Renewed, PortError> {
        let before = self.session();
        let mut call = self.scripts.renew.call();
        call.number(before).number(self.lease_ms);
        let session = answers::number(&self.link.call(&self.scripts.renew, &call).await?)?;
        self.session.store(session, Ordering::Release);
        let held = before == session || before == 0;
        Ok(if held { Renewed::Held } else { Renewed::Lost(SessionNumber(before)) })
    }

    async fn get(&self, key: &LedgerKey) -> Result<Option<Record>, PortError> {
        let mut call = self.scripts.get.call();
        call.bytes(key.as_bytes());
        answers::record(&self.link.call(&self.scripts.get, &call).await?)
    }

    async fn purge(&self, keys: &[LedgerKey], steps: bool) -> Result<usize, PortError> {
        let mut gone = 0;
        for keys in keys.chunks(CALL_MAX) {
            let mut call = self.scripts.purge.call();
            call.bytes(flag(steps));
            for key in keys {
                call.bytes(key.as_bytes());
            }
            let answer = self.link.call(&self.scripts.purge, &call).await?;
            gone += usize::try_from(answers::number(&answer)?).unwrap_or(0);
        }
        Ok(gone)
    }

    async fn leave(&self) -> Result<(), PortError> {
        let mut call = self.scripts.leave.call();
        call.number(self.session());
        self.link.call(&self.scripts.leave, &call).await.map(drop)
    }
}

/// The arguments of `write.lua`.
fn encode_write(write: &LedgerWrite, settled: bool, mut add: impl FnMut(&[u8])) {
    let (change, attempt, delay) = match write.change {
        Change::End(End::Done) => (b'D', 0, Duration::ZERO),
        Change::End(End::Failed) => (b'F', 0, Duration::ZERO),
        Change::End(End::Parked) => (b'P', 0, Duration::ZERO),
        Change::Retry { attempt, delay } => (b'R', attempt, delay),
        Change::Release => (b'L', 0, Duration::ZERO),
        Change::Settle => (b'S', 0, Duration::ZERO),
    };
    let mut packed = [0; 18];
    let numbers = six_bytes(write.grant.fence.0).into_iter().chain([change, settled.into()]);
    let numbers = numbers.chain(attempt.to_be_bytes()).chain(six_bytes(milliseconds(delay)));
    packed.iter_mut().zip(numbers).for_each(|(byte, number)| *byte = number);
    add(write.grant.key.as_bytes());
    // Redis refuses a life of nothing.
    add(milliseconds(write.keep).max(1).to_string().as_bytes());
    add(&packed);
    add(write.verdict.as_deref().unwrap_or_default());
}

/// The lower six bytes of a number that is at most [`NUMBER_MAX`], as records keep it.
fn six_bytes(number: u64) -> [u8; 6] {
    let [_, _, bytes @ ..] = number.min(NUMBER_MAX).to_be_bytes();
    bytes
}

fn flag(set: bool) -> &'static [u8] {
    if set { b"1" } else { b"0" }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX).min(NUMBER_MAX)
}
