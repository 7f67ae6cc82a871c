//! What is seen of a worker and changed in it while it works.

use std::net::SocketAddr;
use std::path::PathBuf;

use lovage_celery::TaskRoute;
use lovage_worker::{Rate, RateSettings, SharedRate};
use serde_json::{Map, Value};

use super::keys::KEYS;
use super::layers::{Layers, Origin};
use super::parse::Reader;
use crate::commands::config::masked;

/// How a worker is watched and steered.
#[derive(Debug, Clone)]
pub(crate) struct OperationsConfig {
    /// Whether monitors are told of tasks from the start.
    pub(crate) task_events: bool,
    /// Whether heartbeats are sent.
    pub(crate) heartbeat: bool,
    /// Whether commands are obeyed.
    pub(crate) remote_control: bool,
    /// Whether other workers are asked at the start what is revoked.
    pub(crate) mingle: bool,
    /// Where revoked calls are kept over a restart.
    pub(crate) state_db: Option<PathBuf>,
    /// The least and the most calls in work, where that follows the load.
    pub(crate) autoscale: Option<(usize, usize)>,
    pub(crate) event_exchange: String,
    pub(crate) control_exchange: String,
    pub(crate) rates: RateSettings,
    /// Where calls from guests go that name no place.
    pub(crate) routes: Vec<TaskRoute>,
    /// Where metrics are served.
    pub(crate) metrics: Option<SocketAddr>,
    /// The configuration as `inspect conf` shows it: what is not as by default, and everything.
    pub(crate) conf: Map<String, Value>,
    pub(crate) conf_with_defaults: Map<String, Value>,
}

impl OperationsConfig {
    pub(super) fn read(reader: &mut Reader<'_>, layers: &Layers) -> Self {
        let path = reader.text("worker.state_db");
        Self {
            task_events: reader.flag("worker.send_task_events"),
            heartbeat: reader.flag("worker.heartbeat"),
            remote_control: reader.flag("worker.enable_remote_control"),
            mingle: reader.flag("worker.mingle"),
            state_db: Some(path).filter(|path| !path.is_empty()).map(Into::into),
            autoscale: reader.autoscale("worker.autoscale"),
            event_exchange: reader.text("event_exchange"),
            control_exchange: reader.text("control_exchange"),
            rates: RateSettings {
                default: reader.rate("task.default_rate_limit"),
                shared: shared_rates(reader),
            },
            routes: routes(reader),
            metrics: reader.address("metrics.listen"),
            conf: shown(layers, false),
            conf_with_defaults: shown(layers, true),
        }
    }
}

/// The table of routes, its first line that fits being the one; after it, what Celery's
/// `task_default_exchange` and `task_default_routing_key` say of every task.
fn routes(reader: &mut Reader<'_>) -> Vec<TaskRoute> {
    let path = "task.routes";
    let mut routes = Vec::new();
    for element in reader.list(path) {
        match TaskRoute::parse(&element) {
            Some(route) => routes.push(route),
            None => {
                reader.problem(path, "is no list of such as shop.*=payments or mail.*=media:mail");
            }
        }
    }
    let exchange = reader.text("task.default_exchange");
    if !exchange.is_empty() {
        let queue = reader.text("task.default_queue");
        let key = Some(reader.text("task.default_routing_key")).filter(|key| !key.is_empty());
        let routing_key = key.unwrap_or(queue);
        routes.push(TaskRoute { pattern: "*".into(), exchange, routing_key });
    }
    routes
}

/// Limits as `NAME=RATE PATTERN PATTERN…`, one an element.
fn shared_rates(reader: &mut Reader<'_>) -> Vec<SharedRate> {
    let path = "task.shared_rates";
    let mut rates = Vec::new();
    for element in reader.list(path) {
        let mut words = element.split_whitespace();
        let limit = words.next().and_then(|word| word.split_once('='));
        let rate = limit.and_then(|(name, rate)| Some((name, Rate::parse(rate).ok()??)));
        let tasks: Vec<String> = words.map(Into::into).collect();
        match rate {
            Some((name, rate)) if !name.is_empty() && !tasks.is_empty() => {
                rates.push(SharedRate { name: name.into(), rate, tasks });
            }
            _ => reader.problem(path, "is no list of such as `payments=100/s shop.charge shop.*`"),
        }
    }
    rates
}

/// The settings under Celery's names, without secrets and without what is for tests.
fn shown(layers: &Layers, with_defaults: bool) -> Map<String, Value> {
    let keys = KEYS.iter().filter(|key| !key.is_hidden);
    let wanted = keys.filter_map(|key| {
        let (value, origin) = layers.get(key.path);
        (with_defaults || origin != Origin::Default)
            .then(|| (key.path.replace('.', "_"), typed(&masked(value))))
    });
    // What Celery's tools look for in every worker's settings, as it is here.
    let always = ["accept_content", "broker_url", "result_backend"];
    let always = always.map(|name| (name.to_owned(), typed(&masked(layers.get(name).0))));
    let fixed = [
        ("broker_heartbeat", Value::Null),
        ("deprecated_settings", Value::Null),
        ("enable_utc", true.into()),
        ("include", Value::Array(Vec::new())),
        ("timezone", "UTC".into()),
        ("worker_hijack_root_logger", false.into()),
        ("worker_log_color", false.into()),
    ];
    let fixed = fixed.map(|(name, value)| (name.to_owned(), value));
    fixed.into_iter().chain(always).chain(wanted).collect()
}

/// A setting's text as the value that it means.
fn typed(text: &str) -> Value {
    let number = || text.parse::<i64>().ok().map(Value::from);
    match text {
        "" => Value::Null,
        "true" => true.into(),
        "false" => false.into(),
        _ => number().unwrap_or_else(|| text.into()),
    }
}
