//! What a broker hands over, in Redis.
//!
//! | key | type | what |
//! |---|---|---|
//! | `lovage:custody:due` | sorted set | names of what waits, by the moment in which it is due |
//! | `lovage:custody:waiting` | hash | name → `<length of the exchange> <length of the key> exchange key message` |
//! | `lovage:custody:kept` | stream | kept messages: `record`, `message`, `queue`, `digest` |
//! | `lovage:custody:digests` | hash | digest → the kept message that has it |
//! | `lovage:custody:queues` | sorted set | names of queues that there were, all of the same score |
//!
//! Moments are by the server's clock.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use lovage_core::ports::{Custody, KeptMessages, PortError};
use lovage_core::{
    Due, Keeping, KeptEntry, KeptFilter, KeptId, KeptPage, QueueName, Timestamp, Waiting,
};
use lovage_redis::{
    Address, Call, Cmd, KeptStream, Link, LinkOptions, Script, Steps, Value, quote,
};

/// Messages in one call: a script runs to its end before anybody else's.
const CALL_MAX: usize = 200;

/// Most kept messages; the oldest goes first.
const KEPT_MAX: u64 = 100_000;

/// How long a message is kept.
const KEPT_FOR: Duration = Duration::from_hours(14 * 24);

/// What [`RedisCustody`] is told.
#[derive(Debug, Clone)]
pub struct RedisCustodyOptions {
    /// The server and the database.
    pub address: Address,
    /// Put before every key. Empty by default.
    pub prefix: String,
    /// How long an answer may take. 10 s by default.
    pub patience: Duration,
}

impl RedisCustodyOptions {
    /// In this database, everything else as by default.
    pub fn new(address: Address) -> Self {
        Self { address, prefix: String::new(), patience: Duration::from_secs(10) }
    }
}

/// Custody in Redis.
#[derive(Debug)]
pub struct RedisCustody {
    link: Link,
    put_off: Script,
    keep: Script,
    due: Script,
    forget: Script,
    kept: KeptStream,
    replay: Script,
    purge: Script,
    queues: String,
}

impl RedisCustody {
    /// A custody; it connects at the first call.
    ///
    /// # Errors
    /// When the address's certificates are of no use.
    pub fn new(options: &RedisCustodyOptions) -> Result<Self, PortError> {
        let link = Link::new(&options.address, LinkOptions::new("custody", options.patience))?;
        let prefix = quote(options.prefix.as_bytes());
        let common = include_str!("custody/common.lua");
        let script =
            |what, body: &str| Script::new(what, &format!("local P = {prefix}\n{common}{body}"));
        Ok(Self {
            link,
            put_off: script("putting messages off", include_str!("custody/put_off.lua")),
            keep: script("keeping messages", include_str!("custody/keep.lua")),
            due: script("lending what is due", include_str!("custody/due.lua")),
            forget: script("forgetting what waited", include_str!("custody/forget.lua")),
            kept: KeptStream::new(format!("{}lovage:custody:kept", options.prefix)),
            replay: script("replaying kept messages", include_str!("custody/replay.lua")),
            purge: script("purging kept messages", include_str!("custody/purge.lua")),
            queues: format!("{}lovage:custody:queues", options.prefix),
        })
    }

    async fn ask(&self, script: &Script, call: &Call) -> Result<Vec<Value>, PortError> {
        match self.link.call(script, call).await? {
            Value::Array(values) => Ok(values),
            other => {
                Err(PortError::permanent(script.what(), format!("unexpected answer {other:?}")))
            }
        }
    }

    async fn tell(&self, script: &Script, call: &Call) -> Result<(), PortError> {
        Steps::answer(script.what(), &self.link.call(script, call).await?)?;
        Ok(())
    }
}

#[async_trait]
impl Custody for RedisCustody {
    async fn put_off(&self, batch: &[Waiting]) -> Result<(), PortError> {
        for some in batch.chunks(CALL_MAX) {
            let mut call = self.put_off.call();
            for waiting in some {
                call.number(milliseconds(waiting.due)).bytes(waiting.name.as_bytes());
                call.bytes(&packed(waiting));
            }
            self.tell(&self.put_off, &call).await?;
        }
        Ok(())
    }

    async fn keep(&self, batch: &[Keeping]) -> Result<(), PortError> {
        for some in batch.chunks(CALL_MAX) {
            let mut call = self.keep.call();
            call.number(KEPT_MAX).number(length(KEPT_FOR));
            for Keeping { digest, maybe_again, queue, message, kept } in some {
                let record = serde_json::to_vec(kept)
                    .map_err(|error| PortError::permanent(self.keep.what(), error))?;
                call.bytes(digest).bytes(if *maybe_again { b"1" } else { b"0" });
                call.bytes(queue.as_str().as_bytes()).bytes(&record).bytes(message);
            }
            self.tell(&self.keep, &call).await?;
        }
        Ok(())
    }

    async fn due(&self, most: usize, loan: Duration) -> Result<Due, PortError> {
        let mut call = self.due.call();
        call.number(most.min(CALL_MAX) as u64).number(length(loan));
        let mut values = self.ask(&self.due, &call).await?.into_iter();
        let next = match values.next() {
            Some(Value::Int(next)) => u64::try_from(next).ok().map(Duration::from_millis),
            _ => None,
        };
        let mut messages = Vec::new();
        while let (Some(Value::BulkString(name)), Some(Value::Int(due)), Some(entry)) =
            (values.next(), values.next(), values.next())
        {
            let name = String::from_utf8_lossy(&name).into_owned();
            let due = Timestamp::from_micros(due.saturating_mul(1_000));
            if let Value::BulkString(entry) = entry
                && let Some(waiting) = unpacked(name, due, &entry)
            {
                messages.push(waiting);
            }
        }
        Ok(Due { messages, next })
    }

    async fn forget(&self, names: &[String]) -> Result<(), PortError> {
        for some in names.chunks(CALL_MAX) {
            let mut call = self.forget.call();
            for name in some {
                call.bytes(name.as_bytes());
            }
            self.tell(&self.forget, &call).await?;
        }
        Ok(())
    }

    async fn remember(&self, queues: &[QueueName]) -> Result<(), PortError> {
        for some in queues.chunks(CALL_MAX) {
            let mut add = Cmd::new();
            add.arg("ZADD").arg(&self.queues).arg("NX");
            for queue in some {
                add.arg(0).arg(queue.as_str());
            }
            self.link.run("remembering queues", &add).await?;
        }
        Ok(())
    }

    async fn remembered(&self, most: usize) -> Result<Vec<QueueName>, PortError> {
        let mut range = Cmd::new();
        range.arg("ZRANGE").arg(&self.queues).arg(0).arg(most.saturating_sub(1));
        let what = "reading which queues there were";
        let Value::Array(names) = self.link.run(what, &range).await? else {
            return Err(PortError::permanent(what, "the answer is no list"));
        };
        let name = |value| match value {
            Value::BulkString(name) => Some(QueueName::from(&*String::from_utf8_lossy(&name))),
            _ => None,
        };
        Ok(names.into_iter().filter_map(name).collect())
    }
}

#[async_trait]
impl KeptMessages for RedisCustody {
    async fn list(
        &self,
        filter: &KeptFilter,
        after: Option<&KeptId>,
        most: usize,
    ) -> Result<KeptPage, PortError> {
        self.kept.list(&self.link, filter, after, most).await
    }

    async fn get(&self, id: &KeptId) -> Result<Option<(KeptEntry, Bytes)>, PortError> {
        self.kept.get(&self.link, id).await
    }

    async fn replay(&self, ids: &[KeptId]) -> Result<usize, PortError> {
        self.kept.each(&self.link, &self.replay, ids, CALL_MAX).await
    }

    async fn count(&self) -> Result<u64, PortError> {
        self.kept.count(&self.link).await
    }

    async fn purge(&self, ids: &[KeptId]) -> Result<usize, PortError> {
        self.kept.each(&self.link, &self.purge, ids, CALL_MAX).await
    }
}

/// Rounded up, so that nothing comes early.
fn milliseconds(at: Timestamp) -> u64 {
    let micros = u64::try_from(at.as_micros()).unwrap_or(0);
    micros.div_ceil(1_000)
}

/// A duration in milliseconds.
fn length(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX >> 12)
}

fn packed(waiting: &Waiting) -> Vec<u8> {
    let Waiting { exchange, routing_key, message, .. } = waiting;
    let mut bytes = format!("{} {} ", exchange.len(), routing_key.len()).into_bytes();
    bytes.extend_from_slice(exchange.as_bytes());
    bytes.extend_from_slice(routing_key.as_bytes());
    bytes.extend_from_slice(message);
    bytes
}

fn unpacked(name: String, due: Timestamp, entry: &[u8]) -> Option<Waiting> {
    let number = |bytes: &[u8]| std::str::from_utf8(bytes).ok()?.parse::<usize>().ok();
    let mut parts = entry.splitn(3, |byte| *byte == b' ');
    let (exchange, key) = (number(parts.next()?)?, number(parts.next()?)?);
    let (exchange, rest) = parts.next()?.split_at_checked(exchange)?;
    let (key, message) = rest.split_at_checked(key)?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Some(Waiting {
        name,
        exchange: text(exchange),
        routing_key: text(key),
        due,
        message: Bytes::copy_from_slice(message),
    })
}

#[cfg(test)]
mod tests {
    use lovage_core::{Timestamp, Waiting};

    use super::{packed, unpacked};

    #[test]
    fn an_entry_is_unpacked_as_it_was_packed() {
        let waiting = Waiting {
            name: "n".to_owned(),
            exchange: "an exchange".to_owned(),
            routing_key: "a key 3 4".to_owned(),
            due: Timestamp::from_micros(5_000),
            message: (&b"\x00 1 2 \xff"[..]).into(),
        };
        assert_eq!(unpacked("n".to_owned(), waiting.due, &packed(&waiting)), Some(waiting));
        for broken in [&b""[..], b"1", b"1 2 a", b"x 1 ab"] {
            assert_eq!(unpacked("n".to_owned(), Timestamp::from_micros(0), broken), None);
        }
    }
}
