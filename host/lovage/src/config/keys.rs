//! Every key there is.

/// A configuration key.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Key {
    /// Its path, such as `worker.concurrency`. In the environment: `LOVAGE_WORKER__CONCURRENCY`.
    pub(crate) path: &'static str,
    /// Its default, as it would be written.
    pub(crate) default: &'static str,
    /// What it is, with its unit.
    pub(crate) doc: &'static str,
    /// Whether it is for tests alone, and not shown.
    pub(crate) is_hidden: bool,
}

const fn key(path: &'static str, default: &'static str, doc: &'static str) -> Key {
    Key { path, default, doc, is_hidden: false }
}

const fn hidden(path: &'static str, doc: &'static str) -> Key {
    Key { path, default: "", doc, is_hidden: true }
}

/// The keys, in the order in which they are shown. Names are Celery's where Celery has one.
pub(crate) const KEYS: &[Key] = &[
    key("broker_url", "redis://localhost:6379/0", "where tasks come from"),
    key("result_backend", "", "where results go; empty keeps none"),
    key(
        "ledger_url",
        "",
        "the ledger's PostgreSQL; for RabbitMQ also Redis or db+sqlite; empty is beside the queue",
    ),
    key("result_expires", "86400", "seconds that results are kept; 0 keeps them for ever"),
    key("result_extended", "false", "whether results name the task, its arguments and its worker"),
    key("result_serializer", "json", "how results are written: json, msgpack or yaml"),
    key(
        "result_compression",
        "",
        "how results in Redis are compressed: gzip, bzip2, lzma, zstd or brotli; empty does not",
    ),
    key("accept_content", "json", "serializers that are read: json, msgpack, yaml"),
    key(
        "broker_transport_options.global_keyprefix",
        "",
        "put before every Redis key of the broker",
    ),
    key(
        "result_backend_transport_options.global_keyprefix",
        "",
        "put before every key of a result",
    ),
    key(
        "result_backend_transport_options.result_chord_ordered",
        "true",
        "whether a chord's body gets its results in order, or as they came",
    ),
    key(
        "broker_transport_options.consumer_timeout",
        "1800",
        "RabbitMQ's consumer_timeout in seconds; within half of it nothing is left unanswered",
    ),
    key(
        "broker_transport_options.dead_letters",
        "store",
        "where RabbitMQ's dead letters go: store, or exchange where their queue names one",
    ),
    key(
        "broker_api",
        "",
        "RabbitMQ's management API, such as http://host:15672/api: for doctor and tenants' queues",
    ),
    key("result_persistent", "false", "whether replies of rpc:// survive a restart of RabbitMQ"),
    key("task.default_queue_type", "classic", "RabbitMQ's queues: classic or quorum"),
    key(
        "task.queue_max_priority",
        "0",
        "highest priority of RabbitMQ's classic queues; 0 has none",
    ),
    key(
        "task.queues",
        "",
        "RabbitMQ's queues that are otherwise: \"name exchange=… type=topic key=… x-queue-type=…\"",
    ),
    key("event_exchange", "celeryev", "the exchange that events are sent to"),
    key("control_exchange", "celery", "what the exchanges of commands are named after"),
    key("task.default_queue", "celery", "the queue of calls that name none"),
    key("task.default_exchange", "", "the exchange of calls from guests that name no place"),
    key("task.default_routing_key", "", "their routing key; empty is the default queue's name"),
    key("task.routes", "", "where guests' calls go, such as shop.*=payments or mail.*=media:mail"),
    key("task.time_limit", "30", "seconds until an attempt is ended"),
    key("task.soft_time_limit", "0", "seconds until an attempt is warned; 0 does not"),
    key("task.track_started", "false", "tell callers when an attempt begins"),
    key("task.store_errors_even_if_ignored", "false", "keep failures of calls that ignore results"),
    key("task.default_rate_limit", "", "how often a task begins on a worker, such as 10/s or 6/m"),
    key("task.shared_rates", "", "limits over all workers, such as pay=100/s shop.charge shop.*"),
    key(
        "worker.queues",
        "",
        "queues to take from; empty is the default queue and those of all tenants",
    ),
    key("worker.concurrency", "0", "calls in work at once; 0 is eight per core"),
    key("worker.executors", "0", "executor processes; 0 is one per core"),
    key("worker.hostname", "celery@%h", "the worker's node name"),
    key("worker.modules", "", "folder whose *.wasm files are run"),
    key("worker.cache", "", "folder for native code; empty is the user's cache folder"),
    key("worker.lease", "30", "seconds that work stays reserved for a worker that is silent"),
    key("worker.ledger", "true", "check calls against a ledger, so that each happens once"),
    key("worker.drain", "25", "seconds that a stopping worker waits for what runs"),
    key("worker.send_task_events", "false", "tell monitors of every task"),
    key("worker.heartbeat", "true", "tell monitors every two seconds that the worker is there"),
    key("worker.enable_remote_control", "true", "obey `inspect` and `control`"),
    key("worker.mingle", "true", "ask other workers at the start what is revoked"),
    key("worker.state_db", "", "file that keeps what is revoked over a restart"),
    key(
        "worker.autoscale",
        "",
        "MAX,MIN calls in work, following the load; empty keeps their number",
    ),
    hidden("worker.failpoint", "NAME:N kills the worker the N-th time that it passes a place"),
    hidden("worker.effect_sink", "file to which runs and effects of steps are appended"),
    key("sandbox.memory", "128MiB", "memory of an attempt, over all memories and tables"),
    key("sandbox.fuel", "1000000000000", "units of fuel of an attempt, about one an instruction"),
    key("sandbox.cpu_time", "30", "seconds of CPU time of an attempt"),
    key("sandbox.argument_bytes", "1MiB", "arguments of a call"),
    key("sandbox.result_bytes", "1MiB", "result of a call"),
    key("sandbox.log_bytes", "64KiB", "log lines of an attempt"),
    key("registry.folder", "", "folder of uploaded modules; workers of one folder run the same"),
    key("registry.records", "", "SQLite file of tokens and audit log; empty is in that folder"),
    key("api.listen", "127.0.0.1:5555", "address of the API that tenants reach"),
    key("api.admin_listen", "127.0.0.1:5556", "loopback address of what admins reach"),
    key("api.upload_bytes", "64MiB", "bytes of an upload, up to 256 MiB"),
    key("api.history", "10000", "calls of each tenant that the API remembers"),
    key("http.allow", "", "hosts that tasks may send requests to which ask for them; * is any"),
    key("http.networks", "", "private networks that they may reach, such as 10.1.0.0/16"),
    key("http.authorities", "", "PEM file of certificate authorities that are trusted, too"),
    key("http.requests", "32", "requests of an attempt"),
    key("http.request_bytes", "1MiB", "body of a request"),
    key("http.response_bytes", "8MiB", "body of an answer"),
    key("http.connect_timeout", "5", "seconds until a connection is made"),
    key("http.timeout", "30", "seconds until an answer is complete"),
    key("http.concurrency", "64", "requests of all tasks that are under way at once"),
    key(
        "metrics.listen",
        "",
        "address that serves /metrics, /healthz and /readyz; empty serves none",
    ),
    key("log.level", "warning", "trace, debug, info, warning or error"),
    key("log.format", "text", "text or json"),
];

/// What can be said of each tenant, in a section `[tenants.NAME]`.
pub(crate) const TENANT_KEYS: &[Key] = &[
    key("queues", "", "queues it owns; * stands for any text"),
    key("weight", "1", "its share of the workers beside the others', 1 to 1000"),
    key("max_in_flight", "32", "its calls in work at once, over all workers"),
    key("rate_limit", "1000", "its calls begun a second"),
    key("max_queued", "100000", "messages that may wait in its queues"),
    key("max_modules", "100", "modules that it may have"),
    key("uploads_per_minute", "10", "uploads a minute, refused ones included"),
    key("fuel_per_minute", "1000000000000", "units of fuel a minute"),
    key("storage", "1GiB", "bytes of all its modules' versions"),
    key("grants", "", "what its modules may be granted, such as http:api.bank.example"),
    key("signatures", "off", "off, warn or require"),
    key("signing_keys", "", "ed25519 public keys of its uploads, in hexadecimal"),
    key("retention", "0", "seconds that its results and old modules are kept; 0 is as for all"),
];

/// The key of this path.
pub(crate) fn find(path: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.path == path)
}

/// The key of this name in a tenant's section.
pub(crate) fn find_of_tenant(name: &str) -> Option<&'static Key> {
    TENANT_KEYS.iter().find(|key| key.path == name)
}

/// The key whose path is most like this one.
pub(crate) fn nearest(path: &str) -> &'static str {
    let distance = |key: &&Key| edit_distance(key.path, path);
    KEYS.iter().min_by_key(distance).map_or("", |key| key.path)
}

/// How many characters must change to make one text the other (Levenshtein).
fn edit_distance(one: &str, other: &str) -> usize {
    let mut row: Vec<usize> = (0..=other.chars().count()).collect();
    for (line, left) in one.chars().enumerate() {
        let mut diagonal = std::mem::replace(row.first_mut().unwrap_or(&mut 0), line + 1);
        let mut before = line + 1;
        for (cell, right) in row.iter_mut().skip(1).zip(other.chars()) {
            let cost = (diagonal + usize::from(left != right)).min(before + 1).min(*cell + 1);
            diagonal = std::mem::replace(cell, cost);
            before = cost;
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::{KEYS, edit_distance, nearest};

    #[test]
    fn a_slip_of_the_finger_finds_its_key() {
        assert_eq!(nearest("worker.concurency"), "worker.concurrency");
        assert_eq!(nearest("broker_ulr"), "broker_url");
        assert_eq!(edit_distance("kitten", "sitting"), 3);
    }

    #[test]
    fn every_path_is_there_once() {
        let mut paths: Vec<_> = KEYS.iter().map(|key| key.path).collect();
        paths.sort_unstable();
        paths.dedup();
        assert_eq!(paths.len(), KEYS.len());
    }
}
