//! Which queues there are: RabbitMQ does not tell by its protocol.

use std::collections::{BTreeSet, HashSet};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use lovage_core::QueueName;
use lovage_core::ports::PortError;
use tracing::warn;

use super::broker::{AmqpBroker, Inner};

/// Between two looks at what there is.
const LOOK: Duration = Duration::from_secs(5);

/// Queues that are known at most, and that one process has the store remember at most.
const KNOWN_MAX: usize = 10_000;

/// Somebody who can tell which queues a virtual host has, such as the server's management API.
#[async_trait]
pub trait QueueDirectory: Send + Sync {
    /// All queues of the virtual host; called every few seconds at most.
    ///
    /// # Errors
    /// When it does not answer: then those that were remembered are looked for.
    async fn queues(&self) -> Result<Vec<QueueName>, PortError>;
}

/// What is known of queues.
#[derive(Default)]
pub(super) struct Known {
    directory: OnceLock<Arc<dyn QueueDirectory>>,
    /// Those that the store was told of.
    told: Mutex<HashSet<QueueName>>,
    found: tokio::sync::Mutex<Found>,
}

#[derive(Default)]
struct Found {
    at: Option<Instant>,
    queues: Vec<QueueName>,
    is_silent: bool,
}

impl AmqpBroker {
    /// The same broker, which asks there which queues there are.
    #[must_use]
    pub fn asking(self, directory: Arc<dyn QueueDirectory>) -> Self {
        self.inner.known.directory.get_or_init(|| directory);
        self
    }
}

impl Inner {
    /// Has the store remember these queues, those aside that it was told of. That it cannot be told
    /// harms nobody: it is told the next time.
    pub(super) async fn remember(&self, queues: impl Iterator<Item = &str>) {
        let new: Vec<_> = {
            let told = self.known.told.lock().unwrap_or_else(PoisonError::into_inner);
            let room = KNOWN_MAX.saturating_sub(told.len());
            let new: BTreeSet<_> =
                queues.filter(|queue| !told.contains(*queue)).map(QueueName::from).collect();
            new.into_iter().take(room).collect()
        };
        if !new.is_empty() && self.custody.remember(&new).await.is_ok() {
            let mut told = self.known.told.lock().unwrap_or_else(PoisonError::into_inner);
            told.extend(new);
        }
    }

    /// The queues that there are, as far as anybody can tell, looked for every few seconds.
    pub(super) async fn known_queues(&self) -> Result<Vec<QueueName>, PortError> {
        let mut found = self.known.found.lock().await;
        if found.at.is_none_or(|at| at.elapsed() >= LOOK) {
            found.queues = self.find(&mut found.is_silent).await?;
            found.at = Some(Instant::now());
        }
        Ok(found.queues.clone())
    }

    async fn find(&self, is_silent: &mut bool) -> Result<Vec<QueueName>, PortError> {
        if let Some(directory) = self.known.directory.get() {
            match directory.queues().await {
                Ok(mut queues) => {
                    *is_silent = false;
                    queues.truncate(KNOWN_MAX);
                    return Ok(queues);
                }
                Err(error) if std::mem::replace(is_silent, true) => drop(error),
                Err(error) => warn!(
                    error = &error as &dyn std::error::Error,
                    "Cannot be told which queues there are; looking for those that were used before"
                ),
            }
        }
        let taken: HashSet<_> = self.live().queues.iter().cloned().collect();
        let mut names: BTreeSet<_> =
            self.custody.remembered(KNOWN_MAX).await?.into_iter().collect();
        names.extend(self.topology.configured());
        names.retain(|queue| !taken.contains(queue));
        let there = super::examine::existing(&self.intake, names).await?;
        Ok(taken.into_iter().chain(there).collect())
    }
}
