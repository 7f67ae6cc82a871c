//! `lovage serve`: a worker and the API in one process.

use std::convert::Infallible;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use lovage_api::{Api, ApiOptions, Feed, Ports, TokenWish, WorkerState};
use lovage_core::ports::Clock as _;
use lovage_core::{Scope, TaskRow, TenantId, TenantTable};
use lovage_core::{Settlement, Verdict};
use lovage_worker::{Event, Observer, Shutdown};
use tokio::net::TcpListener;

use super::worker::live;
use crate::cli::ServeArguments;
use crate::config::{Config, Origin};
use crate::remote::ADMIN_TOKEN;
use crate::telemetry;
use crate::wiring::{self, Library, SystemClock, Wired};

/// Serves until it is told to end.
///
/// # Errors
/// When the state folder cannot be made, an address is taken, or the worker cannot start.
pub(crate) fn run(arguments: &ServeArguments) -> anyhow::Result<ExitCode> {
    let config = config(arguments)?;
    telemetry::start(&config.log_level, config.log_json, None)?;
    super::block_on(serve(config, &arguments.state))
}

/// Prints the document of the API.
///
/// # Errors
/// When it cannot be written.
pub(crate) fn openapi() -> anyhow::Result<ExitCode> {
    println!("{}", lovage_api::openapi()?);
    Ok(ExitCode::SUCCESS)
}

fn config(arguments: &ServeArguments) -> anyhow::Result<Config> {
    std::fs::create_dir_all(&arguments.state)
        .with_context(|| format!("cannot make the folder {}", arguments.state.display()))?;
    let state = std::fs::canonicalize(&arguments.state)?;
    let in_state = |name: &str| state.join(name).to_string_lossy().into_owned();
    let mut layers = super::layers(&arguments.common)?;
    layers
        .flag("worker.queues", arguments.queues.as_deref())
        .flag("worker.concurrency", arguments.concurrency.as_deref())
        .flag("worker.modules", arguments.modules.as_deref())
        .flag("api.listen", arguments.listen.as_deref())
        .flag("api.admin_listen", arguments.admin_listen.as_deref());
    let is_unsaid = |layers: &crate::config::Layers, path| layers.get(path).1 == Origin::Default;
    if is_unsaid(&layers, "broker_url") {
        let file = in_state("queue.db");
        layers
            .flag("broker_url", Some(&format!("sqla+sqlite:///{file}")))
            .flag("result_backend", Some(&format!("db+sqlite:///{file}")));
    }
    for (path, name) in [("worker.cache", "native"), ("registry.folder", "registry")] {
        if is_unsaid(&layers, path) {
            layers.flag(path, Some(&in_state(name)));
        }
    }
    Config::read(&layers)
}

async fn serve(config: Config, state: &Path) -> anyhow::Result<ExitCode> {
    let public = listener(config.api.listen).await?;
    let admin = listener(config.api.admin_listen).await?;
    let (feed, write) = Feed::new();
    let table = Arc::new(TenantTable::new(config.tenants.clone()));
    let history = History { feed, tenants: Arc::clone(&table) };
    let shutdown = Shutdown::default();
    let mut wired = wiring::wire(&config, Some(Arc::new(history)), &shutdown).await?;
    // The history must know the tenants as everybody does, those made at run time too.
    wired.tenants = Arc::clone(&table);
    wired.ports.tenants = Arc::clone(&table);
    let library = wired.library.clone().context("registry.folder is empty")?;
    let api = api(&config, &wired, library.clone());
    first_token(&library, state).await?;
    let addresses = (public.local_addr()?, admin.local_addr()?);
    let beside = async {
        let public = lovage_api::serve(public, lovage_api::public(Arc::clone(&api)));
        let admin = lovage_api::serve(admin, lovage_api::admin(Arc::clone(&api)));
        tokio::select! {
            ended = public => ended.context("the API's listener failed")?,
            ended = admin => ended.context("the admins' listener failed")?,
            () = write(Arc::clone(&api)) => {}
        }
        anyhow::Ok(std::future::pending::<Infallible>().await)
    };
    let say = |ready: &str| {
        println!("broker_url = {:?}", super::config::masked(&config.broker_url));
        let backend = config.result_backend.as_deref().unwrap_or_default();
        println!("result_backend = {:?}", super::config::masked(backend));
        println!("api http://{}  admins http://{}", addresses.0, addresses.1);
        println!("{ready}");
    };
    live(&config, wired, (true, shutdown), say, beside).await
}

async fn listener(address: std::net::SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))
}

fn api(config: &Config, wired: &Wired, library: Library) -> Arc<Api> {
    let Library { store, inspector, records, placed } = library;
    let (modules, hostname) = (Arc::clone(&wired.modules), config.hostname.clone());
    let (slots, executors) = (config.slots, config.executors);
    let operations = Arc::clone(&wired.ports.operations);
    let worker = move || WorkerState {
        hostname: hostname.clone(),
        slots,
        executors,
        queues: operations.sources.now().iter().map(|it| it.queue.to_string()).collect(),
        tasks: modules.names().iter().map(ToString::to_string).collect(),
    };
    let ports = Ports {
        records,
        store,
        inspector,
        tenants: Arc::clone(&wired.tenants),
        broker: Arc::clone(&wired.ports.broker),
        results: Arc::clone(&wired.results),
        kept: Arc::clone(&wired.kept),
        ledger: wired.ports.ledger.clone(),
        registry: Arc::clone(&wired.ports.registry),
        cancel: Some(wired.operating.canceller()),
        placement: placed,
        clock: Arc::new(SystemClock),
        worker: Arc::new(worker),
    };
    let options = ApiOptions {
        version: env!("CARGO_PKG_VERSION").into(),
        hostname: config.hostname.clone(),
        default_queue: config.default_queue.clone(),
        upload_bytes_max: config.api.upload_bytes_max,
        configured: config.tenants.clone(),
    };
    Api::new(ports, options)
}

/// Makes a token for the admin on the first start, in a file that nobody else may read.
async fn first_token(library: &Library, state: &Path) -> anyhow::Result<()> {
    if library.records.has_tokens().await? {
        return Ok(());
    }
    let wish = TokenWish { label: "first".into(), scopes: vec![Scope::Admin], days: Some(3_650) };
    let now = SystemClock.now();
    let made = lovage_api::make_token(&*library.records, TenantId::default(), wish, now, "serve");
    let (token, _) = made.await.map_err(|problem| anyhow::anyhow!("{}", problem.detail))?;
    let path = state.join(ADMIN_TOKEN);
    let mut options = std::fs::OpenOptions::new();
    let file = options.write(true).create(true).truncate(true).mode(0o600).open(&path);
    let written = file.and_then(|mut file| writeln!(file, "{token}"));
    written.with_context(|| format!("cannot write {}", path.display()))
}

/// Tells the API what becomes of calls.
struct History {
    feed: Feed,
    tenants: Arc<TenantTable>,
}

impl Observer for History {
    fn observe(&self, event: &Event<'_>) {
        if let Event::Settled { verdict, .. } = event
            && let Some((state, error)) = state(verdict)
        {
            let invocation = &verdict.invocation;
            let queue = invocation.queue().clone();
            self.feed.tell(TaskRow {
                tenant: self.tenants.owner(&queue).id.clone(),
                id: invocation.id.clone(),
                task: invocation.task.clone(),
                queue,
                state: state.into(),
                sent_at: verdict.at,
                changed_at: verdict.at,
                digest: verdict.digest,
                error,
            });
        }
    }
}

/// Celery's word for what became of a call, and what it failed with.
fn state(verdict: &Verdict) -> Option<(&'static str, Option<String>)> {
    match &verdict.settlement {
        Settlement::Succeed { .. } => Some(("SUCCESS", None)),
        Settlement::Bury(failure) => Some(("FAILURE", Some(failure.to_string()))),
        Settlement::Retry { failure, .. } => Some(("RETRY", Some(failure.to_string()))),
        Settlement::Drop(reason) => Some(("REVOKED", Some(reason.as_str().into()))),
        Settlement::Park(reason) => Some(("PENDING", Some(format!("parked: {reason:?}")))),
        Settlement::Ignore { .. } => Some(("IGNORED", None)),
        // Its id goes on with what took its place.
        Settlement::Release(_) | Settlement::Forget | Settlement::Replace { .. } => None,
    }
}
