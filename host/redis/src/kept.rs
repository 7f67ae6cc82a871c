//! A stream of kept messages, read a part at a time.

use bytes::Bytes;
use lovage_core::ports::PortError;
use lovage_core::{KEPT_LOOK_MAX, KeptEntry, KeptFilter, KeptId, KeptPage, KeptPager, read_kept};
use redis::{Cmd, Value};

use crate::{Call, Link, Script, Steps, quote};

/// A stream whose entries are a `record`, the `message` as it came, and what else its owner writes.
///
/// It is written by its owner's scripts, in the step that takes a message off its queue, and read here.
#[derive(Debug)]
pub struct KeptStream {
    key: String,
    read: Script,
}

impl KeptStream {
    /// The stream under this key.
    pub fn new(key: String) -> Self {
        let text = format!("local kept = {}\n{}", quote(key.as_bytes()), include_str!("kept.lua"));
        Self { key, read: Script::new("reading what is kept", &text) }
    }

    /// What [`KeptMessages::list`](lovage_core::ports::KeptMessages::list) promises.
    ///
    /// # Errors
    /// When the server cannot be reached.
    pub async fn list(
        &self,
        link: &Link,
        filter: &KeptFilter,
        after: Option<&KeptId>,
        most: usize,
    ) -> Result<KeptPage, PortError> {
        let from = after.map_or_else(|| "-".to_owned(), |id| format!("({}", id.0));
        let look = KEPT_LOOK_MAX.min(most.max(1) * 4);
        let mut call = self.read.call();
        call.bytes(from.as_bytes()).bytes(b"+").number(look as u64);
        let mut values = self.ask(link, &call).await?.into_iter();
        let mut page = KeptPager::new(filter, after.cloned(), most, look);
        while let (Some(Value::BulkString(id)), Some(record), Some(size)) =
            (values.next(), values.next(), values.next())
        {
            let id = KeptId(String::from_utf8_lossy(&id).into_owned());
            let kept = read_kept(bytes_of(&record));
            if !page.see(KeptEntry { id, kept, message_bytes: counted(&size) as u64 }) {
                break;
            }
        }
        Ok(page.end())
    }

    /// What [`KeptMessages::get`](lovage_core::ports::KeptMessages::get) promises.
    ///
    /// # Errors
    /// When the server cannot be reached.
    pub async fn get(
        &self,
        link: &Link,
        id: &KeptId,
    ) -> Result<Option<(KeptEntry, Bytes)>, PortError> {
        if !is_name(id) {
            return Ok(None);
        }
        let mut call = self.read.call();
        call.bytes(id.0.as_bytes()).bytes(id.0.as_bytes()).number(1u64).bytes(b"1");
        let mut values = self.ask(link, &call).await?.into_iter();
        let (_, Some(record), Some(Value::BulkString(message))) =
            (values.next(), values.next(), values.next())
        else {
            return Ok(None);
        };
        let (kept, message_bytes) = (read_kept(bytes_of(&record)), message.len() as u64);
        Ok(Some((KeptEntry { id: id.clone(), kept, message_bytes }, message.into())))
    }

    /// How many messages it has.
    ///
    /// # Errors
    /// When the server cannot be reached, or something else is under its key.
    pub async fn count(&self, link: &Link) -> Result<u64, PortError> {
        let mut count = Cmd::new();
        count.arg("XLEN").arg(&self.key);
        match link.run("counting what is kept", &count).await? {
            Value::Int(count) => Ok(u64::try_from(count).unwrap_or(0)),
            other => Err(unexpected("counting what is kept", &other)),
        }
    }

    /// Has a script of the owner's do something to each of these, `most` in one call: it runs to its end
    /// before anybody else's. Returns how many the script says there were.
    ///
    /// # Errors
    /// When the server cannot be reached, or the script fails; it may have come some way.
    pub async fn each(
        &self,
        link: &Link,
        script: &Script,
        ids: &[KeptId],
        most: usize,
    ) -> Result<usize, PortError> {
        let mut count = 0;
        let ids: Vec<_> = ids.iter().filter(|id| is_name(id)).collect();
        for some in ids.chunks(most) {
            let mut call = script.call();
            for id in some {
                call.bytes(id.0.as_bytes());
            }
            let answer = link.call(script, &call).await?;
            Steps::answer(script.what(), &answer)?;
            count += counted(&answer);
        }
        Ok(count)
    }

    async fn ask(&self, link: &Link, call: &Call) -> Result<Vec<Value>, PortError> {
        match link.call(&self.read, call).await? {
            Value::Array(values) => Ok(values),
            other => Err(unexpected(self.read.what(), &other)),
        }
    }
}

fn unexpected(what: &str, answer: &Value) -> PortError {
    PortError::permanent(what, format!("unexpected answer {answer:?}"))
}

fn bytes_of(value: &Value) -> &[u8] {
    if let Value::BulkString(bytes) = value { bytes } else { &[] }
}

/// Whether this can be an entry of a stream; nothing else is ever there.
fn is_name(id: &KeptId) -> bool {
    let is_number = |part: &str| part.parse::<u64>().is_ok();
    id.0.split_once('-').is_some_and(|(time, number)| is_number(time) && is_number(number))
}

fn counted(answer: &Value) -> usize {
    match answer {
        Value::Int(count) => usize::try_from(*count).unwrap_or(0),
        _ => 0,
    }
}
