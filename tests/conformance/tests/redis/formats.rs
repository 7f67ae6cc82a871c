//! Results that no script can read: they keep the same promises.

use std::io::{self, Write};
use std::sync::Arc;

use async_trait::async_trait;
use lovage_celery::{Compression, ResultFormat, ResultSerializer};
use lovage_conformance::{BrokerRig, ResultRig};
use lovage_core::TaskId;
use lovage_core::ports::ResultBackend;
use lovage_stores::redis::{RedisResults, RedisResultsOptions};
use serde::Serialize as _;

use crate::rig::Rig;

/// The same server, with results in compressed MessagePack.
pub(crate) struct Compressed(Rig);

#[async_trait]
impl ResultRig for Compressed {
    async fn start() -> Self {
        Self(<Rig as BrokerRig>::start().await)
    }

    async fn backend(&self) -> Arc<dyn ResultBackend> {
        let mut options = RedisResultsOptions::new(self.0.address());
        options.format = ResultFormat {
            serializer: ResultSerializer::MessagePack,
            compression: Some(Compression::Zstd),
        };
        Arc::new(RedisResults::new(&options).unwrap())
    }

    async fn seen(&self, task: &TaskId) -> Option<(String, String)> {
        let document = self.backend().await.load(task).await.unwrap()?;
        let document = lovage_core::Json::parse(document).unwrap();
        let part = |name| document.as_part().member(name).unwrap();
        Some((part("status").as_text().unwrap().into_owned(), plain(part("result").as_str())))
    }
}

/// A value as the other backends keep it: what was MessagePack is read with every character escaped.
fn plain(text: &str) -> String {
    let value: serde_json::Value = serde_json::from_str(text).unwrap();
    let mut bytes = Vec::new();
    value.serialize(&mut serde_json::Serializer::with_formatter(&mut bytes, Spaced)).unwrap();
    String::from_utf8(bytes).unwrap()
}

/// A space behind each comma.
struct Spaced;

impl serde_json::ser::Formatter for Spaced {
    fn begin_array_value<W: Write + ?Sized>(&mut self, to: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { to.write_all(b", ") }
    }
}

lovage_conformance::result_suite!(Compressed);
