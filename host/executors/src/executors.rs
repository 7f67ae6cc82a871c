//! The Sandbox port.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use lovage_core::ports::{HostServices, Sandbox};
use lovage_core::{Death, Job, JobNumber, Json, Module, Outcome, Report};
use tokio::sync::OnceCell;
use tokio::task::JoinSet;

use crate::accounting::{ExecutorState, Loss};
use crate::jobs::killed;
use crate::options::Options;
use crate::pool::{Placed, Shared};
use crate::process::{Process, StartError};
use crate::request::Request;
use crate::seat;

/// The executor processes of a worker.
///
/// Dropping it kills them; [`stop`](Self::stop) asks them first.
pub struct Executors {
    shared: Arc<Shared>,
    seats: Mutex<JoinSet<()>>,
    /// The executor of those who run alone; there is none until one is needed.
    alone: OnceCell<Box<Self>>,
}

impl Executors {
    /// Starts executors, and returns when the first one is ready; the others follow. `services`
    /// answers what guests ask of the host.
    ///
    /// To be called on a thread that lives as long as the executors: they die with it.
    ///
    /// # Errors
    /// When the first one cannot be started.
    pub async fn start(
        options: Options,
        services: Arc<dyn HostServices>,
    ) -> Result<Self, StartError> {
        let mut first = Some(Process::launch(&options).await?);
        let processes = options.processes.max(1);
        let shared = Arc::new(Shared::new(options, services));
        let mut seats = JoinSet::new();
        for number in 0..processes {
            seats.spawn(seat::occupy(Arc::clone(&shared), number, first.take()));
        }
        Ok(Self { shared, seats: Mutex::new(seats), alone: OnceCell::new() })
    }

    /// All executors as they are now.
    pub fn states(&self) -> Vec<ExecutorState> {
        self.shared.pool().states()
    }

    /// The executors that were lost since this was last asked, oldest first, each with the attempts
    /// that were in it. At most 64 are kept.
    pub fn take_losses(&self) -> Vec<Loss> {
        self.shared.pool().take_losses()
    }

    /// Ends all executors and waits until they are gone, about a second at most. Whatever still runs
    /// is reported as having lost its lease: nothing is to be settled, and it comes again.
    pub async fn stop(&self) {
        self.shared.pool().close();
        self.shared.stop.send_replace(true);
        self.shared.room.notify_waiters();
        if let Some(alone) = self.alone.get() {
            Box::pin(alone.stop()).await;
        }
        let seats = std::mem::take(&mut *self.seats.lock().unwrap_or_else(PoisonError::into_inner));
        seats.join_all().await;
    }

    /// One executor with one slot: its attempts take turns, and share it with nobody.
    async fn start_alone(&self) -> Result<Box<Self>, StartError> {
        let options = Options { processes: 1, slots: 1, ..self.shared.options.clone() };
        let started = Self::start(options, Arc::clone(&self.shared.services));
        Ok(Box::new(started.await?))
    }

    async fn report(&self, request: Request<'_>) -> Report {
        let bytes = request.argument_bytes();
        let most = request.limits.argument_bytes;
        if bytes > most as usize {
            let why = format!("the arguments have {bytes} bytes, {most} are allowed");
            return killed(Death::ArgumentsTooLarge, &why);
        }
        let Placed { seat, report } = match self.shared.place(&request).await {
            Ok(placed) => placed,
            Err(refusal) => return refusal.report(),
        };
        let mut running =
            Running { shared: &self.shared, seat, number: request.number, ended: false };
        let report = report.await;
        running.ended = true;
        // Its seat tells everyone before it lets go of them, unless it was itself dropped.
        report.unwrap_or_else(|_| killed(Death::LeaseLost, "the worker stopped"))
    }
}

#[async_trait]
impl Sandbox for Executors {
    async fn run(&self, number: JobNumber, job: &Job) -> Report {
        self.report(Request::run(number, job)).await
    }

    async fn run_alone(&self, number: JobNumber, job: &Job) -> Report {
        match self.alone.get_or_try_init(|| self.start_alone()).await {
            Ok(alone) => alone.run(number, job).await,
            Err(error) => killed(Death::NotStarted, &error.to_string()),
        }
    }

    fn cancel(&self, number: JobNumber, death: Death) {
        let grace = self.shared.options.grace;
        // There are as many executors as cores: asking each is cheaper than a table of where.
        let ended = self.shared.pool().lives().any(|live| live.end(number, death, grace));
        if let (false, Some(alone)) = (ended, self.alone.get()) {
            alone.cancel(number, death);
        }
    }

    async fn describe(&self, module: &Module) -> Result<Json, Report> {
        let number = self.shared.pool().question();
        match self.report(Request::describe(number, module)).await {
            Report { outcome: Outcome::Succeed(manifest), .. } => Ok(manifest),
            report => Err(report),
        }
    }
}

/// An attempt in an executor; dropped before its end, it is cancelled there.
struct Running<'a> {
    shared: &'a Shared,
    seat: usize,
    number: JobNumber,
    ended: bool,
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if !self.ended
            && let Some(live) = self.shared.pool().live(self.seat)
        {
            live.end(self.number, Death::LeaseLost, self.shared.options.grace);
        }
    }
}
