//! The broker.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use async_trait::async_trait;
use lovage_core::ports::{Broker, Demand, PortError};
use lovage_core::{Closing, Delivery, Disposal, Publication, QueueName, QueueSource, Receipt};
use lovage_redis::{
    Address, Arguments, Batch, KeptStream, Link, LinkOptions, Pipeline, Script, Steps, Value,
};
use tokio::time::Instant;

use super::custody::Custody;
use super::discovery::discover;
use super::intake::Reserved;
use super::keys::Keyspace;
use super::parts;
use super::routes::Routes;
use super::scripts::Scripts;
use super::settle::{CALL_BYTES, CALL_MAX, Ending};
use super::turn::{Sources, Turn};
use super::watch::{Looked, Patience, Watch};

/// The longest time between two sweeps.
const SWEEP: Duration = Duration::from_secs(5);

/// The longest wait for something to take; whoever waits ends it sooner.
const WATCH: Duration = Duration::from_mins(1);

/// Rounds of one sweep; what is left is for the next one, at once.
const SWEEP_ROUNDS: usize = 20;

/// What a [`RedisBroker`] is told.
#[derive(Debug, Clone)]
pub struct RedisBrokerOptions {
    /// The server, and the database with the queues.
    pub address: Address,
    /// Which queues are taken from. They take turns.
    pub queues: Vec<QueueName>,
    /// How lists are named. As kombu does by default.
    pub keys: Keyspace,
    /// How long the session's deliveries stay its own without a renewal. 30 s by default, at least
    /// 1 s.
    pub lease: Duration,
    /// Most dead letters; the oldest goes first, and is counted. 100,000 by default.
    pub kept_max: u64,
    /// How long a dead letter is kept. 14 days by default.
    pub kept_age: Duration,
}

impl RedisBrokerOptions {
    /// Takes from these queues, everything else as by default.
    pub fn new(address: Address, queues: Vec<QueueName>) -> Self {
        Self {
            address,
            queues,
            keys: Keyspace::default(),
            lease: Duration::from_secs(30),
            kept_max: 100_000,
            kept_age: Duration::from_hours(14 * 24),
        }
    }
}

/// One worker's session on the queues of a Redis. Cheap to clone; clones share the session.
#[derive(Debug, Clone)]
pub struct RedisBroker {
    pub(super) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) options: RedisBrokerOptions,
    pub(super) keys: Arc<Keyspace>,
    pub(super) routes: Arc<Routes>,
    pub(super) custody: Arc<Custody>,
    pub(super) scripts: Scripts,
    pub(super) kept: KeptStream,
    closing: Ending,
    publishing: Script,
    /// What is taken from now.
    sources: RwLock<Arc<Sources>>,
    rest: Mutex<Rest>,
    /// How far the search for queues is.
    discovery: tokio::sync::Mutex<u64>,
    /// Takes messages and holds the lease: short calls.
    pub(super) intake: Link,
    /// Settles and publishes: calls as large as what leaves.
    pub(super) outlet: Link,
    watch: Watch,
}

/// What a wait that follows a take has to know of it.
#[derive(Debug, Default)]
struct Rest {
    patience: Patience,
    /// When something of the schedule is due.
    due: Option<Instant>,
}

impl Rest {
    /// Whether nothing of the schedule is to be put on its queue now.
    fn is_nothing_due(&self) -> bool {
        self.due.is_none_or(|due| due > Instant::now())
    }
}

impl RedisBroker {
    /// A broker; it connects at the first call.
    ///
    /// # Errors
    /// When the address's certificates are of no use.
    pub fn new(options: RedisBrokerOptions) -> Result<Self, PortError> {
        let keys = Arc::new(options.keys.clone());
        let sources = Sources::new(&keys, options.queues.clone());
        let patience = (options.lease / 3).clamp(Duration::from_secs(1), Duration::from_secs(10));
        let scripts = Scripts::new(&keys.prefix);
        let (routes, custody) = (Arc::<Routes>::default(), Arc::<Custody>::default());
        let publications = parts::publications(Arc::clone(&keys), Arc::clone(&routes));
        let disposal = parts::disposal(Arc::clone(&custody), options.kept_max);
        let publishing = scripts.alone("publishing", &publications);
        let closing = Ending::new(&scripts, vec![disposal]);
        let link = |role| Link::new(&options.address, LinkOptions::new(role, patience));
        let kept = KeptStream::new(format!("{}lovage:kept", keys.prefix));
        let watch = Watch::new(&options.address, patience)?;
        let (intake, outlet) = (link("intake")?, link("outlet")?);
        Ok(Self {
            inner: Arc::new(Inner {
                options,
                keys,
                routes,
                custody,
                scripts,
                kept,
                closing,
                publishing,
                sources: RwLock::new(Arc::new(sources)),
                rest: Mutex::default(),
                discovery: tokio::sync::Mutex::default(),
                intake,
                outlet,
                watch,
            }),
        })
    }

    /// Where the queues are.
    pub fn address(&self) -> &Address {
        &self.inner.options.address
    }
}

impl Inner {
    /// What is taken from now.
    pub(super) fn sources(&self) -> Arc<Sources> {
        Arc::clone(&self.sources.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn rest(&self) -> MutexGuard<'_, Rest> {
        self.rest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Broker for RedisBroker {
    async fn receive(&self, most: usize, wait: Duration) -> Result<Vec<Delivery>, PortError> {
        let inner = &*self.inner;
        let end = Instant::now() + wait;
        let mut patience = Patience::default();
        loop {
            let sources = inner.sources();
            let turn = Turn::of_all(&sources, inner.custody.rotation(), most);
            let reserved = inner.reserve(&turn).await?;
            if !reserved.deliveries.is_empty() || most == 0 || Instant::now() >= end {
                return Ok(reserved.deliveries);
            }
            let until = reserved.due.map_or(end, |due| end.min(Instant::now() + due));
            patience.scheduled(reserved.scheduled);
            let looked = Looked::All(&sources.look);
            if !inner.watch.wait(looked, &mut patience, until).await && until == end {
                return Ok(Vec::new());
            }
        }
    }

    async fn take(&self, demand: &Demand<'_>) -> Result<Vec<Delivery>, PortError> {
        let inner = &*self.inner;
        let sources = inner.sources();
        let (rotation, idle) = (inner.custody.rotation(), &inner.watch.idle);
        let turn = Turn::of(demand, &sources, rotation, idle.filter());
        if turn.shares.is_empty() && inner.rest().is_nothing_due() {
            return Ok(Vec::new());
        }
        let Reserved { deliveries, due, scheduled } = inner.reserve(&turn).await?;
        let mut rest = inner.rest();
        if !deliveries.is_empty() {
            rest.patience = Patience::default();
        }
        rest.due = due.map(|due| Instant::now() + due);
        rest.patience.scheduled(scheduled);
        Ok(deliveries)
    }

    async fn watch(&self, demand: &Demand<'_>) -> Result<(), PortError> {
        let inner = &*self.inner;
        let (mut patience, due) = {
            let rest = inner.rest();
            (rest.patience.clone(), rest.due)
        };
        let sources = inner.sources();
        let turn = Turn::of(demand, &sources, 0, |_| true);
        let lists: Vec<_> = turn.lists().map(|(_, list)| &**list).collect();
        let schedule = inner.keys.schedule();
        let until = due.unwrap_or_else(|| Instant::now() + WATCH);
        let seen = inner.watch.wait(Looked::Some(&lists, &schedule), &mut patience, until).await;
        let mut rest = inner.rest();
        rest.patience = patience;
        if seen {
            // It may have been the schedule: what is due there only a take puts on its queue.
            rest.due = Some(Instant::now());
        }
        Ok(())
    }

    async fn queues(&self) -> Result<Vec<QueueName>, PortError> {
        let inner = &*self.inner;
        discover(&inner.intake, &inner.keys, &mut *inner.discovery.lock().await).await
    }

    async fn publish(&self, messages: &[Publication]) -> Result<(), PortError> {
        let Inner { routes, keys, outlet, publishing, .. } = &*self.inner;
        routes.read(outlet, keys, messages.iter()).await?;
        let mut arguments = Arguments::default();
        let mut messages = messages.iter();
        loop {
            arguments.clear();
            let mut count = 0;
            while count < CALL_MAX && arguments.size() < CALL_BYTES {
                let Some(message) = messages.next() else { break };
                parts::encode_publication(keys, routes, message, &mut arguments);
                count += 1;
            }
            if count == 0 {
                return Ok(());
            }
            let mut call = publishing.call();
            Batch::add_arguments(&mut call, &arguments);
            Steps::answer(publishing.what(), &outlet.call(publishing, &call).await?)?;
        }
    }

    async fn close(&self, batch: &[(Receipt, Disposal)]) -> Vec<Result<(), PortError>> {
        let closings: Vec<_> = batch
            .iter()
            .map(|(receipt, disposal)| Closing::only(*receipt, disposal.clone()))
            .collect();
        self.end(&self.inner.closing, &closings).await
    }

    async fn renew(&self) -> Result<Vec<Receipt>, PortError> {
        let Inner { custody, scripts, intake, .. } = &*self.inner;
        if let Some(session) = custody.session() {
            let mut call = scripts.renew.call();
            call.bytes(session.as_bytes()).number(self.inner.lease_ms());
            if intake.call(&scripts.renew, &call).await? == Value::Int(0) {
                custody.lose(&session);
            }
        }
        Ok(custody.take_lost())
    }

    async fn sweep(&self) -> Result<Duration, PortError> {
        for _ in 0..SWEEP_ROUNDS {
            let (due, returned) = self.inner.sweep_once("").await?;
            if returned == 0 {
                return Ok(due.map_or(SWEEP, |due| due.min(SWEEP)));
            }
        }
        Ok(Duration::ZERO)
    }

    async fn take_from(&self, queues: &[QueueSource]) -> Result<(), PortError> {
        let Inner { keys, outlet, watch, sources, .. } = &*self.inner;
        let mut bind = Pipeline::new();
        for source in queues.iter().filter(|source| source.exchange != source.queue.as_str()) {
            bind.cmd("SADD")
                .arg(keys.bindings(&source.exchange))
                .arg(keys.binding(source))
                .ignore();
        }
        if !bind.is_empty() {
            outlet.run_all("binding queues", &bind).await?;
        }
        let queues = queues.iter().map(|source| source.queue.clone()).collect();
        let next = Sources::new(keys, queues);
        *sources.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(next);
        watch.wake();
        Ok(())
    }

    async fn waiting(&self) -> Result<Vec<(QueueName, u64)>, PortError> {
        let sources = self.inner.sources();
        let mut lengths = Pipeline::new();
        for (_, list) in &sources.lists {
            lengths.cmd("LLEN").arg(list);
        }
        let mut waiting: Vec<_> = sources.queues.iter().map(|queue| (queue.clone(), 0)).collect();
        if lengths.is_empty() {
            return Ok(waiting);
        }
        let answers = self.inner.intake.run_all("counting what waits", &lengths).await?;
        let queues = waiting.len();
        for (list, length) in answers.into_iter().enumerate() {
            if let (Some((_, count)), Value::Int(length)) = (waiting.get_mut(list % queues), length)
            {
                *count += u64::try_from(length).unwrap_or(0);
            }
        }
        Ok(waiting)
    }

    async fn leave(&self) -> Result<(), PortError> {
        let Some(session) = self.inner.custody.session() else { return Ok(()) };
        while self.inner.sweep_once(&session).await?.1 > 0 {}
        self.inner.custody.left(&session);
        Ok(())
    }
}
