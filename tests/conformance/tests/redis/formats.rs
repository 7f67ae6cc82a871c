//! Results that no script can read: they keep the same promises.

use std::sync::Arc;

use async_trait::async_trait;
use lovage_celery::{Compression, ResultFormat, ResultSerializer};
use lovage_conformance::{BrokerRig, ResultRig};
use lovage_core::TaskId;
use lovage_core::ports::ResultBackend;
use lovage_stores::redis::{RedisResults, RedisResultsOptions};

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
        Some((part("status").as_text().unwrap().into_owned(), part("result").as_str().into()))
    }
}

lovage_conformance::result_suite!(Compressed);
