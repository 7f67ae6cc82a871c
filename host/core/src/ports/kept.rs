//! What was taken off a queue and waits elsewhere: for people, for a module, or for its time.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use super::PortError;
use crate::{Due, Keeping, KeptEntry, KeptFilter, KeptId, KeptPage, QueueName, Waiting};

/// What a broker's workers took out of their queues and kept. For people and for workers that have
/// a new module; never on the main path.
///
/// A message is either kept or on its queue at any moment, whatever dies: a replay that was cut short
/// is finished by asking for the same again.
#[async_trait]
pub trait KeptMessages: Send + Sync {
    /// Some of what fits the filter, oldest first, at most `most`, from behind `after`. It looks at a
    /// few hundred messages a call: whoever wants all goes on while there is
    /// [`more`](KeptPage::more).
    ///
    /// # Errors
    /// When the broker cannot be reached.
    async fn list(
        &self,
        filter: &KeptFilter,
        after: Option<&KeptId>,
        most: usize,
    ) -> Result<KeptPage, PortError>;

    /// One with its bytes; `None` when it is not kept (any more).
    ///
    /// # Errors
    /// When the broker cannot be reached.
    async fn get(&self, id: &KeptId) -> Result<Option<(KeptEntry, Bytes)>, PortError>;

    /// Puts messages back on the queues they came from, behind what waits there, as messages that
    /// were never delivered; each leaves what is kept in the same step. Returns how many did: those
    /// that are not kept any more are passed over.
    ///
    /// # Errors
    /// When the broker cannot be reached, or refuses one; any of the others may be back.
    async fn replay(&self, ids: &[KeptId]) -> Result<usize, PortError>;

    /// How many are kept; for whoever watches.
    ///
    /// # Errors
    /// When the broker cannot be reached, or cannot tell.
    async fn count(&self) -> Result<u64, PortError> {
        Err(PortError::Permanent {
            what: "this broker does not count what is kept".into(),
            source: None,
        })
    }

    /// Deletes messages for good; returns how many.
    ///
    /// # Errors
    /// When the broker cannot be reached; some may be gone.
    async fn purge(&self, ids: &[KeptId]) -> Result<usize, PortError>;
}

/// A store's side of a broker that can neither delay nor keep, such as RabbitMQ: see
/// [`Waiting`]. Every operation is one atomic step of the store, and every one may be repeated.
///
/// As [`KeptMessages`], it replays by letting messages wait that are due at once: the broker, which
/// asks for what is due after it has replayed, puts them on their queues.
#[async_trait]
pub trait Custody: KeptMessages {
    /// Takes messages over that are to wait. Called before such a message is acknowledged.
    ///
    /// # Errors
    /// When the store cannot be reached; some may have been taken over.
    async fn put_off(&self, batch: &[Waiting]) -> Result<(), PortError>;

    /// Takes messages over that are to be kept. Called before such a message is acknowledged.
    ///
    /// # Errors
    /// When the store cannot be reached; some may have been taken over.
    async fn keep(&self, batch: &[Keeping]) -> Result<(), PortError>;

    /// Lends what is due, by the store's clock, at most `most` messages: for the time of the loan
    /// nobody else is lent them. Called by every worker every few seconds, and when one knows that
    /// something is due.
    ///
    /// # Errors
    /// When the store cannot be reached; some may be lent to nobody.
    async fn due(&self, most: usize, loan: Duration) -> Result<Due, PortError>;

    /// Forgets messages that waited: they are on their queues, or over.
    ///
    /// # Errors
    /// When the store cannot be reached; some may be gone.
    async fn forget(&self, names: &[String]) -> Result<(), PortError>;

    /// Remembers that there are such queues, for a broker that cannot tell itself. Called when one is
    /// first published to or taken from. May be repeated.
    ///
    /// # Errors
    /// When the store cannot be reached; some may be remembered.
    async fn remember(&self, queues: &[QueueName]) -> Result<(), PortError>;

    /// The queues that somebody remembered, in order, at most so many. They may be gone by now.
    ///
    /// # Errors
    /// When the store cannot be reached.
    async fn remembered(&self, most: usize) -> Result<Vec<QueueName>, PortError>;
}
