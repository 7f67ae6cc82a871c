//! What people see of a worker, and change in it, while it works.
//!
//! The main path asks here before a call may run, and tells here what it does with it; remote
//! control reads and changes the same. Nothing here does I/O, and what nobody uses costs the main
//! path one comparison.

mod rate;
mod rates;
mod revoked;
mod roster;
mod slots;
mod sources;
mod time_limits;

use std::sync::Arc;

use lovage_core::ports::SharedRates;
use lovage_core::{Invocation, Limits, QueueName, TaskName, TenantMeter, Timestamp};
use tokio_util::sync::CancellationToken;

pub use rate::{Rate, RateError};
pub use rates::{RateSettings, SharedRate};
pub(crate) use rates::{Rates, Turn};
pub use revoked::Revoked;
pub(crate) use revoked::{is_stamped, values};
pub use roster::{Begun, Roster};
pub use slots::Slots;
pub use sources::Sources;
pub use time_limits::TimeLimits;

/// The state of one worker that is not a message's.
pub struct Operations {
    /// The calls that are here.
    pub roster: Roster,
    /// The calls that nobody wants any more.
    pub revoked: Revoked,
    /// How often tasks may begin.
    pub(crate) rates: Rates,
    /// Time limits that were changed.
    pub time_limits: TimeLimits,
    /// How many calls may be in work.
    pub slots: Arc<Slots>,
    /// From which queues calls are taken.
    pub sources: Sources,
    /// What counts tenants' use, over all workers.
    pub(crate) meter: Arc<dyn TenantMeter>,
    /// Set when the worker takes nothing more.
    pub(crate) stopping: CancellationToken,
}

/// What [`Operations`] begin with.
pub struct OperationSettings {
    /// Calls in work at once.
    pub slots: usize,
    /// The most that it may be made.
    pub slots_max: usize,
    /// The queues that the broker takes from already.
    pub queues: Vec<QueueName>,
    /// How often tasks may begin, besides what they ask themselves.
    pub rates: RateSettings,
    /// Where limits are that all workers share.
    pub shared_rates: Option<Arc<dyn SharedRates>>,
    /// What counts tenants' use, over all workers.
    pub meter: Arc<dyn TenantMeter>,
}

impl Operations {
    /// Nothing has happened yet.
    pub fn new(settings: OperationSettings) -> Self {
        let slots = Arc::new(Slots::new(settings.slots, settings.slots_max));
        let stopping = CancellationToken::new();
        let waiting_max = settings.slots.saturating_mul(WAITING_PER_SLOT);
        Self {
            roster: Roster::default(),
            revoked: Revoked::default(),
            rates: Rates::new(settings.rates, settings.shared_rates, waiting_max),
            time_limits: TimeLimits::default(),
            slots,
            sources: Sources::new(settings.queues),
            meter: settings.meter,
            stopping,
        }
    }

    /// The operator's limits for a task.
    pub(crate) fn limits(&self, task: &TaskName, operator: &Limits) -> Limits {
        self.time_limits.applied(task, operator)
    }

    /// Whether a message is news: not if nobody wants its call any more, and not when it was here
    /// before and only waited for its time.
    pub(crate) fn is_news(&self, invocation: &Invocation, revoked: bool, now: Timestamp) -> bool {
        let waited = self.roster.unschedule(&invocation.id);
        let expired = invocation.expires.is_some_and(|expires| expires <= now);
        !waited && !expired && !revoked
    }

    /// Whether the worker takes nothing more.
    pub fn is_stopping(&self) -> bool {
        self.stopping.is_cancelled()
    }

    /// Sets how often a task may begin on this worker; `None` takes every limit away.
    pub fn set_rate(&self, task: TaskName, rate: Option<Rate>) {
        self.rates.set(task, rate);
    }

    /// How often a task may begin on this worker, given what its manifest asks.
    pub fn rate(&self, task: &TaskName, asked: Option<&str>) -> Option<Rate> {
        self.rates.of(task, asked)
    }
}

/// Calls that wait for their rate outside their slots, for each slot: Celery's prefetch multiplier.
const WAITING_PER_SLOT: usize = 4;
