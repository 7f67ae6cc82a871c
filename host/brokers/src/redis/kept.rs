//! What was kept, for people and for workers that have a new module.

use async_trait::async_trait;
use bytes::Bytes;
use lovage_core::ports::{KeptMessages, PortError};
use lovage_core::{KeptEntry, KeptFilter, KeptId, KeptPage};

use super::RedisBroker;

/// Messages that one script puts back.
const REPLAY_MAX: usize = 100;

/// Messages that one script deletes.
const PURGE_MAX: usize = 1_000;

#[async_trait]
impl KeptMessages for RedisBroker {
    async fn list(
        &self,
        filter: &KeptFilter,
        after: Option<&KeptId>,
        most: usize,
    ) -> Result<KeptPage, PortError> {
        self.inner.kept.list(&self.inner.outlet, filter, after, most).await
    }

    async fn count(&self) -> Result<u64, PortError> {
        self.inner.kept.count(&self.inner.outlet).await
    }

    async fn get(&self, id: &KeptId) -> Result<Option<(KeptEntry, Bytes)>, PortError> {
        self.inner.kept.get(&self.inner.outlet, id).await
    }

    async fn replay(&self, ids: &[KeptId]) -> Result<usize, PortError> {
        let script = &self.inner.scripts.replay;
        self.inner.kept.each(&self.inner.outlet, script, ids, REPLAY_MAX).await
    }

    async fn purge(&self, ids: &[KeptId]) -> Result<usize, PortError> {
        let script = &self.inner.scripts.purge;
        self.inner.kept.each(&self.inner.outlet, script, ids, PURGE_MAX).await
    }
}
