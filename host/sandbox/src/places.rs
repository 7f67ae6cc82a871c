//! The attempts that are in this executor, each in a place of its own.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use lovage_core::frames::{FrameError, ModuleNumber, Run};
use lovage_core::ports::HostServices;
use lovage_core::{Death, JobNumber};
use wasmtime::component::Linker;

use crate::guest::Guest;
use crate::instance::{Setting, attempt, not_started};
use crate::link::{ByFrames, Link};
use crate::module::Loaded;
use crate::queue::{Queue, Slot};
use crate::{ServeError, engine, imports};

/// Attempts at once that an executor takes on. More do not fit into the maps a process may have.
const SLOTS_MAX: u32 = 5_000;

/// All attempts of an executor, and what they are made of.
pub(crate) struct Places {
    linker: Linker<Guest>,
    modules: HashMap<ModuleNumber, Arc<Loaded>>,
    places: Vec<Place>,
    free: Vec<u32>,
    jobs: HashMap<JobNumber, u32>,
    deadlines: BTreeSet<(Instant, u32)>,
    link: Arc<Link>,
    services: Arc<dyn HostServices>,
}

struct Place {
    slot: Arc<Slot>,
    waker: Waker,
    /// The attempt that is here. It reports its own end.
    attempt: Option<Pin<Box<dyn Future<Output = ()>>>>,
    job: JobNumber,
    time: Duration,
    /// Set after its first turn: most attempts have none to come.
    deadline: Option<Instant>,
}

impl Places {
    pub(crate) fn new(
        slots: u32,
        memory_bytes_max: u64,
        queue: &Arc<Queue>,
        link: &Arc<Link>,
    ) -> wasmtime::Result<Self> {
        wasmtime::ensure!((1..=SLOTS_MAX).contains(&slots), "1 to {SLOTS_MAX} slots are possible");
        let engine = engine::pooling(slots, memory_bytes_max)?;
        let place = |index| {
            let slot = Slot::new(index, Arc::clone(queue));
            let waker = Waker::from(Arc::clone(&slot));
            Place {
                slot,
                waker,
                attempt: None,
                job: JobNumber(0),
                time: Duration::ZERO,
                deadline: None,
            }
        };
        Ok(Self {
            linker: imports::linker(&engine)?,
            modules: HashMap::new(),
            places: (0..slots).map(place).collect(),
            free: (0..slots).rev().collect(),
            jobs: HashMap::new(),
            deadlines: BTreeSet::new(),
            link: Arc::clone(link),
            services: Arc::new(ByFrames(Arc::clone(link))),
        })
    }

    /// Loads a module under a number; what had the number before is forgotten.
    pub(crate) fn load(&mut self, module: ModuleNumber, path: &Path) -> wasmtime::Result<()> {
        let loaded = Loaded::load(&self.linker, path)?;
        self.modules.insert(module, Arc::new(loaded));
        Ok(())
    }

    /// Gives an attempt its place; it has its first turn soon.
    pub(crate) fn begin(&mut self, frame: &[u8], run: &Run<'_>) -> Result<(), ServeError> {
        if self.jobs.contains_key(&run.job) {
            return Err(ServeError::Protocol("it used a job's number twice"));
        }
        let Some(module) = self.modules.get(&run.module) else {
            not_started(&mut self.link.state().output, run, "its module is not loaded")?;
            return Ok(());
        };
        let place =
            self.free.pop().and_then(|index| Some((index, self.places.get_mut(index as usize)?)));
        let Some((index, place)) = place else {
            not_started(&mut self.link.state().output, run, "every slot is taken")?;
            return Ok(());
        };
        let setting = Setting {
            module: Arc::clone(module),
            slot: Arc::clone(&place.slot),
            services: Arc::clone(&self.services),
        };
        place.job = run.job;
        place.time = run.limits.time;
        place.attempt = Some(Box::pin(reported(frame.into(), setting, Arc::clone(&self.link))));
        place.slot.begin();
        self.jobs.insert(run.job, index);
        Ok(())
    }

    /// Ends an attempt at its next turn. It may have ended already.
    pub(crate) fn cancel(&self, job: JobNumber, death: Death) {
        let place = self.jobs.get(&job).and_then(|index| self.places.get(*index as usize));
        if let Some(place) = place {
            place.slot.kill(death);
        }
    }

    /// Gives an attempt a turn.
    pub(crate) fn poll(&mut self, index: u32) {
        let Some(place) = self.places.get_mut(index as usize) else { return };
        let Place { slot, waker, attempt, .. } = place;
        let ended = slot.poll(|| match attempt {
            Some(attempt) => attempt.as_mut().poll(&mut Context::from_waker(waker)).is_ready(),
            None => false,
        });
        if ended {
            place.attempt = None;
            self.jobs.remove(&place.job);
            self.free.push(index);
            if let Some(deadline) = place.deadline.take() {
                self.deadlines.remove(&(deadline, index));
            }
        } else if place.attempt.is_some() && place.deadline.is_none() {
            let deadline = Instant::now() + place.time;
            place.deadline = Some(deadline);
            self.deadlines.insert((deadline, index));
        }
    }

    /// When the first time limit is over.
    pub(crate) fn first_deadline(&self) -> Option<Instant> {
        self.deadlines.first().map(|(deadline, _)| *deadline)
    }

    /// Gives those whose time is over a turn, in which they see that it is.
    pub(crate) fn wake_overdue(&mut self, now: Instant) {
        while let Some((deadline, index)) = self.deadlines.first().copied() {
            if deadline > now {
                return;
            }
            self.deadlines.pop_first();
            if let Some(place) = self.places.get(index as usize) {
                place.slot.call();
            }
        }
    }
}

/// An attempt that sends its own report. One that is too large to be sent is a death of its own.
async fn reported(frame: Arc<[u8]>, setting: Setting, link: Arc<Link>) {
    let told = attempt(Arc::clone(&frame), setting, |done| link.say(done)).await;
    if let Err(error) = told {
        let _ = too_large(&frame, &link, &error);
    }
}

fn too_large(frame: &[u8], link: &Link, error: &FrameError) -> Result<(), FrameError> {
    use lovage_core::frames::{Done, End, FromExecutor, ToExecutor, decode};

    let ToExecutor::Run(run) = decode(frame)? else { return Ok(()) };
    let said = crate::trap::argument(&error.to_string());
    link.say(&FromExecutor::Done(Box::new(Done {
        job: run.job,
        end: End::Killed(Death::OutputTooLarge, said.as_str(), None),
        usage: lovage_core::Usage::default(),
        outbox: Vec::new(),
        logs: Vec::new(),
        logs_dropped: 0,
    })))
}
