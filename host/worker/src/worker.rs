//! One worker's life: consume, keep the lease, drain.

use std::sync::Arc;
use std::time::Duration;

use lovage_celery::{Accept, CloseSettings};
use lovage_core::ports::{Broker, Chords, Clock, Ledger, PortError, Registry, Sandbox, Settle};
use lovage_core::{Limits, TenantTable};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};
use tracing::{info, warn};

use crate::builtins::Builtins;
use crate::chords::Counting;
use crate::claims::Claims;
use crate::consumer::Consumer;
use crate::event::Observer;
use crate::failpoint::Failpoint;
use crate::keeper::{Keeping, hold, stop, sweep};
use crate::operations::Operations;
use crate::pipeline::Pipeline;
use crate::restraint::Restraint;
use crate::schemas::Schemas;
use crate::services::Services;
use crate::settler::Settler;
use crate::shares::Shares;

/// The outside, as the binary wired it.
pub struct Ports {
    /// Where deliveries come from.
    pub broker: Arc<dyn Broker>,
    /// What makes verdicts true.
    pub settle: Arc<dyn Settle>,
    /// What calls are checked against before they run; the same that `settle` records in. Without
    /// one a call may run twice.
    pub ledger: Option<Arc<dyn Ledger>>,
    /// Where members of chords are counted; `None` where the result backend does not count.
    pub chords: Option<Arc<dyn Chords>>,
    /// Where guests run; its host services are these [`Services`].
    pub sandbox: Arc<dyn Sandbox>,
    /// What answers guests.
    pub services: Arc<Services>,
    /// What is known about tasks.
    pub registry: Arc<dyn Registry>,
    /// Who owns which queues.
    pub tenants: Arc<TenantTable>,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// Who is told of everything, besides the log.
    pub observers: Vec<Arc<dyn Observer>>,
    /// What is seen and changed while the worker works.
    pub operations: Arc<Operations>,
}

/// How a worker is to work.
#[derive(Debug, Clone)]
pub struct Options {
    /// Attempts that can compute at once: what a tenant's use of the cores is measured by.
    pub cores: usize,
    /// Whether it takes from the queues of all tenants, too, as soon as there are any.
    pub joins_tenants: bool,
    /// What messages it reads.
    pub accept: Accept,
    /// What settling depends on.
    pub close: CloseSettings,
    /// The most that any attempt may use.
    pub limits: Limits,
    /// How long the broker keeps what this worker took and does not renew.
    pub lease: Duration,
    /// How long a drain waits for what runs before it hands it back.
    pub drain: Duration,
    /// Where a test has it die; nowhere, by default.
    pub failpoint: Failpoint,
}

/// How a worker is told to end. Clones tell the same worker.
#[derive(Debug, Clone, Default)]
pub struct Shutdown {
    warm: CancellationToken,
    cold: CancellationToken,
}

impl Shutdown {
    /// Take nothing more; finish what runs.
    pub fn warm(&self) {
        self.warm.cancel();
    }

    /// Hand back what runs, now.
    pub fn cold(&self) {
        self.warm.cancel();
        self.cold.cancel();
    }

    /// Waits until all jobs have ended, they have had long enough, or somebody wants no more waiting.
    async fn wait_for(&self, jobs: &TaskTracker, long_enough: Duration) {
        tokio::select! {
            () = jobs.wait() => {}
            () = self.cold.cancelled() => {}
            () = tokio::time::sleep(long_enough) => {}
        }
    }

    /// Goes through with something that a worker cannot go on without: an error ends it at once.
    async fn at_error(
        self,
        vital: impl Future<Output = Result<(), PortError>>,
    ) -> Result<(), PortError> {
        let ended = vital.await;
        if ended.is_err() {
            self.cold();
        }
        ended
    }

    /// Waits for the jobs, ends those that take too long, and returns how many these were.
    async fn drain(&self, jobs: &TaskTracker, long_enough: Duration, end: impl Fn()) -> usize {
        jobs.close();
        info!(in_work = jobs.len(), "Draining: taking nothing more");
        self.wait_for(jobs, long_enough).await;
        let handed_back = jobs.len();
        if handed_back > 0 {
            warn!(calls = handed_back, "Handing back what still runs");
            end();
            // Whatever does not end in time settles nothing either: its lease ends with the session.
            let _ = tokio::time::timeout(STOP_GRACE, jobs.wait()).await;
        }
        handed_back
    }

    /// Whether it was told already.
    pub fn is_told(&self) -> bool {
        self.warm.is_cancelled()
    }
}

/// How a drain went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drained {
    /// Calls that were still in work and went back to their queue.
    pub handed_back: usize,
}

/// A worker: everything between the ports.
pub struct Worker {
    ports: Ports,
    options: Options,
}

/// How long calls that were stopped may take to notice it.
const STOP_GRACE: Duration = Duration::from_secs(2);

impl Worker {
    /// A worker that has not begun.
    pub fn new(ports: Ports, options: Options) -> Self {
        Self { ports, options }
    }

    /// Works until it is told to end, then drains.
    ///
    /// # Errors
    /// When the ledger refuses everything for good: what was in work has gone back to its queues. When
    /// the broker could not be told at the end: what was still in work comes again when the lease is
    /// over.
    pub async fn run(self, shutdown: Shutdown) -> Result<Drained, PortError> {
        let Self { ports, options } = self;
        let (settler, settling) = Settler::new(ports.settle);
        let wake = Arc::new(Notify::new());
        let (claims, claiming) =
            Claims::new(ports.ledger.clone(), options.lease, Arc::clone(&wake));
        let pipeline = Arc::new(Pipeline {
            accept: options.accept,
            close: options.close,
            limits: options.limits,
            registry: ports.registry,
            builtins: Builtins::default(),
            tenants: ports.tenants,
            shares: Shares::new(options.cores),
            schemas: Schemas::default(),
            sandbox: Arc::clone(&ports.sandbox),
            services: Arc::clone(&ports.services),
            counting: Counting::new(ports.chords),
            claims,
            restraint: Restraint::default(),
            settler,
            clock: ports.clock,
            observers: ports.observers,
            operations: Arc::clone(&ports.operations),
            failpoint: options.failpoint,
        });
        let jobs = TaskTracker::new();
        let _settling = AbortOnDropHandle::new(tokio::spawn(settling));
        let claiming = AbortOnDropHandle::new(tokio::spawn(shutdown.clone().at_error(claiming)));
        let _keeping = AbortOnDropHandle::new(tokio::spawn(hold(Keeping {
            broker: Arc::clone(&ports.broker),
            ledger: ports.ledger.clone(),
            sandbox: Arc::clone(&ports.sandbox),
            services: Arc::clone(&ports.services),
            lease: options.lease,
            wake,
        })));
        let broker = Arc::clone(&ports.broker);
        let _sweeping = AbortOnDropHandle::new(tokio::spawn(async move { sweep(&*broker).await }));

        let consumer = Consumer {
            broker: &*ports.broker,
            pipeline,
            jobs: &jobs,
            joins_tenants: options.joins_tenants,
        };
        consumer.consume(&shutdown.warm).await;
        ports.operations.stopping.cancel();

        let stopping = || stop(&*ports.sandbox, &ports.services.running, |_| true);
        let handed_back = shutdown.drain(&jobs, options.drain, stopping).await;
        // The ledger first: whoever is handed a message back must find its call free.
        let left = match &ports.ledger {
            Some(ledger) => ledger.leave().await,
            None => Ok(()),
        };
        if claiming.is_finished()
            && let Ok(Err(refused)) = claiming.await
        {
            ports.broker.leave().await?;
            return Err(refused);
        }
        left?;
        ports.broker.leave().await?;
        Ok(Drained { handed_back })
    }
}
