//! What is said of RabbitMQ alone.

use std::time::Duration;

use super::parse::Reader;

/// How RabbitMQ's queues and results are.
#[derive(Debug, Clone)]
pub(crate) struct RabbitConfig {
    /// Whether replies survive a restart of the server.
    pub(crate) result_persistent: bool,
    /// The server's; after half of it no delivery is left unanswered.
    pub(crate) consumer_timeout: Duration,
    /// Whether queues that nobody configured are quorum queues.
    pub(crate) quorum: bool,
    /// 0 for queues without priorities.
    pub(crate) queue_max_priority: u64,
    /// Queues that are otherwise than by default.
    pub(crate) queues: Vec<String>,
    /// Whether dead letters go to their queue's own exchange for them, where it has one.
    pub(crate) dead_letters_to_exchange: bool,
    /// The management API, which the doctor asks, and a worker for queues of its tenants.
    pub(crate) api: Option<String>,
}

impl RabbitConfig {
    pub(super) fn read(reader: &mut Reader<'_>, lease: Duration) -> Self {
        const TIMEOUT: &str = "broker_transport_options.consumer_timeout";
        const TYPE: &str = "task.default_queue_type";
        const LETTERS: &str = "broker_transport_options.dead_letters";
        let queue_type = reader.text(TYPE);
        if !matches!(&*queue_type, "classic" | "quorum") {
            reader.problem(TYPE, "is neither classic nor quorum");
        }
        let letters = reader.text(LETTERS);
        if !matches!(&*letters, "store" | "exchange") {
            reader.problem(LETTERS, "is neither store nor exchange");
        }
        let consumer_timeout = reader.seconds(TIMEOUT);
        if consumer_timeout < lease * 4 {
            reader.problem(TIMEOUT, "must be at least four times worker.lease");
        }
        Self {
            result_persistent: reader.flag("result_persistent"),
            consumer_timeout,
            quorum: queue_type == "quorum",
            queue_max_priority: reader.number("task.queue_max_priority"),
            queues: reader.list("task.queues"),
            dead_letters_to_exchange: letters == "exchange",
            api: Some(reader.text("broker_api")).filter(|url| !url.is_empty()),
        }
    }
}
