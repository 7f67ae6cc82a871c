//! Results in a form that no script can read: compressed, or in another serializer than JSON.
//!
//! Celery looks at what is stored and then writes. Here the writing is refused when somebody else has
//! written in between, and it is looked again: so a success stays final, as it does in plain JSON.

use lovage_celery::ResultFormat;
use lovage_core::ResultRecord;
use lovage_core::ports::PortError;
use lovage_redis::{Cmd, Link, Script, Value};

/// How often it is looked again at a result that others keep changing.
const ROUNDS_MAX: usize = 100;

/// Stores results by looking first.
#[derive(Debug)]
pub(super) struct Guarded {
    script: Script,
    prefix: String,
    life_s: u64,
    format: ResultFormat,
}

impl Guarded {
    pub(super) fn new(prefix: &str, life: Option<u64>, format: ResultFormat) -> Self {
        let script = Script::new("storing a result", include_str!("guarded.lua"));
        Self { script, prefix: prefix.to_owned(), life_s: life.unwrap_or(0), format }
    }

    /// One after the other: a later record of the same task counts.
    pub(super) async fn store(
        &self,
        link: &Link,
        batch: &[ResultRecord],
    ) -> Vec<Result<(), PortError>> {
        let mut answers = Vec::with_capacity(batch.len());
        for record in batch {
            answers.push(self.store_one(link, record).await);
        }
        answers
    }

    async fn store_one(&self, link: &Link, record: &ResultRecord) -> Result<(), PortError> {
        let key = format!("{}{}", self.prefix, record.task_id);
        let document = self.format.document(record);
        let life_s = record.life.map_or(self.life_s, |life| life.as_secs().max(1));
        for _ in 0..ROUNDS_MAX {
            let mut get = Cmd::new();
            get.arg("GET").arg(&key);
            let stored = match link.run("looking at a result", &get).await? {
                Value::BulkString(stored) => stored,
                _ => Vec::new(),
            };
            if self.is_success(&stored) {
                return Ok(());
            }
            let mut call = self.script.call();
            call.bytes(key.as_bytes()).bytes(&document).bytes(&stored).number(life_s);
            if let Value::Int(1) = link.call(&self.script, &call).await? {
                return Ok(());
            }
        }
        let what = format!("the result of {} is changed all the time", record.task_id);
        Err(PortError::transient("storing a result", what))
    }

    fn is_success(&self, stored: &[u8]) -> bool {
        let Ok(text) = self.format.decode(stored) else { return false };
        let document = lovage_core::JsonPart::parse(&text);
        let status = document.ok().and_then(|it| it.member("status")?.as_text());
        status.as_deref() == Some("SUCCESS")
    }
}
