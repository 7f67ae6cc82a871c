//! What a worker that works for several tenants asks of a broker.

use std::sync::Arc;

use crate::QueueName;

/// What a worker takes next, and from whose queues.
#[derive(Debug, Clone, Copy)]
pub struct Demand<'a> {
    /// From which queues, the first to be served first.
    pub shares: &'a [Share],
    /// Deliveries in all, at most.
    pub most: usize,
    /// Bytes of messages after which no further one is taken; the last one may exceed it.
    pub bytes: u64,
}

/// A part of a [`Demand`].
#[derive(Debug, Clone)]
pub struct Share {
    /// From these queues.
    pub queues: Arc<[QueueName]>,
    /// Deliveries at most.
    pub most: usize,
}
