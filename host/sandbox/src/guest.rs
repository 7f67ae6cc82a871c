//! What the host keeps for one attempt while its instance lives.

use std::collections::HashSet;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use lovage_core::frames::{self, Attempt, Entry, HostCall, HostReply, ToExecutor};
use lovage_core::ports::HostServices;
use lovage_core::{JobNumber, Limits, OutboxItem};
use wasmtime::component::ResourceTable;
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

use crate::imports::{HostError, Http};
use crate::limits::MemoryMeter;
use crate::queue::Slot;
use crate::streams::Streams;
use crate::trap::Stop;

/// Work of the host for a guest after which others have their turn: in bytes copied, about 0.1 ms.
const BREATH: usize = 1 << 20;

/// What a host call costs beside the bytes it carries, in bytes that could be copied meanwhile.
const CALL_WORK: usize = 2 << 10;

/// The state of one attempt: the data of its store.
pub(crate) struct Guest {
    pub(crate) job: JobNumber,
    pub(crate) limits: Limits,
    pub(crate) slot: Arc<Slot>,
    pub(crate) memory: MemoryMeter,
    pub(crate) table: ResourceTable,
    pub(crate) wasi: WasiCtx,
    pub(crate) streams: Streams,
    pub(crate) outbox: Vec<OutboxItem>,
    pub(crate) outbox_bytes: usize,
    pub(crate) steps: HashSet<String>,
    /// The steps that were begun and have not ended, the innermost last.
    pub(crate) open_steps: Vec<String>,
    /// What requests need; made when the guest has to do with HTTP for the first time.
    pub(crate) http: Option<Box<Http>>,
    /// Who answers what only the worker can; nobody does while a module is described.
    pub(crate) services: Option<Arc<dyn HostServices>>,
    /// The frame that asked for this attempt, of which few guests read more than the arguments.
    pub(crate) frame: Arc<[u8]>,
    pub(crate) started: Instant,
    /// What the host did for this guest since others last had a turn.
    pub(crate) work: usize,
}

/// What is another's in the next attempt.
pub(crate) struct NextAttempt {
    pub(crate) job: JobNumber,
    pub(crate) limits: Limits,
    pub(crate) slot: Arc<Slot>,
    pub(crate) services: Arc<dyn HostServices>,
    pub(crate) frame: Arc<[u8]>,
    pub(crate) started: Instant,
}

impl Guest {
    /// Makes this the state of the next attempt in the same instance. What the guest holds of the
    /// host stays: its handles of streams and clocks.
    pub(crate) fn renew(&mut self, next: NextAttempt) {
        let NextAttempt { job, limits, slot, services, frame, started } = next;
        self.job = job;
        self.limits = limits;
        self.slot = slot;
        self.memory.renew(limits.memory_bytes);
        self.streams.renew(&limits);
        self.outbox.clear();
        self.outbox_bytes = 0;
        self.steps.clear();
        self.open_steps.clear();
        self.http = None;
        self.services = Some(services);
        self.frame = frame;
        self.started = started;
        self.work = 0;
    }

    /// Counts a call of the contract's imports.
    ///
    /// # Errors
    /// When there were as many as there may be: the attempt ends.
    pub(crate) fn count_call(&self) -> Result<(), Stop> {
        if self.slot.count_host_call() > self.limits.host_calls {
            return Err(Stop::TooManyHostCalls);
        }
        Ok(())
    }

    /// Lets others run when the host did much for this guest. Fuel does not see the host's work.
    pub(crate) async fn breathe(&mut self, bytes: usize) {
        self.work = self.work.saturating_add(bytes).saturating_add(CALL_WORK);
        if self.work > BREATH {
            self.work = 0;
            let mut waited = false;
            poll_fn(|context| {
                if std::mem::replace(&mut waited, true) {
                    return Poll::Ready(());
                }
                context.waker().wake_by_ref();
                Poll::Pending
            })
            .await;
        }
    }

    /// What is left until the soft and the hard limit.
    pub(crate) fn limits_left(&self) -> (Option<Duration>, Duration) {
        let gone = self.started.elapsed();
        let left = |limit: Duration| limit.saturating_sub(gone);
        (self.limits.soft_time.map(left), left(self.limits.time))
    }

    /// Whether calls are still honoured.
    ///
    /// # Errors
    /// When the soft time limit is over, or there is no task to call for.
    pub(crate) fn offered(&self) -> Result<(), HostError> {
        if self.limits_left().0 == Some(Duration::ZERO) {
            return Err(HostError::SoftTimeLimit);
        }
        match self.services {
            Some(_) => Ok(()),
            None => Err(HostError::Unavailable("a module is being described".into())),
        }
    }

    /// Asks the worker, unless the soft limit is over.
    pub(crate) async fn call_worker(&mut self, call: HostCall<'_>) -> Result<HostReply, HostError> {
        self.offered()?;
        self.call_worker_at_any_time(call).await
    }

    /// Asks the worker, even after the soft limit.
    pub(crate) async fn call_worker_at_any_time(
        &mut self,
        call: HostCall<'_>,
    ) -> Result<HostReply, HostError> {
        let services = self.services.clone();
        let services =
            services.ok_or_else(|| HostError::Unavailable("a module is being described".into()))?;
        match services.call(self.job, call).await {
            HostReply::Unavailable(what) => Err(HostError::Unavailable(what)),
            HostReply::Invalid(what) => Err(HostError::Invalid(what)),
            HostReply::Limit(what) => Err(HostError::Limit(what)),
            HostReply::Other(what) => Err(HostError::Other(what)),
            reply => Ok(reply),
        }
    }

    /// Looks at the attempt as the worker sent it; `None` when a module is being described.
    pub(crate) fn with_attempt<T>(&self, look: impl FnOnce(Option<&Attempt<'_>>) -> T) -> T {
        match frames::decode(&self.frame) {
            Ok(ToExecutor::Run(run)) => match &run.entry {
                Entry::Task(attempt) => look(Some(attempt)),
                Entry::Describe => look(None),
            },
            _ => look(None),
        }
    }
}

/// Every call of WASI comes through here, so it counts them, too. The clockwork ends attempts that
/// make too many at their next turn.
impl WasiView for Guest {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        self.slot.count_host_call();
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}
