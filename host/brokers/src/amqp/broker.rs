//! The broker.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures::future::join_all;
use lapin::Channel;
use lapin::options::{BasicAckOptions, BasicNackOptions};
use lovage_core::ports::{Broker, Clock, Custody, Demand, PortError};
use lovage_core::{Delivery, Disposal, Publication, QueueName, QueueSource, Receipt};
use tokio::sync::Notify;
use tracing::{info, warn};

use super::address::AmqpAddress;
use super::held::{Answer, Held, Unsaid};
use super::known::Known;
use super::link::{AmqpLink, AmqpLinkOptions};
use super::outlet::{Outgoing, Outlet};
use super::parts::properties_of;
use super::queue::AmqpQueue;
use super::session::{Part, Session};
use super::taking::parts_of;
use super::topology::Topology;

/// The longest time between two sweeps.
const SWEEP: Duration = Duration::from_secs(5);

/// How soon waits are looked at again after that failed.
const RETRY: Duration = Duration::from_secs(1);

/// What an [`AmqpBroker`] is told.
#[derive(Debug, Clone)]
pub struct AmqpBrokerOptions {
    /// The servers and the virtual host.
    pub address: AmqpAddress,
    /// Which queues are taken from. They take turns.
    pub queues: Vec<QueueName>,
    /// Queues that are otherwise than `pattern`, whether taken from or only published to.
    pub configured: Vec<AmqpQueue>,
    /// What a queue is like that nobody configured; its name, exchange and routing key aside.
    pub pattern: AmqpQueue,
    /// Calls that may be in work at once: the server delivers no more. 16 by default.
    pub slots: u16,
    /// How long the session's deliveries stay its own without a renewal. 30 s by default, at least
    /// 1 s.
    pub lease: Duration,
    /// The server's `consumer_timeout`. 30 min by default, as the server has it. Within half of it a
    /// delivery is over, or its message is with the store.
    pub consumer_timeout: Duration,
    /// Whether dead letters and parked calls go to the dead-letter exchange that their queue was
    /// declared with, if it was, and not to the store. `false` by default.
    pub dead_letters_to_exchange: bool,
}

impl AmqpBrokerOptions {
    /// Takes from these queues, everything else as by default.
    ///
    /// # Errors
    /// When one of the queues cannot be one.
    pub fn new(address: AmqpAddress, queues: Vec<QueueName>) -> Result<Self, PortError> {
        let wrong = |error| PortError::permanent("reading the queues' names", error);
        for queue in &queues {
            AmqpQueue::named(queue).map_err(wrong)?;
        }
        Ok(Self {
            address,
            queues,
            configured: Vec::new(),
            pattern: AmqpQueue::named(&"celery".into()).map_err(wrong)?,
            slots: 16,
            lease: Duration::from_secs(30),
            consumer_timeout: Duration::from_mins(30),
            dead_letters_to_exchange: false,
        })
    }
}

/// One worker's session on the queues of a RabbitMQ. Cheap to clone; clones share the session.
#[derive(Clone)]
pub struct AmqpBroker {
    pub(super) inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub(super) options: AmqpBrokerOptions,
    pub(super) custody: Arc<dyn Custody>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) topology: Arc<Topology>,
    pub(super) intake: AmqpLink,
    pub(super) outlet: Outlet,
    pub(super) session: tokio::sync::Mutex<Option<Session>>,
    answering: tokio::sync::Mutex<()>,
    live: Mutex<Live>,
    pub(super) known: Known,
    pub(super) news: Arc<Notify>,
    /// Told when there are other queues or slots, or something from the store.
    pub(super) changed: Notify,
}

/// What changes while it lives.
pub(super) struct Live {
    pub(super) held: Held,
    /// What is answered on.
    pub(super) channel: Option<Channel>,
    pub(super) renewed: Instant,
    /// What is taken from now.
    pub(super) queues: Vec<QueueName>,
    /// Calls that may be in work at once.
    pub(super) slots: u16,
    /// What came from the store, and was not asked for yet.
    pub(super) returned: VecDeque<Delivery>,
    /// Whether the store has something that is due, and there was no slot for it.
    pub(super) more_is_due: bool,
    /// What the server is to be told next.
    unsaid: Unsaid,
    /// When a message that waits is due next, as far as is known here.
    next_due: Option<Instant>,
}

impl AmqpBroker {
    /// A broker that hands waits and kept messages to a store; it connects at the first call. To be
    /// made within a runtime: it looks after its lease and its waits by itself.
    pub fn new(
        options: AmqpBrokerOptions,
        custody: Arc<dyn Custody>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let topology = Topology::new(options.configured.clone(), options.pattern.clone());
        let heartbeat = (options.lease / 4).clamp(Duration::from_secs(1), Duration::from_mins(1));
        let link = |role| {
            let settings = AmqpLinkOptions { heartbeat, ..AmqpLinkOptions::new(role) };
            AmqpLink::new(options.address.clone(), settings)
        };
        let (intake, outlet) = (link("lovage intake"), link("lovage outlet"));
        let live = Live {
            held: Held::default(),
            channel: None,
            renewed: Instant::now(),
            queues: options.queues.clone(),
            slots: options.slots,
            returned: VecDeque::new(),
            more_is_due: false,
            unsaid: Unsaid::default(),
            next_due: None,
        };
        let news = Arc::<Notify>::default();
        let inner = Arc::new(Inner {
            custody,
            clock,
            outlet: Outlet::new(outlet, Arc::clone(&topology)),
            topology,
            intake,
            session: tokio::sync::Mutex::default(),
            answering: tokio::sync::Mutex::default(),
            live: Mutex::new(live),
            known: Known::default(),
            news: Arc::clone(&news),
            changed: Notify::new(),
            options,
        });
        tokio::spawn(look_after(Arc::downgrade(&inner), news));
        Self { inner }
    }

    /// The connection that deliveries come on, for others who listen: they open channels of their own.
    pub fn link(&self) -> &AmqpLink {
        &self.inner.intake
    }
}

/// Looks after a broker until it is gone: gives everything back when the lease is over, as a server
/// with leases would, and publishes what is due.
async fn look_after(broker: Weak<Inner>, news: Arc<Notify>) {
    while let Some(inner) = broker.upgrade() {
        let pause = inner.look().await;
        drop(inner);
        // Whether it was time or there was news makes no difference.
        let _ = tokio::time::timeout(pause, news.notified()).await;
    }
}

#[async_trait]
impl Broker for AmqpBroker {
    async fn receive(&self, most: usize, wait: Duration) -> Result<Vec<Delivery>, PortError> {
        if most == 0 {
            return Ok(Vec::new());
        }
        self.inner.collect(&[Part { queues: None, most }], most, u64::MAX, wait).await
    }

    async fn take(&self, demand: &Demand<'_>) -> Result<Vec<Delivery>, PortError> {
        let Demand { most, bytes, .. } = *demand;
        self.inner.collect(&parts_of(demand), most, bytes, Duration::ZERO).await
    }

    async fn watch(&self, demand: &Demand<'_>) -> Result<(), PortError> {
        self.inner.wait_for(demand).await;
        Ok(())
    }

    async fn publish(&self, messages: &[Publication]) -> Result<(), PortError> {
        let inner = &*self.inner;
        let now = inner.clock.now();
        let (later, at_once): (Vec<_>, Vec<_>) =
            messages.iter().partition(|message| message.not_before.is_some_and(|at| at > now));
        if !later.is_empty() {
            inner
                .put_off(&later.into_iter().map(super::custody::waiting).collect::<Vec<_>>())
                .await?;
        }
        let to_queue = messages.iter().filter(|message| message.exchange.is_empty());
        inner.remember(to_queue.map(|message| &*message.routing_key)).await;
        let outgoing =
            |message: &'_ Publication| properties_of(&message.parts, message.priority, true);
        let all: Vec<_> = at_once
            .into_iter()
            .map(|message| Outgoing {
                exchange: &message.exchange,
                routing_key: &message.routing_key,
                properties: outgoing(message),
                body: &message.parts.body,
                mandatory: true,
            })
            .collect();
        inner.outlet.publish(&all).await
    }

    async fn close(&self, batch: &[(Receipt, Disposal)]) -> Vec<Result<(), PortError>> {
        self.inner.close(batch).await
    }

    async fn renew(&self) -> Result<Vec<Receipt>, PortError> {
        let inner = &*self.inner;
        inner.entrust_long_held().await?;
        let mut live = inner.live();
        live.renewed = Instant::now();
        Ok(live.held.take_lost())
    }

    async fn sweep(&self) -> Result<Duration, PortError> {
        Ok(self.inner.wake_due().await?.map_or(SWEEP, |due| due.min(SWEEP)))
    }

    async fn take_from(&self, queues: &[QueueSource]) -> Result<(), PortError> {
        let inner = &*self.inner;
        queues.iter().try_for_each(|source| inner.topology.learn(source))?;
        let names: Vec<_> = queues.iter().map(|source| source.queue.clone()).collect();
        inner.topology.declare(&inner.intake, &names).await?;
        inner.remember(names.iter().map(QueueName::as_str)).await;
        inner.live().queues = names;
        inner.changed.notify_one();
        Ok(())
    }

    async fn queues(&self) -> Result<Vec<QueueName>, PortError> {
        self.inner.known_queues().await
    }

    fn resize(&self, slots: usize) {
        let slots = u16::try_from(slots).unwrap_or(u16::MAX);
        let before = std::mem::replace(&mut self.inner.live().slots, slots);
        if before != slots {
            self.inner.changed.notify_one();
        }
    }

    async fn waiting(&self) -> Result<Vec<(QueueName, u64)>, PortError> {
        let queues = self.inner.live().queues.clone();
        super::examine::waiting(&self.inner.intake, queues).await
    }

    async fn leave(&self) -> Result<(), PortError> {
        let inner = &*self.inner;
        let session = inner.session.lock().await.take();
        {
            let mut live = inner.live();
            // Nothing comes from the store from now on.
            live.channel = None;
            live.returned.clear();
        }
        drop(session);
        // The server gives back what it waits for when the connection ends; and nothing comes to us
        // of what we give back.
        inner.intake.close().await;
        let given_back = inner.give_back_stored().await;
        inner.live().held.clear();
        inner.outlet.close().await;
        given_back
    }
}

impl Inner {
    pub(super) fn live(&self) -> MutexGuard<'_, Live> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells the server what is over and what is to be delivered again. That it cannot be told is no
    /// error: what it was not told of it delivers again, and the ledger knows it.
    ///
    /// One at a time, because an answer that covers several would cover those of another that are not
    /// sent yet. Whoever waits for its turn leaves its own to whoever has it.
    pub(super) async fn answer(&self, unsaid: Unsaid) {
        self.live().unsaid.add(unsaid);
        let _turn = self.answering.lock().await;
        let (answers, channel) = {
            let mut live = self.live();
            let unsaid = std::mem::take(&mut live.unsaid);
            (live.held.answers(&unsaid), live.channel.clone())
        };
        let Some(channel) = channel else { return };
        let say = async |answer: Answer| match answer {
            Answer::Acknowledge(tag, multiple) => {
                channel.basic_ack(tag, BasicAckOptions { multiple }).await
            }
            Answer::Return(tag) => {
                let options = BasicNackOptions { multiple: false, requeue: true };
                channel.basic_nack(tag, options).await
            }
            Answer::Refuse(tag) => {
                let options = BasicNackOptions { multiple: false, requeue: false };
                channel.basic_nack(tag, options).await
            }
        };
        // What goes back is said first: it is not to be covered by what is over.
        let goes_back = |answer: &Answer| !matches!(answer, Answer::Acknowledge(..));
        let (back, over): (Vec<_>, Vec<_>) = answers.into_iter().partition(goes_back);
        join_all(back.into_iter().map(say)).await;
        join_all(over.into_iter().map(say)).await;
    }

    /// Something will be due then.
    pub(super) fn due_in(&self, wait: Option<Duration>) {
        let Some(at) = wait.and_then(|wait| Instant::now().checked_add(wait)) else { return };
        let mut live = self.live();
        if live.next_due.is_none_or(|next| at < next) {
            live.next_due = Some(at);
            drop(live);
            self.news.notify_one();
        }
    }

    /// One look at the lease and at the waits; returns how long it may be until the next.
    async fn look(&self) -> Duration {
        let lease = self.options.lease;
        let (is_over, is_due) = {
            let mut live = self.live();
            let is_over = live.channel.is_some() && live.renewed.elapsed() >= lease;
            let is_due = live.next_due.take_if(|due| *due <= Instant::now()).is_some();
            (is_over, is_due)
        };
        if is_over {
            self.give_up().await;
        }
        if is_due && let Err(error) = self.wake_due().await {
            warn!(error = &error as &dyn std::error::Error, "Cannot publish what is due");
            self.due_in(Some(RETRY));
        }
        let live = self.live();
        let ends = live.channel.as_ref().map(|_| lease.saturating_sub(live.renewed.elapsed()));
        let due = live.next_due.map(|due| due.saturating_duration_since(Instant::now()));
        [ends, due].into_iter().flatten().min().unwrap_or(SWEEP).min(SWEEP)
    }

    /// The lease is over: everything goes back, as if this worker were dead.
    async fn give_up(&self) {
        {
            let mut live = self.live();
            live.channel = None;
            live.returned.clear();
            live.held.lose_all();
        }
        info!("The session's lease is over, so its connection is closed");
        self.intake.close().await;
    }
}
