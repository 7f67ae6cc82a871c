//! Calls that were parked because nobody knew their task, once somebody does.
//!
//! A worker looks at all that is parked when it starts, whenever its modules change and whenever it joins
//! a queue, and every minute at what was parked since: while modules are rolled out, workers that do not
//! have one yet park its calls again.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use lovage_core::ports::{KeptMessages, PortError, Registry};
use lovage_core::{
    Kept, KeptFilter, KeptId, KeptKind, QueueName, QueueSource, TenantTable, UNKNOWN_TASK,
};
use tokio::time::Instant;
use tracing::{info, warn};

use crate::operations::Sources;

/// Between two looks.
const ROUND: Duration = Duration::from_mins(1);

/// Between two glances at whether a module or a queue came.
const GLANCE: Duration = Duration::from_secs(1);

/// Calls that go back to their queues together.
const BATCH_MAX: usize = 100;

/// After a batch: no more than a thousand calls a second come back, beside those that are new.
const BATCH_PAUSE: Duration = Duration::from_millis(100);

/// Puts parked calls of the queues that are taken from back as soon as the registry has their task.
/// Never returns: it runs beside a worker, and is dropped with it.
pub async fn unpark(
    kept: &dyn KeptMessages,
    registry: &dyn Registry,
    tenants: &TenantTable,
    sources: &Sources,
) -> Infallible {
    let mut looked_at = None;
    let (mut taken, mut generation) = (sources.now(), registry.generation());
    loop {
        let queues = taken.iter().map(|source| source.queue.clone()).collect();
        match look(kept, &is_known(registry, tenants), &queues, &mut looked_at).await {
            Ok(0) => {}
            Ok(calls) => info!(calls, "Put parked calls back whose tasks are known now"),
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                warn!(error, "Cannot look for parked calls; trying again in a minute");
            }
        }
        let end = Instant::now() + ROUND;
        let is_same = |taken: &Arc<[QueueSource]>, generation| {
            Arc::ptr_eq(&sources.now(), taken) && registry.generation() == generation
        };
        while is_same(&taken, generation) && Instant::now() < end {
            tokio::time::sleep(GLANCE).await;
        }
        if !is_same(&taken, generation) {
            // Somebody may know now what nobody knew: look at all again.
            looked_at = None;
            (taken, generation) = (sources.now(), registry.generation());
        }
    }
}

/// Whether the owner of a call's queue has a module for it.
fn is_known(registry: &dyn Registry, tenants: &TenantTable) -> impl Fn(&Kept) -> bool + Sync {
    |kept| {
        let call = kept.task_id.clone().unwrap_or_else(|| "".into());
        let owner = tenants.owner(&kept.queue);
        let resolved = |task| registry.resolve(&owner.id, task, &call);
        kept.task.as_ref().and_then(resolved).is_some()
    }
}

/// Looks at everything behind `last`; how many calls went back. What an error ends is looked at again.
async fn look(
    kept: &dyn KeptMessages,
    is_known: &(dyn Fn(&Kept) -> bool + Sync),
    queues: &BTreeSet<QueueName>,
    last: &mut Option<KeptId>,
) -> Result<usize, PortError> {
    let filter = KeptFilter {
        kind: Some(KeptKind::Parked),
        reason: Some(UNKNOWN_TASK.into()),
        ..KeptFilter::default()
    };
    let mut count = 0;
    loop {
        let page = kept.list(&filter, last.as_ref(), BATCH_MAX).await?;
        let ids: Vec<_> = page
            .entries
            .into_iter()
            .filter(|entry| queues.contains(&entry.kept.queue))
            .filter(|entry| is_known(&entry.kept))
            .map(|entry| entry.id)
            .collect();
        if !ids.is_empty() {
            count += kept.replay(&ids).await?;
            tokio::time::sleep(BATCH_PAUSE).await;
        }
        *last = page.last;
        if !page.more {
            return Ok(count);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::Mutex;

    use async_trait::async_trait;
    use bytes::Bytes;
    use lovage_core::ports::{KeptMessages, PortError};
    use lovage_core::{
        Digest, Kept, KeptEntry, KeptFilter, KeptId, KeptKind, KeptPage, Manifest, Module,
        QueueSource, TenantTable, Timestamp,
    };

    use super::{is_known, look, unpark};
    use crate::{Modules, Sources};

    /// Kept messages in memory, told two at a time; numbered from 1.
    #[derive(Default)]
    struct Memory {
        kept: Mutex<Vec<Kept>>,
        replayed: Mutex<Vec<String>>,
        broken: Mutex<bool>,
    }

    #[async_trait]
    impl KeptMessages for Memory {
        async fn list(
            &self,
            filter: &KeptFilter,
            after: Option<&KeptId>,
            _most: usize,
        ) -> Result<KeptPage, PortError> {
            let kept = self.kept.lock().unwrap();
            let from: usize = after.map_or(0, |id| id.0.parse().unwrap());
            let to = kept.len().min(from + 2);
            let entry = |number: usize| KeptEntry {
                id: KeptId((number + 1).to_string()),
                kept: kept[number].clone(),
                message_bytes: 0,
            };
            let mut entries: Vec<_> = (from..to).map(entry).collect();
            entries.retain(|entry| filter.matches(&entry.kept));
            Ok(KeptPage { entries, last: Some(KeptId(to.to_string())), more: to < kept.len() })
        }

        async fn get(&self, _: &KeptId) -> Result<Option<(KeptEntry, Bytes)>, PortError> {
            Ok(None)
        }

        async fn replay(&self, ids: &[KeptId]) -> Result<usize, PortError> {
            if std::mem::take(&mut *self.broken.lock().unwrap()) {
                return Err(PortError::transient("replaying", "gone"));
            }
            self.replayed.lock().unwrap().extend(ids.iter().map(|id| id.0.clone()));
            Ok(ids.len())
        }

        async fn purge(&self, _: &[KeptId]) -> Result<usize, PortError> {
            Ok(0)
        }
    }

    impl Memory {
        fn keep(&self, kind: KeptKind, reason: &str, task: &str, queue: &str) {
            let at = Timestamp::from_micros(0);
            let mut kept = Kept::unread(kind, reason, String::new(), queue.into(), at);
            kept.task = Some(task.into());
            self.kept.lock().unwrap().push(kept);
        }
    }

    fn modules() -> Modules {
        let modules = Modules::default();
        let manifest = Manifest::parse(r#"{"v":1,"module":"m","tasks":[{"name":"new"}]}"#).unwrap();
        let digest = Digest::from_bytes([1; 32]);
        modules.add(&Arc::new(Module { digest, manifest, compiled: "/no".into() })).unwrap();
        modules
    }

    #[tokio::test(start_paused = true)]
    async fn only_calls_of_known_tasks_and_own_queues_come_back_and_each_once() {
        let (kept, modules) = (Memory::default(), modules());
        for (kind, reason, task, queue) in [
            (KeptKind::Parked, "unknown-task", "new", "q"),
            (KeptKind::Parked, "unknown-task", "other", "q"),
            (KeptKind::Parked, "unknown-task", "new", "not ours"),
            (KeptKind::Parked, "crash-loop", "new", "q"),
            (KeptKind::Dead, "unknown-task", "new", "q"),
            (KeptKind::Parked, "unknown-task", "new", "q"),
        ] {
            kept.keep(kind, reason, task, queue);
        }
        let mut last = None;
        let tenants = TenantTable::default();
        let known = is_known(&modules, &tenants);
        let mut round =
            async || look(&kept, &known, &["q".into()].into(), &mut last).await.unwrap();
        assert_eq!((round().await, round().await), (2, 0));
        kept.keep(KeptKind::Parked, "unknown-task", "new", "q");
        assert_eq!(round().await, 1);
        assert_eq!(*kept.replayed.lock().unwrap(), ["1", "6", "7"]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_an_error_ended_is_tried_again_a_minute_later() {
        let (kept, modules) = (Memory::default(), modules());
        kept.keep(KeptKind::Parked, "unknown-task", "new", "q");
        *kept.broken.lock().unwrap() = true;
        let (tenants, sources) = (TenantTable::default(), Sources::new(["q".into()]));
        let running = unpark(&kept, &modules, &tenants, &sources);
        let time = std::time::Duration::from_secs(61);
        tokio::time::timeout(time, running).await.unwrap_err();
        assert_eq!(*kept.replayed.lock().unwrap(), ["1"]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_parked_of_a_queue_comes_back_when_the_queue_is_joined() {
        let (kept, modules) = (Memory::default(), modules());
        kept.keep(KeptKind::Parked, "unknown-task", "new", "later");
        let (tenants, sources) = (TenantTable::default(), Sources::new(["q".into()]));
        let joining = async {
            let second = std::time::Duration::from_secs(1);
            // because nothing is to happen until then, by a clock that is not the world's
            tokio::time::sleep(second * 3).await;
            assert!(kept.replayed.lock().unwrap().is_empty());
            let later = QueueSource::named("later".into());
            sources.join(&crate::samples::Nowhere, vec![later]).await.unwrap();
            // because a glance is a second away
            tokio::time::sleep(second * 2).await;
        };
        tokio::select! {
            never = unpark(&kept, &modules, &tenants, &sources) => match never {},
            () = joining => {}
        }
        assert_eq!(*kept.replayed.lock().unwrap(), ["1"]);
    }
}
