//! What a broker hands to a store because it cannot keep it itself: messages that wait for their
//! moment, and messages that are kept.
//!
//! Such a broker owns its queues only. Whatever is to wait longer than a queue would hold it for us
//! is stored first and acknowledged after, so that at any moment it is in one place at least; when it
//! is due, it is published first and forgotten after. What is in both places after a crash is told by
//! the ledger, as any other double is.

use std::time::Duration;

use bytes::Bytes;

use crate::{Kept, QueueName, Timestamp};

/// A message that is to be on its queue at a moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// Names it; whoever puts off another one under the same name changes this one.
    pub name: String,
    /// The exchange it goes to; empty for the default one.
    pub exchange: String,
    /// The routing key; with the default exchange, the queue's name.
    pub routing_key: String,
    /// When.
    pub due: Timestamp,
    /// The message, in whatever form the broker reads again.
    pub message: Bytes,
}

/// A message that is to be kept.
#[derive(Debug, Clone, PartialEq)]
pub struct Keeping {
    /// A digest of the message and its queue.
    pub digest: [u8; 16],
    /// Whether the same message may be kept already: then one with this digest is it.
    pub maybe_again: bool,
    /// The queue it came from and would go back to.
    pub queue: QueueName,
    /// The message, in whatever form the broker reads again.
    pub message: Bytes,
    /// Why.
    pub kept: Kept,
}

/// What is due.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Due {
    /// Messages that nobody else is lent for now, the earliest first.
    pub messages: Vec<Waiting>,
    /// How long until the next one is due; `None` when none waits.
    pub next: Option<Duration>,
}
