//! All seats together: who takes an attempt, who is told what.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lovage_core::ports::HostServices;
use lovage_core::{Death, ExecutorNumber, JobNumber, Report};
use tokio::sync::{Notify, oneshot, watch};

use crate::accounting::{Cause, ExecutorState, Loss};
use crate::jobs::{Live, Refusal, Slot, killed};
use crate::options::Options;
use crate::placement::{Candidate, choose, home};
use crate::request::Request;

/// Losses that are kept for whoever asks; the oldest go first.
const LOSSES_MAX: usize = 64;

/// What all tasks of this crate share.
pub(crate) struct Shared {
    /// How executors are started and bounded.
    pub(crate) options: Options,
    /// What answers the guests' host calls.
    pub(crate) services: Arc<dyn HostServices>,
    /// Wakes those who wait for an executor that takes their attempt.
    pub(crate) room: Notify,
    /// Becomes true once.
    pub(crate) stop: watch::Sender<bool>,
    pool: Mutex<Pool>,
}

/// The seats. One lock guards them all: it is held for microseconds and, as the worker has one
/// thread, hardly ever waited for.
pub(crate) struct Pool {
    seats: Vec<Seat>,
    losses: VecDeque<Loss>,
    stopping: bool,
    /// The number of the next question to a module; they count down from the top, because a
    /// worker's attempts count up from the bottom.
    question: u64,
}

/// A place for one executor process after another.
#[derive(Default)]
pub(crate) struct Seat {
    /// The process, while one is ready.
    pub(crate) live: Option<Live>,
    in_flight_peak: usize,
    finished: u64,
    started: u64,
    lost: u64,
    failed_starts: u64,
}

/// An attempt that an executor has.
pub(crate) struct Placed {
    /// The executor's seat.
    pub(crate) seat: usize,
    /// What it will say.
    pub(crate) report: oneshot::Receiver<Report>,
}

impl Shared {
    pub(crate) fn new(options: Options, services: Arc<dyn HostServices>) -> Self {
        let mut seats = Vec::new();
        seats.resize_with(options.processes.max(1), Seat::default);
        let pool = Pool { seats, losses: VecDeque::new(), stopping: false, question: u64::MAX };
        Self {
            options,
            services,
            room: Notify::new(),
            stop: watch::Sender::new(false),
            pool: Mutex::new(pool),
        }
    }

    pub(crate) fn pool(&self) -> MutexGuard<'_, Pool> {
        // No invariant of the pool spans a panic.
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns when the worker stops.
    pub(crate) async fn stopped(&self) {
        // The sender lives as long as this does, so an error cannot come.
        let _ = self.stop.subscribe().wait_for(|stop| *stop).await;
    }

    /// Gives a request to an executor, waiting until there is one that can take it.
    ///
    /// # Errors
    /// When it cannot be run at all.
    pub(crate) async fn place(&self, request: &Request<'_>) -> Result<Placed, Refusal> {
        loop {
            // Nearly always there is room, so nobody gets in line before having looked.
            if let Some(placed) = self.pool().place(request, &self.options)? {
                return Ok(placed);
            }
            let room = self.room.notified();
            tokio::pin!(room);
            room.as_mut().enable();
            if let Some(placed) = self.pool().place(request, &self.options)? {
                return Ok(placed);
            }
            room.await;
        }
    }

    /// Seats a process that is ready.
    pub(crate) fn seat(&self, seat: usize, live: Live) {
        if let Some(seat) = self.pool().seats.get_mut(seat) {
            seat.started += 1;
            seat.live = Some(live);
        }
        self.room.notify_waiters();
    }

    /// Takes the process from its seat, accounts for its loss, and only then tells everyone who
    /// waits for it: whoever is told that an executor was lost finds the list of suspects.
    pub(crate) fn lose(&self, seat: usize, cause: Cause) {
        let told = format!("the executor process was lost while it ran this task: {cause}");
        let Some(live) = self.pool().vacate(seat) else { return };
        let (process, lived) = (live.process, live.since.elapsed());
        let (suspects, callers): (Vec<_>, Vec<_>) = live.into_suspects().into_iter().unzip();
        tracing::warn!(
            executor.number = seat,
            executor.process = process,
            executor.suspects = suspects.len(),
            "Lost an executor: {cause}"
        );
        for suspect in &suspects {
            tracing::info!(
                executor.process = process,
                task.id = suspect.task.as_ref().map_or("", |id| id.as_str()),
                module.digest = %suspect.module,
                "An attempt was in the executor that was lost"
            );
        }
        let executor = ExecutorNumber(u32::try_from(seat).unwrap_or(u32::MAX));
        self.pool().account(seat, Loss { executor, process, cause, lived, suspects });
        for caller in callers.into_iter().flatten() {
            // Whoever no longer waits needs no answer.
            let _ = caller.send(killed(Death::ExecutorLost, &told));
        }
    }

    /// Takes the process from its seat because the worker stops.
    pub(crate) fn dismiss(&self, seat: usize) {
        let Some(live) = self.pool().vacate(seat) else { return };
        for caller in live.into_suspects().into_iter().filter_map(|(_, caller)| caller) {
            let _ = caller.send(killed(Death::LeaseLost, "the worker stopped"));
        }
    }
}

impl Pool {
    fn place(
        &mut self,
        request: &Request<'_>,
        options: &Options,
    ) -> Result<Option<Placed>, Refusal> {
        if self.stopping {
            return Err(Refusal::not_started("the worker is stopping"));
        }
        let digest = request.module.digest;
        let home = request.tenant().map(|tenant| home(tenant, self.seats.len()));
        let candidates = self.seats.iter().enumerate().filter_map(|(seat, at)| {
            let live = at.live.as_ref()?;
            let in_flight = live.in_flight();
            let takes = in_flight < options.slots.max(1) as usize
                && live.outgoing.len() < options.queue_bytes_max.max(1);
            let foreign = in_flight > 0 && live.tenant.as_ref() != request.tenant();
            let warm = live.last_module == Some(digest) || home == Some(seat);
            takes.then_some(Candidate { seat, in_flight, warm, foreign })
        });
        let Some(seat) = choose(candidates) else { return Ok(None) };
        let Some(at) = self.seats.get_mut(seat) else { return Ok(None) };
        let Some(live) = at.live.as_mut() else { return Ok(None) };
        let report = live.send(request, options)?;
        at.in_flight_peak = at.in_flight_peak.max(live.in_flight());
        Ok(Some(Placed { seat, report }))
    }

    /// The process on a seat.
    pub(crate) fn live(&mut self, seat: usize) -> Option<&mut Live> {
        self.seats.get_mut(seat)?.live.as_mut()
    }

    /// The processes on all seats.
    pub(crate) fn lives(&mut self) -> impl Iterator<Item = &mut Live> {
        self.seats.iter_mut().filter_map(|seat| seat.live.as_mut())
    }

    /// Takes out an attempt that has ended.
    pub(crate) fn finish(&mut self, seat: usize, job: JobNumber) -> Option<Slot> {
        let seat = self.seats.get_mut(seat)?;
        let slot = seat.live.as_mut()?.finish(job)?;
        seat.finished += 1;
        Some(slot)
    }

    /// Attempts that ended on a seat.
    pub(crate) fn finished(&self, seat: usize) -> u64 {
        self.seats.get(seat).map_or(0, |seat| seat.finished)
    }

    /// A number for a question to a module.
    pub(crate) fn question(&mut self) -> JobNumber {
        self.question -= 1;
        JobNumber(self.question)
    }

    /// Nothing is taken from now on.
    pub(crate) fn close(&mut self) {
        self.stopping = true;
    }

    /// A process could not be started.
    pub(crate) fn count_failed_start(&mut self, seat: usize) {
        if let Some(seat) = self.seats.get_mut(seat) {
            seat.failed_starts += 1;
        }
    }

    /// What has been lost since this was last asked, oldest first.
    pub(crate) fn take_losses(&mut self) -> Vec<Loss> {
        self.losses.drain(..).collect()
    }

    /// All executors as they are now.
    pub(crate) fn states(&self) -> Vec<ExecutorState> {
        (0..)
            .map(ExecutorNumber)
            .zip(&self.seats)
            .map(|(executor, seat)| ExecutorState {
                executor,
                process: seat.live.as_ref().map(|live| live.process),
                in_flight: seat.live.as_ref().map_or(0, Live::in_flight),
                in_flight_peak: seat.in_flight_peak,
                modules: seat.live.as_ref().map_or(0, Live::loaded),
                queued_bytes: seat.live.as_ref().map_or(0, |live| live.outgoing.len()),
                finished: seat.finished,
                started: seat.started,
                lost: seat.lost,
                failed_starts: seat.failed_starts,
            })
            .collect()
    }

    fn vacate(&mut self, seat: usize) -> Option<Live> {
        self.seats.get_mut(seat)?.live.take()
    }

    fn account(&mut self, seat: usize, loss: Loss) {
        if let Some(seat) = self.seats.get_mut(seat) {
            seat.lost += 1;
        }
        if self.losses.len() >= LOSSES_MAX {
            self.losses.pop_front();
        }
        self.losses.push_back(loss);
    }
}
