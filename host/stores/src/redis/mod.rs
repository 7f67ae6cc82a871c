//! Celery's Redis result backend.
//!
//! A result is a document under `celery-task-meta-<id>`, which goes after a while, and a message of
//! the same text on the channel of the same name, for callers that wait. A stored success is never
//! overwritten: looking and writing are one step, where Celery's own workers take two.
//!
//! [`RedisResults::part`] is the same as a share in the script of whoever settles in the same
//! database; see [`lovage_redis::ScriptPart`].

mod chords;
mod custody;
mod guarded;
mod ledger;
mod meter;
mod rates;
mod records;

use std::time::Duration;

use async_trait::async_trait;
use lovage_celery::{ResultFormat, result_document};
use lovage_core::ports::{PortError, ResultBackend};
use lovage_core::{Closing, ResultRecord, TaskId};
use lovage_redis::{
    Address, Arguments, Batch, Call, Cmd, Link, LinkOptions, Script, ScriptPart, Steps, Value,
    quote,
};

pub use chords::RedisChords;
pub use custody::{RedisCustody, RedisCustodyOptions};
pub use ledger::{Durability, RedisLedger, RedisLedgerOptions};
pub use meter::RedisMeter;
pub use rates::RedisRates;
pub use records::RedisRecords;

/// Bytes of documents after which a batch is sent in another call.
const CALL_BYTES: usize = 8 << 20;

/// Most documents in one call: a script runs to its end before anybody else's.
const CALL_MAX: usize = 500;

/// What [`RedisResults`] is told.
#[derive(Debug, Clone)]
pub struct RedisResultsOptions {
    /// The server and the database.
    pub address: Address,
    /// Celery's `result_expires`: how long a result is kept; `None` for ever. A day by default.
    pub expires: Option<Duration>,
    /// Celery's backend option `global_keyprefix`; an underscore is put behind it unless it ends in
    /// one of `: _ - .`. Empty by default.
    pub prefix: String,
    /// What values are written as. Anything but plain JSON is stored by looking first and writing on
    /// the condition that nothing has changed, since no script can read it: it cannot be a
    /// [part](RedisResults::part) of another. Plain by default.
    pub format: ResultFormat,
    /// Celery's `result_chord_ordered`: whether a chord's body gets its results in the members' order,
    /// or in the order in which they came. In their order by default.
    pub chord_ordered: bool,
    /// How long an answer may take. 10 s by default.
    pub patience: Duration,
}

impl RedisResultsOptions {
    /// Results in this database, everything else as by default.
    pub fn new(address: Address) -> Self {
        let (expires, patience) = (Some(Duration::from_hours(24)), Duration::from_secs(10));
        let (prefix, format) = Default::default();
        Self { address, expires, prefix, format, chord_ordered: true, patience }
    }
}

/// A result backend in Redis.
#[derive(Debug)]
pub struct RedisResults {
    link: Link,
    script: Script,
    /// Stands before a task's id.
    prefix: String,
    format: ResultFormat,
    guarded: guarded::Guarded,
}

impl RedisResults {
    /// A backend; it connects at the first call.
    ///
    /// # Errors
    /// When the address's certificates are of no use.
    pub fn new(options: &RedisResultsOptions) -> Result<Self, PortError> {
        let link = Link::new(&options.address, LinkOptions::new("results", options.patience))?;
        let script = format!("{}{EACH}", Steps::lua(&[Self::part(options)]));
        let script = Script::new("storing results", &script);
        let (prefix, format) = (prefix(options), options.format);
        let guarded = guarded::Guarded::new(&prefix, life(options), format);
        Ok(Self { link, script, prefix, format, guarded })
    }

    /// The same as a part of a script that settles. The script must run where `options` say.
    pub fn part(options: &RedisResultsOptions) -> ScriptPart {
        let encode_all = |closing: &Closing, arguments: &mut Arguments| {
            for record in &closing.results {
                encode(record, arguments);
            }
        };
        let preparation = format!("{}\n{}", constants(options), include_str!("results_common.lua"));
        ScriptPart::new(include_str!("results.lua"), encode_all).prepared(preparation)
    }

    async fn store_some(&self, call: &Call, count: usize) -> Vec<Result<(), PortError>> {
        let what = self.script.what();
        let error = match self.link.call(&self.script, call).await {
            Ok(Value::Array(values)) if values.len() == count => {
                return values.iter().map(|value| Steps::answer(what, value)).collect();
            }
            Ok(other) => PortError::permanent(what, format!("unexpected answer {other:?}")),
            Err(error) => error,
        };
        (0..count).map(|_| Err(again(&error))).collect()
    }
}

#[async_trait]
impl ResultBackend for RedisResults {
    async fn store(&self, batch: &[ResultRecord]) -> Vec<Result<(), PortError>> {
        if !self.format.is_plain() {
            return self.guarded.store(&self.link, batch).await;
        }
        let mut answers = Vec::with_capacity(batch.len());
        let mut arguments = Arguments::default();
        let mut records = batch.iter();
        loop {
            let mut call = self.script.call();
            let (mut count, mut size) = (0, 0);
            while count < CALL_MAX && size < CALL_BYTES {
                let Some(record) = records.next() else { break };
                arguments.clear();
                encode(record, &mut arguments);
                Batch::add_arguments(&mut call, &arguments);
                size += arguments.size();
                count += 1;
            }
            if count == 0 {
                return answers;
            }
            answers.extend(self.store_some(&call, count).await);
        }
    }

    async fn load(&self, task: &TaskId) -> Result<Option<String>, PortError> {
        let mut get = Cmd::new();
        get.arg("GET").arg(format!("{}{task}", self.prefix));
        match self.link.run("loading a result", &get).await? {
            Value::Nil => Ok(None),
            Value::BulkString(stored) => {
                self.format.decode(&stored).map(Some).map_err(|error| {
                    PortError::permanent("the stored result cannot be read", error)
                })
            }
            other => {
                let what = "the stored result is no text";
                Err(PortError::permanent(what, format!("unexpected answer {other:?}")))
            }
        }
    }
}

fn encode(record: &ResultRecord, arguments: &mut Arguments) {
    arguments.push(record.task_id.as_str().as_bytes());
    // Redis refuses a life of no seconds; less than one is one.
    let life = record.life.map(|life| life.as_secs().max(1).to_string());
    arguments.push(life.unwrap_or_default().as_bytes());
    arguments.push(result_document(record).as_bytes());
}

/// What stands before a task's id in its key.
fn prefix(options: &RedisResultsOptions) -> String {
    key_prefix(options, "celery-task-meta-")
}

/// What stands before an id in a key of this kind.
fn key_prefix(options: &RedisResultsOptions, kind: &str) -> String {
    let mut prefix = options.prefix.clone();
    if !prefix.is_empty() && !prefix.ends_with([':', '_', '-', '.']) {
        prefix.push('_');
    }
    prefix.push_str(kind);
    prefix
}

/// Seconds that a result is kept; Redis refuses a life of none, so less than one is one.
fn life(options: &RedisResultsOptions) -> Option<u64> {
    options.expires.filter(|life| !life.is_zero()).map(|life| life.as_secs().max(1))
}

/// The Lua of any number of results, each an id and a document.
fn constants(options: &RedisResultsOptions) -> String {
    format!(
        "local prefix, life = {}, {}",
        quote(prefix(options).as_bytes()),
        life(options).map_or_else(|| "nil".to_owned(), |seconds| format!("'{seconds}'")),
    )
}

fn again(error: &PortError) -> PortError {
    let what = error.to_string();
    if error.is_transient() {
        PortError::Transient { what, source: None }
    } else {
        PortError::Permanent { what, source: None }
    }
}

/// Runs the parts for each record.
const EACH: &str = "
local all, answers = closings(1), {}
for n = 1, #all do answers[n] = 1 end
run(all, answers)
return answers
";

#[cfg(test)]
mod tests {
    use super::{RedisResultsOptions, constants};
    use lovage_redis::{Address, AddressError};

    #[test]
    fn a_prefix_ends_in_a_separator() -> Result<(), AddressError> {
        for (prefix, key) in [
            ("", "\"celery-task-meta-\""),
            ("acme", "\"acme_celery-task-meta-\""),
            ("acme:", "\"acme:celery-task-meta-\""),
            ("acme.", "\"acme.celery-task-meta-\""),
        ] {
            let mut options = RedisResultsOptions::new(Address::parse("redis://host")?);
            prefix.clone_into(&mut options.prefix);
            assert_eq!(constants(&options), format!("local prefix, life = {key}, '86400'"));
            options.expires = None;
            assert_eq!(constants(&options), format!("local prefix, life = {key}, nil"));
        }
        Ok(())
    }
}
