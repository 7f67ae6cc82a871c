//! Which adapters a configuration means, and how they are joined.
//!
//! Where broker and results live on one Redis server or in one SQLite file, settling is one step in
//! it; otherwise the same verbs run in order. The worker cannot tell which.

mod amqp;
mod beside;
mod durability;
mod library;
mod management;
mod place;
mod stores;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use lovage_brokers::redis::{RedisBroker, RedisBrokerOptions, RedisSettle};
use lovage_brokers::sqlite::{SqliteBroker, SqliteBrokerSettings, SqliteSettle};
use lovage_celery::CloseSettings;
use lovage_core::ports::{
    Broker, Chords, Clock, KeptMessages, Ledger, PortError, ResultBackend, Settle,
};
use lovage_core::{TenantTable, Timestamp};
use lovage_executors::Executors;
use lovage_redis::Address;
use lovage_sandbox::{Compiler, EXECUTOR_SLOTS_MAX};
use lovage_sqlite::{Database, Participant, Settings};
use lovage_stores::redis::{Durability, RedisLedger, RedisLedgerOptions, RedisResults};
use lovage_stores::sqlite::{LedgerRows, ResultRows, SqliteLedger, SqliteLedgerOptions};
use lovage_worker::{
    EffectSink, InOrder, Modules, Observer, Options, Ports, Replies, Services, Shutdown,
};
use tracing::{info, warn};

use crate::config::Config;
use crate::operating::{Operating, OperatingPorts};

pub(crate) use beside::fanout;
pub(crate) use durability::durability;
pub(crate) use library::Library;
use place::{Place, place};
use stores::{NoResults, counted, elsewhere, one_backend, postgres_ledger, redis_results};

/// Everything that a worker's command needs.
pub(crate) struct Wired {
    pub(crate) ports: Ports,
    pub(crate) options: Options,
    pub(crate) executors: Arc<Executors>,
    pub(crate) compiler: Compiler,
    pub(crate) modules: Arc<Modules>,
    pub(crate) tenants: Arc<TenantTable>,
    pub(crate) kept: Arc<dyn KeptMessages>,
    pub(crate) results: Arc<dyn ResultBackend>,
    /// Uploaded modules, where there is a registry.
    pub(crate) library: Option<Library>,
    pub(crate) operating: Operating,
}

/// Where work comes from and where it goes.
struct Ends {
    broker: Arc<dyn Broker>,
    kept: Arc<dyn KeptMessages>,
    results: Arc<dyn ResultBackend>,
    ledger: Option<Arc<dyn Ledger>>,
    settle: Arc<dyn Settle>,
    chords: Option<Arc<dyn Chords>>,
}

/// Workers that may die under a call; with the last it is parked. Guests cannot fell a worker: those
/// that fell executors are found within one, each alone. So a call that was there is a bystander in
/// all likelihood, and many deployments must not park it.
const CRASHES_MAX: u32 = 10;

/// How long a worker tries to reach its broker and its stores before it gives up.
const START_PATIENCE: Duration = Duration::from_mins(1);

/// Between two such tries.
const START_PAUSE: Duration = Duration::from_secs(1);

/// Slots that each executor has beyond its even share, because calls are not spread evenly.
const SPARE_SLOTS: usize = 64;

/// Joins everything a worker needs.
///
/// # Errors
/// When a URL means nothing here, or what it means cannot be reached.
pub(crate) async fn wire(
    config: &Config,
    observer: Option<Arc<dyn Observer>>,
    shutdown: &Shutdown,
) -> anyhow::Result<Wired> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let Ends { broker, kept, results, ledger, settle, chords } = patiently(config, &clock).await?;
    let chords_are_counted = chords.is_some();
    let services = Services::new(Arc::clone(&results), ledger.clone(), Arc::clone(&clock))
        .named(&config.hostname)
        .on_trial(config.failpoint.clone(), effect_sink(config)?);
    let services = Arc::new(beside::sending(services, config)?);
    let program = std::env::current_exe().context("cannot find this program's own file")?;
    let mut options = lovage_executors::Options::new(&program, ["executor"]);
    options.processes = config.executors;
    let slots =
        config.operations.autoscale.map_or(config.slots, |(_, most)| most.max(config.slots));
    let share = slots.div_ceil(config.executors);
    // A worker of as many slots as there can be has none to spare.
    let with_spare = (share + SPARE_SLOTS).min(share.max(EXECUTOR_SLOTS_MAX as usize));
    options.slots = u32::try_from(with_spare)?;
    options.memory_bytes_max = config.limits.memory_bytes;
    let executors = Executors::start(options, Arc::clone(&services) as _);
    let executors = Arc::new(executors.await.context("cannot start an executor")?);
    let compiler = Compiler::open(program, config.cache.clone())?;
    let modules = Arc::new(Modules::default());
    let tenants = Arc::new(TenantTable::new(config.tenants.clone()));
    let operating = Operating::new(
        config,
        OperatingPorts {
            broker: Arc::clone(&broker),
            kept: Arc::clone(&kept),
            results: Arc::clone(&results),
            executors: Arc::clone(&executors),
            modules: Arc::clone(&modules),
            clock: Arc::clone(&clock),
            fanout: fanout(config)?,
            shared_rates: beside::shared_rates(config)?,
            meter: beside::meter(config)?,
            slots_max: slots + SPARE_SLOTS * config.executors,
            shutdown: shutdown.clone(),
        },
    );
    let observers = operating.observers(observer);
    let sandbox = Arc::clone(&executors) as _;
    let library = Library::open(config, &compiler, &sandbox).await?;
    let ports = Ports {
        broker,
        settle,
        chords,
        ledger,
        sandbox,
        services,
        registry: library::registry(library.as_ref(), &modules),
        tenants: Arc::clone(&tenants),
        clock,
        observers,
        operations: operating.operations(),
    };
    let options = worker_options(config, chords_are_counted);
    Ok(Wired {
        ports,
        options,
        executors,
        compiler,
        modules,
        tenants,
        kept,
        results,
        library,
        operating,
    })
}

/// A compiler and one executor without any broker: to see what a module offers. Native code is kept
/// in `cache`.
///
/// # Errors
/// When the executor cannot be started or the cache not be used.
pub(crate) async fn workshop(cache: &Path) -> anyhow::Result<(Compiler, Arc<Executors>)> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let services = Arc::new(Services::new(Arc::new(NoResults), None, clock));
    let program = std::env::current_exe().context("cannot find this program's own file")?;
    let mut options = lovage_executors::Options::new(&program, ["executor"]);
    options.processes = 1;
    options.slots = 1;
    let executors =
        Executors::start(options, services).await.context("cannot start an executor")?;
    Ok((Compiler::open(program, cache.to_owned())?, Arc::new(executors)))
}

/// Where calls are sent and their results are read, for a client that takes no work.
///
/// # Errors
/// When a URL means nothing here, or what it means cannot be reached.
pub(crate) async fn client(
    config: &Config,
) -> anyhow::Result<(Arc<dyn Broker>, Option<Arc<dyn ResultBackend>>)> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let config = Config { ledger: false, ..config.clone() };
    let Ends { broker, results, .. } = ends(&config, &clock).await?;
    Ok((broker, config.result_backend.is_some().then_some(results)))
}

/// What was kept, for a person who looks after it.
pub(crate) struct Keeping {
    pub(crate) kept: Arc<dyn KeptMessages>,
    pub(crate) ledger: Option<Arc<dyn Ledger>>,
    broker: Arc<dyn Broker>,
}

impl Keeping {
    /// Reaches what is kept, and the ledger that knows the calls.
    ///
    /// # Errors
    /// When a URL means nothing here, or what it means cannot be reached.
    pub(crate) async fn open(config: &Config) -> anyhow::Result<Self> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let Ends { broker, kept, ledger, .. } = ends(config, &clock).await?;
        Ok(Self { kept, ledger, broker })
    }

    /// Ends the sessions. That one could not be ended harms nobody: its lease runs out.
    pub(crate) async fn leave(self) {
        if let Some(ledger) = &self.ledger {
            ledger.leave().await.ok();
        }
        self.broker.leave().await.ok();
    }
}

/// Joins the ends, and tries again for a while when a server or a file is not to be had at once: a
/// worker may be started before its broker, or beside one that has the file locked.
async fn patiently(config: &Config, clock: &Arc<dyn Clock>) -> anyhow::Result<Ends> {
    let begun = Instant::now();
    loop {
        let error = match ends(config, clock).await {
            Ok(ends) => return Ok(ends),
            Err(error) => error,
        };
        let passes = error.downcast_ref::<PortError>().is_some_and(PortError::is_transient);
        if !passes || begun.elapsed() > START_PATIENCE {
            return Err(error);
        }
        warn!(error = format!("{error:#}"), "Cannot start yet; trying again");
        tokio::time::sleep(START_PAUSE).await;
    }
}

/// Where a test counts what leaves; nowhere otherwise.
fn effect_sink(config: &Config) -> anyhow::Result<EffectSink> {
    let Some(path) = &config.effect_sink else { return Ok(EffectSink::default()) };
    EffectSink::open(path).with_context(|| format!("cannot write {}", path.display()))
}

fn worker_options(config: &Config, chords_are_counted: bool) -> Options {
    Options {
        cores: config.executors,
        joins_tenants: config.joins_tenants,
        accept: config.accept.clone(),
        close: CloseSettings {
            store_errors_even_if_ignored: config.store_errors_even_if_ignored,
            extended: config.results.extended,
            track_started: config.results.track_started,
            hostname: config.hostname.clone(),
            default_queue: config.default_queue.clone(),
            routes: config.operations.routes.clone(),
            chords_are_counted,
        },
        limits: config.limits,
        lease: config.lease,
        drain: config.drain,
        failpoint: config.failpoint.clone(),
    }
}

/// Where broker, ledger and results are in one place, they are joined there. The ledger is where the
/// broker is, so that a claim and a delivery are lost together, unless it is asked for elsewhere.
async fn ends(config: &Config, clock: &Arc<dyn Clock>) -> anyhow::Result<Ends> {
    let broker = place(&config.broker_url, "sqla+").context("broker_url")?;
    let backend = config.result_backend.as_deref().unwrap_or_default();
    let backend = place(backend, "db+").context("result_backend")?;
    match (broker, backend) {
        (Place::Sqlite(queue), backend) => {
            let database = Database::open(&queue, Settings::default()).await?;
            sqlite_ends(config, clock, database, backend).await
        }
        (Place::Redis(queues), backend) => redis_ends(config, *queues, backend).await,
        (Place::Amqp(address), backend) => amqp::ends(config, clock, *address, backend).await,
        (Place::Nowhere | Place::Postgres(_) | Place::Replies, _) => {
            bail!("broker_url is empty: there is nowhere to take work from")
        }
    }
}

async fn sqlite_ends(
    config: &Config,
    clock: &Arc<dyn Clock>,
    database: Database,
    backend: Place,
) -> anyhow::Result<Ends> {
    let mut settings = SqliteBrokerSettings::new(config.queues.clone());
    settings.lease = config.lease;
    let broker = SqliteBroker::start(database.clone(), settings, Arc::clone(clock)).await?;
    let broker = Arc::new(broker);
    let mut options = SqliteLedgerOptions::new(Arc::clone(clock));
    options.lease = config.lease;
    options.crashes_max = CRASHES_MAX;
    let mut participants: Vec<Arc<dyn Participant>> = Vec::new();
    let mut ledger = elsewhere(config).await?;
    let apart = ledger.is_some();
    if config.ledger && !apart {
        ledger = Some(Arc::new(SqliteLedger::start(database.clone(), &options).await?));
        participants.push(Arc::new(LedgerRows::new(&options)));
    }
    let is_one = match &backend {
        Place::Sqlite(results) => results == database.path() && !apart,
        Place::Nowhere => !apart,
        Place::Amqp(_) | Place::Postgres(_) | Place::Redis(_) | Place::Replies => false,
    };
    if let (true, Place::Sqlite(_)) = (is_one, &backend) {
        participants.push(Arc::new(ResultRows::written_as(config.results.format)));
    }
    let chords = counted(config, &backend)?;
    let results = results(config, backend, Arc::clone(&broker) as _).await?;
    let settle: Arc<dyn Settle> = if is_one {
        Arc::new(SqliteSettle::start(Arc::clone(&broker), participants).await?)
    } else {
        let broker = Arc::clone(&broker) as _;
        let in_order = InOrder::new(broker, Arc::clone(&results), ledger.clone());
        Arc::new(in_order.on_trial(config.failpoint.clone()))
    };
    let kept = Arc::clone(&broker) as _;
    Ok(Ends { broker, kept, results, ledger, settle, chords })
}

async fn redis_ends(config: &Config, queues: Address, backend: Place) -> anyhow::Result<Ends> {
    let mut options = RedisBrokerOptions::new(queues.clone(), config.queues.clone());
    options.lease = config.lease;
    options.keys.prefix.clone_from(&config.broker_key_prefix);
    let broker = RedisBroker::new(options)?;
    let mut options = RedisLedgerOptions::new(queues.clone());
    options.lease = config.lease;
    options.crashes_max = CRASHES_MAX;
    options.prefix.clone_from(&config.broker_key_prefix);
    let mut parts = Vec::new();
    let mut ledger = elsewhere(config).await?;
    let apart = ledger.is_some();
    if config.ledger && !apart {
        let started = RedisLedger::start(&options).await?;
        // What the server may forget nobody can promise: said once, at every start.
        match started.durability() {
            Durability::EveryWrite => info!("The ledger's server: {}", Durability::EveryWrite),
            weaker => warn!("The ledger's server: {weaker}"),
        }
        ledger = Some(Arc::new(started));
        parts.push(RedisLedger::part(&options));
    }
    let is_one = match &backend {
        // No script can read what is compressed, or in another serializer.
        Place::Redis(results)
            if !apart && config.results.format.is_plain() && results.is_same_server(&queues) =>
        {
            results.is_same_database(&queues) || broker.reaches(results.database()).await?
        }
        Place::Nowhere => !apart,
        Place::Amqp(_)
        | Place::Postgres(_)
        | Place::Redis(_)
        | Place::Replies
        | Place::Sqlite(_) => false,
    };
    if let (true, Place::Redis(results)) = (is_one, &backend) {
        let part = RedisResults::part(&redis_results(config, (**results).clone()));
        parts.push(part.across(results.database(), queues.database()));
    }
    let chords = counted(config, &backend)?;
    let results = results(config, backend, Arc::new(broker.clone())).await?;
    let settle: Arc<dyn Settle> = if is_one {
        Arc::new(RedisSettle::new(broker.clone(), parts))
    } else {
        let broker = Arc::new(broker.clone()) as _;
        let in_order = InOrder::new(broker, Arc::clone(&results), ledger.clone());
        Arc::new(in_order.on_trial(config.failpoint.clone()))
    };
    let broker = Arc::new(broker);
    Ok(Ends { kept: Arc::clone(&broker) as _, broker, results, ledger, settle, chords })
}

/// Where results go that the broker's adapter has nothing to do with, or that go over it to callers.
async fn results(
    config: &Config,
    backend: Place,
    broker: Arc<dyn Broker>,
) -> anyhow::Result<Arc<dyn ResultBackend>> {
    if let Place::Replies = backend {
        let (format, persistent) = (config.results.format, config.rabbit.result_persistent);
        return Ok(Arc::new(Replies::new(broker, format, persistent)));
    }
    one_backend(config, backend).await
}

/// The machine's clock.
pub(crate) struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        #[expect(clippy::disallowed_methods, reason = "this is the clock that everybody is given")]
        let now = jiff::Timestamp::now();
        Timestamp::from_micros(now.as_microsecond())
    }
}
