//! Chords in Redis, in the keys and by the rules of Celery's own workers.

use async_trait::async_trait;
use lovage_celery::ResultFormat;
use lovage_core::ports::{Chords, PortError};
use lovage_core::{ChordMember, ChordMembers, Counted, TaskId};
use lovage_redis::{Call, Link, LinkOptions, Script, Value};

use super::{RedisResultsOptions, key_prefix};

/// How long the right to send a body is lent, in seconds: whoever dies over it is replaced then. Longer
/// than any stretch between two calls of [`hold`](Chords::hold).
const CLAIM_S: u32 = 6;

/// Counts the members of chords.
#[derive(Debug)]
pub struct RedisChords {
    link: Link,
    script: Script,
    prefix: String,
    life_s: u64,
    format: ResultFormat,
    ordered: bool,
}

impl RedisChords {
    /// Chords where these results are; it connects at the first call.
    ///
    /// # Errors
    /// When the address's certificates are of no use.
    pub fn new(options: &RedisResultsOptions) -> Result<Self, PortError> {
        let link = Link::new(&options.address, LinkOptions::new("chords", options.patience))?;
        let script = Script::new("counting a chord", include_str!("chords.lua"));
        let prefix = key_prefix(options, "celery-taskset-meta-");
        let life_s = options.expires.map_or(0, |life| life.as_secs());
        let (format, ordered) = (options.format, options.chord_ordered);
        Ok(Self { link, script, prefix, life_s, format, ordered })
    }

    fn call(&self, verb: &str, group: &TaskId) -> Call {
        let mut call = self.script.call();
        call.bytes(verb.as_bytes());
        call.bytes(format!("{}{group}", self.prefix).as_bytes());
        call.number(self.life_s);
        call
    }

    fn list(&self, value: Value) -> Result<Vec<String>, PortError> {
        let Value::Array(values) = value else { return Ok(Vec::new()) };
        values.into_iter().filter_map(|value| self.text(value).transpose()).collect()
    }

    /// What is stored as JSON again; `None` when nothing is.
    fn text(&self, value: Value) -> Result<Option<String>, PortError> {
        let Value::BulkString(bytes) = value else { return Ok(None) };
        let read = self.format.decode(&bytes);
        read.map(Some).map_err(|error| PortError::permanent("reading a chord's member", error))
    }
}

#[async_trait]
impl Chords for RedisChords {
    async fn start(&self, group: &TaskId, members: u64) -> Result<(), PortError> {
        let mut call = self.call("S", group);
        call.number(members);
        self.link.call(&self.script, &call).await.map(drop)
    }

    async fn join(&self, group: &TaskId, member: &TaskId) -> Result<(), PortError> {
        let mut call = self.call("J", group);
        call.bytes(member.as_str().as_bytes());
        self.link.call(&self.script, &call).await.map(drop)
    }

    async fn count(&self, member: &ChordMember) -> Result<Counted, PortError> {
        let token = uuid_like();
        let (mut call, place) = (self.call("C", &member.group), place(member.index));
        call.bytes(format!("{}:{place}", member.id).as_bytes());
        call.bytes(place.as_bytes());
        call.bytes(&self.format.entry(&member.id, &member.state));
        call.bytes(token.as_bytes());
        call.number(CLAIM_S);
        call.number(i128::from(self.ordered));
        match self.link.call(&self.script, &call).await? {
            Value::Int(0) => Ok(Counted::Known),
            Value::Int(_) => Ok(Counted::Contended),
            Value::Array(parts) => {
                let mut parts = parts.into_iter();
                let entries = parts.next().map(|entries| self.list(entries)).transpose()?;
                let saved = parts.next().map(|saved| self.text(saved)).transpose()?.flatten();
                let entries = entries.unwrap_or_default();
                Ok(Counted::Complete { token, members: ChordMembers { entries, saved } })
            }
            other => {
                let what = format!("unexpected answer {other:?}");
                Err(PortError::permanent("counting a chord", what))
            }
        }
    }

    async fn hold(&self, group: &TaskId, token: &str) -> Result<(), PortError> {
        let mut call = self.call("H", group);
        call.bytes(token.as_bytes());
        call.number(CLAIM_S);
        self.link.call(&self.script, &call).await.map(drop)
    }

    async fn end(&self, group: &TaskId, token: &str, failed: bool) -> Result<(), PortError> {
        let mut call = self.call("E", group);
        call.bytes(token.as_bytes());
        call.number(i128::from(failed));
        self.link.call(&self.script, &call).await.map(drop)
    }
}

/// A member's place as Celery scores it: without one it comes last.
fn place(index: Option<i64>) -> String {
    index.map_or_else(|| "+inf".into(), |index| index.to_string())
}

/// A name that nobody else has.
fn uuid_like() -> String {
    format!("{:032x}", fastrand::u128(..))
}
