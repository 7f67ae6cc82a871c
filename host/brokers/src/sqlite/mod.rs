//! kombu's SQLAlchemy tables in one SQLite file: the queue that needs no server.
//!
//! A Celery producer with `broker_url="sqla+sqlite:///path"` works before this adapter has opened the
//! file and after, unmodified, and so does a Celery worker on the same queues. What kombu leaves out
//! is in tables of ours beside its own: leases, redelivery, delays and kept messages.
//!
//! * **Taking** hides a message, as kombu's workers do, and writes a lease beside it in the same
//!   transaction. A message that is hidden without a lease of ours was taken by somebody else and is
//!   never touched. Order is kombu's: first in, first out; its tables know no priorities.
//! * **Settling** is one transaction for everything that lives in this file: see [`SqliteSettle`].
//! * **Waiting** costs no polling: the kernel tells of writes to the file.
//! * Calls that wait for the file together share one transaction and one wait for the disk. Taking
//!   and leases wait for none: what a power cut undoes of them, the reboot has ended anyway.
//!
//! The file must be on a local disk: SQLite's log needs memory that all its users share, and leases
//! run by the clock of the one machine they are on.

mod kept;
mod lease;
mod queue;
mod schema;
mod settle;
mod taking;
mod watch;

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use lovage_celery::mark_redelivered;
use lovage_core::ports::{Broker, Clock, Demand, PortError};
use lovage_core::{
    Closing, Delivery, Disposal, Message, Publication, QueueName, QueueSource, Receipt, Timestamp,
};
use lovage_sqlite::Database;
use tokio::sync::Notify;
use tracing::{info, warn};

use lease::Leases;
use queue::{Claim, Sent, Taken};
pub use settle::SqliteSettle;
use taking::Queues;
use watch::Watch;

/// The longest that [`Broker::sweep`] says may pass until the next one.
const SWEEP_MAX: Duration = Duration::from_secs(5);

/// The longest wait for something to take; whoever waits ends it sooner.
const WATCH: Duration = Duration::from_mins(1);

/// What a [`SqliteBroker`] needs to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SqliteBrokerSettings {
    /// The queues to take from; they take turns.
    pub queues: Vec<QueueName>,
    /// How long what was received is safe from others without being renewed.
    pub lease: Duration,
    /// How many kept messages there may be; the oldest go first.
    pub kept_max: u32,
    /// How long messages are kept.
    pub kept_for: Duration,
}

impl SqliteBrokerSettings {
    /// Takes from these queues; a lease of 30 seconds; keeps 100,000 messages for 14 days.
    pub fn new(queues: Vec<QueueName>) -> Self {
        let kept_for = Duration::from_hours(14 * 24);
        Self { queues, lease: Duration::from_secs(30), kept_max: 100_000, kept_for }
    }
}

/// A worker's session on a SQLite file.
pub struct SqliteBroker {
    database: Database,
    queues: RwLock<Queues>,
    settings: SqliteBrokerSettings,
    leases: Leases,
    clock: Arc<dyn Clock>,
    session: AtomicI64,
    held: Mutex<Held>,
    watch: Watch,
    /// Told when something of our own became visible.
    own: Notify,
    /// Which queue is asked first.
    turn: AtomicUsize,
    /// When the next message is due, as far as the last take knows.
    due: Mutex<Option<Timestamp>>,
    /// The message up to which leases were looked at for strays.
    looked_at: AtomicI64,
}

/// What the session has, by the names it gave out.
#[derive(Debug, Default)]
struct Held {
    claims: HashMap<Receipt, Claim>,
    last: u64,
    /// What a session lost that was found to be over outside [`Broker::renew`], not told yet.
    lost: Vec<Receipt>,
}

/// What an attempt to take came to.
enum Take {
    /// These, each with its queue; and when the next message is due.
    Some(Vec<(QueueName, Taken)>, Option<Timestamp>),
    /// The session is over.
    Over,
}

impl SqliteBroker {
    /// Makes what tables are missing, and begins a session.
    ///
    /// # Errors
    /// When the file cannot be written, was made by a later Lovage, or has tables of kombu's names
    /// that are not kombu's.
    pub async fn start(
        database: Database,
        settings: SqliteBrokerSettings,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, PortError> {
        let leases = Leases::new(settings.lease).map_err(|error| {
            PortError::permanent("read which boot of the machine this is", error)
        })?;
        let what = || format!("use {} as a queue", database.path().display());
        database
            .write("make the queue's tables", |connection| {
                let outcome = schema::prepare(connection)?;
                outcome.map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))
            })
            .await
            .map_err(|error| {
                if error.is_transient() { error } else { PortError::permanent(what(), error) }
            })?;
        let (names, own) = (settings.queues.clone(), leases.clone());
        let (queues, session) = database
            .write_unsynced("begin a session", move |connection| {
                Ok((taking::number(connection, names)?, own.begin(connection)?))
            })
            .await?;
        let watch = Watch::new(database.log_path());
        Ok(Self {
            database,
            queues: RwLock::new(queues),
            settings,
            leases,
            clock,
            session: AtomicI64::new(session),
            held: Mutex::default(),
            watch,
            own: Notify::new(),
            turn: AtomicUsize::new(0),
            due: Mutex::default(),
            looked_at: AtomicI64::new(0),
        })
    }

    fn queues(&self) -> Queues {
        Arc::clone(&self.queues.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn session(&self) -> i64 {
        self.session.load(Ordering::Acquire)
    }

    /// Takes what is there now, of each share in turn; and when the next message is due.
    async fn take_shares(
        &self,
        shares: Vec<(Queues, usize)>,
        most: usize,
        bytes: u64,
    ) -> Result<(Vec<Delivery>, Option<Timestamp>), PortError> {
        let (leases, session) = (self.leases.clone(), self.session());
        let (now, turn) = (self.clock.now(), self.turn.fetch_add(1, Ordering::Relaxed));
        let take = move |connection: &rusqlite::Connection| {
            if !leases.lives(connection, session)? {
                return Ok(Take::Over);
            }
            let (_, next) = queue::show_due(connection, now)?;
            let (mut all, mut room) = (Vec::new(), bytes);
            for (queues, share) in &shares {
                let enough = most.min(all.len().saturating_add(*share));
                for offset in 0..queues.len() {
                    let queue = queues.get(turn.wrapping_add(offset) % queues.len());
                    let wanted = enough.saturating_sub(all.len());
                    let Some(queue) = queue.filter(|_| wanted > 0 && room > 0) else { break };
                    let taken = queue::take(connection, queue.id, session, wanted)?;
                    let size: u64 = taken.iter().map(|taken| taken.payload.len() as u64).sum();
                    room = room.saturating_sub(size);
                    all.extend(taken.into_iter().map(|taken| (queue.name.clone(), taken)));
                }
            }
            Ok(Take::Some(all, next))
        };
        match self.database.write_unsynced("receive", take).await? {
            Take::Some(taken, next) => Ok((self.hand_out(taken), next)),
            Take::Over => {
                let mut lost = self.begin_anew().await?;
                self.held().lost.append(&mut lost);
                Ok((Vec::new(), Some(now)))
            }
        }
    }

    fn hand_out(&self, taken: Vec<(QueueName, Taken)>) -> Vec<Delivery> {
        let mut held = self.held();
        let hand_out = |(queue, Taken { claim, payload }): (QueueName, Taken)| {
            held.last += 1;
            let receipt = Receipt(held.last);
            held.claims.insert(receipt, claim);
            let redelivered = claim.deliveries > 1;
            let marked =
                if redelivered { mark_redelivered(&payload).map(Bytes::from) } else { None };
            Delivery {
                queue,
                receipt,
                message: Message::Envelope(marked.unwrap_or(payload)),
                redelivered,
                deliveries: claim.deliveries,
            }
        };
        taken.into_iter().map(hand_out).collect()
    }

    /// Begins a session in place of one that is over; returns what that one held.
    async fn begin_anew(&self) -> Result<Vec<Receipt>, PortError> {
        let leases = self.leases.clone();
        let begin = move |connection: &rusqlite::Connection| leases.begin(connection);
        let session = self.database.write_unsynced("begin a session", begin).await?;
        self.session.store(session, Ordering::Release);
        let mut lost: Vec<_> = self.held().claims.drain().map(|(receipt, _)| receipt).collect();
        lost.sort_unstable();
        warn!(lost = lost.len(), "The session's lease was over, so another one was begun");
        Ok(lost)
    }

    /// Whether there may be something to take, asked without locking the file.
    async fn is_waiting(&self, queues: &Queues) -> Result<bool, PortError> {
        let queues = Arc::clone(queues);
        let look = move |connection: &rusqlite::Connection| {
            for queue in queues.iter() {
                if queue::is_waiting(connection, queue.id)? {
                    return Ok(true);
                }
            }
            Ok(false)
        };
        self.database.read("look for messages", look).await
    }

    /// Waits until there may be something in these queues: written by others, by ourselves, or due.
    async fn wait(
        &self,
        queues: &Queues,
        until: Instant,
        due: Option<Timestamp>,
    ) -> Result<(), PortError> {
        loop {
            let rest = until.saturating_duration_since(Instant::now());
            let due = due.map_or(Duration::MAX, |due| due.until(self.clock.now()));
            if rest.min(due).is_zero() {
                return Ok(());
            }
            tokio::select! {
                () = self.own.notified() => return Ok(()),
                () = self.watch.time_to_look(rest.min(due)) => {}
            }
            if self.is_waiting(queues).await? {
                return Ok(());
            }
        }
    }
}

#[async_trait]
impl Broker for SqliteBroker {
    async fn receive(&self, most: usize, wait: Duration) -> Result<Vec<Delivery>, PortError> {
        let until = Instant::now() + wait;
        loop {
            let queues = self.queues();
            let shares = vec![(Arc::clone(&queues), most)];
            let (taken, due) = self.take_shares(shares, most, u64::MAX).await?;
            if !taken.is_empty() || most == 0 || Instant::now() >= until {
                return Ok(taken);
            }
            self.wait(&queues, until, due).await?;
        }
    }

    async fn take(&self, demand: &Demand<'_>) -> Result<Vec<Delivery>, PortError> {
        let shares = taking::shares(&self.queues(), demand);
        let (taken, due) = self.take_shares(shares, demand.most, demand.bytes).await?;
        *self.due.lock().unwrap_or_else(PoisonError::into_inner) = due;
        Ok(taken)
    }

    async fn watch(&self, demand: &Demand<'_>) -> Result<(), PortError> {
        let shares = taking::shares(&self.queues(), demand);
        let queues = shares.iter().flat_map(|(queues, _)| queues.iter().cloned()).collect();
        let due = *self.due.lock().unwrap_or_else(PoisonError::into_inner);
        self.wait(&queues, Instant::now() + WATCH, due).await
    }

    async fn take_from(&self, queues: &[QueueSource]) -> Result<(), PortError> {
        let names = queues.iter().map(|source| source.queue.clone()).collect();
        let number = move |connection: &rusqlite::Connection| taking::number(connection, names);
        let queues = self.database.write_unsynced("change queues", number).await?;
        *self.queues.write().unwrap_or_else(PoisonError::into_inner) = queues;
        self.own.notify_one();
        Ok(())
    }

    async fn queues(&self) -> Result<Vec<QueueName>, PortError> {
        self.database.read("look for queues", queue::names).await
    }

    async fn publish(&self, messages: &[Publication]) -> Result<(), PortError> {
        let sent: Vec<_> = messages.iter().map(Sent::of).collect();
        let now = self.clock.now();
        let publish = move |connection: &rusqlite::Connection| {
            sent.iter().try_for_each(|sent| queue::put(connection, sent, now))
        };
        self.database.write("publish", publish).await?;
        self.own.notify_one();
        Ok(())
    }

    async fn close(&self, batch: &[(Receipt, Disposal)]) -> Vec<Result<(), PortError>> {
        let closing =
            |(receipt, disposal): &(Receipt, Disposal)| Closing::only(*receipt, disposal.clone());
        let batch: Vec<_> = batch.iter().map(closing).collect();
        self.settle_with(&batch, Arc::default()).await
    }

    async fn renew(&self) -> Result<Vec<Receipt>, PortError> {
        let (leases, session) = (self.leases.clone(), self.session());
        let extend = move |connection: &rusqlite::Connection| leases.extend(connection, session);
        let lives = self.database.write_unsynced("renew the session's lease", extend).await?;
        let over =
            if lives || session != self.session() { Vec::new() } else { self.begin_anew().await? };
        let mut lost = std::mem::take(&mut self.held().lost);
        lost.extend(over);
        Ok(lost)
    }

    async fn sweep(&self) -> Result<Duration, PortError> {
        let (leases, now) = (self.leases.clone(), self.clock.now());
        let kept_max = self.settings.kept_max;
        let kept_micros = i64::try_from(self.settings.kept_for.as_micros()).unwrap_or(i64::MAX);
        let kept_since = Timestamp::from_micros(now.as_micros().saturating_sub(kept_micros));
        let after = self.looked_at.load(Ordering::Relaxed);
        let sweep = move |connection: &rusqlite::Connection| {
            let returned = leases.end_dead(connection)?;
            let (shown, next) = queue::show_due(connection, now)?;
            let after = queue::forget_strays(connection, after)?;
            let trimmed = queue::trim_kept(connection, kept_max, kept_since)?;
            Ok((returned, shown, next, after, trimmed))
        };
        let (returned, shown, next, after, trimmed) =
            self.database.write_unsynced("sweep", sweep).await?;
        self.looked_at.store(after, Ordering::Relaxed);
        if returned > 0 {
            info!(messages = returned, "Gave messages of dead sessions back to their queues");
        }
        if trimmed > 0 {
            info!(messages = trimmed, "Deleted kept messages that were too old or too many");
        }
        if returned + shown > 0 {
            self.own.notify_one();
        }
        Ok(next.map_or(SWEEP_MAX, |next| next.until(self.clock.now())).min(SWEEP_MAX))
    }

    async fn leave(&self) -> Result<(), PortError> {
        let session = self.session();
        let leave = move |connection: &rusqlite::Connection| lease::end(connection, session);
        self.database.write_unsynced("leave", leave).await?;
        self.held().claims.clear();
        Ok(())
    }
}
