//! The queues that a worker takes from, and how that is changed.
//!
//! Two change it: people, by remote control, and the worker itself, which joins its tenants' queues
//! as they appear. What somebody asked it to leave it does not join again by itself.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lovage_core::ports::{Broker, PortError};
use lovage_core::{QueueName, QueueSource};
use tokio::sync::Notify;

/// Queues that are taken from.
#[derive(Debug)]
pub struct Sources {
    state: Mutex<State>,
    /// Changes take turns: each tells the broker all that is taken from.
    changing: tokio::sync::Mutex<()>,
    /// Told when they have changed.
    pub(crate) changed: Notify,
}

#[derive(Debug)]
struct State {
    taken: Arc<[QueueSource]>,
    /// Those that somebody asked this worker to leave.
    left: BTreeSet<QueueName>,
}

impl Sources {
    /// What the broker takes from when the worker begins.
    pub fn new(queues: impl IntoIterator<Item = QueueName>) -> Self {
        let taken = queues.into_iter().map(QueueSource::named).collect();
        let state = Mutex::new(State { taken, left: BTreeSet::new() });
        Self { state, changing: tokio::sync::Mutex::default(), changed: Notify::new() }
    }

    /// What is taken from now; the same allocation until that changes.
    pub fn now(&self) -> Arc<[QueueSource]> {
        Arc::clone(&self.state().taken)
    }

    /// Whether somebody asked the worker to leave this queue, and nobody to come back.
    pub(crate) fn was_left(&self, queue: &QueueName) -> bool {
        self.state().left.contains(queue)
    }

    /// Takes from these, too; those that are taken from already stay as they are.
    ///
    /// # Errors
    /// The broker's, and nothing has changed then.
    pub(crate) async fn join(
        &self,
        broker: &dyn Broker,
        new: Vec<QueueSource>,
    ) -> Result<(), PortError> {
        let _turn = self.changing.lock().await;
        let mut wanted = self.now().to_vec();
        let known: BTreeSet<_> = wanted.iter().map(|it| it.queue.clone()).collect();
        let joined: BTreeSet<_> = new.iter().map(|it| it.queue.clone()).collect();
        wanted.extend(new.into_iter().filter(|it| !known.contains(&it.queue)));
        self.change(broker, wanted).await?;
        self.state().left.retain(|left| !joined.contains(left));
        Ok(())
    }

    /// Takes nothing more from this queue, until somebody asks for it.
    ///
    /// # Errors
    /// The broker's, and nothing has changed then.
    pub(crate) async fn leave(
        &self,
        broker: &dyn Broker,
        queue: QueueName,
    ) -> Result<(), PortError> {
        let _turn = self.changing.lock().await;
        let mut wanted = self.now().to_vec();
        wanted.retain(|it| it.queue != queue);
        self.change(broker, wanted).await?;
        self.state().left.insert(queue);
        Ok(())
    }

    async fn change(&self, broker: &dyn Broker, wanted: Vec<QueueSource>) -> Result<(), PortError> {
        broker.take_from(&wanted).await?;
        self.state().taken = wanted.into();
        self.changed.notify_one();
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use lovage_core::QueueSource;

    use super::Sources;
    use crate::samples::Nowhere;

    fn named(queues: &[&str]) -> Vec<QueueSource> {
        queues.iter().map(|queue| QueueSource::named((*queue).into())).collect()
    }

    #[tokio::test]
    async fn queues_are_joined_once_and_one_that_was_left_is_known_as_such() {
        let sources = Sources::new(["a".into()]);
        sources.join(&Nowhere, named(&["a", "b", "c"])).await.unwrap();
        assert_eq!(*sources.now(), named(&["a", "b", "c"]));
        sources.leave(&Nowhere, "b".into()).await.unwrap();
        assert_eq!(*sources.now(), named(&["a", "c"]));
        assert!(sources.was_left(&"b".into()) && !sources.was_left(&"c".into()));
        sources.join(&Nowhere, named(&["b"])).await.unwrap();
        assert_eq!(*sources.now(), named(&["a", "c", "b"]));
        assert!(!sources.was_left(&"b".into()), "somebody asked for it again");
    }

    #[tokio::test]
    async fn nothing_changes_when_the_broker_refuses_a_queue() {
        let sources = Sources::new(["a".into()]);
        let before = sources.now();
        sources.join(&Nowhere, named(&["b", "refused"])).await.unwrap_err();
        assert!(std::sync::Arc::ptr_eq(&before, &sources.now()));
    }
}
