//! Configuration: as written in flags, environment and file; as meant in [`Config`].
//!
//! Flags win over the environment, the environment over the file, the file over the defaults. All
//! problems are reported together, and a key that nobody knows is a problem: it names the nearest one
//! that exists. This is the only place that reads the environment.

mod http;
mod keys;
mod layers;
mod operations;
mod parse;
mod rabbit;
mod results;
mod surroundings;
mod tenants;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::bail;
use lovage_celery::Accept;
use lovage_core::{Limits, QueueName, Tenants};
use lovage_worker::Failpoint;

pub(crate) use http::HttpConfig;
pub(crate) use keys::{KEYS, TENANT_KEYS};
pub(crate) use layers::{Layers, Origin};
pub(crate) use operations::OperationsConfig;
use parse::Reader;
pub(crate) use rabbit::RabbitConfig;
pub(crate) use results::ResultsConfig;
pub(crate) use surroundings::Surroundings;

/// What a worker's configuration means, checked.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    pub(crate) broker_url: String,
    pub(crate) result_backend: Option<String>,
    pub(crate) results: ResultsConfig,
    pub(crate) accept: Accept,
    pub(crate) broker_key_prefix: String,
    pub(crate) lease: Duration,
    /// Whether calls are checked against a ledger.
    pub(crate) ledger: bool,
    /// Where, if not beside the queue.
    pub(crate) ledger_url: Option<String>,
    /// What is said of RabbitMQ alone.
    pub(crate) rabbit: RabbitConfig,
    pub(crate) default_queue: QueueName,
    pub(crate) store_errors_even_if_ignored: bool,
    pub(crate) queues: Vec<QueueName>,
    /// Whether the queues of all tenants are taken from, too: where none are named.
    pub(crate) joins_tenants: bool,
    pub(crate) hostname: String,
    /// Calls in work at once.
    pub(crate) slots: usize,
    /// Executor processes.
    pub(crate) executors: usize,
    pub(crate) drain: Duration,
    /// Where a test has the worker die.
    pub(crate) failpoint: Failpoint,
    /// Where a test counts what leaves.
    pub(crate) effect_sink: Option<PathBuf>,
    pub(crate) modules: Option<PathBuf>,
    /// Where native code is kept.
    pub(crate) cache: PathBuf,
    pub(crate) limits: Limits,
    /// Where uploaded modules are, if they are run.
    pub(crate) registry: Option<PathBuf>,
    /// Where tokens, tenants made at run time and the audit log are.
    pub(crate) records: PathBuf,
    pub(crate) api: ApiConfig,
    /// What tasks may send to other machines.
    pub(crate) http: HttpConfig,
    /// How it is watched and steered.
    pub(crate) operations: OperationsConfig,
    /// The tenants that the configuration names.
    pub(crate) tenants: Tenants,
    pub(crate) log_level: String,
    pub(crate) log_json: bool,
}

impl Config {
    /// Reads the layers.
    ///
    /// # Errors
    /// With everything that is wrong, together.
    pub(crate) fn read(layers: &Layers) -> anyhow::Result<Self> {
        let mut reader = Reader::new(layers);
        let default_queue = reader.text("task.default_queue");
        let mut queues: Vec<_> =
            reader.list("worker.queues").iter().map(|q| q.as_str().into()).collect();
        let joins_tenants = queues.is_empty();
        if queues.is_empty() {
            queues.push(default_queue.as_str().into());
        }
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let concurrency = reader.count("worker.concurrency");
        let executors = reader.count("worker.executors");
        let backend = reader.text("result_backend");
        let registry = Some(PathBuf::from(reader.text("registry.folder")))
            .filter(|folder| !folder.as_os_str().is_empty());
        let lease = reader.seconds("worker.lease");
        let config = Self {
            broker_url: reader.text("broker_url"),
            result_backend: (!matches!(&*backend, "" | "disabled" | "disabled://"))
                .then_some(backend),
            results: ResultsConfig::read(&mut reader),
            accept: reader.accept("accept_content"),
            broker_key_prefix: reader.text("broker_transport_options.global_keyprefix"),
            lease,
            ledger: reader.flag("worker.ledger"),
            ledger_url: Some(reader.text("ledger_url")).filter(|url| !url.is_empty()),
            rabbit: RabbitConfig::read(&mut reader, lease),
            default_queue: default_queue.as_str().into(),
            store_errors_even_if_ignored: reader.flag("task.store_errors_even_if_ignored"),
            queues,
            joins_tenants,
            hostname: node_name(&reader.text("worker.hostname")),
            slots: if concurrency == 0 { cores * 8 } else { concurrency },
            executors: if executors == 0 { cores } else { executors },
            drain: reader.seconds("worker.drain"),
            failpoint: reader.failpoint("worker.failpoint"),
            effect_sink: Some(reader.text("worker.effect_sink"))
                .filter(|it| !it.is_empty())
                .map(Into::into),
            modules: Some(reader.text("worker.modules"))
                .filter(|it| !it.is_empty())
                .map(Into::into),
            cache: cache(&reader.text("worker.cache"), layers),
            limits: limits(&mut reader),
            registry: registry.clone(),
            records: records(&mut reader, &registry.unwrap_or_default()),
            api: api(&mut reader),
            http: HttpConfig::read(&mut reader),
            tenants: tenants::read(&mut reader),
            operations: OperationsConfig::read(&mut reader, layers),
            log_level: reader.text("log.level"),
            log_json: reader.text("log.format") == "json",
        };
        if config.lease < Duration::from_secs(1) {
            reader.problem("worker.lease", "must be at least 1 second");
        }
        if config.limits.time.is_zero() {
            reader.problem("task.time_limit", "must be above 0: every bound is finite");
        }
        match reader.problems() {
            [] => Ok(config),
            problems => bail!("the configuration has problems:\n  {}", problems.join("\n  ")),
        }
    }
}

/// The most that any attempt may use.
fn limits(reader: &mut Reader<'_>) -> Limits {
    let usual = Limits::default();
    let argument_bytes = reader.bytes_u32("sandbox.argument_bytes");
    let result_bytes = reader.bytes_u32("sandbox.result_bytes");
    // What may be handed over beyond the usual has to be copied, too.
    let more = argument_bytes
        .saturating_sub(usual.argument_bytes)
        .saturating_add(result_bytes.saturating_sub(usual.result_bytes));
    Limits {
        time: reader.seconds("task.time_limit"),
        soft_time: Some(reader.seconds("task.soft_time_limit")).filter(|it| !it.is_zero()),
        cpu_time: reader.seconds("sandbox.cpu_time"),
        memory_bytes: reader.bytes("sandbox.memory"),
        fuel: reader.number("sandbox.fuel"),
        host_call_bytes: usual.host_call_bytes.saturating_add(more),
        argument_bytes,
        result_bytes,
        log_bytes: reader.bytes_u32("sandbox.log_bytes"),
        ..usual
    }
}

/// Where what the API keeps is: as configured, else in the registry's folder.
fn records(reader: &mut Reader<'_>, registry: &Path) -> PathBuf {
    match &*reader.text("registry.records") {
        "" => registry.join("lovage.db"),
        path => path.into(),
    }
}

/// How the API is served.
#[derive(Debug, Clone)]
pub(crate) struct ApiConfig {
    pub(crate) listen: SocketAddr,
    /// Loopback only.
    pub(crate) admin_listen: SocketAddr,
    pub(crate) upload_bytes_max: u64,
    /// Calls of a tenant that are remembered.
    pub(crate) history: u32,
}

/// Bytes of the largest upload that an operator may allow.
const UPLOAD_BYTES_MAX: u64 = 256 << 20;

/// An address that there must be.
fn some_address(reader: &mut Reader<'_>, path: &str) -> SocketAddr {
    let problems = reader.problems().len();
    let address = reader.address(path);
    if address.is_none() && reader.problems().len() == problems {
        reader.problem(path, "is empty; it is an address such as 127.0.0.1:5555");
    }
    address.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 0)))
}

fn api(reader: &mut Reader<'_>) -> ApiConfig {
    let listen = some_address(reader, "api.listen");
    let admin_listen = some_address(reader, "api.admin_listen");
    if !admin_listen.ip().is_loopback() {
        reader.problem("api.admin_listen", "must be a loopback address");
    }
    let upload_bytes_max = reader.bytes("api.upload_bytes");
    if upload_bytes_max > UPLOAD_BYTES_MAX {
        reader.problem("api.upload_bytes", "must be at most 256MiB");
    }
    let history = u32::try_from(reader.count("api.history")).unwrap_or(u32::MAX);
    ApiConfig { listen, admin_listen, upload_bytes_max, history }
}

/// Celery's node name: `%h` is the machine's name, `%n` the part before `@`, `%d` the domain.
fn node_name(pattern: &str) -> String {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let (name, domain) = host.split_once('.').unwrap_or((&host, ""));
    let pattern = if pattern.contains('@') { pattern.into() } else { format!("{pattern}@%h") };
    pattern.replace("%h", &host).replace("%n", name).replace("%d", domain)
}

/// The folder for native code: as configured, else the user's cache.
fn cache(configured: &str, layers: &Layers) -> PathBuf {
    if configured.is_empty() { layers.user_cache().join("lovage") } else { configured.into() }
}
