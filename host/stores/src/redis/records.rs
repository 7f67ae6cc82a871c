//! Ledger and results in one database, written together.
//!
//! Beside a broker that is somewhere else, a call that is over is recorded, told and settled in three
//! steps. Where the first two are in one database they are one script; and where nothing else leaves,
//! that is all three of them.

use async_trait::async_trait;
use lovage_core::ports::{PortError, Records};
use lovage_core::{Closing, Recorded};
use lovage_redis::{Batch, Call, Link, LinkOptions, Script, ScriptPart, Steps, Value};

use super::{
    CALL_BYTES, CALL_MAX, EACH, RedisLedger, RedisLedgerOptions, RedisResults, RedisResultsOptions,
    again,
};

/// A ledger and a result backend in one database of a Redis.
#[derive(Debug)]
pub struct RedisRecords {
    link: Link,
    script: Script,
    parts: [ScriptPart; 2],
}

impl RedisRecords {
    /// Writes both; it connects at the first call. They must be in the same database.
    ///
    /// # Errors
    /// When the address's certificates are of no use.
    pub fn new(
        ledger: &RedisLedgerOptions,
        results: &RedisResultsOptions,
    ) -> Result<Self, PortError> {
        let ledger_part = RedisLedger::part_with(ledger, Closing::ends_with_its_results);
        let parts = [ledger_part, RedisResults::part(results)];
        let script = Script::new("recording results", &format!("{}{EACH}", Steps::lua(&parts)));
        let link = Link::new(&ledger.address, LinkOptions::new("records", ledger.patience))?;
        Ok(Self { link, script, parts })
    }

    async fn record_some(&self, call: &Call, count: usize) -> Vec<Result<Recorded, PortError>> {
        let what = self.script.what();
        let error = match self.link.call(&self.script, call).await {
            Ok(Value::Array(values)) if values.len() == count => {
                return values.iter().map(|value| recorded(what, value)).collect();
            }
            Ok(other) => PortError::permanent(what, format!("unexpected answer {other:?}")),
            Err(error) => error,
        };
        (0..count).map(|_| Err(again(&error))).collect()
    }
}

#[async_trait]
impl Records for RedisRecords {
    async fn record(&self, batch: &[Closing]) -> Vec<Result<Recorded, PortError>> {
        let mut answers = Vec::with_capacity(batch.len());
        let mut adding = Batch::default();
        let mut rest = batch.iter().peekable();
        while rest.peek().is_some() {
            let mut call = self.script.call();
            let (mut count, mut size) = (0, 0);
            while count < CALL_MAX && size < CALL_BYTES {
                let Some(closing) = rest.next() else { break };
                size += adding.add(&mut call, b"", &self.parts, closing);
                count += 1;
            }
            answers.extend(self.record_some(&call, count).await);
        }
        answers
    }
}

/// The answer to one closing.
fn recorded(what: &str, value: &Value) -> Result<Recorded, PortError> {
    match value {
        Value::Int(0) => Ok(Recorded::Lost),
        other => Steps::answer(what, other).map(|()| Recorded::Written),
    }
}
