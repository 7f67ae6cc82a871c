//! The broker.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use async_trait::async_trait;
use lovage_core::ports::{Broker, PortError};
use lovage_core::{Closing, Delivery, Disposal, Publication, QueueName, QueueSource, Receipt};
use lovage_redis::{
    Address, Arguments, Call, Link, LinkOptions, Pipeline, Script, ScriptPart, Steps, Value,
};
use tokio::time::Instant;

use super::custody::Custody;
use super::keys::{Keyspace, Sources};
use super::parts;
use super::routes::Routes;
use super::scripts::Scripts;
use super::watch::{Patience, Watch};

/// Bytes of arguments after which a batch is sent in another call.
const CALL_BYTES: usize = 8 << 20;

/// Most closings or publications in one call: a script runs to its end before anybody else's.
const CALL_MAX: usize = 500;

/// The longest time between two sweeps.
const SWEEP: Duration = Duration::from_secs(5);

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
    routes: Arc<Routes>,
    pub(super) custody: Arc<Custody>,
    pub(super) scripts: Scripts,
    closing: Ending,
    publishing: Script,
    /// What is taken from now.
    sources: RwLock<Arc<Sources>>,
    /// Takes messages and holds the lease: short calls.
    pub(super) intake: Link,
    /// Settles and publishes: calls as large as what leaves.
    pub(super) outlet: Link,
    watch: Watch,
}

/// A way to close deliveries: the parts that run, and the script made of them.
#[derive(Debug)]
pub(super) struct Ending {
    script: Script,
    parts: Vec<ScriptPart>,
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
        let schedule = format!("{}lovage:schedule", keys.prefix);
        let watch = Watch::new(&options.address, patience, &sources.names(), &schedule)?;
        let (intake, outlet) = (link("intake")?, link("outlet")?);
        Ok(Self {
            inner: Arc::new(Inner {
                options,
                keys,
                routes,
                custody,
                scripts,
                closing,
                publishing,
                sources: RwLock::new(Arc::new(sources)),
                intake,
                outlet,
                watch,
            }),
        })
    }

    /// A way to settle: these parts first, then publications and disposal.
    pub(super) fn ending(&self, first: Vec<ScriptPart>) -> Ending {
        let Inner { keys, routes, custody, options, scripts, .. } = &*self.inner;
        let mut all = first;
        all.push(parts::publications(Arc::clone(keys), Arc::clone(routes)));
        all.push(parts::disposal(Arc::clone(custody), options.kept_max));
        Ending::new(scripts, all)
    }

    /// Where the queues are.
    pub fn address(&self) -> &Address {
        &self.inner.options.address
    }

    /// Makes closings true, each whole or not at all.
    pub(super) async fn end(
        &self,
        ending: &Ending,
        closings: &[Closing],
    ) -> Vec<Result<(), PortError>> {
        let inner = &*self.inner;
        let publications = closings.iter().flat_map(|closing| &closing.publications);
        if let Err(error) = inner.routes.read(&inner.outlet, &inner.keys, publications).await {
            return repeated(error, closings.len());
        }
        let session = inner.custody.session();
        if session.is_none() && closings.iter().all(|closing| closing.ledger.is_none()) {
            return closings.iter().map(|_| Ok(())).collect();
        }
        // Without a session nothing is held; what the ledger granted is still to be handed back.
        let session = session.unwrap_or_default();
        let mut answers = Vec::with_capacity(closings.len());
        let mut arguments = Arguments::default();
        let mut rest = closings;
        while !rest.is_empty() {
            let mut call = ending.script.call();
            call.bytes(session.as_bytes());
            let (mut count, mut size) = (0, 0);
            for closing in rest.iter().take(CALL_MAX) {
                call.bytes(closing.receipt.0.to_string().as_bytes());
                for part in &ending.parts {
                    part.encode(closing, &mut arguments);
                    size += arguments.size();
                    call.group(&arguments);
                }
                count += 1;
                if size >= CALL_BYTES {
                    break;
                }
            }
            let (now, later) = rest.split_at_checked(count).unwrap_or((rest, &[]));
            answers.extend(inner.end_some(&ending.script, &call, now).await);
            rest = later;
        }
        answers
    }
}

impl Inner {
    /// What is taken from now.
    pub(super) fn sources(&self) -> Arc<Sources> {
        Arc::clone(&self.sources.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Ending {
    fn new(scripts: &Scripts, parts: Vec<ScriptPart>) -> Self {
        Self { script: scripts.settle(&parts), parts }
    }
}

#[async_trait]
impl Broker for RedisBroker {
    async fn receive(&self, most: usize, wait: Duration) -> Result<Vec<Delivery>, PortError> {
        let inner = &*self.inner;
        let end = Instant::now() + wait;
        let mut patience = Patience::default();
        loop {
            let reserved = inner.reserve(most).await?;
            if !reserved.deliveries.is_empty() || most == 0 || Instant::now() >= end {
                return Ok(reserved.deliveries);
            }
            let until = reserved.due.map_or(end, |due| end.min(Instant::now() + due));
            patience.scheduled(reserved.scheduled);
            if !inner.watch.wait(&mut patience, until).await && until == end {
                return Ok(Vec::new());
            }
        }
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
            call.group(&arguments);
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
        watch.look_at(&next.names());
        *sources.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(next);
        Ok(())
    }

    async fn waiting(&self) -> Result<Vec<(QueueName, u64)>, PortError> {
        let sources = self.inner.sources();
        let mut lengths = Pipeline::new();
        for list in sources.names() {
            lengths.cmd("LLEN").arg(list);
        }
        let mut waiting: Vec<_> = sources.queues.iter().map(|queue| (queue.clone(), 0)).collect();
        if lengths.is_empty() {
            return Ok(waiting);
        }
        let answers = self.inner.intake.run_all("counting what waits", &lengths).await?;
        for ((queue, _), length) in sources.in_turn(0).zip(answers) {
            if let (Some((_, count)), Value::Int(length)) = (waiting.get_mut(*queue), length) {
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

impl Inner {
    async fn end_some(
        &self,
        script: &Script,
        call: &Call,
        closings: &[Closing],
    ) -> Vec<Result<(), PortError>> {
        let what = script.what();
        let values = match self.outlet.call(script, call).await {
            Ok(Value::Array(values)) if values.len() == closings.len() => values,
            Ok(other) => {
                let error = PortError::permanent(what, format!("unexpected answer {other:?}"));
                return repeated(error, closings.len());
            }
            Err(error) => return repeated(error, closings.len()),
        };
        let answers: Vec<_> = values.iter().map(|value| Steps::answer(what, value)).collect();
        let closed = closings.iter().zip(&answers).filter(|(_, answer)| answer.is_ok());
        self.custody.closed(closed.map(|(closing, _)| closing.receipt));
        answers
    }
}

/// One error for each of a batch that failed together.
fn repeated(error: PortError, count: usize) -> Vec<Result<(), PortError>> {
    let (what, passing) = (error.to_string(), error.is_transient());
    let mut all = vec![Err(error)];
    all.resize_with(count, || {
        Err(if passing {
            PortError::Transient { what: what.clone(), source: None }
        } else {
            PortError::Permanent { what: what.clone(), source: None }
        })
    });
    all
}
