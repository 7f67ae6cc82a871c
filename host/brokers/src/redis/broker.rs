//! The broker.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use lovage_celery::mark_redelivered;
use lovage_core::ports::{Broker, PortError};
use lovage_core::{Closing, Delivery, Disposal, Message, Publication, QueueName, Receipt};
use lovage_redis::{Address, Arguments, Call, Link, LinkOptions, Script, ScriptPart, Steps, Value};
use tokio::time::Instant;

use super::custody::{Custody, Ticket};
use super::keys::Keyspace;
use super::parts;
use super::routes::Routes;
use super::scripts::Scripts;
use super::watch::{Patience, Watch};

/// Most messages that one script takes.
const RESERVE_MAX: usize = 1_000;

/// Bytes after which a script takes no further message; the last one may exceed it.
const RESERVE_BYTES: u64 = 32 << 20;

/// Bytes of arguments after which a batch is sent in another call.
const CALL_BYTES: usize = 8 << 20;

/// Most closings or publications in one call: a script runs to its end before anybody else's.
const CALL_MAX: usize = 500;

/// How often a reservation is tried: with a session that was lost, with one that has a call in doubt,
/// and with a new one.
const RESERVE_ATTEMPTS: usize = 4;

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
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    options: RedisBrokerOptions,
    keys: Arc<Keyspace>,
    routes: Arc<Routes>,
    custody: Arc<Custody>,
    scripts: Scripts,
    closing: Ending,
    publishing: Script,
    /// Lists, and the number of each one's queue.
    lists: Vec<(usize, String)>,
    /// Takes messages and holds the lease: short calls.
    intake: Link,
    /// Settles and publishes: calls as large as what leaves.
    outlet: Link,
    watch: Watch,
}

/// A way to close deliveries: the parts that run, and the script made of them.
#[derive(Debug)]
pub(super) struct Ending {
    script: Script,
    parts: Vec<ScriptPart>,
}

/// What one reservation brought.
#[derive(Debug)]
struct Reserved {
    deliveries: Vec<Delivery>,
    /// How long it may be until something of the schedule is due.
    due: Option<Duration>,
    /// The name of what the schedule begins with; empty when it is empty.
    scheduled: Vec<u8>,
}

impl RedisBroker {
    /// A broker; it connects at the first call.
    ///
    /// # Errors
    /// When the address's certificates are of no use.
    pub fn new(options: RedisBrokerOptions) -> Result<Self, PortError> {
        let keys = Arc::new(options.keys.clone());
        let names: Vec<&str> = options.queues.iter().map(QueueName::as_str).collect();
        let lists = keys.lists(&names);
        let texts: Vec<String> = lists.iter().map(|(_, list)| list.clone()).collect();
        let patience = (options.lease / 3).clamp(Duration::from_secs(1), Duration::from_secs(10));
        let scripts = Scripts::new(&keys.prefix);
        let (routes, custody) = (Arc::<Routes>::default(), Arc::<Custody>::default());
        let publications = parts::publications(Arc::clone(&keys), Arc::clone(&routes));
        let disposal = parts::disposal(Arc::clone(&custody), options.kept_max);
        let publishing = scripts.alone("publishing", &publications);
        let closing = Ending::new(&scripts, vec![disposal]);
        let link = |role| Link::new(&options.address, LinkOptions::new(role, patience));
        let schedule = format!("{}lovage:schedule", keys.prefix);
        let watch = Watch::new(&options.address, patience, &texts, &schedule)?;
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
                lists,
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
        let Some(session) = inner.custody.session() else {
            return closings.iter().map(|_| Ok(())).collect();
        };
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
            let reserved = inner.reserve(most.min(RESERVE_MAX)).await?;
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

    async fn leave(&self) -> Result<(), PortError> {
        let Some(session) = self.inner.custody.session() else { return Ok(()) };
        while self.inner.sweep_once(&session).await?.1 > 0 {}
        self.inner.custody.left(&session);
        Ok(())
    }
}

impl Inner {
    /// Takes what is there, and says how long it may be until something is due.
    async fn reserve(&self, most: usize) -> Result<Reserved, PortError> {
        for _ in 0..RESERVE_ATTEMPTS {
            let ticket = self.custody.ticket();
            if !ticket.begun {
                let mut call = self.scripts.begin.call();
                call.bytes(ticket.session.as_bytes()).number(self.lease_ms()).number(ticket.next);
                self.intake.call(&self.scripts.begin, &call).await?;
                self.custody.begun(&ticket.session);
            }
            let answer = match ticket.doubt {
                None => self.take(&ticket, most).await?,
                Some(from) => self.recover(&ticket, from).await?,
            };
            let Value::Array(answer) = answer else {
                self.custody.lose(&ticket.session);
                continue;
            };
            let reserved = self.deliveries(&ticket, answer);
            if ticket.doubt.is_none() || !reserved.deliveries.is_empty() {
                return Ok(reserved);
            }
        }
        let lost = "every session was over as soon as it had begun";
        Err(PortError::transient("receiving failed", lost))
    }

    async fn take(&self, ticket: &Ticket, most: usize) -> Result<Value, PortError> {
        let mut call = self.scripts.reserve.call();
        call.bytes(ticket.session.as_bytes()).number(ticket.next);
        call.number(most as u64).number(RESERVE_BYTES);
        for (_, list) in self.lists(ticket) {
            call.bytes(list.as_bytes());
        }
        self.custody.about_to_take(ticket, most as u64);
        self.intake.call(&self.scripts.reserve, &call).await
    }

    async fn recover(&self, ticket: &Ticket, from: u64) -> Result<Value, PortError> {
        let mut call = self.scripts.recover.call();
        call.bytes(ticket.session.as_bytes()).number(from).number(ticket.next);
        for (_, list) in self.lists(ticket) {
            call.bytes(list.as_bytes());
        }
        self.intake.call(&self.scripts.recover, &call).await
    }

    /// The lists in this turn's order: within each step the queues are rotated.
    fn lists(&self, ticket: &Ticket) -> impl Iterator<Item = &(usize, String)> {
        let queues = self.options.queues.len().max(1);
        let turn = ticket.rotation % queues;
        self.lists.chunks(queues).flat_map(move |step| {
            let (before, after) = step.split_at_checked(turn).unwrap_or((step, &[]));
            after.iter().chain(before)
        })
    }

    fn deliveries(&self, ticket: &Ticket, answer: Vec<Value>) -> Reserved {
        let lists: Vec<_> = self.lists(ticket).map(|(queue, _)| *queue).collect();
        let mut values = answer.into_iter();
        let due = values.next().and_then(|value| number(&value));
        let due = due.and_then(|due| u64::try_from(due).ok()).map(Duration::from_millis);
        let scheduled = match values.next() {
            Some(Value::BulkString(first)) => first,
            _ => Vec::new(),
        };
        let mut next = ticket.next;
        let mut taken = Vec::new();
        let mut deliveries = Vec::new();
        while values.len() > 0 {
            let receipt = if ticket.doubt.is_none() {
                next += 1;
                next - 1
            } else {
                unsigned(values.next())
            };
            let list = usize::try_from(unsigned(values.next())).unwrap_or_default();
            let count = u32::try_from(unsigned(values.next())).unwrap_or(u32::MAX);
            let Some(Value::BulkString(bytes)) = values.next() else { break };
            let bytes = Bytes::from(bytes);
            let queue = lists.get(list).and_then(|queue| self.options.queues.get(*queue));
            let Some(queue) = queue else { continue };
            taken.push((receipt, bytes.clone()));
            deliveries.push(Delivery {
                queue: queue.clone(),
                receipt: Receipt(receipt),
                message: Message::Envelope(bytes),
                redelivered: count > 1,
                deliveries: count,
            });
        }
        if !self.custody.took(&ticket.session, next, &taken) {
            deliveries.clear();
        }
        Reserved { deliveries, due, scheduled }
    }

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

    /// Gives back what one dead session holds, or a part of it: how long it may be until the next
    /// thing is due, and how many were given back.
    async fn sweep_once(&self, ended: &str) -> Result<(Option<Duration>, u64), PortError> {
        let Scripts { overdue, give_back, .. } = &self.scripts;
        let age = u64::try_from(self.options.kept_age.as_millis()).unwrap_or(u64::MAX >> 12);
        let mut call = overdue.call();
        call.bytes(ended.as_bytes()).number(age);
        let Value::Array(answer) = self.intake.call(overdue, &call).await? else {
            return Ok((None, 0));
        };
        let mut values = answer.into_iter();
        let due = values.next().and_then(|value| number(&value));
        let due = due.and_then(|due| u64::try_from(due).ok()).map(Duration::from_millis);
        let Some(Value::BulkString(session)) = values.next() else { return Ok((due, 0)) };
        let mut call = give_back.call();
        call.bytes(&session);
        while let (Some(Value::BulkString(receipt)), Some(Value::BulkString(message))) =
            (values.next(), values.next())
        {
            call.bytes(&receipt);
            call.bytes(mark_redelivered(&message).as_deref().unwrap_or(&message));
        }
        let returned = self.intake.call(give_back, &call).await?;
        Ok((due, unsigned(Some(returned))))
    }

    fn lease_ms(&self) -> u64 {
        let lease = self.options.lease.max(Duration::from_secs(1));
        u64::try_from(lease.as_millis()).unwrap_or(u64::MAX >> 12)
    }
}

fn number(value: &Value) -> Option<i64> {
    match value {
        Value::Int(number) => Some(*number),
        _ => None,
    }
}

fn unsigned(value: Option<Value>) -> u64 {
    value
        .and_then(|value| number(&value))
        .and_then(|number| u64::try_from(number).ok())
        .unwrap_or(0)
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
