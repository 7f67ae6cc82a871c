//! What was kept: a stream, read a part at a time.

use async_trait::async_trait;
use bytes::Bytes;
use lovage_core::ports::{KeptMessages, PortError};
use lovage_core::{
    KEPT_LOOK_MAX, Kept, KeptEntry, KeptFilter, KeptId, KeptPage, KeptPager, read_kept,
};
use lovage_redis::{Call, Cmd, Script, Steps, Value};

use super::RedisBroker;

/// Messages that one script puts back: it runs to its end before anybody else's.
const REPLAY_MAX: usize = 100;

/// Messages that one command deletes.
const PURGE_MAX: usize = 1_000;

#[async_trait]
impl KeptMessages for RedisBroker {
    async fn list(
        &self,
        filter: &KeptFilter,
        after: Option<&KeptId>,
        most: usize,
    ) -> Result<KeptPage, PortError> {
        let script = &self.inner.scripts.kept;
        let from = after.map_or_else(|| "-".to_owned(), |id| format!("({}", id.0));
        let look = KEPT_LOOK_MAX.min(most.max(1) * 4);
        let mut call = script.call();
        call.bytes(from.as_bytes()).bytes(b"+").number(look as u64);
        let mut values = self.ask(script, &call).await?.into_iter();
        let mut page = KeptPager::new(filter, after.cloned(), most, look);
        while let (Some(Value::BulkString(id)), Some(record), Some(size)) =
            (values.next(), values.next(), values.next())
        {
            let message_bytes = match size {
                Value::Int(size) => u64::try_from(size).unwrap_or(0),
                _ => 0,
            };
            if !page.see(KeptEntry { id: name(&id), kept: record_of(&record), message_bytes }) {
                break;
            }
        }
        Ok(page.end())
    }

    async fn count(&self) -> Result<u64, PortError> {
        let mut count = Cmd::new();
        count.arg("XLEN").arg(format!("{}lovage:kept", self.inner.keys.prefix));
        let what = "counting what is kept";
        match self.inner.outlet.run(what, &count).await? {
            Value::Int(count) => Ok(u64::try_from(count).unwrap_or(0)),
            other => Err(PortError::permanent(what, format!("unexpected answer {other:?}"))),
        }
    }

    async fn get(&self, id: &KeptId) -> Result<Option<(KeptEntry, Bytes)>, PortError> {
        if !is_name(id) {
            return Ok(None);
        }
        let script = &self.inner.scripts.kept;
        let mut call = script.call();
        call.bytes(id.0.as_bytes()).bytes(id.0.as_bytes()).number(1u64).bytes(b"1");
        let mut values = self.ask(script, &call).await?.into_iter();
        let (_, Some(record), Some(Value::BulkString(message))) =
            (values.next(), values.next(), values.next())
        else {
            return Ok(None);
        };
        let (kept, message_bytes) = (record_of(&record), message.len() as u64);
        Ok(Some((KeptEntry { id: id.clone(), kept, message_bytes }, message.into())))
    }

    async fn replay(&self, ids: &[KeptId]) -> Result<usize, PortError> {
        let script = &self.inner.scripts.replay;
        let mut count = 0;
        for some in names(ids).chunks(REPLAY_MAX) {
            let mut call = script.call();
            for id in some {
                call.bytes(id.0.as_bytes());
            }
            let answer = self.inner.outlet.call(script, &call).await?;
            Steps::answer(script.what(), &answer)?;
            count += counted(&answer);
        }
        Ok(count)
    }

    async fn purge(&self, ids: &[KeptId]) -> Result<usize, PortError> {
        let mut count = 0;
        for some in names(ids).chunks(PURGE_MAX) {
            let mut command = Cmd::new();
            command.arg("XDEL").arg(format!("{}lovage:kept", self.inner.keys.prefix));
            for id in some {
                command.arg(&id.0);
            }
            count += counted(&self.inner.outlet.run("purging", &command).await?);
        }
        Ok(count)
    }
}

impl RedisBroker {
    async fn ask(&self, script: &Script, call: &Call) -> Result<Vec<Value>, PortError> {
        match self.inner.outlet.call(script, call).await? {
            Value::Array(values) => Ok(values),
            other => {
                Err(PortError::permanent(script.what(), format!("unexpected answer {other:?}")))
            }
        }
    }
}

fn record_of(value: &Value) -> Kept {
    read_kept(if let Value::BulkString(record) = value { record } else { &[] })
}

fn name(id: &[u8]) -> KeptId {
    KeptId(String::from_utf8_lossy(id).into_owned())
}

/// Those that can be an entry of a stream; no other is ever there.
fn names(ids: &[KeptId]) -> Vec<&KeptId> {
    ids.iter().filter(|id| is_name(id)).collect()
}

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
