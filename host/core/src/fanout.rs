//! What workers, and those who look after them, tell each other beside the queues.

use std::time::Duration;

use crate::{Parts, QueueName};

/// A message of the [fanout](crate::ports::Fanout): an event, or the answer to a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// Who gets it.
    pub to: Recipients,
    /// The message.
    pub parts: Parts,
}

/// Who gets a [`Notice`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recipients {
    /// Everybody who listens for events of this routing key.
    Listeners {
        /// The event's kind with dots, such as `worker.heartbeat`.
        routing_key: String,
    },
    /// Whoever asked, if still there.
    Asker {
        /// The exchange that the question named.
        exchange: String,
        /// The routing key that the question named.
        routing_key: String,
    },
}

/// A question to all workers.
#[derive(Debug, Clone)]
pub struct Question {
    /// The command; it names [`mailbox`](Self::mailbox) as the place to answer to.
    pub parts: Parts,
    /// Where answers are collected, a name that nobody else uses; `None` when none is wanted.
    pub mailbox: Option<String>,
    /// How long answers are waited for.
    pub wait: Duration,
    /// After how many answers nobody is waited for any more; `None` when that cannot be known.
    pub answers_max: Option<usize>,
}

/// A queue that a worker takes from, and how messages come into it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueSource {
    /// The queue.
    pub queue: QueueName,
    /// The exchange it is bound to.
    pub exchange: String,
    /// `direct`, `topic` or `fanout`.
    pub exchange_type: String,
    /// The key it is bound with.
    pub routing_key: String,
}

impl QueueSource {
    /// A queue as Celery declares it that is only named: bound to a direct exchange of its name.
    pub fn named(queue: QueueName) -> Self {
        let name = queue.as_str().to_owned();
        let exchange_type = "direct".into();
        Self { queue, exchange: name.clone(), exchange_type, routing_key: name }
    }
}
