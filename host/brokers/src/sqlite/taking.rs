//! The queues that are taken from, by the numbers that the file has for them.

use std::collections::HashMap;
use std::sync::Arc;

use lovage_core::QueueName;
use lovage_core::ports::{Demand, Share};
use rusqlite::Connection;

use super::queue;

/// A queue, and its number in the file.
#[derive(Debug, Clone)]
pub(super) struct Queue {
    pub(super) id: i64,
    pub(super) name: QueueName,
}

pub(super) type Queues = Arc<[Queue]>;

/// Finds the queues' numbers; one that the file does not know yet is made.
pub(super) fn number(connection: &Connection, names: Vec<QueueName>) -> rusqlite::Result<Queues> {
    let queue =
        |name: QueueName| Ok(Queue { id: queue::queue_id(connection, name.as_str())?, name });
    names.into_iter().map(queue).collect()
}

/// The shares of a demand, each with what it is to get at most; queues that are not taken from are
/// passed over.
pub(super) fn shares(taken_from: &Queues, demand: &Demand<'_>) -> Vec<(Queues, usize)> {
    let known: HashMap<_, _> = taken_from.iter().map(|queue| (&queue.name, queue)).collect();
    let queue = |name: &QueueName| known.get(name).map(|queue| (*queue).clone());
    let share = |share: &Share| (share.queues.iter().filter_map(queue).collect(), share.most);
    demand.shares.iter().map(share).collect()
}
